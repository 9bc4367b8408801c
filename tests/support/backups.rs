//! Backups of test databases.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Database, json, skipped, taxi};

/// Whether pg_dump is installed. If not, says that the test is skipped.
pub(crate) fn has_pg_dump() -> bool {
    let is_installed =
        Command::new("pg_dump").arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_installed {
        skipped("pg_dump is not installed");
    }
    is_installed
}

/// Returns a `taxi` command on the database, with its result as JSON.
pub(crate) fn on(database: &Database, args: &[&str]) -> Command {
    let mut command = taxi(args);
    command.args(["--output", "json"]).env("DATABASE_URL", &database.url);
    command
}

/// Returns a `taxi backup` command.
pub(crate) fn backup(database: &Database, to: &Path, args: &[&str]) -> Command {
    let mut command = on(database, &[&["backup"], args].concat());
    command.arg("--to").arg(to);
    command
}

/// Makes a backup, and returns its directory.
pub(crate) fn back_up(database: &Database, to: &Path) -> PathBuf {
    let made = json(&backup(database, to, &[]).output().unwrap());
    PathBuf::from(made["path"].as_str().unwrap())
}

/// Returns a `taxi restore` command.
pub(crate) fn restore(database: &Database, dir: &Path, args: &[&str]) -> Command {
    let mut command = on(database, &[&["restore"], args].concat());
    command.arg(dir);
    command
}

/// Reads the manifest of a backup.
pub(crate) fn manifest(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap()
}

/// Connects to a database again, after a restore has replaced it.
pub(crate) fn again(database: &Database) -> Database {
    Database::connect(database.url.clone(), database.name().to_owned())
}

/// The databases of the server that belong to an unfinished restore or backup of this database.
pub(crate) fn leftovers(admin: &Database, name: &str) -> Vec<Vec<String>> {
    admin.sql(&format!("SELECT datname FROM pg_database WHERE datname LIKE '{name}\\_taxi\\_%'"))
}
