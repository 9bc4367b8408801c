//! A run, and how the ledger records its start and its end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::RunStatus;
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement::render;
use crate::error::{Error, Result};
use crate::extract::description::Description;
use crate::http::SourceUrl;
use crate::load::new_columns::NewColumn;
use crate::report::load_counts::LoadCounts;
use crate::report::log::Log;
use crate::report::timeline::Timeline;
use crate::secrets::Secrets;

/// A run in progress, with everything that the ledger records about it.
#[derive(Clone)]
pub(crate) struct Run {
    /// The run's id, a UUID of version 7: it begins with the start time.
    pub(crate) id: Uuid,
    /// The pipeline's name, with its namespace.
    pub(crate) pipeline: String,
    /// The resolved inputs.
    pub(crate) inputs: Vec<(String, String)>,
    /// Whether to load the file even if the ledger says that it is already loaded.
    pub(crate) forced: bool,
    /// What a load does with a file that is already loaded.
    pub(crate) if_loaded: Option<&'static str>,
    /// The flow run of which this run is a task.
    pub(crate) part_of: Option<Uuid>,
    /// The labels of a flow run.
    pub(crate) labels: Option<Vec<(String, String)>>,
    /// The id of the trigger that a flow runs for.
    pub(crate) trigger: Option<String>,
    /// The date that a flow run is for.
    pub(crate) trigger_date: Option<Zoned>,
    /// The flow run that this run continues.
    pub(crate) replay_of: Option<Uuid>,
    /// When the run began.
    pub(crate) started_at: Timestamp,
    /// The phases that have ended so far.
    pub(crate) phases: Timeline,
    /// The log lines so far.
    pub(crate) log: Log,
    /// Whether the commit has begun. A signal can no longer prevent it.
    pub(crate) committing: Arc<AtomicBool>,
    /// The server process id of the load's session, once the session is open.
    pub(crate) server_pid: Option<i32>,
    /// The secrets to mask in the record.
    pub(crate) secrets: Secrets,
    /// The file's name, once it is known.
    pub(crate) filename: Option<String>,
    /// The target table, once it is known.
    pub(crate) table: Option<TableName>,
    /// The source's address, safe to show, and what the source announced about the file.
    pub(crate) source: Option<(String, Description)>,
    /// The columns of the file that the target did not have.
    pub(crate) new_columns: Vec<NewColumn>,
}

impl Run {
    /// A run that begins now.
    pub(crate) fn begin(pipeline: String, inputs: Vec<(String, String)>, log: Log) -> Self {
        Self {
            id: Uuid::now_v7(),
            pipeline,
            inputs,
            forced: false,
            if_loaded: None,
            part_of: None,
            labels: None,
            trigger: None,
            trigger_date: None,
            replay_of: None,
            started_at: Timestamp::now(),
            phases: Timeline::default(),
            log,
            committing: Arc::default(),
            server_pid: None,
            secrets: Secrets::default(),
            filename: None,
            table: None,
            source: None,
            new_columns: Vec::new(),
        }
    }

    /// Continues as a new run that has already completed these phases.
    pub(crate) fn begin_again(&mut self, phases: Timeline) {
        (self.id, self.started_at, self.phases, self.source) =
            (Uuid::now_v7(), Timestamp::now(), phases, None);
        self.new_columns.clear();
    }

    /// Records that the run is in progress, so that other sessions can see it.
    pub(crate) async fn record_start(&self, client: &impl GenericClient) -> Result<()> {
        self.record(client, RunStatus::Running, None, None).await.map(drop)
    }

    /// Records the phases and the log so far, for those who follow the run. A load does so at each of its few phases.
    pub(crate) async fn record_progress(&self, client: &impl GenericClient) -> Result<()> {
        self.record(client, RunStatus::Running, None, None).await.map(drop)
    }

    /// Records the success, in the caller's transaction.
    pub(crate) async fn record_success(
        &self,
        client: &impl GenericClient,
        loaded: &LoadCounts,
    ) -> Result<()> {
        self.record(client, RunStatus::Succeeded, Some(loaded), None).await.map(drop)
    }

    /// Records the failure. If the run was committed after all, keeps the success and returns `false`.
    pub(crate) async fn record_failure(&self, client: &impl GenericClient, error: &Error) -> Result<bool> {
        self.record(client, RunStatus::of(error), None, Some(error)).await
    }

    /// Records the end of a flow run.
    pub(crate) async fn record_end(
        &self,
        client: &impl GenericClient,
        status: RunStatus,
        error: Option<&Error>,
    ) -> Result<()> {
        self.record(client, status, None, error).await.map(drop)
    }

