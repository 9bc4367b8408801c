//! `taxi runs`: the run history, as a list or one run in full.

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use uuid::Uuid;

use super::target;
use crate::cli::{DatabaseArgs, RunsArgs, RunsCommand};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::ledger::history::{self, Filter, Recorded};
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::log::Line;
use crate::report::output::End;
use crate::report::table;

/// Columns of the time line.
const WIDTH: usize = 40;

#[derive(Serialize)]
struct Runs {
    runs: Vec<Recorded>,
}

/// Lists the runs, or shows one.
pub async fn run(args: RunsArgs, provisioner: &Provisioner, report: &dyn Report) -> Result<End> {
    if let Some(RunsCommand::Show { run_id, database, .. }) = args.show {
        return show(run_id, &database, provisioner, report).await;
    }
    let filter = Filter { taxi: args.taxi, status: args.status, run_id: None, limit: args.limit };
    let mut runs = find(&filter, &args.database, provisioner, report).await?;
    // a list is for looking over: each run's own view has its log
    runs.iter_mut().for_each(|run| run.log.clear());
    End::new(&Runs { runs }, |list| {
        if list.runs.is_empty() {
            return "no runs".to_owned();
        }
        let rows = list.runs.iter().map(|run| {
            [
                local(run.started_at),
                run.run_id.to_string(),
                run.status.clone(),
                run.filename.clone().unwrap_or_default(),
                figure(run, "rows_inserted"),
                figure(run, "rows_matched"),
                seconds(run),
            ]
        });
        let header = ["began", "run", "", "file", "rows inserted", "rows matched", "seconds"];
        table::text(Some(header), rows, &[4, 5, 6])
    })
}

async fn show(
    run_id: Uuid,
    database: &DatabaseArgs,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<End> {
    let filter = Filter { run_id: Some(run_id), limit: 1, ..Filter::default() };
    let found = find(&filter, database, provisioner, report).await?;
    let run = found.first().ok_or_else(|| {
        Error::new(Kind::Usage, format!("the ledger has no run {run_id}")).hint("'taxi runs' lists them")
    })?;
    End::new(run, text)
}

async fn find(
    filter: &Filter,
    database: &DatabaseArgs,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<Vec<Recorded>> {
    let database = config::database(database.database_url.as_deref())?;
    match target::look(database, provisioner, report).await? {
        Some(mut client) => history::list(&mut client, filter).await,
        None => Ok(Vec::new()),
    }
}

fn text(run: &Recorded) -> String {
    let mut facts = vec![
        ["run", &format!("{} {}", run.run_id, run.status)].map(str::to_owned),
        ["pipeline".to_owned(), run.pipeline.clone()],
        ["inputs".to_owned(), inputs(run)],
    ];
    let mut fact = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| [name.to_owned(), value]));
    };
    fact("file", run.filename.clone());
    fact("table", run.table.clone());
    fact("source", run.source_address.clone());
    fact("etag", run.source_etag.clone());
    fact("last modified", run.source_last_modified.clone());
    fact("length", run.source_length_bytes.map(|length| HumanBytes(length.unsigned_abs()).to_string()));
    fact("sha256", run.sha256.clone());
    let process = |host: &String| format!("{host}, pid {}", run.pid.unwrap_or_default());
    fact("host", run.host.as_ref().map(process));
    fact("version", Some(run.tool_version.clone()));
    fact("began", Some(local(run.started_at)));
    fact("ended", run.finished_at.map(|ended| format!("{}, after {} s", local(ended), seconds(run))));
    for (name, count) in &run.rows {
        fact(&name.replace('_', " "), count.map(|count| HumanCount(count.unsigned_abs()).to_string()));
    }
    let sections = [
        Some(table::text(None, facts, &[])),
        time_line(run),
        run.error
            .as_ref()
            .map(|error| format!("error ({})\n  {error}", run.error_kind.as_deref().unwrap_or_default())),
        log(&run.log),
    ];
    sections.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// Each phase as a bar where it lies in time; the last may end with the run.
fn time_line(run: &Recorded) -> Option<String> {
    let ends = |line: &&Line| matches!(line.event.as_str(), "phase_ended" | "phase_failed");
    let end_of = |began: &Line| {
        let end = run.log.iter().filter(ends).find(|line| line.phase == began.phase).map(|line| line.at);
        end.or(run.finished_at)
    };
    let began = run.log.iter().filter(|line| line.event == "phase_began");
    let bars: Vec<(&str, Timestamp, Timestamp)> =
        began.filter_map(|began| Some((began.phase.as_deref()?, began.at, end_of(began)?))).collect();
    let (first, last) = (bars.first()?.1, bars.last()?.2);
    let whole = (last - first).total(jiff::Unit::Second).ok()?.max(f64::EPSILON);
    let rows = bars.iter().filter_map(|(phase, from, to)| {
        let seconds = |duration: jiff::Span| duration.total(jiff::Unit::Second).ok();
        let (offset, length) = (seconds(*from - first)?, seconds(*to - *from)?);
        // a clock that was set back makes no bar longer than the line
        let column = |seconds: f64| ((seconds / whole * WIDTH as f64).round() as usize).min(WIDTH);
        let start = column(offset).min(WIDTH - 1);
        let bar = "█".repeat(column(offset + length).saturating_sub(start).max(1));
        Some([(*phase).replace('_', " "), format!("{}{bar}", " ".repeat(start)), format!("{length:.3} s")])
    });
    Some(format!("phases\n{}", table::text(None, rows, &[2])))
}

fn log(log: &[Line]) -> Option<String> {
    let line = |line: &Line| {
        let time = line.at.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f");
        let what = line.phase.clone().unwrap_or_default();
        format!("  {time} {} {what} {}", line.event, line.message).trim_end().to_owned()
    };
    (!log.is_empty()).then(|| format!("log\n{}", log.iter().map(line).collect::<Vec<_>>().join("\n")))
}

fn inputs(run: &Recorded) -> String {
    let value = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = run.inputs.as_object().into_iter().flatten();
    let mut text: Vec<String> = pairs.map(|(name, given)| format!("{name}={}", value(given))).collect();
    text.extend(run.forced.then(|| "--force".to_owned()));
    text.extend(run.if_loaded.as_ref().map(|what| format!("--if-loaded {what}")));
    text.join(" ")
}

fn figure(run: &Recorded, name: &str) -> String {
    let count = run.rows.get(name).copied().flatten();
    count.map(|count| HumanCount(count.unsigned_abs()).to_string()).unwrap_or_default()
}

fn seconds(run: &Recorded) -> String {
    let took = run.finished_at.and_then(|ended| (ended - run.started_at).total(jiff::Unit::Second).ok());
    took.map(|seconds| format!("{seconds:.1}")).unwrap_or_default()
}

fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
