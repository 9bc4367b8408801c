//! The command line: types only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

use crate::config;
use crate::error::Kind;
use crate::ledger::Status;
use crate::load::IfLoaded;
use crate::pipeline::expression::dates;
use crate::pipeline::months::{First, Last, MonthOfYear};
use crate::provision::binaries::Choice;
use crate::provision::download::RELEASES;
use crate::report::LogFormat;
use crate::report::output::Output;
use crate::transform::reject;

/// Loads the NYC taxi CSVs into PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "taxi", version, about, after_help = exit_codes(), disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The embedded server's settings.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// The embedded server's settings.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Embedded server")]
pub struct ServerArgs {
    /// Directory of the embedded server [default: the platform's data directory; as root /var/lib/taxi-etl]
    #[arg(long, global = true, value_name = "DIR", env = "TAXI_HOME")]
    pub home: Option<PathBuf>,
    /// Directory of postgres, initdb and pg_ctl, or "download" for the pinned build [default: search]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "TAXI_POSTGRES_BIN",
        default_value = "",
        hide_default_value = true
    )]
    pub postgres_bin: Choice,
    /// Base address of the pinned build
    #[arg(long, global = true, value_name = "URL", env = "TAXI_POSTGRES_MIRROR", default_value = RELEASES, hide_env_values = true)]
    pub postgres_mirror: String,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load one month
    Load(LoadArgs),
    /// Load what is missing of a range of months
    Backfill(BackfillArgs),
    /// Run a flow
    Run(FlowRunArgs),
    /// Check flows, and run nothing
    Validate(ValidateArgs),
    /// Draw a flow
    Show(ShowArgs),
    /// Print the next dates of a flow's triggers, and crontab lines for them
    Triggers(TriggersArgs),
    /// Print the JSON Schema of flows, for editors
    Schema(OutputArgs),
    /// List the runs, or show one
    Runs(RunsArgs),
    /// Compare the target's rows by file with the ledger and with what was published
    Verify(VerifyArgs),
    /// Look for what stands in the way of a load, and change nothing
    Doctor(DoctorArgs),
    /// Bring the embedded server up and print its URL
    Up(OutputArgs),
    /// Print the embedded server's state and URL
    Status(OutputArgs),
    /// Stop the embedded server; its data stays
    Down(OutputArgs),
    /// Open psql on the embedded server, bringing it up first
    #[command(disable_help_flag = true)]
    Psql {
        /// Arguments for psql
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

/// What `taxi load` takes.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// The taxi type: yellow or green
    #[arg(long)]
    pub taxi: String,
    /// The year; not with `--month previous`
    #[arg(long)]
    pub year: Option<u16>,
    /// The month, 1 to 12, or "previous" for the one before this
    #[arg(long)]
    pub month: MonthOfYear,
    /// How to load.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `taxi run` takes.
#[derive(Args, Debug)]
pub struct FlowRunArgs {
    /// The flow's file
    pub flow: PathBuf,
    /// An input, as NAME=VALUE
    #[arg(long = "input", short, value_name = "NAME=VALUE")]
    pub inputs: Vec<Pair>,
    /// A label, as NAME=VALUE
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<Pair>,
    /// Run as this trigger does: with its inputs, for the last of its dates
    #[arg(long, value_name = "ID")]
    pub trigger: Option<String>,
    /// The date to run for, as trigger.date: 2020-03-01, or with time and zone
    #[arg(long, value_name = "DATE")]
    pub trigger_date: Option<Day>,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How long to wait for another run, or for a locked table: 90, 90s, 5m
    #[arg(long, value_name = "TIME", env = "TAXI_LOCK_TIMEOUT", default_value = config::DEFAULT_LOCK_TIMEOUT, value_parser = config::lock_timeout)]
    pub lock_timeout: Duration,
    /// How much the source is borne with.
    #[command(flatten)]
    pub patience: PatienceArgs,
    /// How to report.
    #[command(flatten)]
    pub delivery: DeliveryArgs,
}

/// A date as it is typed.
#[derive(Clone, Debug)]
pub struct Day(pub jiff::Zoned);

impl std::str::FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        dates::read(text).map(Self)
    }
}

