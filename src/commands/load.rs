//! `taxi load`: loads one month with the built-in pipeline.

use std::sync::Arc;

use super::{settings, target};
use crate::cli::LoadArgs;
use crate::cli::values::MonthOfYear;
use crate::error::{Error, Kind, Result};
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::http::SourceUrl;
use crate::interrupt::Interrupt;
use crate::month::calendar::Month;
use crate::month::plan::Plan;
use crate::month::run::MonthRun;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::CommandOutput;
use crate::report::summary::FileSummary;

/// The built-in pipeline that loads one month.
pub(crate) const PIPELINE: &str = "postgres_taxi";

/// Plans the load, connects, runs the plan and returns the summary.
pub(crate) async fn run(
    args: LoadArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CommandOutput> {
    let options = settings::options(&args.run)?;
    let source = settings::source_base(args.run.source.as_ref())?;
    let plan =
        plan(&Flow::builtin(PIPELINE)?, &args.taxi, month(&args)?, source.as_ref(), args.run.max_rejects)?;
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

/// The plan for a month of a taxi type.
pub(crate) fn plan(
    flow: &Flow,
    taxi: &str,
    month: Month,
    source: Option<&SourceUrl>,
    max_rejects: u32,
) -> Result<Plan> {
    let mut inputs = vec![
        ("taxi".to_owned(), taxi.to_owned()),
        ("year".to_owned(), month.year()),
        ("month".to_owned(), month.month()),
        ("max_rejects".to_owned(), max_rejects.to_string()),
    ];
    inputs.extend(source.map(|base| ("source".to_owned(), base.expose().to_owned())));
    plan::plan(flow, &inputs)
}

fn month(args: &LoadArgs) -> Result<Month> {
    let refuse = |text: &str| Error::new(Kind::Usage, text);
    match (args.month, args.year) {
        (MonthOfYear::Previous, None) => Ok(Month::previous()),
        (MonthOfYear::Previous, Some(_)) => {
            Err(refuse("--year cannot be combined with --month previous, which sets the year"))
        }
        (MonthOfYear::Number(_), None) => Err(refuse("--month needs --year")),
        (MonthOfYear::Number(month), Some(year)) => {
            Month::new(year, month).ok_or_else(|| refuse("this year does not exist"))
        }
    }
}
