//! The options that several commands share, and the values that they parse.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values;
use crate::database::password::PasswordCommand;
use crate::database::url::DatabaseUrl;
use crate::extract::csv::dialect::BlankLines;
use crate::extract::csv::encoding::Encoding;
use crate::flow::context::runners::RunnerChoice;
use crate::http::SourceUrl;
use crate::load::new_columns::NewColumns;
use crate::load::repeated_keys::OnRepeatedKey;
use crate::month::calendar::Month;
use crate::provision::binaries::Choice;
use crate::provision::download::RELEASES;
use crate::report::LogFormat;
use crate::report::output::Output;
use crate::transform::reject;

/// Heading of the options that say when a load runs, and how long it waits.
pub(crate) const LOAD: &str = "Load";
/// Heading of the options that say where the files come from.
const SOURCE: &str = "Source";
/// Heading of the options that say how a command reports its progress and its result.
const RESULT: &str = "Log and result";

/// Where the files come from.
#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// Where the files come from: course, tlc, a directory or a URL; several, separated by commas [default: course]
    ///
    /// course is the course's release, with CSV files from 2019-01 to 2021-07. tlc is the agency's site, with Parquet
    /// files from 2009 on. Of several sources, the first that has the month counts. A URL can be a base address, below
    /// which the files are laid out as in the course's release, or have the placeholders {taxi}, {year} and {month}.
    #[arg(long, value_name = "SOURCE", env = "TAXI_SOURCE", hide_env_values = true, help_heading = SOURCE)]
    pub(crate) source: Option<SourceUrl>,
}

/// Where the embedded server is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Embedded server")]
pub(crate) struct HomeArgs {
    /// Directory of the embedded server [default: the user's data directory; as root, /var/lib/taxi-etl]
    ///
    /// It holds the server's data, log, socket, settings and password, and the downloaded build of PostgreSQL.
    #[arg(long, value_name = "DIR", env = "TAXI_HOME")]
    pub(crate) home: Option<PathBuf>,
}

/// Settings of the embedded server, for the commands that may start it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Embedded server")]
pub(crate) struct ServerArgs {
    /// Where the server is.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
    /// Directory of postgres, initdb and pg_ctl, or "download" to use the pinned build [default: search]
    ///
    /// By default, taxi searches PATH and the usual installation directories for PostgreSQL 15 or later, and
    /// downloads a pinned build if it finds none. With "download", it uses the pinned build even if a server is
    /// installed.
    #[arg(
        long,
        value_name = "DIR",
        env = "TAXI_POSTGRES_BIN",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) postgres_bin: Choice,
    /// Base URL to download the pinned build from
    ///
    /// The SHA-256 of the download is always checked.
    #[arg(long, value_name = "URL", env = "TAXI_POSTGRES_MIRROR", default_value = RELEASES, hide_env_values = true)]
    pub(crate) postgres_mirror: SourceUrl,
}

/// Timeout and retry settings for the source.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = SOURCE)]
pub(crate) struct RetryArgs {
    /// Idle timeout of requests to the source: 90, 90s, 5m
    ///
    /// A number without a unit is in seconds. A server that sends less than 1 KiB per second counts as idle.
    #[arg(long, value_name = "TIME", env = "TAXI_SOURCE_TIMEOUT", default_value = values::DEFAULT_IDLE_TIMEOUT, value_parser = values::idle_timeout)]
    pub(crate) source_timeout: Duration,
    /// Number of retries after a failed request (the count restarts after every 64 KiB received)
    ///
    /// Failures that a retry cannot fix, like 404 or 403, are not retried.
    #[arg(long, value_name = "N", env = "TAXI_RETRIES", default_value = values::DEFAULT_RETRIES, value_parser = values::retries)]
    pub(crate) retries: u32,
}

/// How a command that loads files or runs a flow reports its progress and its result.
#[derive(Args, Debug)]
#[command(next_help_heading = RESULT)]
pub(crate) struct DeliveryArgs {
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Print only errors
    ///
    /// With --output json or --output kestra, the result is printed too.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Write more to the log: the settings in use, and each phase of each month
    ///
    /// The log then says which database and source are used, and for each month of a backfill how the rows reach
    /// the target and how long each phase takes. Passwords are left out.
    #[arg(long, short, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Format of the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", env = "TAXI_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Exit code if there was nothing to do, instead of 0
    ///
    /// It lets an orchestrator show the run as skipped: for example Airflow, with 99.
    #[arg(long, value_name = "CODE")]
    pub(crate) skip_exit_code: Option<u8>,
    /// Where orchestrators look for the result.
    #[command(flatten)]
    pub(crate) orchestrator: OrchestratorArgs,
}

