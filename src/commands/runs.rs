//! `taxi runs`: the run history as a list, or one run in detail.

use indicatif::{HumanBytes, HumanCount};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio_postgres::Client;

use super::{follow, prune, settings, target};
use crate::cli::run_id::RunIdPrefix;
use crate::cli::{DatabaseArgs, RunsArgs, RunsCommand};
use crate::database::session;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::ledger::history::{self, Filter, RecordedRun, RecordedTask};
use crate::ledger::rejects::{self, Rejected};
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::log::Line;
use crate::report::output::CommandOutput;
use crate::report::table;

/// Width of the timeline, in columns.
const WIDTH: usize = 40;
/// Maximum number of runs to list if the beginning of an id is not unique.
const CANDIDATES_SHOWN: u32 = 20;
/// Maximum number of rejected rows in the text output.
const REJECTS_SHOWN: usize = 100;

#[derive(Serialize)]
struct Runs {
    runs: Vec<RecordedRun>,
}

/// Lists the runs, or shows one run.
pub(crate) async fn run(
    args: RunsArgs,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<CommandOutput> {
    if let Some(RunsCommand::Show { run_id, follow, database, .. }) = args.show {
        return show(&run_id, follow, &database, provisioner, report).await;
    }
    if let Some(RunsCommand::Prune(args)) = &args.show {
        return prune::run(args, provisioner, report).await;
    }
    let filter = Filter { taxi: args.taxi, status: args.status, limit: args.limit, ..Filter::default() };
    let mut runs = match open(&args.database, provisioner, report).await? {
        Some((settings, mut client)) => {
            session::while_answering(&settings, history::list(&mut client, &filter)).await?
        }
        None => Vec::new(),
    };
    // the list does not include the logs: 'taxi runs show' prints the log of one run
    runs.iter_mut().for_each(|run| run.log.clear());
    CommandOutput::new(&Runs { runs }, |list| match list.runs.is_empty() {
        true => "no runs".to_owned(),
        false => table_of(&list.runs),
    })
}

/// The runs as a table. On a terminal that is too narrow for it, the ids and the times are shortened.
fn table_of(runs: &[RecordedRun]) -> String {
    let name = |run: &RecordedRun| run.filename.clone().unwrap_or_else(|| run.pipeline.clone());
    let rows = runs.iter().map(|run| {
        [
            local(run.started_at),
            run.run_id.to_string(),
            run.status.clone(),
            name(run),
            figure(run, "rows_inserted"),
            figure(run, "rows_matched"),
            seconds(run),
        ]
    });
    let header = ["started", "run", "", "file or flow", "inserted", "matched", "seconds"];
    if let Some(whole) = table::text_if_it_fits(Some(header), rows, &[4, 5, 6]) {
        return whole;
    }
    let rows = runs.iter().map(|run| {
        // the end is random, and the beginning is the time: ids of the same moment begin alike
        let id = run.run_id.simple().to_string().split_off(24);
        let started = run.started_at.to_zoned(TimeZone::system()).strftime("%m-%d %H:%M").to_string();
        [started, id, run.status.clone(), name(run), figure(run, "rows_inserted")]
    });
    table::text(Some(["started", "run", "", "file or flow", "inserted"]), rows, &[4])
}

async fn show(
    prefix: &RunIdPrefix,
    follow: bool,
    database: &DatabaseArgs,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<CommandOutput> {
    let (settings, mut client) = open(database, provisioner, report).await?.ok_or_else(|| unknown(prefix))?;
    let reading = async {
        let mut run = find(&mut client, prefix).await?;
        run.rejects = rejects::list(&client, run.run_id).await?;
        Ok(run)
    };
    let mut run = session::while_answering(&settings, reading).await?;
    if follow {
        run = follow::to_the_end(run, &settings, &mut client, report).await?;
    }
    CommandOutput::new(&run, text)
}

/// Finds the run with this id, or the only run whose id begins or ends like this, with its tasks.
pub(super) async fn find(client: &mut Client, prefix: &RunIdPrefix) -> Result<RecordedRun> {
    let (run_ids, id_end) = (Some(prefix.ids), Some(prefix.digits.clone()));
    let filter = Filter { run_ids, id_end, limit: CANDIDATES_SHOWN, ..Filter::default() };
    let mut runs = history::list(client, &filter).await?;
    let mut run = runs.pop().ok_or_else(|| unknown(prefix))?;
    if !runs.is_empty() {
        runs.push(run);
        return Err(ambiguous(prefix, &runs));
    }
    run.tasks = history::tasks(client, run.run_id).await?;
    Ok(run)
}

fn unknown(prefix: &RunIdPrefix) -> Error {
    let id = if prefix.is_whole() { "with the id" } else { "with an id that begins or ends with" };
    Error::new(Kind::Usage, format!("no run {id} {prefix} in the ledger"))
        .hint("use 'taxi runs' to list the runs")
}

/// The error for a beginning of an id that several runs have. It lists them.
fn ambiguous(prefix: &RunIdPrefix, runs: &[RecordedRun]) -> Error {
    let candidate = |run: &RecordedRun| {
        let name = run.filename.as_ref().unwrap_or(&run.pipeline);
        format!("\n  {}  {}  {}  {name}", run.run_id, local(run.started_at), run.status)
    };
    let candidates: String = runs.iter().map(candidate).collect();
    Error::new(Kind::Usage, format!("several runs have an id that begins or ends with {prefix}:{candidates}"))
        .hint("add more characters of the id")
}

async fn open(
    database: &DatabaseArgs,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<Option<(Settings, Client)>> {
    target::open_read_only(settings::database(database)?, provisioner, report).await
}

fn text(run: &RecordedRun) -> String {
    let mut facts = vec![
        ["run", &format!("{} {}", run.run_id, run.status)].map(str::to_owned),
        ["pipeline".to_owned(), run.pipeline.clone()],
        ["inputs".to_owned(), inputs(run)],
    ];
    let mut fact = |name: &str, value: Option<String>| {
        facts.extend(value.map(|value| [name.to_owned(), value]));
    };
    let pairs = |labels: &serde_json::Value| {
        let pairs = labels.as_object().into_iter().flatten();
        pairs
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    fact(
        "labels",
        run.labels.as_ref().map(pairs).filter(|pairs| !pairs.is_empty()).map(|pairs| pairs.join(" ")),
    );
    fact("trigger date", run.trigger_date.map(local));
    fact("continues", run.replay_of.map(|run| run.to_string()));
    fact("part of", run.part_of.map(|run| run.to_string()));
    fact("file", run.filename.clone());
    fact("table", run.table.clone());
    fact("source", run.source_address.clone());
    fact("etag", run.source_etag.clone());
    fact("last modified", run.source_last_modified.clone());
    fact("length", run.source_length_bytes.map(|length| HumanBytes(length.unsigned_abs()).to_string()));
    fact("sha256", run.sha256.clone());
    let process = |host: &String| format!("{host}, pid {}", run.pid.unwrap_or_default());
    fact("dropped", run.dropped_at.map(local));
    fact("host", run.host.as_ref().map(process));
    fact("version", Some(run.tool_version.clone()));
    fact("started", Some(local(run.started_at)));
    fact("finished", run.finished_at.map(|end| format!("{}, after {} s", local(end), seconds(run))));
    for (name, count) in &run.rows {
        fact(&words(name), count.map(|count| HumanCount(count.unsigned_abs()).to_string()));
    }
    fact("new columns", run.new_columns.as_ref().and_then(new_columns));
    let failed = run
        .error
        .as_ref()
        .map(|error| format!("error ({})\n  {error}", words(run.error_kind.as_deref().unwrap_or_default())));
    // the log of a flow is in its tasks
    let logs = if run.tasks.is_empty() { log(&run.log) } else { task_logs(&run.tasks) };
    let sections = [
        Some(table::unwrapped(facts)),
        timeline("phases", phases(run)),
        timeline("tasks", tasks(&run.tasks)),
        failed,
        rejected(&run.rejects),
        logs,
    ];
    sections.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// The columns of the file that the target did not have.
fn new_columns(columns: &serde_json::Value) -> Option<String> {
    let text = |column: &serde_json::Value| {
        let part = |name: &str| column[name].as_str().map(words).unwrap_or_default();
        let name = column["column"].as_str().unwrap_or_default();
        match column["type"].as_str() {
            Some(column_type) => format!("{name} {} as {column_type}", part("action")),
            None => format!("{name} {}", part("action")),
        }
    };
    Some(columns.as_array()?.iter().map(text).collect::<Vec<_>>().join(", "))
}

/// The rejected rows as a table, up to `REJECTS_SHOWN`; the JSON output has all of them.
fn rejected(rejects: &[Rejected]) -> Option<String> {
    let rows = rejects.iter().take(REJECTS_SHOWN).map(|reject| {
        let column = reject.column.clone().unwrap_or_default();
        [reject.line.to_string(), column, reject.reason.clone(), reject.text.clone()]
    });
    let table = table::text(Some(["line", "column", "reason", "text"]), rows, &[0]);
    let more = match rejects.len().saturating_sub(REJECTS_SHOWN) {
        0 => String::new(),
        more => format!("\n{more} more rows; use --output json to list all rows"),
    };
    (!rejects.is_empty()).then(|| format!("rejected rows\n{table}{more}"))
}

/// One bar of the timeline.
struct Span {
    name: String,
    note: String,
    from: Timestamp,
    to: Timestamp,
}

/// The phases of a run. A phase without an end event ends when the run ends.
fn phases(run: &RecordedRun) -> Vec<Span> {
    let ends = |line: &&Line| matches!(line.event.as_str(), "phase_ended" | "phase_failed");
    let end_of = |began: &Line| {
        let end = run.log.iter().filter(ends).find(|line| line.phase == began.phase).map(|line| line.at);
        end.or(run.finished_at)
    };
    let began = run.log.iter().filter(|line| line.event == "phase_began" && line.file.is_none());
    let span = |began: &Line| {
        let name = words(began.phase.as_deref()?);
        Some(Span { name, note: String::new(), from: began.at, to: end_of(began)? })
    };
    began.filter_map(span).collect()
}

/// The task runs; nested ones are indented.
fn tasks(tasks: &[RecordedTask]) -> Vec<Span> {
    let span = |task: &RecordedTask| {
        let mut name = task.task_id.clone();
        if let Some(value) = &task.value {
            name = format!("{name}[{value}]");
        }
        let mut parent = task.parent_id;
        while let Some(id) = parent {
            name.insert_str(0, "  ");
            parent = tasks.iter().find(|task| task.task_run_id == id).and_then(|task| task.parent_id);
        }
        let attempts = task.attempts.as_array().map_or(0, Vec::len);
        let note = match attempts {
            ..=1 => task.status.clone(),
            attempts => format!("{}, {attempts} attempts", task.status),
        };
        // if the process died during the task, only its start is known
        Span { name, note, from: task.started_at, to: task.finished_at.unwrap_or(task.started_at) }
    };
    tasks.iter().map(span).collect()
}

/// A table with one bar per span, placed by its start and end time.
fn timeline(title: &str, spans: Vec<Span>) -> Option<String> {
    let first = spans.iter().map(|span| span.from).min()?;
    let last = spans.iter().map(|span| span.to).max()?;
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    let whole = seconds(first, last).max(f64::EPSILON);
    let rows = spans.into_iter().map(|Span { name, note, from, to }| {
        let (offset, length) = (seconds(first, from), seconds(from, to));
        // keep the bar within the timeline even if the clock was set back
        let column = |seconds: f64| ((seconds / whole * WIDTH as f64).round() as usize).min(WIDTH);
        let start = column(offset).min(WIDTH - 1);
        let bar = "█".repeat(column(offset + length).saturating_sub(start).max(1));
        [name, format!("{}{bar}", " ".repeat(start)), format!("{length:.3} s"), note]
    });
    Some(format!("{title}\n{}", table::text(None, rows, &[2])))
}

/// The log of each task, including why it failed.
fn task_logs(tasks: &[RecordedTask]) -> Option<String> {
    let with_log = tasks.iter().filter(|task| !task.log.is_empty());
    let text = |task: &RecordedTask| {
        let line = |line: &Line| {
            let time = line.at.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f");
            format!("  {time} {}", line.message).trim_end().to_owned()
        };
        let value = task.value.as_ref().map(|value| format!("[{value}]")).unwrap_or_default();
        format!(
            "log of {}{value}\n{}",
            task.task_id,
            task.log.iter().map(line).collect::<Vec<_>>().join("\n")
        )
    };
    let texts: Vec<String> = with_log.map(text).collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

fn log(log: &[Line]) -> Option<String> {
    let line = |line: &Line| {
        let time = line.at.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f");
        format!("  {time} {}", line.words())
    };
    (!log.is_empty()).then(|| format!("log\n{}", log.iter().map(line).collect::<Vec<_>>().join("\n")))
}

/// A stable name, such as `lock_held`, as text for people.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn inputs(run: &RecordedRun) -> String {
    let value = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = run.inputs.as_object().into_iter().flatten();
    let mut text: Vec<String> = pairs.map(|(name, input)| format!("{name}={}", value(input))).collect();
    text.extend(run.forced.then(|| "--force".to_owned()));
    text.extend(run.if_loaded.as_ref().map(|value| format!("--if-loaded {value}")));
    text.join(" ")
}

fn figure(run: &RecordedRun, name: &str) -> String {
    let count = run.rows.get(name).copied().flatten();
    count.map(|count| HumanCount(count.unsigned_abs()).to_string()).unwrap_or_default()
}

fn seconds(run: &RecordedRun) -> String {
    let took = run.finished_at.and_then(|end| (end - run.started_at).total(jiff::Unit::Second).ok());
    took.map(|seconds| format!("{seconds:.1}")).unwrap_or_default()
}

fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
