//! The ledger: one row of `taxi_etl.runs` a run.
//!
//! A success is written in the transaction that inserts its rows, so the two cannot disagree; a failure in one of
//! its own, after the load's was rolled back.

use jiff::Timestamp;
use tokio_postgres::types::Json;
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Result};
use crate::extract::source::Description;
use crate::http;
use crate::load::tables;
use crate::report::loaded::Loaded;
use crate::report::phase::Phases;

/// A run under way, and what the ledger will say of it however it ends.
pub struct Run {
    /// Names the run; its first half is the time it began.
    pub id: Uuid,
    /// The pipeline's name, with its namespace.
    pub pipeline: String,
    /// The inputs as resolved.
    pub inputs: Vec<(String, String)>,
    /// Whether the load was asked for whatever the ledger says.
    pub forced: bool,
    /// When the run began.
    pub started_at: Timestamp,
    /// The phases so far.
    pub phases: Phases,
    /// The file and the table, once they are known.
    pub filename: Option<String>,
    /// The target table, once it is known.
    pub table: Option<TableName>,
    /// The source's address as it may be shown, and what it said of the file.
    pub source: Option<(String, Description)>,
}

impl Run {
    /// A run that begins now.
    pub fn begin(pipeline: String, inputs: Vec<(String, String)>, forced: bool) -> Self {
        Self {
            id: Uuid::now_v7(),
            pipeline,
            inputs,
            forced,
            started_at: Timestamp::now(),
            phases: Phases::default(),
            filename: None,
            table: None,
            source: None,
        }
    }

    /// Creates the ledger where the database has none.
    pub async fn create_ledger(client: &mut Client) -> Result<()> {
        let runs = TableName::parse("taxi_etl.runs")?;
        tables::create_missing(client, &runs, "ledger.sql", &minijinja::context! {}).await
    }

    /// Records the success, in the caller's transaction.
    pub async fn record_success(&self, client: &impl GenericClient, loaded: &Loaded) -> Result<()> {
        self.record(client, Some(loaded), None).await
    }

    /// Records the failure. Where the run had been committed after all, the ledger keeps saying so.
    pub async fn record_failure(&self, client: &impl GenericClient, error: &Error) -> Result<()> {
        self.record(client, None, Some(error)).await
    }

    async fn record(
        &self,
        client: &impl GenericClient,
        loaded: Option<&Loaded>,
        error: Option<&Error>,
    ) -> Result<()> {
        let inputs: serde_json::Map<String, serde_json::Value> =
            self.inputs.iter().map(|(name, value)| (name.clone(), http::redact(value).into())).collect();
        let status = if error.is_none() { "succeeded" } else { "failed" };
        let table = self.table.as_ref().map(ToString::to_string);
        let description = self.source.as_ref().map(|(_, description)| description);
        let count = |count: fn(&Loaded) -> u64| loaded.map(|loaded| count(loaded) as i64);
        let insert = statement::render("record_run.sql", &minijinja::context! {})?;
        client
            .execute(
                &insert,
                &[
                    &self.id,
                    &self.pipeline,
                    &Json(inputs),
                    &self.forced,
                    &status,
                    &self.filename,
                    &table,
                    &self.source.as_ref().map(|(address, _)| address),
                    &description.and_then(|source| source.etag.as_ref()),
                    &description.and_then(|source| source.last_modified.as_ref()),
                    &description.and_then(|source| source.length_bytes).map(|length| length as i64),
                    &count(|loaded| loaded.downloaded_bytes),
                    &loaded.map(|loaded| &loaded.sha256),
                    &count(|loaded| loaded.rows_read),
                    &count(|loaded| loaded.rows_staged),
                    &count(|loaded| loaded.rows_inserted),
                    &count(|loaded| loaded.rows_matched),
                    &count(|loaded| loaded.rows_rejected),
                    &count(|loaded| loaded.duplicate_keys),
                    &Json(&self.phases),
                    &error.map(|error| error.kind().name()),
                    &error.map(crate::report::failure::plain),
                    &self.started_at,
                    &Timestamp::now(),
                    &env!("CARGO_PKG_VERSION"),
                ],
            )
            .await
            .map_err(|cause| failure::statement("cannot write the run into taxi_etl.runs", cause))?;
        Ok(())
    }
}
