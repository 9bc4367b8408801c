//! Queries of the run history: which files are loaded, and which runs are recorded.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::types::{FromSql, Json};
use tokio_postgres::{Client, GenericClient, Row};
use uuid::Uuid;

use super::rejects::Rejected;
use super::run::RecordedTrigger;
use super::{RunStatus, schema};
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement::sql;
use crate::error::{Error, Kind, Result};
use crate::extract::description::Description;
use crate::report::log::Line;

/// The last successful load of a file.
#[derive(Clone, Debug)]
pub(crate) struct PreviousLoad {
    /// The run's id.
    pub(crate) run_id: Uuid,
    /// The address of the source.
    pub(crate) address: String,
    /// What the source announced about the file.
    pub(crate) description: Description,
    /// How many of the file's rows, dated in its own month, the target held after the load. Unknown for runs of
    /// old versions of taxi, and for files that have to be compared again.
    pub(crate) rows_in_period: Option<u64>,
}

/// Returns the last successful load of the file into the table, if there was one.
pub(crate) async fn previous_load(
    client: &impl GenericClient,
    table: &TableName,
    filename: &str,
) -> Result<Option<PreviousLoad>> {
    let found = client
        .query_opt(sql!("ledger/latest_success.sql"), &[&table.to_string(), &filename])
        .await
        .map_err(read_error)?;
    let unsigned = |number: Option<i64>| number.map(i64::unsigned_abs);
    Ok(found.map(|row| PreviousLoad {
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
pub(crate) async fn mark_lost(client: &Client) -> Result<()> {
    let marked = client.execute(sql!("ledger/mark_lost.sql"), &[]).await;
    let what = "cannot mark killed runs as lost in taxi_etl.runs";
    marked.map(drop).map_err(|cause| failure::statement(what, cause))
}

/// Terminates the sessions of all runs, and marks the runs as lost.
pub(crate) async fn end_runs(client: &Client) -> Result<()> {
    let ended = client.execute(sql!("ledger/end_runs.sql"), &[]).await;
    ended.map_err(|cause| failure::statement("cannot end the runs in progress", cause))?;
    mark_lost(client).await
}

/// Clears `rows_in_period` of the table's other files if some of their rows matched: the target may have held
/// those rows under this file's name, and this file's rows were replaced. The next load of the other files
/// compares them again.
pub(crate) async fn forget_matched(
    client: &impl GenericClient,
    table: &TableName,
    filename: &str,
) -> Result<()> {
    let forgotten = client.execute(sql!("ledger/forget_matched.sql"), &[&table.to_string(), &filename]).await;
    let what = "cannot mark the files to compare again in taxi_etl.runs";
    forgotten.map(drop).map_err(|cause| failure::statement(what, cause))
}

/// The row counts of a file in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LedgerCounts {
    /// How many rows the file had when it was last loaded.
    pub(crate) rows_read: u64,
    /// How many of these rows were not rejected.
    pub(crate) rows_staged: u64,
    /// How many of these rows, dated in the file's own month, the target held after that load, if known.
    pub(crate) rows_in_period: Option<u64>,
    /// Whether the rows were dropped since.
    pub(crate) is_dropped: bool,
}

/// Records that the rows of the file were dropped from the table.
pub(crate) async fn mark_dropped(
    client: &impl GenericClient,
    table: &TableName,
    filename: &str,
) -> Result<()> {
    let marked = client.execute(sql!("ledger/mark_dropped.sql"), &[&table.to_string(), &filename]).await;
    let what = "cannot mark the file as dropped in taxi_etl.runs";
    marked.map(drop).map_err(|cause| failure::statement(what, cause))
}

/// Returns the row counts of these files in the table, by name, without files that were never loaded.
pub(crate) async fn counts(
    client: &mut Client,
    table: &TableName,
    filenames: &[&str],
) -> Result<HashMap<String, LedgerCounts>> {
    if !schema::upgrade_existing(client).await? {
        return Ok(HashMap::new());
    }
    let rows = client
        .query(sql!("ledger/known_files.sql"), &[&table.to_string(), &filenames])
        .await
        .map_err(read_error)?;
    let unsigned = |row: &Row, index| row.get::<_, Option<i64>>(index).map(i64::unsigned_abs);
    let known = |row: &Row| LedgerCounts {
        rows_read: unsigned(row, 1).unwrap_or_default(),
        rows_staged: unsigned(row, 2).unwrap_or_default(),
        rows_in_period: unsigned(row, 3),
        is_dropped: row.get(4),
    };
    Ok(rows.iter().map(|row| (row.get(0), known(row))).collect())
}

/// A run as recorded in the ledger.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecordedRun {
    /// The run's id.
    pub(crate) run_id: Uuid,
    /// The run's status. A run that is recorded as running is lost if its process is gone.
    pub(crate) status: String,
    /// The pipeline, with its namespace.
    pub(crate) pipeline: String,
    /// The pipeline's inputs, without secrets.
    pub(crate) inputs: Value,
    /// Whether `--force` was given.
    pub(crate) forced: bool,
    /// What to do if the file had changed (`--if-loaded`).
    pub(crate) if_loaded: Option<String>,
    /// The file's name.
    pub(crate) filename: Option<String>,
    /// The target table.
    pub(crate) table: Option<String>,
    /// The address of the source.
    pub(crate) source_address: Option<String>,
    /// The file's `ETag` at the source.
    pub(crate) source_etag: Option<String>,
    /// The file's modification time at the source.
    pub(crate) source_last_modified: Option<String>,
    /// The file's length in bytes, as the source announced it.
    pub(crate) source_length_bytes: Option<i64>,
    /// The SHA-256 of the file as downloaded.
    pub(crate) sha256: Option<String>,
    /// The counts of a successful load.
    #[serde(flatten)]
    pub(crate) rows: BTreeMap<&'static str, Option<i64>>,
    /// The columns of the file that the target did not have, and what the load did with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_columns: Option<Value>,
    /// The phases and their durations in seconds.
    pub(crate) phases: Value,
    /// The stable name of the error's kind.
    pub(crate) error_kind: Option<String>,
    /// The full text of the error.
    pub(crate) error: Option<String>,
    /// The name of the machine that ran the process.
    pub(crate) host: Option<String>,
    /// The id of the process on that machine.
    pub(crate) pid: Option<i32>,
    /// The flow run of which this run is a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) part_of: Option<Uuid>,
    /// The labels of a flow run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<Value>,
    /// The date that a flow run is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger_date: Option<Timestamp>,
    /// The trigger of a flow run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<RecordedTrigger>,
    /// The flow run that this run continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replay_of: Option<Uuid>,
    /// The inputs whose values the ledger does not hold in full. `None` for runs of older versions.
    #[serde(skip)]
    pub(crate) hidden_inputs: Option<Vec<String>>,
    /// When the run began.
    pub(crate) started_at: Timestamp,
    /// When the run ended.
    pub(crate) finished_at: Option<Timestamp>,
    /// When the rows of the file were dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropped_at: Option<Timestamp>,
    /// The version of taxi that ran.
    pub(crate) tool_version: String,
    /// The rejected rows; empty in a list of runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rejects: Vec<Rejected>,
    /// The log lines, in order; empty in a list of runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) log: Vec<Line>,
    /// The task runs of a flow run; empty in a list of runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tasks: Vec<RecordedTask>,
}

/// A task run as recorded in the ledger.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecordedTask {
    /// The task run's id.
    pub(crate) task_run_id: Uuid,
    /// The task run that runs this one; `None` if the flow itself does.
    pub(crate) parent_id: Option<Uuid>,
    /// The task's id.
    pub(crate) task_id: String,
    /// The task's type.
    pub(crate) task_type: String,
    /// The loop's value that the task run is for.
    pub(crate) value: Option<String>,
    /// The task run's status.
    pub(crate) status: String,
    /// The attempts, each with its times and its error.
    pub(crate) attempts: Value,
    /// The task's outputs, without secrets.
    pub(crate) outputs: Option<Value>,
    /// The stable name of the error's kind.
    pub(crate) error_kind: Option<String>,
    /// Why the task failed.
    pub(crate) error: Option<String>,
    /// When the task run began.
    pub(crate) started_at: Timestamp,
    /// When the task run ended.
    pub(crate) finished_at: Option<Timestamp>,
    /// The task's log lines, in order.
    pub(crate) log: Vec<Line>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only runs of this taxi type.
    pub(crate) taxi: Option<String>,
    /// Only runs with this status.
    pub(crate) status: Option<RunStatus>,
    /// Only runs with an id from the first to the second.
    pub(crate) run_ids: Option<(Uuid, Uuid)>,
    /// The last digits of an id; used only with `run_ids`.
    pub(crate) id_end: Option<String>,
    /// The maximum number of runs.
    pub(crate) limit: u32,
}

/// The count columns, which a dashboard sums.
const COUNT_COLUMNS: [&str; 9] = [
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
pub(crate) async fn list(client: &mut Client, filter: &Filter) -> Result<Vec<RecordedRun>> {
    if !schema::upgrade_existing(client).await? {
        return Ok(Vec::new());
    }
    let (status, limit) = (filter.status.map(RunStatus::name), i64::from(filter.limit));
    let (first, last) = filter.run_ids.unzip();
    let rows = client
        .query(sql!("ledger/list_runs.sql"), &[&filter.taxi, &status, &first, &limit, &last, &filter.id_end])
        .await;
    rows.map_err(read_error)?.iter().map(recorded).collect()
}

/// Lists the task runs of a run, in the order of their start times.
pub(crate) async fn tasks(client: &Client, run: Uuid) -> Result<Vec<RecordedTask>> {
    let rows = client.query(sql!("ledger/list_tasks.sql"), &[&run]).await.map_err(read_error)?;
    let task = |row: &Row| {
        Ok(RecordedTask {
            task_run_id: get(row, "task_run_id")?,
            parent_id: get(row, "parent_id")?,
            task_id: get(row, "task_id")?,
            task_type: get(row, "task_type")?,
            value: get(row, "value")?,
            status: get(row, "status")?,
            attempts: get(row, "attempts")?,
            outputs: get(row, "outputs")?,
            error_kind: get(row, "error_kind")?,
            error: get(row, "error")?,
            started_at: get(row, "started_at")?,
            finished_at: get(row, "finished_at")?,
            log: log(row)?,
        })
    };
    rows.iter().map(task).collect()
}

/// Lists those of the `dates` for which the flow has run successfully as its trigger does, with these inputs.
pub(crate) async fn successful_dates(
    client: &mut Client,
    flow: &str,
    trigger: &str,
    dates: &[Timestamp],
    inputs: serde_json::Map<String, Value>,
) -> Result<HashSet<Timestamp>> {
    if !schema::upgrade_existing(client).await? {
        return Ok(HashSet::new());
    }
    let inputs = Json(inputs);
    let rows = client.query(sql!("ledger/list_successes.sql"), &[&flow, &trigger, &dates, &inputs]).await;
    rows.map_err(read_error)?.iter().map(|row| get(row, "trigger_date")).collect()
}

fn log(row: &Row) -> Result<Vec<Line>> {
    let log: Option<Json<Vec<Line>>> = row
        .try_get("log")
        .map_err(|cause| Error::new(Kind::Data, "cannot parse a log in the ledger").because(cause))?;
    Ok(log.map(|Json(lines)| lines).unwrap_or_default())
}

fn recorded(row: &Row) -> Result<RecordedRun> {
    Ok(RecordedRun {
        run_id: get(row, "run_id")?,
        status: get(row, "current_status")?,
        pipeline: get(row, "pipeline")?,
        inputs: get(row, "inputs")?,
        forced: get(row, "forced")?,
        if_loaded: get(row, "if_loaded")?,
        filename: get(row, "filename")?,
        table: get(row, "target_table")?,
        source_address: get(row, "source_address")?,
        source_etag: get(row, "source_etag")?,
        source_last_modified: get(row, "source_last_modified")?,
        source_length_bytes: get(row, "source_length_bytes")?,
        sha256: get(row, "sha256")?,
        rows: COUNT_COLUMNS
            .into_iter()
            .map(|column| Ok((column, get(row, column)?)))
            .collect::<Result<_>>()?,
        new_columns: get(row, "new_columns")?,
        phases: get(row, "phases")?,
        error_kind: get(row, "error_kind")?,
        error: get(row, "error")?,
        host: get(row, "host")?,
        pid: get(row, "pid")?,
        started_at: get(row, "started_at")?,
        finished_at: get(row, "finished_at")?,
        dropped_at: get(row, "dropped_at")?,
        tool_version: get(row, "tool_version")?,
        part_of: get(row, "part_of")?,
        labels: get(row, "labels")?,
        trigger_date: get(row, "trigger_date")?,
        trigger: json(row, "trigger")?,
        replay_of: get(row, "replay_of")?,
        hidden_inputs: json(row, "hidden_inputs")?,
        rejects: Vec::new(),
        log: log(row)?,
        tasks: Vec::new(),
    })
}

/// The value of a column. Somebody may have stored a value that has no Rust type, such as the time `infinity`.
fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T> {
    row.try_get(column).map_err(|cause| {
        let text = format!("cannot read the column {column} of taxi_etl.runs or taxi_etl.task_runs");
        Error::new(Kind::Data, text).because(cause)
    })
}

/// The value of a column that holds JSON of a known form.
fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>> {
    Ok(get::<Option<Json<T>>>(row, column)?.map(|Json(value)| value))
}

fn read_error(cause: tokio_postgres::Error) -> Error {
    failure::statement("cannot read taxi_etl.runs", cause)
}
