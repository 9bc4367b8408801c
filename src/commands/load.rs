//! `taxi load`: loads one month with the built-in pipeline.

use std::sync::Arc;

use super::{settings, single_file, target};
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
    let flow = Flow::builtin(plan::PIPELINE)?;
    let max_rejects = args.run.file.max_rejects;
    let plan = match &args.file {
        Some(file) => {
            let (taxi, month) = single_file::recognize(&flow, file, &args)?;
            plan::of_month(&flow, &taxi, month, Some(file), max_rejects)?
        }
        None => {
            let source = settings::existing_source(&flow, args.run.source.source.as_ref())?;
            let taxi = args.taxi.as_deref().unwrap_or_default();
            let month = given_month(&args)?.ok_or_else(|| Error::new(Kind::Usage, "--month is missing"))?;
            plan::of_month(&flow, taxi, month, source, max_rejects)?
        }
    };
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

/// The month of `--year` and `--month`; `None` if neither is given.
pub(super) fn given_month(args: &LoadArgs) -> Result<Option<Month>> {
    let refuse = |text: &str| Err(Error::new(Kind::Usage, text));
    match (args.month, args.year) {
        (None, None) => Ok(None),
        (None, Some(_)) => refuse("--year requires --month"),
        (Some(MonthOfYear::Previous), None) => Ok(Some(Month::previous())),
        (Some(MonthOfYear::Previous), Some(_)) => {
            refuse("--year cannot be combined with --month previous, which sets the year")
        }
        (Some(MonthOfYear::Number(_)), None) => refuse("--month requires --year"),
        (Some(MonthOfYear::Number(month)), Some(year)) => match Month::new(year, month) {
            Some(month) => Ok(Some(month)),
            None => refuse("the month does not exist"),
        },
    }
}
