//! The subcommands. Each one resolves its settings, calls the stages and returns the command output.

mod backfill;
mod backup;
mod doctor;
mod drift;
mod drop;
mod flows;
mod follow;
mod inputs_file;
mod load;
mod logs;
mod manual;
mod prune;
mod psql;
mod restore;
mod run;
mod runs;
mod schedule;
mod server;
mod settings;
mod single_file;
mod target;
mod test;
mod upgrade;
mod verify;
mod zones;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use crate::cli::{Cli, Command};
use crate::error::{Error, Kind};
use crate::http::SourceUrl;
use crate::interrupt::Interrupt;
use crate::orchestrator::Delivery;
use crate::provision::Provisioner;
use crate::provision::binaries::Choice;
use crate::provision::download::RELEASES;
use crate::report::output::CommandOutput;
use crate::report::{LogDetail, Report};

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
    let report = delivery.report();
    let on_screen = Arc::clone(&report);
    let interrupt = Interrupt::listen(move || on_screen.clear())?;
    let is_cancellable = matches!(
        cli.command,
        Command::Load(_)
            | Command::Backfill(_)
            | Command::Zones(_)
            | Command::Run(_)
            | Command::Test(_)
            | Command::Upgrade(_)
    );
    // in boxes here and in `month::run`: the compiler limits how deep the types of futures may nest
    let command = execute(cli.command, delivery, &interrupt, &report).boxed_local();
    let result = match is_cancellable {
        true => tokio::select! {
            // first: a command that ends because of the signal must not end before the user is told
            biased;
            never = interrupt.announce(report.as_ref()) => match never {},
            result = command => result,
        },
        false => command.await,
    };
    report.clear();
    result
}

async fn execute(
    command: Command,
    delivery: &Delivery,
    interrupt: &Interrupt,
    report: &Arc<dyn Report>,
) -> Result<CommandOutput, Error> {
    let provisioner = provisioner(&command);
    if delivery.detail() == LogDetail::Phases {
        settings::describe(&command, &provisioner)?.iter().for_each(|line| report.notice(line));
    }
    let (report, report_ref) = (Arc::clone(report), report.as_ref());
    match command {
        Command::Load(args) => load::run(args, &provisioner, interrupt, report).await,
        Command::Backfill(args) => match &args.flow {
            Some(path) => schedule::run(&args, path, provisioner, interrupt, report).await,
            None => backfill::run(args, &provisioner, interrupt, report).await,
        },
        Command::Zones(args) => zones::run(args, &provisioner, interrupt, report).boxed_local().await,
        Command::Drift(args) => drift::run(args, interrupt, &report).await,
        Command::Run(args) if args.dry_run => run::dry_run(&args),
        Command::Run(args) => run::run(args, provisioner, interrupt, report).await,
        Command::Test(args) => test::run(&args, &provisioner, interrupt, report).boxed_local().await,
        Command::Validate(args) => flows::validate(&args),
        Command::Show(args) => flows::show(&args),
        Command::Triggers(args) => flows::triggers(&args),
        Command::Schema(args) => flows::json_schema(&args),
        Command::Runs(args) => interrupt.or(runs::run(args, &provisioner, report_ref)).await,
        Command::Verify(args) => interrupt.or(verify::run(args, &provisioner, report_ref)).await,
        Command::Doctor(args) => interrupt.or(doctor::run(args, &provisioner)).await,
        Command::Up(_) => interrupt.or(server::up(&provisioner, report_ref)).await,
        Command::Status(_) => interrupt.or(server::status(&provisioner)).await,
        Command::Down(args) => interrupt.or(server::down(&args, &provisioner, report_ref)).await,
        Command::Upgrade(args) => upgrade::run(&args, &provisioner, interrupt, report_ref).await,
        Command::Logs(args) => logs::run(&args, &provisioner, interrupt).await,
        Command::Psql(args) => interrupt.or(psql::run(&args.args, &provisioner, report_ref)).await,
        Command::Drop(args) => drop::run(&args, &provisioner, interrupt, report).await,
        Command::Backup(args) => backup::run(&args, &provisioner, interrupt, report_ref).boxed_local().await,
        Command::Restore(args) => {
            restore::run(&args, &provisioner, interrupt, report_ref).boxed_local().await
        }
        Command::Completions { shell } => Ok(manual::completions(shell)),
        Command::Man(args) => manual::man(&args),
    }
}

/// The embedded server with the command's settings. Commands that never start it only know where it is.
fn provisioner(command: &Command) -> Provisioner {
    let server = match command {
        Command::Load(args) => Some(&args.run.database.server),
        Command::Backfill(args) => Some(&args.run.database.server),
        Command::Zones(args) => Some(&args.database.server),
        Command::Run(args) => Some(&args.database.server),
        Command::Test(args) => Some(&args.database.server),
        Command::Runs(args) => Some(&args.database().server),
        Command::Verify(args) => Some(&args.database.server),
        Command::Doctor(args) => Some(&args.database.server),
        Command::Up(args) => Some(&args.server),
        Command::Upgrade(args) => Some(&args.server),
        Command::Psql(args) => Some(&args.server),
        Command::Drop(args) => Some(&args.database.server),
        Command::Backup(args) => Some(&args.database.server),
        Command::Restore(args) => Some(&args.database.server),
        _ => None,
    };
    let home = match command {
        Command::Status(args) => args.home.home.clone(),
        Command::Down(args) => args.home.home.clone(),
        Command::Logs(args) => args.home.home.clone(),
        _ => server.and_then(|server| server.home.home.clone()),
    };
    Provisioner {
        home: home.filter(|home| !home.as_os_str().is_empty()),
        binaries: server.map_or(Choice::Search, |server| server.postgres_bin.clone()),
        mirror: server.map_or_else(|| SourceUrl::new(RELEASES), |server| server.postgres_mirror.clone()),
    }
}
