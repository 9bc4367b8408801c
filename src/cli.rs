//! The command line: its types and its help texts.
//!
//! The first paragraph of a doc comment is what `-h` prints; `--help` prints all of it.

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

/// Loads the NYC taxi files into PostgreSQL
///
/// A load is all or nothing, and a file that is already loaded is skipped. The target is your own database, if you
/// name one with --database-url, or else an embedded PostgreSQL server, which taxi starts when it is needed.
#[derive(Debug, Parser)]
#[command(name = "taxi", version, after_help = exit_codes(), disable_help_subcommand = true)]
pub struct Cli {
    /// The subcommand to run.
    #[command(subcommand)]
    pub command: Command,
    /// Settings of the embedded server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Settings of the embedded server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Embedded server")]
pub struct ServerArgs {
    /// Directory of the embedded server [default: the user's data directory; as root, /var/lib/taxi-etl]
    ///
    /// It holds the server's data, log, socket, settings and password, and the downloaded build of PostgreSQL.
    #[arg(long, global = true, value_name = "DIR", env = "TAXI_HOME")]
    pub home: Option<PathBuf>,
    /// Directory of postgres, initdb and pg_ctl, or "download" to use the pinned build [default: search]
    ///
    /// By default, taxi searches PATH and the usual installation directories for PostgreSQL 15 or later, and
    /// downloads a pinned build if it finds none. With "download", it uses the pinned build even if a server is
    /// installed.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "TAXI_POSTGRES_BIN",
        default_value = "",
        hide_default_value = true
    )]
    pub postgres_bin: Choice,
    /// Base URL to download the pinned build from
    ///
    /// The SHA-256 of the download is always checked.
    #[arg(long, global = true, value_name = "URL", env = "TAXI_POSTGRES_MIRROR", default_value = RELEASES, hide_env_values = true)]
    pub postgres_mirror: String,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load one month
    ///
    /// A month that is already loaded, and has not changed at the source since, is skipped.
    #[command(after_long_help = examples(&[
        "taxi load --taxi yellow --year 2021 --month 1",
        "taxi load --taxi green --year 2019 --month 12 --database-url postgresql://localhost/trips",
    ]))]
    Load(LoadArgs),
    /// Load the missing months of a range, or run a flow for the dates of a trigger
    ///
    /// The command loads the months that are missing or have changed at the source, and skips the others. It is
    /// safe to run it again and again. With FLOW and --trigger, the command runs the flow once for each date of
    /// the trigger.
    #[command(after_long_help = examples(&[
        "taxi backfill --taxi all --from 2019-01 --to 2021-07",
        "taxi backfill flow.yaml --trigger monthly --from 2020-03-01 --to 2020-12-31",
    ]))]
    Backfill(BackfillArgs),
    /// Run a flow
    ///
    /// The flow is a YAML file in Kestra's syntax. "taxi validate" checks that taxi supports everything in it.
    #[command(after_long_help = examples(&[
        "taxi run flow.yaml --input taxi=green --input year=2020 --input month=03",
        "taxi run flow.yaml --trigger monthly --trigger-date 2020-03-01",
    ]))]
    Run(FlowRunArgs),
    /// Check flows without running them
    ///
    /// Each error is printed with its line and column.
    #[command(after_long_help = examples(&["taxi validate flow.yaml", "taxi validate flows/*.yaml"]))]
    Validate(ValidateArgs),
    /// Draw a flow as a tree or as a Mermaid flowchart
    #[command(after_long_help = examples(&["taxi show flow.yaml", "taxi show flow.yaml --as mermaid"]))]
    Show(ShowArgs),
    /// Print the next dates of a flow's triggers, and crontab lines for them
    #[command(after_long_help = examples(&["taxi triggers flow.yaml", "taxi triggers flow.yaml --count 12"]))]
    Triggers(TriggersArgs),
    /// Print the JSON Schema of flows, for editors
    ///
    /// Save the schema as taxi.json, and put "# yaml-language-server: $schema=taxi.json" at the top of a flow: the
    /// editor then completes and checks the flow.
    #[command(after_long_help = examples(&["taxi schema > taxi.json"]))]
    Schema(OutputArgs),
    /// List the recorded runs, or show one run
    #[command(after_long_help = examples(&[
        "taxi runs --taxi yellow --status failed",
        "taxi runs show 01a1fccc-5c29-77fc-b45f-0eaf5245c82c",
    ]))]
    Runs(RunsArgs),
    /// Compare the rows of each file in the target with the ledger and with the published counts
    ///
    /// The command ends with exit code 67 if they differ.
    #[command(after_long_help = examples(&[
        "taxi verify --taxi green --year 2020",
        "taxi verify --taxi all --year 2020 --month 3",
    ]))]
    Verify(VerifyArgs),
    /// Check everything that a load needs, and change nothing
    ///
    /// Each problem is printed with a fix, if taxi knows one.
    #[command(after_long_help = examples(&[
        "taxi doctor",
        "taxi doctor --taxi yellow --database-url postgresql://localhost/trips",
    ]))]
    Doctor(DoctorArgs),
    /// Start the embedded server and print its URL
    ///
    /// The URL contains the password, so any client can use it. The server runs until "taxi down" stops it.
    #[command(after_long_help = examples(&["taxi up", "taxi up --output json"]))]
    Up(OutputArgs),
    /// Print the state and the URL of the embedded server
    #[command(after_long_help = examples(&["taxi status", "taxi status --output json"]))]
    Status(OutputArgs),
    /// Stop the embedded server and keep its data
    #[command(after_long_help = examples(&["taxi down"]))]
    Down(OutputArgs),
    /// Open psql on the embedded server, which is started first if it is not running
    #[command(disable_help_flag = true, after_long_help = examples(&[
        "taxi psql",
        "taxi psql -c 'SELECT count(*) FROM yellow_tripdata'",
    ]))]
    Psql {
        /// Arguments for psql
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

/// Arguments of `taxi load`.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// Taxi type: yellow or green
    #[arg(long)]
    pub taxi: String,
    /// Year of the month; leave it out with --month previous
    #[arg(long)]
    pub year: Option<u16>,
    /// Month, 1 to 12, or "previous" for the month before the current one
    #[arg(long)]
    pub month: MonthOfYear,
    /// How to load.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of `taxi run`.
#[derive(Args, Debug)]
pub struct FlowRunArgs {
    /// File of the flow
    pub flow: PathBuf,
    /// Input of the flow; repeat the option for each input
    #[arg(long = "input", short, value_name = "NAME=VALUE")]
    pub inputs: Vec<Pair>,
    /// Label of the run; repeat the option for each label
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<Pair>,
    /// Run the flow as this trigger does: with its inputs, for its latest date
    ///
    /// Inputs given with --input replace those of the trigger, and --trigger-date replaces the date.
    #[arg(long, value_name = "ID")]
    pub trigger: Option<String>,
    /// Date to run the flow for, trigger.date in expressions: 2020-03-01, or with time and zone
    #[arg(long, value_name = "DATE")]
    pub trigger_date: Option<Day>,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Maximum time to wait for another run or for a locked table: 90, 90s, 5m
    ///
    /// A number without a unit is in seconds. When the time is over, the command ends with exit code 75.
    #[arg(long, value_name = "TIME", env = "TAXI_LOCK_TIMEOUT", default_value = config::DEFAULT_LOCK_TIMEOUT, value_parser = config::lock_timeout)]
    pub lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    #[command(flatten)]
    pub patience: PatienceArgs,
    /// How to report.
    #[command(flatten)]
    pub delivery: DeliveryArgs,
}

/// A date on the command line.
#[derive(Clone, Debug)]
pub struct Day(pub jiff::Zoned);

impl std::str::FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        dates::read(text).map(Self)
    }
}

