//! The command line: types only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::error::Kind;
use crate::provision::binaries::Choice;
use crate::provision::download::RELEASES;
use crate::report::output::Output;

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
    /// The year
    #[arg(long)]
    pub year: u16,
    /// The month, 1 to 12
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=12))]
    pub month: u8,
    /// Directory or address that holds yellow/ and green/ [default: the course's release address]
    #[arg(long, value_name = "DIR|URL", env = "TAXI_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// An existing database instead of the embedded server
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Load even what the ledger says is loaded (every load does so far; the ledger keeps that it was asked for)
    #[arg(long)]
    pub force: bool,
    /// How to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How a command prints its result.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// How to print the result on stdout
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

fn exit_codes() -> String {
    let line = |kind: &Kind| format!("  {:>2}  {}", kind.exit_code(), kind.meaning());
    let lines: Vec<String> = Kind::ALL.iter().map(line).collect();
    format!("Exit codes:\n   0  done\n{}", lines.join("\n"))
}
