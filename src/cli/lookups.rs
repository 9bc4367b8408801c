//! The arguments of `taxi zones` and `taxi drift`.

use clap::Args;

use super::options::{self, DatabaseArgs, DeliveryArgs, LockArgs, OutputArgs, RetryArgs, SourceArgs};
use super::values::{self, First, Last};

/// Arguments of `taxi zones`.
#[derive(Args, Debug)]
pub(crate) struct ZonesArgs {
    /// Where the file comes from.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Load the table even if it is already loaded
    #[arg(long, help_heading = options::LOAD)]
    pub(crate) force: bool,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How long to wait for locks.
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    /// Timeout and retry settings for the source.
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
    /// How to report progress and the result.
    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,
}

/// Arguments of `taxi drift`.
#[derive(Args, Debug)]
pub(crate) struct DriftArgs {
    /// Taxi type; several, separated by commas, or "all"
    #[arg(long, required = true, value_delimiter = ',', value_parser = values::taxi_or_all(), ignore_case = true)]
    pub(crate) taxi: Vec<String>,
    /// First month, like 2019-01
    #[arg(long, value_name = "MONTH")]
    pub(crate) from: First,
    /// Last month, which is part of the range, or "latest" for the month before the current one
    #[arg(long, value_name = "MONTH")]
    pub(crate) to: Last,
    /// Where the files come from.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Timeout and retry settings for the source.
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
