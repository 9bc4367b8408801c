//! The arguments of the commands that keep and remove data: backups and dropped months.

use std::path::PathBuf;

use clap::Args;

use super::options::{DatabaseArgs, LockArgs, OutputArgs, YearArgs};
use super::values;

/// Arguments of `taxi drop`.
#[derive(Args, Debug)]
pub(crate) struct DropArgs {
    /// Taxi type
    #[arg(long, value_parser = values::taxi(), ignore_case = true)]
    pub(crate) taxi: String,
    /// The months.
    #[command(flatten)]
    pub(crate) months: YearArgs,
    /// Remove the rows without a question
    #[arg(long)]
    pub(crate) yes: bool,
    /// Dry run: print what would be removed, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// How long to wait for locks.
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `taxi backup`.
#[derive(Args, Debug)]
pub(crate) struct BackupArgs {
    /// Directory that holds the backups, which is created if it does not exist [default: backups in the directory of
    /// the embedded server]
    ///
    /// The option is required for a database of your own.
    #[arg(long, value_name = "DIR", env = "TAXI_BACKUP_DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Number of backups of this database to keep: older ones are removed after a successful backup
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) keep: Option<u16>,
    /// Restore the backup into a temporary database on the same server, and compare it with the manifest
    ///
    /// If they differ, the command ends with exit code 67 and keeps no backup. The role needs the privilege CREATEDB.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Number of tables to dump side by side
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: u8,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `taxi restore`.
#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// Directory of the backup
    pub(crate) dir: PathBuf,
    /// Replace the database even if it holds tables, and end the sessions that use it
    ///
    /// While loads or flows run, the command names them and ends with exit code 75.
    #[arg(long)]
    pub(crate) force: bool,
    /// Leave out the owners and privileges of the backup: all objects belong to the role that restores
    #[arg(long)]
    pub(crate) no_owner: bool,
    /// Number of tables to restore side by side
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: u8,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
