//! The command line: its types and its help texts.
//!
//! The first paragraph of a doc comment is what `-h` prints; `--help` prints all of it.

mod flows;
mod lookups;
mod options;
mod retention;
pub(crate) mod run_id;
mod runs;
mod server;
pub mod usage;
pub(crate) mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::error::Kind;
use crate::http::SourceUrl;
use crate::month::options::IfLoaded;

use values::{First, Last, MonthOfYear, Pair};

pub(crate) use flows::{
    FlowRunArgs, SchemaArgs, ShowArgs, TestArgs, TriggersArgs, ValidateArgs, ValidateOutput, View,
};
pub(crate) use lookups::{DriftArgs, ZonesArgs};
pub(crate) use options::{
    DatabaseArgs, DeliveryArgs, FileArgs, LockArgs, OrchestratorArgs, OutputArgs, RetryArgs, RunnerArgs,
    SourceArgs, YearArgs,
};
pub(crate) use retention::{BackupArgs, DropArgs, RestoreArgs};
pub(crate) use runs::{PruneArgs, RunsArgs, RunsCommand};
pub(crate) use server::{DownArgs, LogsArgs, ManArgs, PsqlArgs, StatusArgs, UpArgs, UpgradeArgs};

/// Loads the NYC taxi files into PostgreSQL
///
/// A load is all or nothing, and a file that is already loaded is skipped. The target is your own database, if you
/// name one with --database-url, or else an embedded PostgreSQL server, which taxi starts when it is needed.
#[derive(Debug, Parser)]
#[command(name = "taxi", version, after_help = exit_codes())]
pub struct Cli {
    /// The subcommand to run.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Parses the arguments of the process, the first of which is the program's name.
    pub fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments).or_else(|_| {
            // only after an error: building the help of every command takes longer than parsing again
            let mut command = Self::command();
            command.build();
            let matches = usage::fix(command).try_get_matches_from(arguments)?;
            Self::from_arg_matches(&matches)
        })
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load one month, or a single file
    ///
    /// A month that is already loaded, and has not changed at the source since, is skipped.
    #[command(after_long_help = examples(&[
        "taxi load --taxi yellow --year 2021 --month 1",
        "taxi load --taxi green --year 2019 --month 12 --database-url postgresql://localhost/trips",
        "taxi load --taxi green --year 2025 --month 11 --source tlc",
        "taxi load --taxi yellow --month previous --source tlc",
        "taxi load ~/Downloads/green_tripdata_2025-11.parquet",
    ]), override_usage = usage::LOAD)]
    Load(LoadArgs),
    /// Load the missing months of a range, or run a flow for the dates of a trigger
    ///
    /// The command loads the months that are missing or have changed at the source, and skips the others. It is
    /// safe to run it again and again. With FLOW and --trigger, the command runs the flow once for each date of
    /// the trigger.
    #[command(after_long_help = examples(&[
        "taxi backfill --taxi yellow,green --from 2019-01 --to 2021-07",
        "taxi backfill --taxi green --from 2019-01 --to latest --source course,tlc",
        "taxi backfill flow.yaml --trigger monthly --from 2020-03-01 --to 2020-12-31",
        "taxi backfill flow.yaml --trigger monthly --from 2020-03-01 --to latest --missing",
    ]), override_usage = usage::BACKFILL)]
    Backfill(BackfillArgs),
    /// Load the lookup table of the taxi zones
    ///
    /// The table public.taxi_zones gets the zone and the borough of each location id. If the file has not changed since
    /// it was loaded, the command does nothing. In a directory and below a URL, the file is misc/taxi_zone_lookup.csv, or
    /// in a directory taxi_zone_lookup.csv.
    #[command(after_long_help = examples(&["taxi zones", "taxi zones --source tlc"]))]
    Zones(ZonesArgs),
    /// Report how the columns of the published files change from month to month
    ///
    /// The command reads the footer of each Parquet file and the header of each CSV file, and no data. It needs no
    /// database.
    #[command(after_long_help = examples(&[
        "taxi drift --taxi yellow --from 2019-01 --to 2025-12 --source tlc",
        "taxi drift --taxi green --from 2019-01 --to latest --source course,tlc --output json",
    ]))]
    Drift(DriftArgs),
    /// Run a flow
    ///
    /// The flow is a YAML file in Kestra's syntax. "taxi validate" checks that taxi supports everything in it.
    #[command(after_long_help = examples(&[
        "taxi run flow.yaml --input taxi=green --input year=2020 --input month=03",
        "taxi run flow.yaml --trigger monthly --trigger-date 2020-03-01",
        "taxi run flow.yaml --input taxi=green --dry-run",
        "taxi run flow.yaml --from merge --run-id 5245c82c",
    ]))]
    Run(FlowRunArgs),
    /// Run the tests of flows
    ///
    /// A test file has the grammar of Kestra's unit tests: fixtures for inputs, files and tasks, and assertions. A
    /// task with a fixture does not run. The flow is in the folder of the test file or in the folder above it. The
    /// run history does not record tests.
    #[command(after_long_help = examples(&["taxi test flow_tests.yaml", "taxi test tests/*.yaml --junit results.xml"]))]
    Test(TestArgs),
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
    Schema(SchemaArgs),
    /// List the recorded runs, or show one run
    #[command(after_long_help = examples(&[
        "taxi runs --taxi yellow --status failed",
        "taxi runs show 5245c82c",
    ]))]
    Runs(RunsArgs),
    /// Compare the rows of each file in the target with the ledger and with the published counts
    ///
    /// The command ends with exit code 67 if they differ.
    #[command(after_long_help = examples(&[
        "taxi verify --taxi green --year 2020",
        "taxi verify --taxi yellow,green --year 2020 --month 3",
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
    #[command(after_long_help = examples(&["taxi up", "taxi up --output json", "psql \"$(taxi up)\""]))]
    Up(UpArgs),
    /// Print the state and the URL of the embedded server
    #[command(after_long_help = examples(&["taxi status", "taxi status --output json"]))]
    Status(StatusArgs),
    /// Stop the embedded server and keep its data
    ///
    /// While loads or flows run, the command names them and ends with exit code 75, unless --force is given.
    #[command(after_long_help = examples(&["taxi down", "taxi down --force"]))]
    Down(DownArgs),
    /// Move the embedded server to a newer major version of PostgreSQL
    ///
    /// The command copies the data with pg_upgrade, compares the row counts of all tables, and keeps the old data
    /// directory beside the new one. If anything fails, the server stays as it was. The programs of both versions must
    /// be installed. While loads or flows run, the command names them and ends with exit code 75.
    #[command(after_long_help = examples(&[
        "taxi upgrade",
        "taxi upgrade --to 18 --postgres-bin /usr/lib/postgresql/18/bin",
    ]))]
    Upgrade(UpgradeArgs),
    /// Print the log of the embedded server
    ///
    /// The server may be running or stopped. With --follow, the command continues to print until Ctrl-C ends it,
    /// and the exit code is then 0.
    #[command(after_long_help = examples(&["taxi logs", "taxi logs --lines 20 --follow"]))]
    Logs(LogsArgs),
    /// Open psql on the embedded server, which is started first if it is not running
    ///
    /// All arguments from the first one that is not an option of taxi go to psql. After "--", all arguments go to
    /// psql: "taxi psql -- --help" prints the help of psql.
    #[command(after_long_help = examples(&[
        "taxi psql",
        "taxi psql -c 'SELECT count(*) FROM yellow_tripdata'",
        "taxi psql --home /srv/taxi -f query.sql",
        "taxi psql -- --help",
    ]))]
    Psql(PsqlArgs),
    /// Remove loaded months from the target
    ///
    /// The command lists the rows that go and asks first. The rows go by their file, whatever their time; rows of other
    /// files stay. A later load or backfill loads the months again.
    #[command(after_long_help = examples(&[
        "taxi drop --taxi yellow --year 2019 --month 3",
        "taxi drop --taxi yellow --year 2019 --plan",
        "taxi drop --taxi green --year 2019 --yes",
    ]))]
    Drop(DropArgs),
    /// Back up the database: the target, the run history, and everything else in it
    ///
    /// A backup is a directory with a dump of pg_dump and a manifest, which has the number of rows and a digest of each
    /// loaded file. Loads that add a new month wait until the backup ends.
    #[command(after_long_help = examples(&[
        "taxi backup",
        "taxi backup --keep 7 --verify",
        "taxi backup --to /srv/backups --database-url postgresql://localhost/trips",
    ]))]
    Backup(BackupArgs),
    /// Restore a backup, all or nothing
    ///
    /// The backup is restored into a new database beside the old one and compared with its manifest. Then the new
    /// database takes the name of the old one. The role needs the privilege CREATEDB.
    #[command(after_long_help = examples(&[
        "taxi restore /srv/backups/ny_taxi-20260102T030405Z",
        "taxi restore --force /srv/backups/trips-20260102T030405Z --database-url postgresql://localhost/trips",
    ]))]
    Restore(RestoreArgs),
    /// Print a script that completes taxi's commands and options in a shell
    #[command(after_long_help = examples(&[
        "taxi completions bash > ~/.local/share/bash-completion/completions/taxi",
        "taxi completions zsh > ~/.zfunc/_taxi",
        "taxi completions fish > ~/.config/fish/completions/taxi.fish",
    ]))]
    Completions {
        /// Shell that reads the script
        shell: clap_complete::Shell,
    },
    /// Print the manual page of taxi or of one of its commands
    ///
    /// With --dir, the command writes the pages of taxi and of all its commands.
    #[command(after_long_help = examples(&[
        "taxi man | man -l -",
        "taxi man runs show",
        "taxi man --dir ~/.local/share/man/man1",
    ]))]
    Man(ManArgs),
}