/// A name and a value on the command line.
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
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Arguments of `taxi validate`.
#[derive(Args, Debug)]
pub struct ValidateArgs {
    /// Files of the flows
    #[arg(required = true, value_name = "FLOW")]
    pub flows: Vec<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How `taxi show` draws a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum View {
    /// A tree in plain text.
    #[default]
    Tree,
    /// A Mermaid flowchart.
    Mermaid,
}

/// Arguments of `taxi show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// File of the flow
    pub flow: PathBuf,
    /// Format of the drawing
    #[arg(long = "as", value_enum, default_value_t, value_name = "FORMAT")]
    pub view: View,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `taxi triggers`.
#[derive(Args, Debug)]
pub struct TriggersArgs {
    /// File of the flow
    pub flow: PathBuf,
    /// Number of dates to print for each trigger
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub count: usize,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `taxi backfill`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").args(["flow", "taxi"]).required(true))]
pub struct BackfillArgs {
    /// File of a flow to run for the dates of its trigger, instead of loading months
    #[arg(requires = "trigger")]
    pub flow: Option<PathBuf>,
    /// Taxi type: yellow, green or all
    #[arg(long)]
    pub taxi: Option<String>,
    /// Trigger of the flow
    #[arg(long, value_name = "ID", requires = "flow")]
    pub trigger: Option<String>,
    /// Input of the flow; repeat the option for each input
    #[arg(long = "input", short, value_name = "NAME=VALUE", requires = "flow")]
    pub inputs: Vec<Pair>,
    /// Label of the flow's runs; repeat the option for each label
    #[arg(long = "label", value_name = "NAME=VALUE", requires = "flow")]
    pub labels: Vec<Pair>,
    /// First month, like 2019-01; for a flow also a date, like 2019-01-31
    #[arg(long, value_name = "MONTH|DATE")]
    pub from: First,
    /// Last month or date, which is part of the range, or "latest"
    ///
    /// For months, "latest" is the month before the current one: months at the end of the range that the source
    /// does not have yet are then reported and are not a failure. For a flow, "latest" is the current time.
    #[arg(long, value_name = "MONTH|DATE")]
    pub to: Last,
    /// Number of months or dates to run side by side
    ///
    /// Each month needs two database connections and up to 40 MB of memory.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub jobs: u8,
    /// Dry run: print what would be done, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Start no further month or date after one fails or is not published
    #[arg(long)]
    pub fail_fast: bool,
    /// Run only the N-th month or date of the range, counted from 0
    ///
    /// Kubernetes sets the environment variable in each pod of an Indexed Job.
    #[arg(long, value_name = "N", env = "JOB_COMPLETION_INDEX")]
    pub index: Option<usize>,
    /// How to load.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Arguments of the commands that load months.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Directory or base URL that holds yellow/ and green/ [default: the course's release site]
    ///
    /// The file of January 2021, for example, is yellow/yellow_tripdata_2021-01.csv.gz.
    #[arg(long, value_name = "DIR|URL", env = "TAXI_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Load files even if they are already loaded
    #[arg(long)]
    pub force: bool,
    /// What to do if the file has changed at the source since it was loaded
    #[arg(long, value_enum, default_value_t, value_name = "ACTION")]
    pub if_loaded: IfLoaded,
    /// Maximum number of rows of a file to leave out because they do not fit the table
    ///
    /// The load stores these rows in the table taxi_etl.rejects. It fails at the first row above the maximum.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(reject::MOST)))]
    pub max_rejects: u32,
    /// Maximum time to wait for another run of the same month or for a locked table: 90, 90s, 5m
    ///
    /// A number without a unit is in seconds. When the time is over, the command ends with exit code 75.
    #[arg(long, value_name = "TIME", env = "TAXI_LOCK_TIMEOUT", default_value = config::DEFAULT_LOCK_TIMEOUT, value_parser = config::lock_timeout)]
    pub lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    #[command(flatten)]
    pub patience: PatienceArgs,
    /// How to report.
    #[command(flatten)]
    pub delivery: DeliveryArgs,
}

/// Timeout and retry settings for the source.
#[derive(Args, Clone, Copy, Debug)]
pub struct PatienceArgs {
    /// Idle timeout of requests to the source: 90, 90s, 5m
    ///
    /// A number without a unit is in seconds. A server that sends less than 1 KiB per second counts as idle.
    #[arg(long, value_name = "TIME", env = "TAXI_SOURCE_TIMEOUT", default_value = config::DEFAULT_SILENCE, value_parser = config::silence)]
    pub source_timeout: Duration,
    /// Number of retries after a failed request (the count restarts after every 64 KiB received)
    ///
    /// Failures that a retry cannot fix, like 404 or 403, are not retried.
    #[arg(long, value_name = "N", env = "TAXI_RETRIES", default_value = config::DEFAULT_RETRIES, value_parser = config::retries)]
    pub retries: u32,
}

/// How a command that loads files or runs a flow reports.
#[derive(Args, Debug)]
pub struct DeliveryArgs {
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Print only errors
    ///
    /// With --output json or --output kestra, the result is printed too.
    #[arg(long, short)]
    pub quiet: bool,
    /// Format of the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", env = "TAXI_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Exit code if there was nothing to do, instead of 0
    ///
    /// It lets an orchestrator show the run as skipped: for example Airflow, with 99.
    #[arg(long, value_name = "CODE")]
    pub skip_exit_code: Option<u8>,
    /// Where orchestrators look for the result.
    #[command(flatten)]
    pub orchestrator: OrchestratorArgs,
}

/// Where orchestrators look for the result.
#[derive(Args, Clone, Debug)]
pub struct OrchestratorArgs {
    /// Airflow directory for task results (XCom); skipped if it does not exist
    ///
    /// The command writes its result as JSON to return.json in this directory.
    #[arg(long, value_name = "DIR", env = "TAXI_XCOM_DIR", default_value = "/airflow/xcom")]
    pub xcom_dir: PathBuf,
    /// Kubernetes termination-message file; skipped if it does not exist
    #[arg(long, value_name = "FILE", env = "TAXI_TERMINATION_LOG", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}

/// Which database to use.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// URL of an existing database to use instead of the embedded server
    ///
    /// The server must be PostgreSQL 15 or later. Without a URL, PGHOST, PGHOSTADDR or PGSERVICE can select a
    /// database too. Other users of the machine can read the command line: put a password into DATABASE_URL,
    /// PGPASSWORD or the file ~/.pgpass instead.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Maximum time that the database may be unresponsive: 90, 90s, 5m
    ///
    /// A number without a unit is in seconds. A statement may take longer, as long as the server accepts new
    /// sessions. The option has no effect on the embedded server.
    #[arg(long, value_name = "TIME", env = "TAXI_DATABASE_TIMEOUT", default_value = config::DEFAULT_SILENCE, value_parser = config::silence)]
    pub database_timeout: Duration,
}

/// Arguments of `taxi runs`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// Show one run.
    #[command(subcommand)]
    pub show: Option<RunsCommand>,
    /// Only runs of this taxi type
    #[arg(long)]
    pub taxi: Option<String>,
    /// Only runs with this status
    #[arg(long, value_enum)]
    pub status: Option<Status>,
    /// Maximum number of runs to list, latest first
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
    /// How to print the result, which is the list or one run.
    pub fn output(&self) -> &OutputArgs {
        match &self.show {
            Some(RunsCommand::Show { output, .. }) => output,
            None => &self.output,
        }
    }
}

/// The subcommands of `taxi runs`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Show one run: inputs, source, counts, phases, error, log
    #[command(after_long_help = examples(&["taxi runs show 01a1fccc-5c29-77fc-b45f-0eaf5245c82c"]))]
    Show {
        /// ID of the run, as "taxi runs" and "taxi load" print it
        run_id: Uuid,
        /// The database.
        #[command(flatten)]
        database: DatabaseArgs,
        /// How to print the result.
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Arguments of `taxi verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Taxi type: yellow, green or all
    #[arg(long)]
    pub taxi: String,
    /// Year to verify
    #[arg(long)]
    pub year: u16,
    /// Month to verify, 1 to 12 [default: all months of the year]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=12))]
    pub month: Option<u8>,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `taxi doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Taxi type whose table and file to check: yellow, green or all
    #[arg(long, default_value = "all")]
    pub taxi: String,
    /// Directory or base URL that holds yellow/ and green/ [default: the course's release site]
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
    /// Format of the result on stdout
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

fn examples(commands: &[&str]) -> String {
    format!("Examples:\n  {}", commands.join("\n  "))
}

fn exit_codes() -> String {
    let line = |kind: &Kind| {
        let retry = if kind.is_worth_retrying() { " (worth retrying)" } else { "" };
        format!(" {:>3}  {}{retry}", kind.exit_code(), kind.meaning())
    };
    let lines: Vec<String> = Kind::ALL.iter().map(line).collect();
    format!("Exit codes:\n   0  done, or nothing to do\n{}", lines.join("\n"))
}
