//! `taxi backfill`: loads the missing files of a range of months.

use std::sync::Arc;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{settings, target};
use crate::cli::BackfillArgs;
use crate::cli::values::{self, First, Last};
use crate::database::session;
use crate::error::{Error, Kind, Result};
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::interrupt::Interrupt;
use crate::month::backfill::{Backfill, PlanResult};
use crate::month::calendar::Month;
use crate::month::decision::{Action, Preview};
use crate::month::options::Options;
use crate::month::plan::Plan;
use crate::orchestrator::array_job;
use crate::provision::{Provisioner, ServerState};
use crate::report::Report;
use crate::report::failure::{self, Failure};
use crate::report::output::CommandOutput;
use crate::report::summary::{FileSummary, Outcome};
use crate::report::table;

/// Loads the range, or prints the planned actions.
pub(crate) async fn run(
    args: BackfillArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CommandOutput> {
    // the variable may be set for flows
    if args.runner.runner.is_some() && std::env::var_os("TAXI_RUNNER").is_none() {
        return Err(Error::new(Kind::Usage, "--runner applies only to the tasks of a flow"));
    }
    let options = settings::options(&args.run)?;
    let plans = plans(&args, report.as_ref())?;
    let database = settings::database(&args.run.database)?;
    if args.plan {
        let may_connect = database.is_some() || provisioner.status().await?.state != ServerState::Stopped;
        if !may_connect {
            return Err(Error::new(
                Kind::Configuration,
                "a dry run needs the ledger, but the embedded server is stopped",
            )
            .hint("start the server with 'taxi up'; a dry run does not start it"));
        }
        let client = target::open_read_only(database, provisioner, report.as_ref());
        return match interrupt.or(client).await? {
            Some((settings, client)) => {
                let planned = preview(plans, Some(&client), &options, &report);
                interrupt.or(session::while_answering(&settings, planned)).await
            }
            None => interrupt.or(preview(plans, None, &options, &report)).await,
        };
    }
    let opened = target::open(database, provisioner, report.as_ref());
    let (settings, sessions) = interrupt.or(opened).await?;
    let to_latest = args.to == Last::Latest;
    let backfill =
        Backfill { settings, options, jobs: args.jobs.into(), fail_fast: args.fail_fast, to_latest };
    let results = backfill.run(plans, sessions, interrupt, report).await?;
    summarize(results, to_latest, interrupt.raised())
}

/// The plans of the range, one taxi type after the other.
fn plans(args: &BackfillArgs, report: &dyn Report) -> Result<Vec<Plan>> {
    let flow = Flow::builtin(plan::PIPELINE)?;
    let (first, last) = range(&args.from, &args.to)?;
    let source = settings::existing_source(&flow, args.run.source.source.as_ref())?;
    let plan = |taxi: &str| {
        let months = first.to(last);
        months
            .map(|month| plan::of_month(&flow, taxi, month, source, args.run.file.max_rejects))
            .collect::<Result<Vec<_>>>()
    };
    let mut plans = Vec::new();
    for taxi in flow.selected_types(&args.taxi) {
        plans.extend(plan(taxi)?);
    }
    array_job::select(args.index, plans, "month", report)
}

/// The first and the last month of `--from` and `--to`.
pub(super) fn range(from: &First, to: &Last) -> Result<(Month, Month)> {
    let not_months = || Error::new(Kind::Usage, "--from and --to must be months like 2021-01, not dates");
    let check = |month| values::check_month(month).map_err(|text| Error::new(Kind::Usage, text));
    let First::Month(first) = *from else { return Err(not_months()) };
    let last = match *to {
        Last::Month(month) => month,
        Last::Latest => Month::previous(),
        Last::Date(_) => return Err(not_months()),
    };
    if first > last {
        let text = format!("--from {first} is after --to {last}: the range contains no months");
        return Err(
            Error::new(Kind::Usage, text).hint("set --from to the first month and --to to the last month")
        );
    }
    check(first)?;
    check(last)?;
    Ok((first, last))
}

/// The result of a backfill.
#[derive(Serialize)]
struct BackfillSummary {
    status: Outcome,
    files_loaded: usize,
    files_skipped: usize,
    files_not_published: usize,
    files_failed: usize,
    files_cancelled: usize,
    files_not_begun: usize,
    rows_inserted: u64,
    rows_matched: u64,
    files: Vec<FileSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Summarizes the results of all plans. `raised` is the signal that interrupted the backfill, if there was
/// one.
fn summarize(results: Vec<PlanResult>, to_latest: bool, raised: Option<Error>) -> Result<CommandOutput> {
    let tolerated = if to_latest { not_published_yet(&results) } else { vec![false; results.len()] };
    let (summaries, errors): (Vec<FileSummary>, Vec<Option<Error>>) = results.into_iter().unzip();
    let failed: Vec<(&str, Error)> = std::iter::zip(&summaries, errors)
        .zip(tolerated)
        .filter(|(_, tolerated)| !tolerated)
        .filter_map(|((summary, error), _)| Some((summary.filename.as_str(), error?)))
        .collect();
    let is_incomplete =
        |summary: &FileSummary| matches!(summary.status, Outcome::NotBegun | Outcome::Cancelled);
    let error = match raised.filter(|_| summaries.iter().any(is_incomplete)) {
        Some(signal) => Some(signal),
        None if failed.is_empty() => None,
        None => Some(failure::of_several(&failed, summaries.len(), "files were not loaded")),
    };
    let count = |status| summaries.iter().filter(|summary| summary.status == status).count();
    let sum = |figure: fn(&FileSummary) -> u64| summaries.iter().map(figure).sum();
    let summary = BackfillSummary {
        status: match &error {
            Some(error) => Outcome::of(error),
            None if count(Outcome::Loaded) > 0 => Outcome::Loaded,
            None => Outcome::Skipped,
        },
        files_loaded: count(Outcome::Loaded),
        files_skipped: count(Outcome::Skipped),
        files_not_published: count(Outcome::NotPublished),
        files_failed: count(Outcome::Failed),
        files_cancelled: count(Outcome::Cancelled),
        files_not_begun: count(Outcome::NotBegun),
        rows_inserted: sum(|summary| summary.rows.rows_inserted),
        rows_matched: sum(|summary| summary.rows.rows_matched),
        error: error.as_ref().map(Failure::of),
        files: summaries.clone(),
    };
    Ok(CommandOutput::new(&summary, text)?.with_error(error).with_files(summaries))
}

/// Marks the files that the source does not have yet: the unpublished months at the end of each taxi type's range.
/// If no month of a taxi type is published, marks none of them: a publication delay is then not the cause.
fn not_published_yet(results: &[PlanResult]) -> Vec<bool> {
    let missing = |(summary, _): &PlanResult| summary.status == Outcome::NotPublished;
    let groups = results.chunk_by(|(a, _), (b, _)| a.taxi == b.taxi);
    let mut tolerated = Vec::with_capacity(results.len());
    for group in groups {
        let published =
            group.iter().rposition(|result| !missing(result)).map_or(group.len(), |last| last + 1);
        tolerated.extend((0..group.len()).map(|index| index >= published));
    }
    tolerated
}

fn text(summary: &BackfillSummary) -> String {
    let rows = summary.files.iter().map(|file| {
        [
            file.filename.clone(),
            file.status.words().to_owned(),
            HumanCount(file.rows.rows_inserted).to_string(),
            HumanCount(file.rows.rows_matched).to_string(),
            format!("{:.1}", file.seconds),
        ]
    });
    let table = table::text(Some(["file", "", "inserted", "matched", "seconds"]), rows, &[2, 3, 4]);
    let always = [
        (summary.files_loaded, Outcome::Loaded),
        (summary.files_skipped, Outcome::Skipped),
        (summary.files_not_published, Outcome::NotPublished),
        (summary.files_failed, Outcome::Failed),
    ];
    let after_a_stop =
        [(summary.files_cancelled, Outcome::Cancelled), (summary.files_not_begun, Outcome::NotBegun)];
    let after_a_stop = after_a_stop.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = always
        .into_iter()
        .chain(after_a_stop)
        .map(|(count, outcome)| format!("{count} {}", outcome.words()))
        .collect();
    format!("{table}\n{}; {} rows inserted", counts.join(", "), HumanCount(summary.rows_inserted))
}

/// The planned actions of a backfill.
#[derive(Serialize)]
struct BackfillPreview {
    status: &'static str,
    bytes_to_download: u64,
    files: Vec<FilePreview>,
}

#[derive(Serialize)]
struct FilePreview {
    filename: String,
    table: String,
    #[serde(flatten)]
    preview: Preview,
}

async fn preview(
    plans: Vec<Plan>,
    client: Option<&tokio_postgres::Client>,
    options: &Options,
    report: &Arc<dyn Report>,
) -> Result<CommandOutput> {
    let mut files = Vec::new();
    for Plan { mut job, .. } in plans {
        let preview = job.preview(client, options, report).await?;
        files.push(FilePreview { filename: job.filename.clone(), table: job.table.to_string(), preview });
    }
    let needed = files.iter().filter(|file| matches!(file.preview.action, Action::Load | Action::LoadAgain));
    let bytes_to_download = needed.filter_map(|file| file.preview.length_bytes).sum();
    CommandOutput::new(&BackfillPreview { status: "planned", bytes_to_download, files }, |planned| {
        let rows = planned.files.iter().map(|file| {
            let action = match file.preview.action {
                Action::Load => "to be loaded",
                Action::LoadAgain => "to be loaded again",
                Action::Skip => "already loaded",
                Action::NotPublished => "not published",
            };
            let size = file.preview.length_bytes.map(|length| HumanBytes(length).to_string());
            [file.filename.clone(), action.to_owned(), size.unwrap_or_default()]
        });
        let table = table::text(Some(["file", "", "size"]), rows, &[2]);
        let bytes = HumanBytes(planned.bytes_to_download);
        format!("{table}\n{bytes} to download")
    })
}
