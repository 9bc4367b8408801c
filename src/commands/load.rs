//! `taxi load`: loads one month with the built-in pipeline.

use std::sync::Arc;

use super::target;
use crate::cli::LoadArgs;
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::pipeline::flow::Flow;
use crate::pipeline::months::{Month, MonthOfYear};
use crate::pipeline::plan::Plan;
use crate::pipeline::run::Load;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::End;
use crate::report::summary::Summary;

/// The built-in pipeline that loads one month.
pub const PIPELINE: &str = "postgres_taxi";

/// Plans the load, connects, runs the plan and returns the summary.
pub async fn run(
    args: LoadArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<End> {
    let options = config::options(&args.run)?;
    let source = config::source_base(args.run.source.as_deref())?;
    let plan =
        plan(&Flow::builtin(PIPELINE)?, &args.taxi, month(&args)?, source.as_deref(), args.run.max_rejects)?;
    let database = config::database(&args.run.database)?;
    let mut load = Load::new(plan, options, false, report);
    let connected =
        load.connect(async |report| interrupt.or(target::open(database, provisioner, report)).await).await;
    let (summary, error) = match connected {
        Ok((_, sessions)) => {
            let (summary, error, _) = load.finish(sessions, interrupt).await;
            (summary, error)
        }
        Err(error) => load.fail(error),
    };
    let text = |summary: &Summary| if error.is_none() { summary.text() } else { String::new() };
    Ok(End::new(&summary, text)?.with_error(error).with_files(vec![summary]))
}

/// The plan for a month of a taxi type.
pub fn plan(flow: &Flow, taxi: &str, month: Month, source: Option<&str>, max_rejects: u32) -> Result<Plan> {
    let mut inputs = vec![
        ("taxi".to_owned(), taxi.to_owned()),
        ("year".to_owned(), month.year()),
        ("month".to_owned(), month.month()),
        ("max_rejects".to_owned(), max_rejects.to_string()),
    ];
    inputs.extend(source.map(|base| ("source".to_owned(), base.to_owned())));
    Plan::new(flow, &inputs)
}

fn month(args: &LoadArgs) -> Result<Month> {
    let refuse = |text: &str| Error::new(Kind::Usage, text);
    match (args.month, args.year) {
        (MonthOfYear::Previous, None) => Ok(Month::previous()),
        (MonthOfYear::Previous, Some(_)) => {
            Err(refuse("--month previous says the year itself: leave --year away"))
        }
        (MonthOfYear::Number(_), None) => Err(refuse("--month needs --year")),
        (MonthOfYear::Number(month), Some(year)) => {
            Month::new(year, month).ok_or_else(|| refuse("there is no such year"))
        }
    }
}
