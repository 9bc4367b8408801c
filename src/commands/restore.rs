//! `taxi restore`: restores a backup.

use indicatif::HumanCount;
use jiff::Timestamp;
use serde::Serialize;

use super::{settings, target};
use crate::backup::restore::Restore;
use crate::cli::RestoreArgs;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::CommandOutput;

#[derive(Serialize)]
struct RestoreResult {
    status: &'static str,
    database: String,
    taken_at: Timestamp,
    files: usize,
    rows: u64,
    replaced: bool,
}

/// Restores the backup.
pub(crate) async fn run(
    args: &RestoreArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: &dyn Report,
) -> Result<CommandOutput> {
    let database = settings::database(&args.database)?;
    let (settings, server_programs) = interrupt.or(target::server(database, provisioner, report)).await?;
    let restore = Restore {
        settings: &settings,
        dir: args.dir.clone(),
        server_programs,
        force: args.force,
        no_owner: args.no_owner,
        jobs: args.jobs,
    };
    let (manifest, replaced) = restore.run(interrupt, report).await?;
    let result = RestoreResult {
        status: "restored",
        database: settings.database().to_owned(),
        taken_at: manifest.taken_at,
        files: manifest.contents.files(),
        rows: manifest.contents.rows(),
        replaced,
    };
    CommandOutput::new(&result, |result| {
        format!(
            "restored {} as of {:.0}: {} files, {} rows",
            result.database,
            result.taken_at,
            HumanCount(result.files as u64),
            HumanCount(result.rows)
        )
    })
}