/// Arguments of `taxi load`.
#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    /// A single file to load, or its URL, instead of the file of a source
    ///
    /// The name says the taxi type and the month, as in green_tripdata_2025-11.parquet. If it does not, --taxi, --year
    /// and --month say them.
    #[arg(value_name = "FILE|URL")]
    pub(crate) file: Option<SourceUrl>,
    /// Taxi type
    #[arg(long, required_unless_present = "file", value_parser = values::taxi(), ignore_case = true)]
    pub(crate) taxi: Option<String>,
    /// Year of the month, from 2009 to this year; leave it out with --month previous
    #[arg(long, value_parser = values::year)]
    pub(crate) year: Option<u16>,
    /// Month, 1 to 12, or "previous" for the month before the current one
    #[arg(long, required_unless_present = "file")]
    pub(crate) month: Option<MonthOfYear>,
    /// Options of the load.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Arguments of `taxi backfill`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("flow_or_taxi").args(["flow", "taxi"]).required(true))]
pub(crate) struct BackfillArgs {
    /// File of a flow to run for the dates of its trigger, instead of loading months
    #[arg(requires = "trigger")]
    pub(crate) flow: Option<PathBuf>,
    /// Taxi type; several, separated by commas, or "all"
    #[arg(long, value_delimiter = ',', value_parser = values::taxi_or_all(), ignore_case = true)]
    pub(crate) taxi: Vec<String>,
    /// Trigger of the flow
    #[arg(long, value_name = "ID", requires = "flow")]
    pub(crate) trigger: Option<String>,
    /// Input of the flow; repeat the option for each input
    #[arg(long = "input", short, value_name = "NAME=VALUE", requires = "flow")]
    pub(crate) inputs: Vec<Pair>,
    /// File with inputs of the flow, in YAML or JSON: a mapping of names and values; `-` for stdin
    ///
    /// Inputs given with --input replace those of the file.
    #[arg(long, value_name = "FILE", requires = "flow")]
    pub(crate) inputs_file: Option<PathBuf>,
    /// Label of the flow's runs; repeat the option for each label
    #[arg(long = "label", value_name = "NAME=VALUE", requires = "flow")]
    pub(crate) labels: Vec<Pair>,
    /// First month, like 2019-01; for a flow also a date, like 2019-01-31
    #[arg(long, value_name = "MONTH|DATE")]
    pub(crate) from: First,
    /// Last month or date, which is part of the range, or "latest"
    ///
    /// For months, "latest" is the month before the current one: months at the end of the range that the source
    /// does not have yet are then reported and are not a failure. For a flow, "latest" is the current time.
    #[arg(long, value_name = "MONTH|DATE")]
    pub(crate) to: Last,
    /// Number of months or dates to run side by side
    ///
    /// Each month needs two database connections and up to 40 MB of memory.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: u8,
    /// Run a flow only for the dates that have no successful run in the run history
    #[arg(long, requires = "flow")]
    pub(crate) missing: bool,
    /// Dry run: print what would be done, and change nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Do not start further months or dates after one fails or is not published
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Run only the N-th month or date of the range, counted from 0
    ///
    /// Without the option, the number of the task in an array job counts: JOB_COMPLETION_INDEX (Kubernetes),
    /// SLURM_ARRAY_TASK_ID, AWS_BATCH_JOB_ARRAY_INDEX or CLOUD_RUN_TASK_INDEX. Only one of them may be set.
    #[arg(long, value_name = "N")]
    pub(crate) index: Option<usize>,
    /// Where the commands of a flow's tasks run.
    #[command(flatten)]
    pub(crate) runner: RunnerArgs,
    /// Options of the load.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Arguments of the commands that load months.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Where the files come from.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Load files even if they are already loaded
    #[arg(long, help_heading = options::LOAD)]
    pub(crate) force: bool,
    /// What to do if the file has changed at the source since it was loaded
    #[arg(long, value_enum, default_value_t, value_name = "ACTION", help_heading = options::LOAD)]
    pub(crate) if_loaded: IfLoaded,
    /// What to do with unusual rows and columns.
    #[command(flatten)]
    pub(crate) file: FileArgs,
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

/// Arguments of `taxi verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Taxi type; several, separated by commas, or "all"
    #[arg(long, required = true, value_delimiter = ',', value_parser = values::taxi_or_all(), ignore_case = true)]
    pub(crate) taxi: Vec<String>,
    /// The months.
    #[command(flatten)]
    pub(crate) months: YearArgs,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `taxi doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Taxi type whose table and file to check; several, separated by commas, or "all"
    #[arg(long, default_value = "all", value_delimiter = ',', value_parser = values::taxi_or_all(), ignore_case = true)]
    pub(crate) taxi: Vec<String>,
    /// Where the files come from.
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The database.
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
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
