//! `taxi backfill FLOW`: runs a flow for a range of a trigger's dates.

use std::path::Path;
use std::sync::Arc;

use jiff::{ToSpan as _, Zoned};
use serde::Serialize;

use super::settings;
use crate::cli::values::{First, Last};
use crate::cli::{BackfillArgs, FileArgs};
use crate::error::{Error, Kind, Result};
use crate::flow::context::databases::Databases;
use crate::flow::expression::dates;
use crate::flow::model::flow::Flow;
use crate::flow::run::{FlowSummary, Request, schedule};
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::month::calendar::Month;
use crate::month::options::IfLoaded;
use crate::orchestrator::array_job;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::failure::{self, Failure};
use crate::report::output::CommandOutput;
use crate::report::table;
use crate::secrets::Secrets;

#[derive(Serialize)]
struct Planned {
    status: &'static str,
    dates: Vec<String>,
}

/// The result of a backfill.
#[derive(Serialize)]
struct FlowBackfillSummary {
    status: RunStatus,
    runs: Vec<FlowSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Runs the flow for each date, or lists the dates in a dry run.
pub(crate) async fn run(
    args: &BackfillArgs,
    path: &Path,
    provisioner: Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CommandOutput> {
    let run = &args.run;
    if run.force || run.if_loaded != IfLoaded::default() || run.file != FileArgs::default() {
        let text = "--force, --if-loaded, --max-rejects, --blank-lines, --new-columns and --on-repeated-key cannot be \
                    combined with a flow: its tasks define what to load";
        return Err(Error::new(Kind::Usage, text));
    }
    let flow = Arc::new(Flow::read(path)?);
    let requests = requests(args, path, &flow, report.as_ref())?;
    if args.plan {
        let dates = requests.iter().filter_map(|request| request.trigger_date.as_ref()).map(dates::text);
        let planned = Planned { status: "planned", dates: dates.collect() };
        return CommandOutput::new(&planned, |planned| planned.dates.join("\n"));
    }
    let database = settings::database(&args.run.database)?;
    let databases = Databases::new(database, provisioner);
    let limit = flow.concurrency.as_ref().map_or(u32::MAX, |concurrency| concurrency.limit);
    let concurrency = usize::from(args.jobs).min(limit as usize);
    let results = schedule::run(requests, concurrency, args.fail_fast, &databases, interrupt, &report).await;
    summarize(results, interrupt.raised())
}

fn requests(args: &BackfillArgs, path: &Path, flow: &Arc<Flow>, report: &dyn Report) -> Result<Vec<Request>> {
    let usage = |text: String| Error::new(Kind::Usage, text);
    let id = args.trigger.as_deref().unwrap_or_default();
    let trigger = flow.trigger(id)?;
    if trigger.disabled {
        return Err(usage(format!("the trigger {id} is disabled")));
    }
    let zone = trigger.zone();
    let start_of = |month: Month| month.start().to_zoned(zone.clone()).map_err(|cause| cause.to_string());
    let start = match &args.from {
        First::Date(date) => date.start(&zone),
        First::Month(month) => start_of(*month),
    };
    let end = match &args.to {
        Last::Date(date) => date.end(&zone),
        Last::Month(month) => {
            start_of(*month).map(|start| start.saturating_add(1.month()).saturating_sub(1.nanosecond()))
        }
        Last::Latest => Ok(Zoned::now()),
    };
    let (start, end) = (start.map_err(usage)?, end.map_err(usage)?);
    if start > end {
        let text = format!("--from {} is after --to {}", dates::text(&start), dates::text(&end));
        return Err(
            Error::new(Kind::Usage, text).hint("set --from to the start of the range and --to to its end")
        );
    }
    let mut inputs: Vec<(String, String)> =
        trigger.inputs.0.iter().map(|(name, input)| (name.clone(), input.text.clone())).collect();
    if let Some(source) = &args.run.source {
        let has_source_input = flow.inputs.iter().any(|input| input.id.0 == "source");
        match has_source_input {
            true => {
                let source = settings::existing_source(Some(source))?;
                inputs.extend(source.map(|source| ("source".to_owned(), source.expose().to_owned())));
            }
            // the variable may be set for other commands
            false if std::env::var("TAXI_SOURCE").is_ok_and(|value| value == source.expose()) => {}
            false => {
                return Err(usage(
                    "--source cannot be combined with a flow that has no input `source`".to_owned(),
                ));
            }
        }
    }
    inputs.extend(args.inputs.iter().map(|pair| (pair.name.clone(), pair.value.clone())));
    let labels: Vec<(String, String)> =
        args.labels.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
    let request = |date: Zoned| Request {
        flow: Arc::clone(flow),
        path: path.to_owned(),
        inputs: inputs.clone(),
        labels: labels.clone(),
        trigger_date: Some(date),
        lock_timeout: args.run.lock.lock_timeout,
        retry_policy: settings::retry_policy(&args.run.retry),
        part_of: None,
        secrets: Secrets::from_environment(),
    };
    let dates = trigger.dates_from(&start).take_while(|date| *date <= end);
    let requests: Vec<Request> = dates.map(request).collect();
    if requests.is_empty() {
        return Err(usage(format!(
            "the trigger {id} has no dates from {} to {}",
            dates::text(&start),
            dates::text(&end)
        )));
    }
    array_job::select(args.index, requests, "date", report)
}

fn summarize(results: Vec<(FlowSummary, Option<Error>)>, raised: Option<Error>) -> Result<CommandOutput> {
    let count = results.len();
    let (runs, errors): (Vec<FlowSummary>, Vec<Option<Error>>) = results.into_iter().unzip();
    let failed: Vec<(&str, Error)> = std::iter::zip(&runs, errors)
        .filter_map(|(run, error)| Some((run.trigger_date.as_deref().unwrap_or_default(), error?)))
        .collect();
    let status = match (&raised, failed.is_empty()) {
        (Some(_), _) => RunStatus::Cancelled,
        (None, false) => RunStatus::Failed,
        (None, true) if runs.iter().any(|run| run.status == RunStatus::Warning) => RunStatus::Warning,
        (None, true) => RunStatus::Succeeded,
    };
    let error =
        raised.or_else(|| (!failed.is_empty()).then(|| failure::of_several(&failed, count, "dates failed")));
    let summary = FlowBackfillSummary { status, runs, error: error.as_ref().map(Failure::of) };
    let loads = summary.runs.iter().flat_map(|run| run.loads.clone()).collect();
    Ok(CommandOutput::new(&summary, text)?.with_error(error).with_files(loads))
}

fn text(summary: &FlowBackfillSummary) -> String {
    let rows = summary.runs.iter().map(|run| {
        [
            run.trigger_date.clone().unwrap_or_default(),
            run.status.name().to_owned(),
            run.run_id.map(|id| id.to_string()).unwrap_or_default(),
            format!("{:.1}", run.seconds),
        ]
    });
    table::text(Some(["date", "", "run", "seconds"]), rows, &[3])
}
