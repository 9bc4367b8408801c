//! The arguments of the commands that run, check and show flows.

use std::path::PathBuf;

use clap::Args;

use super::options::{DatabaseArgs, DeliveryArgs, LockArgs, OutputArgs, RetryArgs, RunnerArgs};
use super::run_id::RunIdPrefix;
use super::values::{Day, Pair};
use crate::report::output::Output;

/// Arguments of `taxi run`.
#[derive(Args, Debug)]
pub(crate) struct FlowRunArgs {
    /// File of the flow
    pub(crate) flow: PathBuf,
    /// Input of the flow; repeat the option for each input
    #[arg(long = "input", short, value_name = "NAME=VALUE")]
    pub(crate) inputs: Vec<Pair>,
    /// File with inputs of the flow, in YAML or JSON: a mapping of names and values; `-` for stdin
    ///
    /// Inputs given with --input replace those of the file.
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs_file: Option<PathBuf>,
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
    /// Continue an earlier run from this task; --run-id names the run
    ///
    /// The tasks before this task do not run again: their outputs are taken from the run history. The new run has the
    /// inputs, the labels and the trigger date of the earlier run.
    #[arg(long, value_name = "TASK", requires = "run_id", conflicts_with_all = ["trigger", "trigger_date"])]
    pub(crate) from: Option<String>,
    /// ID of the run to continue, or the beginning or the end of the ID
    #[arg(long, value_name = "RUN_ID", requires = "from")]
    pub(crate) run_id: Option<RunIdPrefix>,
    /// Dry run: print the tasks in order with their values, and run nothing
    ///
    /// Values that depend on the outputs of tasks are printed as expressions.
    #[arg(long, conflicts_with = "from")]
    pub(crate) dry_run: bool,
    /// Where the commands of tasks run.
    #[command(flatten)]
    pub(crate) runner: RunnerArgs,
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

/// Arguments of `taxi test`.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// Files of the tests
    #[arg(required = true, value_name = "TESTS")]
    pub(crate) tests: Vec<PathBuf>,
    /// File to write the results to as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Print only errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How long to wait for locks.
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    /// Timeout and retry settings for the source.
    #[command(flatten)]
    pub(crate) retry: RetryArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `taxi validate`.
#[derive(Args, Debug)]
pub(crate) struct ValidateArgs {
    /// Files of the flows
    #[arg(required = true, value_name = "FLOW")]
    pub(crate) flows: Vec<PathBuf>,
    /// Fail also if there are notes: properties that have no effect, names that may not exist
    #[arg(long)]
    pub(crate) strict: bool,
    /// Format of the result on stdout
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: ValidateOutput,
}

/// How `taxi validate` prints faults and notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ValidateOutput {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object on one line, also on failure.
    Json,
    /// Lines that Kestra reads as outputs, metrics and log messages.
    Kestra,
    /// Workflow commands of GitHub Actions, which mark the lines of a pull request.
    Github,
}

impl ValidateOutput {
    /// The format of the output on stdout.
    pub(crate) fn args(self) -> OutputArgs {
        let output = match self {
            Self::Text | Self::Github => Output::Text,
            Self::Json => Output::Json,
            Self::Kestra => Output::Kestra,
        };
        OutputArgs { output }
    }
}

/// Arguments of `taxi schema`.
#[derive(Args, Debug)]
pub(crate) struct SchemaArgs {
    /// Print the functions, filters and tests of expressions instead
    #[arg(long)]
    pub(crate) expressions: bool,
    /// Print the properties of flows and of all task types instead, as a table
    #[arg(long, conflicts_with = "expressions")]
    pub(crate) properties: bool,
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
