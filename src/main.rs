//! `taxi`: parses the arguments, runs the command, prints an error, and returns the exit code.

// the futures of all commands nest within one another, and the compiler computes their layout in one query
#![recursion_limit = "256"]

use std::ffi::OsString;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use taxi_etl::cli::{Cli, usage};
use taxi_etl::error::{Error, Kind};
use taxi_etl::{commands, report};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::read(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage::report(error, &arguments).into(),
    };
    // tokio panics if the system gives it no threads
    std::panic::catch_unwind(AssertUnwindSafe(|| run(cli)))
        .unwrap_or_else(|_panic| Kind::Internal.exit_code().into())
}

fn run(cli: Cli) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(commands::run(cli));
            // do not wait for a thread that is blocked on an idle source
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