/// A name and a value as they are typed.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl std::str::FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("this is not like NAME=VALUE")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// What `taxi validate` takes.
#[derive(Args, Debug)]
pub struct ValidateArgs {
    /// The flows' files
    #[arg(required = true)]
    pub flows: Vec<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How `taxi show` draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum View {
    /// As a tree.
    #[default]
    Tree,
    /// As a Mermaid flowchart.
    Mermaid,
}

/// What `taxi show` takes.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The flow's file
    pub flow: PathBuf,
    /// How to draw it
    #[arg(long = "as", value_enum, default_value_t)]
    pub view: View,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What `taxi triggers` takes.
#[derive(Args, Debug)]
pub struct TriggersArgs {
    /// The flow's file
    pub flow: PathBuf,
    /// How many dates to print of each
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub count: usize,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What `taxi backfill` takes.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").args(["flow", "taxi"]).required(true))]
pub struct BackfillArgs {
    /// A flow's file, to be run for the dates of its trigger, instead of months to load
    #[arg(requires = "trigger")]
    pub flow: Option<PathBuf>,
    /// The taxi type: yellow, green or all
    #[arg(long)]
    pub taxi: Option<String>,
    /// The trigger of the flow
    #[arg(long, value_name = "ID", requires = "flow")]
    pub trigger: Option<String>,
    /// An input of the flow, as NAME=VALUE
    #[arg(long = "input", short, value_name = "NAME=VALUE", requires = "flow")]
    pub inputs: Vec<Pair>,
    /// A label of the flow's runs, as NAME=VALUE
    #[arg(long = "label", value_name = "NAME=VALUE", requires = "flow")]
    pub labels: Vec<Pair>,
    /// The first month, like 2019-01, or date
    #[arg(long, value_name = "MONTH|DATE")]
    pub from: First,
    /// The last month, or date, or "latest": the month before this, of dates the last
    #[arg(long, value_name = "MONTH|DATE")]
    pub to: Last,
    /// Months or dates to run side by side; a month takes two connections and up to 40 MB
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub jobs: u8,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Begin no further month or date once one has failed, or is not there
    #[arg(long)]
    pub fail_fast: bool,
    /// Only the n-th month or date of the range, counted from 0
    #[arg(long, value_name = "N", env = "JOB_COMPLETION_INDEX")]
    pub index: Option<usize>,
    /// How to load.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What a command that loads takes.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Directory or address that holds yellow/ and green/ [default: the course's release address]
    #[arg(long, value_name = "DIR|URL", env = "TAXI_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Load even what is loaded already
    #[arg(long)]
    pub force: bool,
    /// What to do with a file that is loaded, where the source has another by now
    #[arg(long, value_enum, default_value_t)]
    pub if_loaded: IfLoaded,
    /// How many rows of a file may be left out where they do not fit; they are kept in taxi_etl.rejects
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(reject::MOST)))]
    pub max_rejects: u32,
    /// How long to wait for another run of the same month, or for a locked table: 90, 90s, 5m
    #[arg(long, value_name = "TIME", env = "TAXI_LOCK_TIMEOUT", default_value = config::DEFAULT_LOCK_TIMEOUT, value_parser = config::lock_timeout)]
    pub lock_timeout: Duration,
    /// How much the source is borne with.
    #[command(flatten)]
    pub patience: PatienceArgs,
    /// How to report.
    #[command(flatten)]
    pub delivery: DeliveryArgs,
}

/// How much a source is borne with.
#[derive(Args, Clone, Copy, Debug)]
pub struct PatienceArgs {
    /// How long a source may be silent: 90, 90s, 5m
    #[arg(long, value_name = "TIME", env = "TAXI_SOURCE_TIMEOUT", default_value = config::DEFAULT_SILENCE, value_parser = config::silence)]
    pub source_timeout: Duration,
    /// How often a source that fails is asked again, without it having sent a fair piece of the file
    #[arg(long, value_name = "N", env = "TAXI_RETRIES", default_value = config::DEFAULT_RETRIES, value_parser = config::retries)]
    pub retries: u32,
}

/// How a command that runs something reports.
#[derive(Args, Debug)]
pub struct DeliveryArgs {
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Write no log, and no text on success
    #[arg(long, short)]
    pub quiet: bool,
    /// How to write the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", env = "TAXI_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// The exit code where there was nothing to do, instead of 0
    #[arg(long, value_name = "CODE")]
    pub skip_exit_code: Option<u8>,
    /// Where orchestrators look for the result.
    #[command(flatten)]
    pub orchestrator: OrchestratorArgs,
}

/// Where orchestrators look for the result.
#[derive(Args, Clone, Debug)]
pub struct OrchestratorArgs {
    /// Airflow's folder for results; where there is none, nothing is written
    #[arg(long, value_name = "DIR", env = "TAXI_XCOM_DIR", default_value = "/airflow/xcom")]
    pub xcom_dir: PathBuf,
    /// Kubernetes' file for the last words; where there is none, nothing is written
    #[arg(long, value_name = "FILE", env = "TAXI_TERMINATION_LOG", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}

/// Which database.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// An existing database instead of the embedded server
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// How long a given database may not answer at all: 90, 90s, 5m
    #[arg(long, value_name = "TIME", env = "TAXI_DATABASE_TIMEOUT", default_value = config::DEFAULT_SILENCE, value_parser = config::silence)]
    pub database_timeout: Duration,
}

/// What `taxi runs` takes.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// Show one run.
    #[command(subcommand)]
    pub show: Option<RunsCommand>,
    /// Only runs of this taxi type
    #[arg(long)]
    pub taxi: Option<String>,
    /// Only runs that stand so
    #[arg(long, value_enum)]
    pub status: Option<Status>,
    /// No more than the latest N
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl RunsArgs {
    /// How to print the result, of the list or of the one run.
    pub fn output(&self) -> &OutputArgs {
        match &self.show {
            Some(RunsCommand::Show { output, .. }) => output,
            None => &self.output,
        }
    }
}

/// What `taxi runs` does besides listing.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Show one run: inputs, source, counts, phases, error, log
    Show {
        /// The run, as the list and the summaries name it
        run_id: Uuid,
        /// The database.
        #[command(flatten)]
        database: DatabaseArgs,
        /// How to print the result.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// What `taxi verify` takes.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The taxi type: yellow, green or all
    #[arg(long)]
    pub taxi: String,
    /// The year
    #[arg(long)]
    pub year: u16,
    /// The month, 1 to 12; all of the year without
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=12))]
    pub month: Option<u8>,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What `taxi doctor` takes.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The taxi type whose table and file are looked for: yellow, green or all
    #[arg(long, default_value = "all")]
    pub taxi: String,
    /// Directory or address that holds yellow/ and green/ [default: the course's release address]
    #[arg(long, value_name = "DIR|URL", env = "TAXI_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How a command prints its result.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OutputArgs {
    /// How to print the result on stdout
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

fn exit_codes() -> String {
    let line = |kind: &Kind| {
        let retry = if kind.is_worth_retrying() { " (worth retrying)" } else { "" };
        format!(" {:>3}  {}{retry}", kind.exit_code(), kind.meaning())
    };
    let lines: Vec<String> = Kind::ALL.iter().map(line).collect();
    format!("Exit codes:\n   0  done, or nothing to do\n{}", lines.join("\n"))
}