    async fn record(
        &self,
        client: &impl GenericClient,
        status: RunStatus,
        loaded: Option<&LoadCounts>,
        error: Option<&Error>,
    ) -> Result<bool> {
        let inputs = recorded_inputs(&self.inputs, &self.secrets);
        let is_hidden = |(name, value): &&(String, String)| inputs[name.as_str()] != value.as_str();
        let hidden_inputs: Vec<&str> =
            self.inputs.iter().filter(is_hidden).map(|(name, _)| name.as_str()).collect();
        let (inputs, hidden_inputs) = (Json(inputs), Json(hidden_inputs));
        let trigger_date = self.trigger_date.as_ref().map(Zoned::timestamp);
        let trigger = self.trigger_date.as_ref().map(|date| {
            let id = self.trigger.as_deref();
            Json(RecordedTrigger { id: id.map(str::to_owned), date: date.clone() })
        });
        let labels = self.labels.as_ref().map(|labels| {
            Json(labels.iter().cloned().collect::<std::collections::BTreeMap<String, String>>())
        });
        let table = self.table.as_ref().map(ToString::to_string);
        let (address, description) = self.source.clone().unzip();
        let address = address.map(|address| self.secrets.hide(&address));
        let description = description.unwrap_or_default();
        let length = description.length_bytes.map(|length| length as i64);
        let count = |count: fn(&LoadCounts) -> u64| loaded.map(|loaded| count(loaded) as i64);
        let (downloaded, read) = (count(|loaded| loaded.downloaded_bytes), count(|loaded| loaded.rows_read));
        let (staged, inserted) = (count(|loaded| loaded.rows_staged), count(|loaded| loaded.rows_inserted));
        let (matched, rejected) = (count(|loaded| loaded.rows_matched), count(|loaded| loaded.rows_rejected));
        let (deleted, in_period) =
            (count(|loaded| loaded.rows_deleted), count(|loaded| loaded.rows_in_period));
        let duplicates = count(|loaded| loaded.duplicate_keys);
        let sha256 = loaded.map(|loaded| &loaded.sha256);
        let (kind, text) = error
            .map(|error| (error.kind().name(), self.secrets.hide(&crate::report::failure::plain(error))))
            .unzip();
        let mut log = self.log.lines();
        log.iter_mut().for_each(|line| line.message = self.secrets.hide(&line.message));
        let new_columns = Some(Json(&self.new_columns)).filter(|Json(columns)| !columns.is_empty());
        let finished = (status != RunStatus::Running).then(Timestamp::now);
        let (host, pid) = (host(), std::process::id() as i32);
        let values: [(&str, &(dyn ToSql + Sync)); 39] = [
            ("run_id", &self.id),
            ("pipeline", &self.pipeline),
            ("inputs", &inputs),
            ("forced", &self.forced),
            ("if_loaded", &self.if_loaded),
            ("part_of", &self.part_of),
            ("labels", &labels),
            ("trigger", &trigger),
            ("trigger_date", &trigger_date),
            ("replay_of", &self.replay_of),
            ("hidden_inputs", &hidden_inputs),
            ("status", &status.name()),
            ("filename", &self.filename),
            ("target_table", &table),
            ("source_address", &address),
            ("source_etag", &description.etag),
            ("source_last_modified", &description.last_modified),
            ("source_length_bytes", &length),
            ("downloaded_bytes", &downloaded),
            ("sha256", &sha256),
            ("rows_read", &read),
            ("rows_staged", &staged),
            ("rows_inserted", &inserted),
            ("rows_matched", &matched),
            ("rows_rejected", &rejected),
            ("rows_deleted", &deleted),
            ("rows_in_period", &in_period),
            ("duplicate_keys", &duplicates),
            ("new_columns", &new_columns),
            ("phases", &Json(&self.phases)),
            ("log", &Json(log)),
            ("error_kind", &kind),
            ("error", &text),
            ("host", &host),
            ("pid", &pid),
            ("server_pid", &self.server_pid),
            ("started_at", &self.started_at),
            ("finished_at", &finished),
            ("tool_version", &env!("CARGO_PKG_VERSION")),
        ];
        let (columns, values): (Vec<&str>, Vec<&(dyn ToSql + Sync)>) = values.into_iter().unzip();
        let insert = render!("ledger/record_run.sql", &minijinja::context! { columns })?;
        let written = client
            .execute(&insert, &values)
            .await
            .map_err(|cause| failure::statement("cannot write the run into taxi_etl.runs", cause))?;
        Ok(written > 0)
    }
}

/// The trigger of a flow run as the ledger records it. The date keeps its time zone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecordedTrigger {
    /// The trigger's id; `None` if only the date was given.
    pub(crate) id: Option<String>,
    /// The date that the flow ran for.
    pub(crate) date: Zoned,
}

/// Inputs as the ledger records them: without secrets, and addresses without user, password and query.
pub(crate) fn recorded_inputs(
    inputs: &[(String, String)],
    secrets: &Secrets,
) -> serde_json::Map<String, serde_json::Value> {
    let recorded = |value: &str| secrets.hide(&SourceUrl::new(value).without_credentials());
    inputs.iter().map(|(name, value)| (name.clone(), recorded(value).into())).collect()
}

/// This machine's host name.
fn host() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
