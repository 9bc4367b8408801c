//! The arguments of the commands that start or stop the embedded server or use it directly, and those of `taxi man`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::options::{HomeArgs, OutputArgs, ServerArgs};

/// Arguments of `taxi up`.
#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Settings of the embedded server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Arguments of `taxi status`.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Where the embedded server is.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// Arguments of `taxi down`.
#[derive(Args, Debug)]
pub(crate) struct DownArgs {
    /// Stop the server even if loads or flows run, which then fail
    #[arg(long)]
    pub(crate) force: bool,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Where the embedded server is.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// Arguments of `taxi upgrade`.
#[derive(Args, Debug)]
pub(crate) struct UpgradeArgs {
    /// Major version to upgrade to, like 18 [default: the newest that is installed]
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<u32>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Settings of the embedded server. The binaries are those of the new version.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Arguments of `taxi logs`.
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Continue to print what the server writes, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Number of lines to print from the end of the log
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) lines: u64,
    /// Where the embedded server is.
    #[command(flatten)]
    pub(crate) home: HomeArgs,
}

/// Arguments of `taxi psql`.
#[derive(Args, Debug)]
pub(crate) struct PsqlArgs {
    /// Arguments for psql
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<OsString>,
    /// Settings of the embedded server.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Arguments of `taxi man`.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Command whose page to print, like "load" or "runs show" [default: taxi itself]
    pub(crate) command: Vec<String>,
    /// Directory to write all pages to, which is created if it does not exist
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}
