//! Helpers for the tests of flows.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Database, taxi};

pub(crate) fn flow(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows").join(name)
}

pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flows").join(name)
}

/// Returns a `taxi run` command for a flow on the database, with its result as JSON.
pub(crate) fn run(database: &Database, path: &Path, arguments: &[&str]) -> Command {
    let mut command = taxi(["run", "--output", "json"]);
    command.arg(path).args(arguments).env("DATABASE_URL", &database.url);
    command
}

/// Writes a flow to a file in `folder`.
pub(crate) fn write(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("flow.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Returns a `PATH` with a `wget` that reads the files of the folder `source`.
pub(crate) fn path_with_wget(folder: &Path, source: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let script = format!(
        "#!/bin/sh\nfor address; do :; done\nexec cat '{}'/\"$(basename \"$(dirname \"$address\")\")/$(basename \"$address\")\"\n",
        source.display()
    );
    let program = folder.join("wget");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

pub(crate) fn marks(database: &Database) -> Vec<String> {
    database.sql("SELECT mark FROM marks").into_iter().map(|mut row| row.remove(0)).collect()
}

pub(crate) fn task<'a>(result: &'a Value, id: &str) -> &'a Value {
    let tasks = result["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["task_id"] == id).unwrap_or_else(|| panic!("no task {id} in {result:#}"))
}

pub(crate) fn sleeping(database: &Database) -> String {
    database.value(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND query LIKE '%pg_sleep(600)%' AND state = 'active' \
         AND pid <> pg_backend_pid()",
        database.name()
    ))
}
