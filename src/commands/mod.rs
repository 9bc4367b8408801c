//! The subcommands. Each one resolves its settings, calls the stages and returns the command output.

mod backfill;
mod doctor;
mod flows;
mod load;
mod psql;
mod run;
mod runs;
mod schedule;
mod server;
mod settings;
mod target;
mod verify;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::cli::{Cli, Command, ServerArgs};
use crate::error::{Error, Kind};
use crate::interrupt::Interrupt;
use crate::orchestrator::Delivery;
use crate::provision::Provisioner;
use crate::report::output::CommandOutput;

/// Runs the command, prints its output and returns the exit code.
pub async fn run(cli: Cli) -> u8 {
    let mut delivery = Delivery::new(&cli.command);
    let result = match delivery.open() {
        // the panic prints its own message, with its place; the result says so in the format that was asked for
        Ok(()) => AssertUnwindSafe(dispatch(cli, &delivery)).catch_unwind().await.unwrap_or_else(|_panic| {
            Err(Error::new(
                Kind::Internal,
                "taxi panicked, which is a bug: the message of the panic is above",
            ))
        }),
        Err(error) => Err(error),
    };
    delivery.deliver(result.unwrap_or_else(CommandOutput::failed))
}

async fn dispatch(cli: Cli, delivery: &Delivery) -> Result<CommandOutput, Error> {
    let provisioner = provisioner(cli.server);
    let report = delivery.report();
    let interrupt = Interrupt::listen()?;
    let report_ref = report.as_ref();
    match cli.command {
        Command::Load(args) => load::run(args, &provisioner, &interrupt, report).await,
        Command::Backfill(args) => match &args.flow {
            Some(path) => schedule::run(&args, path, provisioner, &interrupt, report).await,
            None => backfill::run(args, &provisioner, &interrupt, report).await,
        },
        Command::Run(args) => run::run(args, provisioner, &interrupt, report).await,
        Command::Validate(args) => flows::validate(&args.flows),
        Command::Show(args) => flows::show(&args),
        Command::Triggers(args) => flows::triggers(&args),
        Command::Schema(_) => flows::json_schema(),
        Command::Runs(args) => interrupt.or(runs::run(args, &provisioner, report_ref)).await,
        Command::Verify(args) => interrupt.or(verify::run(args, &provisioner, report_ref)).await,
        Command::Doctor(args) => interrupt.or(doctor::run(args, &provisioner)).await,
        Command::Up(_) => interrupt.or(server::up(&provisioner, report_ref)).await,
        Command::Status(_) => interrupt.or(server::status(&provisioner)).await,
        Command::Down(_) => interrupt.or(server::down(&provisioner, report_ref)).await,
        Command::Psql { args } => interrupt.or(psql::run(&args, &provisioner, report_ref)).await,
    }
}

fn provisioner(args: ServerArgs) -> Provisioner {
    Provisioner {
        home: args.home.filter(|home| !home.as_os_str().is_empty()),
        binaries: args.postgres_bin,
        mirror: args.postgres_mirror,
    }
}
