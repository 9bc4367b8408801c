//! `taxi backfill FLOW`: runs a flow for a range of a trigger's dates.

use std::path::Path;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _, Zoned};
use serde::Serialize;

use super::{inputs_file, settings};
use crate::cli::values::{First, Last};
use crate::cli::{BackfillArgs, FileArgs};
use crate::database::session;
use crate::error::{Error, Kind, Result};
use crate::flow::context::databases::Databases;
use crate::flow::context::runners::Runners;
use crate::flow::expression::dates;
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::flow::run::presets::Presets;
use crate::flow::run::{FlowSummary, Request, replay, schedule};
use crate::http::SourceUrl;
use crate::interrupt::Interrupt;
use crate::ledger::run::recorded_inputs;
use crate::ledger::{RunStatus, history};
use crate::month::calendar::Month;
use crate::month::options::IfLoaded;
use crate::orchestrator::array_job;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::failure::{self, Failure};
use crate::report::output::CommandOutput;
use crate::report::table;
use crate::secrets::Secrets;

/// The result of a backfill of missing dates that has no date to run.
const NOTHING_MISSING: &str = "every date has a successful run";

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
    flow.note_lines().for_each(|note| report.notice(&note));
    let mut requests = requests(args, path, &flow, report.as_ref())?;
    let databases = Databases::new(settings::database(&args.run.database)?, provisioner);
    if args.missing {
        let missing = missing(requests, &databases, report.as_ref());
        requests = interrupt.or(missing).await?;
    }
    if args.plan {
        let dates = requests.iter().filter_map(|request| request.trigger_date.as_ref()).map(dates::text);
        let planned = Planned { status: "planned", dates: dates.collect() };
        return CommandOutput::new(&planned, |planned| match planned.dates.is_empty() {
            true => NOTHING_MISSING.to_owned(),
            false => planned.dates.join("\n"),
        });
    }
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
    let mut inputs: Vec<(String, String)> = Vec::new();
    if let Some(source) = &args.run.source.source {
        let has_source_input = flow.inputs.iter().any(|input| input.id.0 == "source");
        match has_source_input {
            true => {
                let builtin = Flow::builtin(plan::PIPELINE)?;
                let source = settings::existing_source(&builtin, Some(source))?;
                // the flow appends its own paths
                let base = |source: &SourceUrl| source.expose().trim_end_matches('/').to_owned();
                inputs.extend(source.map(|source| ("source".to_owned(), base(source))));
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
    inputs.extend(inputs_file::read(args.inputs_file.as_deref())?);
    inputs.extend(args.inputs.iter().map(|pair| (pair.name.clone(), pair.value.clone())));
    let labels: Vec<(String, String)> =
        args.labels.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
    let runners = Runners::new(args.runner.runner);
    let request = |date: Zoned| {
        let secrets = Secrets::from_environment();
        let own = flow.trigger_inputs(trigger, &date, &secrets)?;
        Ok(Request {
            flow: Arc::clone(flow),
            path: path.to_owned(),
            inputs: own.into_iter().chain(inputs.clone()).collect(),
            labels: trigger.labels_for(&date).into_iter().chain(labels.clone()).collect(),
            trigger: args.trigger.clone(),
            trigger_date: Some(date),
            lock_timeout: args.run.lock.lock_timeout,
            retry_policy: settings::retry_policy(&args.run.retry),
            runners: Arc::clone(&runners),
            part_of: None,
            secrets,
            presets: Presets::default(),
        })
    };
    let dates = trigger.dates_from(&start).take_while(|date| *date <= end);
    let requests = dates.map(request).collect::<Result<Vec<Request>>>()?;
    if requests.is_empty() {
        return Err(usage(format!(
            "the trigger {id} has no dates from {} to {}",
            dates::text(&start),
            dates::text(&end)
        )));
    }
    array_job::select(args.index, requests, "date", report)
}

/// Keeps the requests for dates that have no successful run with the same inputs in the run history.
async fn missing(requests: Vec<Request>, databases: &Databases, report: &dyn Report) -> Result<Vec<Request>> {
    let Some(first) = requests.first() else { return Ok(requests) };
    let (settings, mut client) = replay::open_history(first, databases, report).await?;
    let date = |request: &Request| request.trigger_date.as_ref().map(Zoned::timestamp);
    let (flow, trigger) = (first.flow.name(), first.trigger.clone().unwrap_or_default());
    let mut missing = Vec::new();
    // the inputs of a trigger may depend on the date
    for requests in requests.chunk_by(|one, next| one.inputs == next.inputs) {
        let Some(first) = requests.first() else { continue };
        let inputs = recorded_inputs(&first.inputs, &first.secrets);
        let dates: Vec<Timestamp> = requests.iter().filter_map(date).collect();
        let successful = history::successful_dates(&mut client, &flow, &trigger, &dates, inputs);
        let successful = session::while_answering(&settings, successful).await?;
        let is_missing = |request: &&Request| date(request).is_none_or(|date| !successful.contains(&date));
        missing.extend(requests.iter().filter(is_missing).cloned());
    }
    Ok(missing)
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
        (None, true) if runs.is_empty() => RunStatus::Skipped,
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
    if summary.runs.is_empty() {
        return NOTHING_MISSING.to_owned();
    }
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
