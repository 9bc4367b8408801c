//! `taxi backup`: backs up the database.

use std::path::PathBuf;

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use serde::Serialize;

use super::{settings, target};
use crate::backup::dump::Backup;
use crate::cli::BackupArgs;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::provision::home::Home;
use crate::provision::{Provisioner, ServerState};
use crate::report::Report;
use crate::report::output::CommandOutput;

#[derive(Serialize)]
struct BackupResult {
    status: &'static str,
    path: PathBuf,
    database: String,
    taken_at: Timestamp,
    files: usize,
    rows: u64,
    length_bytes: u64,
    verified: bool,
    removed: Vec<PathBuf>,
}

/// Makes the backup.
pub(crate) async fn run(
    args: &BackupArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: &dyn Report,
) -> Result<CommandOutput> {
    let database = settings::database(&args.database)?;
    let to = match (&args.to, &database) {
        (Some(to), _) => to.clone(),
        (None, None) => Home::resolve(provisioner.home.as_deref())?.backups(),
        (None, Some(_)) => {
            return Err(Error::new(Kind::Usage, "a backup of your own database needs --to")
                .hint("set --to (or TAXI_BACKUP_DIR) to the directory that holds the backups"));
        }
    };
    if database.is_none() && provisioner.status().await?.state == ServerState::Absent {
        return Err(Error::new(
            Kind::Configuration,
            "the embedded server does not exist yet, so it holds nothing",
        )
        .hint("use --database-url to back up your own database"));
    }
    let (settings, server_programs) = interrupt.or(target::server(database, provisioner, report)).await?;
    let (keep, verify, jobs) = (args.keep, args.verify, args.jobs);
    let backup = Backup { settings: &settings, server_programs, to, keep, verify, jobs };
    let finished = backup.run(interrupt, report).await?;
    let result = BackupResult {
        status: "backed_up",
        path: finished.path,
        database: finished.manifest.database,
        taken_at: finished.manifest.taken_at,
        files: finished.manifest.contents.files(),
        rows: finished.manifest.contents.rows(),
        length_bytes: finished.length_bytes,
        verified: verify,
        removed: finished.removed,
    };
    CommandOutput::new(&result, text)
}

fn text(result: &BackupResult) -> String {
    let verified = if result.verified { ", verified" } else { "" };
    let removed: String = result.removed.iter().map(|path| format!("\nremoved {}", path.display())).collect();
    format!(
        "{}\n{} files, {} rows, {}{verified}{removed}",
        result.path.display(),
        HumanCount(result.files as u64),
        HumanCount(result.rows),
        HumanBytes(result.length_bytes)
    )
}