/// Where orchestrators look for the result.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Orchestrators")]
pub(crate) struct OrchestratorArgs {
    /// Airflow directory for task results (XCom); skipped if it does not exist
    ///
    /// The command writes its result as JSON to return.json in this directory.
    #[arg(long, value_name = "DIR", env = "TAXI_XCOM_DIR", default_value = "/airflow/xcom")]
    pub(crate) xcom_dir: PathBuf,
    /// Kubernetes termination-message file; skipped if it does not exist
    #[arg(long, value_name = "FILE", env = "TAXI_TERMINATION_LOG", default_value = "/dev/termination-log")]
    pub(crate) termination_log: PathBuf,
}

/// How long a command waits for other runs and sessions.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LockArgs {
    /// Maximum time to wait for another run or for a locked table: 90, 90s, 5m
    ///
    /// A number without a unit is in seconds. After this time, the command ends with exit code 75.
    #[arg(long, value_name = "TIME", env = "TAXI_LOCK_TIMEOUT", default_value = values::DEFAULT_LOCK_TIMEOUT, value_parser = values::lock_timeout, help_heading = LOAD)]
    pub(crate) lock_timeout: Duration,
}

/// Where the commands of a flow's tasks run.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct RunnerArgs {
    /// Where the commands of tasks run, instead of where the flow says: "process" or "docker"
    ///
    /// With "process", all commands run as processes on this machine, also those that ask for a container. With
    /// "docker", all commands run in containers, except those of tasks with a Process task runner.
    #[arg(long, value_enum, value_name = "RUNNER", env = "TAXI_RUNNER")]
    pub(crate) runner: Option<RunnerChoice>,
}

/// A month, or all months of a year.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct YearArgs {
    /// Year, from 2009 to this year
    #[arg(long, value_parser = values::year)]
    pub(crate) year: u16,
    /// Month, 1 to 12 [default: all months of the year]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=12))]
    pub(crate) month: Option<u8>,
}

impl YearArgs {
    /// The months.
    pub(crate) fn months(&self) -> impl Iterator<Item = Month> {
        let numbers = self.month.map_or(1..=12, |month| month..=month);
        let year = self.year;
        numbers.filter_map(move |month| Month::new(year, month))
    }
}

/// What to do with the rows and columns of a file that differ from the published form.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Rows and columns")]
pub(crate) struct FileArgs {
    /// Maximum number of rows of a file to leave out because they do not fit the table
    ///
    /// The load stores these rows in the table taxi_etl.rejects. It fails at the first row above the maximum.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(reject::MAX_REJECTS)))]
    pub(crate) max_rejects: u32,
    /// Encoding of the text of CSV files
    ///
    /// Some files of for-hire vehicles have bytes that are not UTF-8. By default, such a row does not fit the table.
    #[arg(long, value_enum, default_value_t, value_name = "ENCODING")]
    pub(crate) encoding: Encoding,
    /// What to do with blank lines
    #[arg(long, value_enum, default_value_t, value_name = "ACTION")]
    pub(crate) blank_lines: BlankLines,
    /// What to do with columns of the file that the table does not have [default: refuse; columns that the agency added
    /// later are added to a table that taxi made, and left out of others]
    ///
    /// By default, a column without any values is left out, too.
    #[arg(long, value_enum, value_name = "ACTION")]
    pub(crate) new_columns: Option<NewColumns>,
    /// What to do with rows that repeat the row key of an earlier row of the file [default: keep-all, or fail if the
    /// table has a unique index of the key]
    #[arg(long, value_enum, value_name = "ACTION")]
    pub(crate) on_repeated_key: Option<OnRepeatedKey>,
}

/// Which database to use: one of the user's, or the embedded server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub(crate) struct DatabaseArgs {
    /// URL of an existing database to use instead of the embedded server
    ///
    /// The server must be PostgreSQL 15 or later. Without a URL, PGHOST, PGHOSTADDR or PGSERVICE can select a
    /// database too. Other users of the machine can read the command line: put a password into DATABASE_URL,
    /// PGPASSWORD or the file ~/.pgpass instead.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<DatabaseUrl>,
    /// Command that prints the database password, for tokens that expire
    ///
    /// The command is run without a shell, and the first line of its output is the password, which replaces any other.
    /// A password is used for at most a minute, and new sessions then run the command again. The option has no effect
    /// on the embedded server.
    #[arg(long, value_name = "COMMAND", env = "TAXI_PASSWORD_COMMAND", hide_env_values = true)]
    pub(crate) password_command: Option<PasswordCommand>,
    /// Maximum time that the database may be unresponsive: 90, 90s, 5m
    ///
    /// A number without a unit is in seconds. A statement may take longer, as long as the server accepts new
    /// sessions. The option has no effect on the embedded server.
    #[arg(long, value_name = "TIME", env = "TAXI_DATABASE_TIMEOUT", default_value = values::DEFAULT_IDLE_TIMEOUT, value_parser = values::idle_timeout)]
    pub(crate) database_timeout: Duration,
    /// Settings of the embedded server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// How a command prints its result.
#[derive(Args, Clone, Copy, Debug, Default)]
#[command(next_help_heading = RESULT)]
pub(crate) struct OutputArgs {
    /// Format of the result on stdout
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}
