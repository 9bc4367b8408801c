//! `taxi`: parse, run, print the error, end with its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use taxi_etl::cli::Cli;
use taxi_etl::error::{Error, Kind};
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
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(commands::run(cli));
            // a thread that waits for a silent source is not waited for
            runtime.shutdown_background();
            code.into()
        }
        Err(cause) => {
            let error = Error::new(Kind::Io, "cannot start the runtime").because(cause);
            let _ = writeln!(anstream::stderr(), "{}", report::failure::text(&error));
            error.kind().exit_code().into()
        }
    }
}
