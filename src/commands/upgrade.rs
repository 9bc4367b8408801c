//! `taxi upgrade`: moves the embedded server to a newer major version of PostgreSQL.

use indicatif::HumanCount;

use super::server;
use crate::cli::UpgradeArgs;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::provision::Provisioner;
use crate::provision::upgrade::Upgraded;
use crate::report::Report;
use crate::report::output::CommandOutput;

/// Upgrades the server, unless runs use it.
pub(crate) async fn run(
    args: &UpgradeArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: &dyn Report,
) -> Result<CommandOutput> {
    interrupt.or(server::refuse_runs(provisioner)).await?;
    CommandOutput::new(&provisioner.upgrade(args.to, interrupt, report).await?, text)
}

fn text(upgraded: &Upgraded) -> String {
    let Upgraded { from, to, tables, rows, old_data_dir, server } = upgraded;
    let server = server::text(server);
    match old_data_dir {
        None => format!("nothing to do: the data directory has version {to}\n{server}"),
        Some(kept) => format!(
            "upgraded from PostgreSQL {from} to {to}: {tables} tables have the same {} rows\n\
             the old data directory is kept: remove {} when you no longer need it\n{server}",
            HumanCount(*rows),
            kept.display()
        ),
    }
}
