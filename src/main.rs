//! `taxi`: parse, run, print the error, end with its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use taxi_etl::cli::Cli;
use taxi_etl::error::{Error, Kind, Result};
use taxi_etl::{commands, report};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Kind::Usage.exit_code() } else { 0 };
            let _ = error.print();
            return code.into();
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "{}", report::failure::text(&error));
            error.kind().exit_code().into()
        }
    }
}

/// Two threads besides the one that decompresses: one for the rows, one for the connections.
fn run(cli: Cli) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|cause| Error::new(Kind::Io, "cannot start the runtime").because(cause))?
        .block_on(commands::run(cli))
}
