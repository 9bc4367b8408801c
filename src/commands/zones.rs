//! `taxi zones`: loads the lookup table of the taxi zones.

use std::sync::Arc;

use super::{settings, target};
use crate::cli::ZonesArgs;
use crate::error::Result;
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::interrupt::Interrupt;
use crate::month::options::Options;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::CommandOutput;
use crate::report::summary::FileSummary;

/// Loads the table, unless it is loaded and has not changed.
pub(crate) async fn run(
    args: ZonesArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CommandOutput> {
    let flow = Flow::builtin(plan::ZONES)?;
    let source = settings::existing_source(&flow, args.source.source.as_ref())?;
    let lookup = plan::of_lookup(&flow, source)?;
    let options = Options {
        force: args.force,
        lock_timeout: args.lock.lock_timeout,
        retry_policy: settings::retry_policy(&args.retry),
        ..Options::default()
    };
    let database = settings::database(&args.database)?;
    let (_, sessions) = interrupt.or(target::open(database, provisioner, report.as_ref())).await?;
    let (summary, error) = lookup.load(sessions, &options, interrupt, report, |_| ()).await;
    let text = |summary: &FileSummary| if error.is_none() { summary.text() } else { String::new() };
    Ok(CommandOutput::new(&summary, text)?.with_error(error).with_files(vec![summary]))
}
