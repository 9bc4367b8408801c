//! `taxi load`: loads one month with the built-in pipeline.

use std::sync::Arc;

use super::{settings, target};
use crate::cli::LoadArgs;
use crate::cli::values::MonthOfYear;
use crate::error::{Error, Kind, Result};
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::interrupt::Interrupt;
use crate::month::calendar::Month;
use crate::month::run::MonthRun;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::CommandOutput;
use crate::report::summary::FileSummary;

/// Plans the load, connects, runs the plan and returns the summary.
pub(crate) async fn run(
    args: LoadArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CommandOutput> {
    let options = settings::options(&args.run)?;
    let source = settings::existing_source(args.run.source.as_ref())?;
    let flow = Flow::builtin(plan::PIPELINE)?;
    let plan = plan::of_month(&flow, &args.taxi, month(&args)?, source.as_ref(), args.run.file.max_rejects)?;
    let database = settings::database(&args.run.database)?;
    let mut run = MonthRun::new(plan, options, false, report);
    let connected =
        run.connect(async |report| interrupt.or(target::open(database, provisioner, report)).await).await;
    let (summary, error) = match connected {
        Ok((_, sessions)) => {
            let (summary, error, _) = run.finish(sessions, interrupt).await;
            (summary, error)
        }
        Err(error) => run.fail(error),
    };
    let text = |summary: &FileSummary| if error.is_none() { summary.text() } else { String::new() };
    Ok(CommandOutput::new(&summary, text)?.with_error(error).with_files(vec![summary]))
}

fn month(args: &LoadArgs) -> Result<Month> {
    let refuse = |text: &str| Error::new(Kind::Usage, text);
    match (args.month, args.year) {
        (MonthOfYear::Previous, None) => Ok(Month::previous()),
        (MonthOfYear::Previous, Some(_)) => {
            Err(refuse("--year cannot be combined with --month previous, which sets the year"))
        }
        (MonthOfYear::Number(_), None) => Err(refuse("--month requires --year")),
        (MonthOfYear::Number(month), Some(year)) => {
            Month::new(year, month).ok_or_else(|| refuse("the month does not exist"))
        }
    }
}
