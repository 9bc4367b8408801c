//! Queries of the run history: which files are loaded, and which runs there were.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Json;
use tokio_postgres::{Client, GenericClient, Row};
use uuid::Uuid;

use super::rejects::Rejected;
use super::{Status, schema};
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::extract::description::Description;
use crate::report::log::Line;

/// The last successful load of a file.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// The run's id.
    pub run_id: Uuid,
    /// The address of the source.
    pub address: String,
    /// What the source announced about the file.
    pub description: Description,
    /// How many of the file's rows, dated in its own month, the target held after the load. Unknown for runs by
    /// old versions of taxi, and for files that have to be compared again.
    pub rows_in_period: Option<u64>,
}

/// Returns the last successful load of the file into the table, if there was one.
pub async fn latest_success(
    client: &impl GenericClient,
    table: &TableName,
    filename: &str,
) -> Result<Option<Earlier>> {
    let query = statement::render("ledger/latest_success.sql", &minijinja::context! {})?;
    let found = client.query_opt(&query, &[&table.to_string(), &filename]).await.map_err(unreadable)?;
    let unsigned = |number: Option<i64>| number.map(i64::unsigned_abs);
    Ok(found.map(|row| Earlier {
        run_id: row.get("run_id"),
        address: row.get::<_, Option<String>>("source_address").unwrap_or_default(),
        description: Description {
            length_bytes: unsigned(row.get("source_length_bytes")),
            etag: row.get("source_etag"),
            last_modified: row.get("source_last_modified"),
            sha256: None,
        },
        rows_in_period: unsigned(row.get("rows_in_period")),
    }))
}

/// Marks killed runs as lost: runs that are recorded as running, but whose process is gone.
pub async fn mark_lost(client: &Client) -> Result<()> {
    let mark_lost = statement::render("ledger/mark_lost.sql", &minijinja::context! {})?;
    let marked = client.execute(&mark_lost, &[]).await;
    let what = "cannot note in taxi_etl.runs which runs were killed";
    marked.map(drop).map_err(|cause| failure::statement(what, cause))
}

/// Clears `rows_in_period` of the table's other files if some of their rows matched: the target may have held
/// those rows under this file's name, and this file's rows were replaced. The next load of the other files
/// compares them again.
pub async fn forget_matched(client: &impl GenericClient, table: &TableName, filename: &str) -> Result<()> {
    let forget = statement::render("ledger/forget_matched.sql", &minijinja::context! {})?;
    let forgotten = client.execute(&forget, &[&table.to_string(), &filename]).await;
    let what = "cannot note in taxi_etl.runs which files have to be compared again";
    forgotten.map(drop).map_err(|cause| failure::statement(what, cause))
}

/// What the ledger says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How many rows the file had when it was last loaded.
    pub rows_read: u64,
    /// How many of these rows were not rejected.
    pub rows_staged: u64,
    /// How many of these rows, dated in the file's own month, the target held after that load, if known.
    pub rows_in_period: Option<u64>,
}

/// What the ledger says about these files in the table, by name, without files that were never loaded.
pub async fn known(
    client: &mut Client,
    table: &TableName,
    filenames: &[&str],
) -> Result<HashMap<String, Known>> {
    if !schema::upgrade_existing(client).await? {
        return Ok(HashMap::new());
    }
    let query = statement::render("ledger/known_files.sql", &minijinja::context! {})?;
    let rows = client.query(&query, &[&table.to_string(), &filenames]).await.map_err(unreadable)?;
    let unsigned = |row: &Row, index| row.get::<_, Option<i64>>(index).map(i64::unsigned_abs);
    let known = |row: &Row| Known {
        rows_read: unsigned(row, 1).unwrap_or_default(),
        rows_staged: unsigned(row, 2).unwrap_or_default(),
        rows_in_period: unsigned(row, 3),
    };
    Ok(rows.iter().map(|row| (row.get(0), known(row))).collect())
}

/// A run as recorded in the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// The run's id.
    pub run_id: Uuid,
    /// The run's status. A run that is recorded as running is lost if its process is gone.
    pub status: String,
    /// The pipeline, with its namespace.
    pub pipeline: String,
    /// The pipeline's inputs, without secrets.
    pub inputs: Value,
    /// Whether `--force` was given.
    pub forced: bool,
    /// What to do if the file had changed (`--if-loaded`).
    pub if_loaded: Option<String>,
    /// The file's name.
    pub filename: Option<String>,
    /// The target table.
    pub table: Option<String>,
    /// The address of the source.
    pub source_address: Option<String>,
    /// The file's `ETag` at the source.
    pub source_etag: Option<String>,
    /// The file's modification time at the source.
    pub source_last_modified: Option<String>,
    /// The file's length in bytes, as the source announced it.
    pub source_length_bytes: Option<i64>,
    /// The SHA-256 of the file as downloaded.
    pub sha256: Option<String>,
    /// The counts of a successful load.
    #[serde(flatten)]
    pub rows: BTreeMap<&'static str, Option<i64>>,
    /// The phases and their durations in seconds.
    pub phases: Value,
    /// The stable name of the error's kind.
    pub error_kind: Option<String>,
    /// The full text of the error.
    pub error: Option<String>,
    /// The name of the machine that ran the process.
    pub host: Option<String>,
    /// The id of the process on that machine.
    pub pid: Option<i32>,
    /// The flow run of which this run is a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<Uuid>,
    /// The labels of a flow run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Value>,
    /// The date that a flow run is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_date: Option<Timestamp>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The version of taxi that ran.
    pub tool_version: String,
    /// The rejected rows; empty in a list of runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejects: Vec<Rejected>,
    /// The log lines, in order; empty in a list of runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Line>,
    /// The task runs of a flow run; empty in a list of runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
}

