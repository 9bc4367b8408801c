//! The arguments of the commands that run, check and show flows.

use std::path::PathBuf;

use clap::Args;

use super::options::{DatabaseArgs, DeliveryArgs, LockArgs, OutputArgs, RetryArgs};
use super::values::{Day, Pair};

/// Arguments of `taxi run`.
#[derive(Args, Debug)]
pub(crate) struct FlowRunArgs {
    /// File of the flow
    pub(crate) flow: PathBuf,
    /// Input of the flow; repeat the option for each input
    #[arg(long = "input", short, value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<Pair>,
    /// Label of the run; repeat the option for each label
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<Pair>,
    /// Run the flow as this trigger does: with its inputs, for its latest date
    ///
    /// Inputs given with --input replace those of the trigger, and --trigger-date replaces the date.
    #[arg(long, value_name = "ID")]
    pub(crate) trigger: Option<String>,
    /// Date to run the flow for, trigger.date in expressions: 2020-03-01, or with time and zone
    #[arg(long, value_name = "DATE")]
    pub(crate) trigger_date: Option<Day>,
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

/// Arguments of `taxi validate`.
#[derive(Args, Debug)]
pub(crate) struct ValidateArgs {
    /// Files of the flows
    #[arg(required = true, value_name = "FLOW")]
    pub(crate) flows: Vec<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How `taxi show` draws a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum View {
    /// A tree in plain text.
    #[default]
    Tree,
    /// A Mermaid flowchart.
    Mermaid,
}

/// Arguments of `taxi show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// File of the flow
    pub(crate) flow: PathBuf,
    /// Format of the drawing
    #[arg(long = "as", value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) view: View,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `taxi triggers`.
#[derive(Args, Debug)]
pub(crate) struct TriggersArgs {
    /// File of the flow
    pub(crate) flow: PathBuf,
    /// Number of dates to print for each trigger
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) count: usize,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
