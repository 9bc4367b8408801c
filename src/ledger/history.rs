//! What the ledger tells: what is loaded, which runs there were.

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

/// A file's last successful load.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// The run.
    pub run_id: Uuid,
    /// Where the file came from.
    pub address: String,
    /// Which file it was.
    pub description: Description,
    /// How many rows of it the target held in the file's own month; unknown of runs by old versions of taxi.
    pub rows_in_period: Option<u64>,
}

/// The last successful load of the file into the table, if there was one.
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

/// Notes which runs were killed: those under way of no process that is alive.
pub async fn mark_lost(client: &Client) -> Result<()> {
    let mark_lost = statement::render("ledger/mark_lost.sql", &minijinja::context! {})?;
    let marked = client.execute(&mark_lost, &[]).await;
    let what = "cannot note in taxi_etl.runs which runs were killed";
    marked.map(drop).map_err(|cause| failure::statement(what, cause))
}

/// Forgets what the target holds of the other files of the table, where rows of them may have stood under this one's name.
pub async fn forget_matched(client: &impl GenericClient, table: &TableName, filename: &str) -> Result<()> {
    let forget = statement::render("ledger/forget_matched.sql", &minijinja::context! {})?;
    let forgotten = client.execute(&forget, &[&table.to_string(), &filename]).await;
    let what = "cannot note in taxi_etl.runs which files have to be compared again";
    forgotten.map(drop).map_err(|cause| failure::statement(what, cause))
}

/// What the ledger says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The rows that it held when it was loaded last.
    pub rows_read: u64,
    /// How many of them were not rejected.
    pub rows_staged: u64,
    /// How many of them the target held then in the file's own month, where that is known.
    pub rows_in_period: Option<u64>,
}

/// What the ledger says of these files in the table, by name; nothing of those never loaded.
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

/// A run as the ledger has it.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// The run.
    pub run_id: Uuid,
    /// How it stands; a run under way whose process is gone is lost.
    pub status: String,
    /// The pipeline, with its namespace.
    pub pipeline: String,
    /// Its inputs, without secrets.
    pub inputs: Value,
    /// Whether `--force` was given.
    pub forced: bool,
    /// What was to be done with a file that had changed.
    pub if_loaded: Option<String>,
    /// The file.
    pub filename: Option<String>,
    /// The target table.
    pub table: Option<String>,
    /// Where the file came from.
    pub source_address: Option<String>,
    /// Its `ETag`.
    pub source_etag: Option<String>,
    /// Its modification time.
    pub source_last_modified: Option<String>,
    /// Its length as announced.
    pub source_length_bytes: Option<i64>,
    /// Its SHA-256.
    pub sha256: Option<String>,
    /// The figures of a load that succeeded.
    #[serde(flatten)]
    pub rows: BTreeMap<&'static str, Option<i64>>,
    /// The phases with their seconds.
    pub phases: Value,
    /// The stable name of the error's kind.
    pub error_kind: Option<String>,
    /// The error in full.
    pub error: Option<String>,
    /// The machine.
    pub host: Option<String>,
    /// The process there.
    pub pid: Option<i32>,
    /// The run of the flow whose task it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<Uuid>,
    /// What the run of a flow is labelled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Value>,
    /// The date that the run of a flow is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_date: Option<Timestamp>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The version of taxi.
    pub tool_version: String,
    /// The rows that it left out; left out of a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rejects: Vec<Rejected>,
    /// What happened, in order; left out of a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Line>,
    /// The task runs of the run of a flow; left out of a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
}

/// A task run as the ledger has it.
#[derive(Clone, Debug, Serialize)]
pub struct Task {
    /// The task run.
    pub task_run_id: Uuid,
    /// The task run that runs it, where it is not the flow itself.
    pub parent_id: Option<Uuid>,
    /// The task.
    pub task_id: String,
    /// Its type.
    pub task_type: String,
    /// The value of the loop that it is for.
    pub value: Option<String>,
    /// How it stands.
    pub status: String,
    /// Its attempts.
    pub attempts: Value,
    /// What it has come to, without secrets.
    pub outputs: Option<Value>,
    /// The stable name of the error's kind.
    pub error_kind: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it has said, in order.
    pub log: Vec<Line>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of one taxi type.
    pub taxi: Option<String>,
    /// That stand so.
    pub status: Option<Status>,
    /// The one.
    pub run_id: Option<Uuid>,
    /// No more than these.
    pub limit: u32,
}

/// The figures that a dashboard sums.
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

/// The latest runs first; none where there is no ledger.
pub async fn list(client: &mut Client, filter: &Filter) -> Result<Vec<Recorded>> {
    if !schema::upgrade_existing(client).await? {
        return Ok(Vec::new());
    }
    let query = statement::render("ledger/list_runs.sql", &minijinja::context! {})?;
    let (status, limit) = (filter.status.map(Status::name), i64::from(filter.limit));
    let rows = client.query(&query, &[&filter.taxi, &status, &filter.run_id, &limit]).await;
    rows.map_err(unreadable)?.iter().map(recorded).collect()
}

/// The task runs of a run, in the order of their beginnings.
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
