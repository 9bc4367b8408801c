//! The arguments of `taxi runs` and its subcommands.

use clap::{Args, Subcommand};

use super::options::{DatabaseArgs, OutputArgs};
use super::run_id::RunIdPrefix;
use super::{examples, values};
use crate::ledger::RunStatus;

/// Arguments of `taxi runs`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    /// Show one run.
    #[command(subcommand)]
    pub(crate) show: Option<RunsCommand>,
    /// Only runs of this taxi type
    #[arg(long, value_parser = values::taxi(), ignore_case = true)]
    pub(crate) taxi: Option<String>,
    /// Only runs with this status
    #[arg(long, value_enum)]
    pub(crate) status: Option<RunStatus>,
    /// Maximum number of runs to list, latest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl RunsArgs {
    /// The database of the list, or of the one run.
    pub(crate) fn database(&self) -> &DatabaseArgs {
        match &self.show {
            Some(RunsCommand::Show { database, .. }) => database,
            Some(RunsCommand::Prune(args)) => &args.database,
            None => &self.database,
        }
    }

    /// How to print the result, which is the list or one run.
    pub(crate) fn output(&self) -> &OutputArgs {
        match &self.show {
            Some(RunsCommand::Show { output, .. }) => output,
            Some(RunsCommand::Prune(args)) => &args.output,
            None => &self.output,
        }
    }
}

/// The subcommands of `taxi runs`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Show one run: inputs, source, counts, phases, error, log
    ///
    /// The beginning or the end of an id is enough if only one run has it; otherwise, the command lists the runs that do.
    #[command(after_long_help = examples(&[
        "taxi runs show 5245c82c",
        "taxi runs show 01a1fccc-5c29-77fc-b45f-0eaf5245c82c --output json",
        "taxi runs show 5245c82c --follow",
    ]))]
    Show {
        /// ID of the run, as "taxi runs" and "taxi load" print it, or the beginning or the end of the ID
        run_id: RunIdPrefix,
        /// Wait until the run has ended, and print its phases and tasks to stderr as the ledger records them
        #[arg(long, short)]
        follow: bool,
        /// The database.
        #[command(flatten)]
        database: DatabaseArgs,
        /// How to print the result.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete old runs from the run history
    ///
    /// The run that says that a file is loaded stays, and so do runs in progress. With a run go its task runs and its
    /// rejected rows.
    #[command(after_long_help = examples(&[
        "taxi runs prune --older-than 90d",
        "taxi runs prune --older-than 1y --keep-last 1000 --plan",
    ]))]
    Prune(PruneArgs),
}

/// Arguments of `taxi runs prune`.
#[derive(Args, Debug)]
pub(crate) struct PruneArgs {
    /// Delete runs that began longer ago than this: 90d, 12w, 6mo, 1y
    #[arg(long, value_name = "AGE")]
    pub(crate) older_than: values::Age,
    /// Number of latest runs to keep, whatever their age
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_last: u32,
    /// Dry run: print what would be deleted, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
