//! `taxi`: parses the arguments, runs the command, prints an error, and returns the exit code.

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::Parser as _;
use taxi_etl::cli::Cli;
use taxi_etl::error::{Error, Kind};
use taxi_etl::report::output::CommandOutput;
use taxi_etl::{commands, report};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { report_usage_error(&error) } else { 0 }.into();
        }
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

/// Returns the exit code of a usage error. Although the arguments could not be parsed, `--output json` is
/// recognized: then the error is also printed as JSON.
fn report_usage_error(error: &clap::Error) -> u8 {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.windows(2).any(|pair| pair == ["--output", "json"])
        || arguments.iter().any(|argument| argument == "--output=json");
    let text = error.to_string();
    let error = Error::new(Kind::Usage, text.lines().next().unwrap_or_default());
    if json {
        // if stdout is closed, the exit code still reports the error
        let _ = report::output::write_line(&CommandOutput::failed(error).json);
    }
    Kind::Usage.exit_code()
}