/// A task run as recorded in the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Task {
    /// The task run's id.
    pub task_run_id: Uuid,
    /// The task run that runs this one; `None` if the flow itself does.
    pub parent_id: Option<Uuid>,
    /// The task's id.
    pub task_id: String,
    /// The task's type.
    pub task_type: String,
    /// The loop's value that the task run is for.
    pub value: Option<String>,
    /// The task run's status.
    pub status: String,
    /// The attempts, each with its times and its error.
    pub attempts: Value,
    /// The task's outputs, without secrets.
    pub outputs: Option<Value>,
    /// The stable name of the error's kind.
    pub error_kind: Option<String>,
    /// Why the task failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The task's log lines, in order.
    pub log: Vec<Line>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only runs of this taxi type.
    pub taxi: Option<String>,
    /// Only runs with this status.
    pub status: Option<Status>,
    /// Only the run with this id.
    pub run_id: Option<Uuid>,
    /// The maximum number of runs.
    pub limit: u32,
}

/// The count columns, which a dashboard sums.
const FIGURES: [&str; 9] = [
    "rows_read",
    "rows_staged",
    "rows_inserted",
    "rows_matched",
    "rows_rejected",
    "rows_deleted",
    "rows_in_period",
    "duplicate_keys",
    "downloaded_bytes",
];

/// Lists runs, the latest first. Returns none if there is no ledger.
pub async fn list(client: &mut Client, filter: &Filter) -> Result<Vec<Recorded>> {
    if !schema::upgrade_existing(client).await? {
        return Ok(Vec::new());
    }
    let query = statement::render("ledger/list_runs.sql", &minijinja::context! {})?;
    let (status, limit) = (filter.status.map(Status::name), i64::from(filter.limit));
    let rows = client.query(&query, &[&filter.taxi, &status, &filter.run_id, &limit]).await;
    rows.map_err(unreadable)?.iter().map(recorded).collect()
}

/// Lists the task runs of a run, in the order of their start times.
pub async fn tasks(client: &Client, run: Uuid) -> Result<Vec<Task>> {
    let query = statement::render("ledger/list_tasks.sql", &minijinja::context! {})?;
    let rows = client.query(&query, &[&run]).await.map_err(unreadable)?;
    let task = |row: &Row| {
        Ok(Task {
            task_run_id: row.get("task_run_id"),
            parent_id: row.get("parent_id"),
            task_id: row.get("task_id"),
            task_type: row.get("task_type"),
            value: row.get("value"),
            status: row.get("status"),
            attempts: row.get("attempts"),
            outputs: row.get("outputs"),
            error_kind: row.get("error_kind"),
            error: row.get("error"),
            started_at: row.get("started_at"),
            finished_at: row.get("finished_at"),
            log: log(row)?,
        })
    };
    rows.iter().map(task).collect()
}

fn log(row: &Row) -> Result<Vec<Line>> {
    let log: Option<Json<Vec<Line>>> = row
        .try_get("log")
        .map_err(|cause| Error::new(Kind::Data, "the ledger holds a log of another form").because(cause))?;
    Ok(log.map(|Json(lines)| lines).unwrap_or_default())
}

fn recorded(row: &Row) -> Result<Recorded> {
    Ok(Recorded {
        run_id: row.get("run_id"),
        status: row.get("standing"),
        pipeline: row.get("pipeline"),
        inputs: row.get("inputs"),
        forced: row.get("forced"),
        if_loaded: row.get("if_loaded"),
        filename: row.get("filename"),
        table: row.get("target_table"),
        source_address: row.get("source_address"),
        source_etag: row.get("source_etag"),
        source_last_modified: row.get("source_last_modified"),
        source_length_bytes: row.get("source_length_bytes"),
        sha256: row.get("sha256"),
        rows: FIGURES.into_iter().map(|figure| (figure, row.get(figure))).collect(),
        phases: row.get("phases"),
        error_kind: row.get("error_kind"),
        error: row.get("error"),
        host: row.get("host"),
        pid: row.get("pid"),
        started_at: row.get("started_at"),
        finished_at: row.get("finished_at"),
        tool_version: row.get("tool_version"),
        part_of: row.get("part_of"),
        labels: row.get("labels"),
        trigger_date: row.get("trigger_date"),
        rejects: Vec::new(),
        log: log(row)?,
        tasks: Vec::new(),
    })
}

fn unreadable(cause: tokio_postgres::Error) -> Error {
    failure::statement("cannot read taxi_etl.runs", cause)
}
