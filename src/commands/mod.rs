//! The subcommands: settings resolved, the stages called, the result printed.

mod load;
mod psql;
mod server;

use crate::cli::{Cli, Command, ServerArgs};
use crate::error::Result;
use crate::provision::Provisioner;
use crate::report;

/// Runs the command.
pub async fn run(cli: Cli) -> Result<()> {
    let provisioner = provisioner(cli.server);
    let report = report::for_stderr();
    let report = report.as_ref();
    match cli.command {
        Command::Load(args) => load::run(args, &provisioner, report).await,
        Command::Up(args) => server::up(&provisioner, args.output, report).await,
        Command::Status(args) => server::status(&provisioner, args.output).await,
        Command::Down(args) => server::down(&provisioner, args.output, report).await,
        Command::Psql { args } => psql::run(&args, &provisioner, report).await,
    }
}

fn provisioner(args: ServerArgs) -> Provisioner {
    Provisioner {
        home: args.home.filter(|home| !home.as_os_str().is_empty()),
        binaries: args.postgres_bin,
        mirror: args.postgres_mirror,
    }
}
