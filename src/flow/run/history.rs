//! Records a flow's run in the ledger: its start, each task run, its end.
//!
//! The session holds an advisory lock for the run, so that other processes can see that the run is alive.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::record::TaskRecord;
use crate::database::locks;
use crate::database::settings::Settings;
use crate::database::statement::{render, sql};
use crate::database::{failure as database_failure, session};
use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::Outputs;
use crate::flow::model::flow::{Concurrency, LimitBehavior};
use crate::interrupt::Interrupt;
use crate::ledger::key_values::{self, KeyValue};
use crate::ledger::run::Run;
use crate::ledger::{RunStatus, schema};
use crate::report::{Report, failure};

/// Timeout of a write after a signal: the process must exit within five seconds.
const TIMEOUT_AFTER_SIGNAL: Duration = Duration::from_millis(400);
/// Timeout of a write while no signal has arrived.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a queued run checks for a free slot.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum size of the outputs of a task run. Larger outputs are not recorded.
const OUTPUTS_LIMIT_BYTES: usize = 256 * 1024;
/// The only key of outputs that are not recorded. Its value is the reason.
pub(crate) const LEFT_OUT: &str = "left out";

/// The history of one run.
pub(crate) struct History {
    /// The session that writes, and its settings. `None` for a run that is not recorded.
    ledger: Option<(Client, Settings)>,
    /// Whether a write has failed and the user has been notified.
    is_incomplete: AtomicBool,
}

impl History {
    /// Upgrades the ledger's schema and uses `client` to write to it.
    pub(crate) async fn open(settings: &Settings, client: Client) -> Result<Self> {
        let mut client = client;
        schema::upgrade(&mut client).await?;
        Ok(Self { ledger: Some((client, settings.clone())), is_incomplete: AtomicBool::new(false) })
    }

    /// The history of a run that is not recorded.
    pub(crate) const fn unrecorded() -> Self {
        Self { ledger: None, is_incomplete: AtomicBool::new(false) }
    }

    /// The keys and values that flows keep in this database.
    pub(crate) async fn keys(&self) -> Result<Vec<KeyValue>> {
        match &self.ledger {
            Some((client, _)) => key_values::list(client).await,
            None => Ok(Vec::new()),
        }
    }

    /// Waits for a free slot within the flow's concurrency limit.
    pub(crate) async fn admit(
        &self,
        flow: &str,
        concurrency: &Concurrency,
        timeout: Duration,
        interrupt: &Interrupt,
        report: &dyn Report,
    ) -> Result<()> {
        let began = std::time::Instant::now();
        let mut has_notified = false;
        loop {
            for slot in 0..concurrency.limit {
                if self.try_lock(&format!("taxi_etl: run {flow}, {slot}")).await? {
                    return Ok(());
                }
            }
            let limit = concurrency.limit;
            let error = Error::new(
                Kind::LockHeld,
                format!("the flow {flow} has reached its concurrency limit of {limit}"),
            );
            match concurrency.behavior {
                LimitBehavior::Fail => {
                    return Err(error.hint(
                        "the flow sets `concurrency.behavior` to FAIL; set it to QUEUE to wait instead",
                    ));
                }
                LimitBehavior::Cancel => {
                    return Err(error.hint(
                        "the flow sets `concurrency.behavior` to CANCEL; set it to QUEUE to wait instead",
                    ));
                }
                LimitBehavior::Queue if began.elapsed() >= timeout => {
                    return Err(
                        error.hint("use --lock-timeout to wait longer; it is safe to run the command again")
                    );
                }
                LimitBehavior::Queue => {}
            }
            if !has_notified {
                report.notice(&format!(
                    "waiting: the flow {flow} has reached its concurrency limit of {limit}"
                ));
                has_notified = true;
            }
            interrupt.sleep(POLL_INTERVAL).await?;
        }
    }

    /// Records the start of the run.
    pub(crate) async fn begin(&self, run: &Run) -> Result<()> {
        self.try_lock(&locks::of_run(run.id)).await?;
        match &self.ledger {
            Some((client, _)) => run.record_start(client).await,
            None => Ok(()),
        }
    }

    async fn try_lock(&self, name: &str) -> Result<bool> {
        let Some((client, _)) = &self.ledger else { return Ok(true) };
        let row = client.query_one(sql!("hold_lock.sql"), &[&name]).await;
        Ok(row.map_err(|cause| database_failure::statement("cannot acquire a lock", cause))?.get(0))
    }

    /// Records the current state of a task run.
    pub(crate) async fn task(
        &self,
        run: Uuid,
        record: &TaskRecord,
        interrupt: &Interrupt,
        report: &dyn Report,
    ) {
        let Some((client, _)) = &self.ledger else { return };
        let after_signal = interrupt.raised().is_some();
        if after_signal && self.is_incomplete.load(Ordering::Relaxed) {
            return;
        }
        let reason = match in_time(interrupt, write_task(client, run, record)).await {
            Ok(()) => return,
            Err(reason) => reason,
        };
        if !self.is_incomplete.swap(true, Ordering::Relaxed) {
            report.notice(&format!("the run's history is incomplete: {reason}"));
        }
    }

    /// Records the end of the run.
    pub(crate) async fn end(
        &self,
        run: &Run,
        status: RunStatus,
        error: Option<&Error>,
        interrupt: &Interrupt,
        report: &dyn Report,
    ) {
        let Some((client, settings)) = &self.ledger else { return };
        let record = async {
            if run.record_end(client, status, error).await.is_err() {
                // the server may have been restarted
                let client = session::connect_again(settings).await?;
                run.record_end(&client, status, error).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(reason) = in_time(interrupt, record).await {
            report.notice(&format!("cannot record the end of the run in the ledger: {reason}"));
        }
    }
}

/// Runs `write` with a timeout, which is short after a signal. The error is the reason for the notice to the
/// user.
async fn in_time(interrupt: &Interrupt, write: impl Future<Output = Result<()>>) -> Result<(), String> {
    let deadline = async {
        tokio::select! {
            () = tokio::time::sleep(WRITE_TIMEOUT) => {}
            _ = interrupt.wait() => tokio::time::sleep(TIMEOUT_AFTER_SIGNAL).await,
        }
    };
    tokio::select! {
        biased;
        written = write => written.map_err(|error| failure::plain(&error)),
        () = deadline => Err("the database does not respond".to_owned()),
    }
}

async fn write_task(client: &Client, run: Uuid, record: &TaskRecord) -> Result<()> {
    let outputs = match serde_json::to_string(&record.outputs) {
        Ok(text) if text.len() <= OUTPUTS_LIMIT_BYTES && !text.contains("\\u0000") => record.outputs.clone(),
        _ => Outputs::from_iter([(
            LEFT_OUT.to_owned(),
            "the outputs are too large, or contain a character that jsonb does not accept".into(),
        )]),
    };
    let (outputs, attempts, log) = (Json(outputs), Json(&record.attempts), Json(&record.log));
    let status = record.status.name();
    let values: [(&str, &(dyn ToSql + Sync)); 14] = [
        ("task_run_id", &record.task_run_id),
        ("run_id", &run),
        ("parent_id", &record.parent_id),
        ("task_id", &record.task_id),
        ("task_type", &record.task_type),
        ("value", &record.value),
        ("status", &status),
        ("attempts", &attempts),
        ("outputs", &outputs),
        ("log", &log),
        ("error_kind", &record.error_kind),
        ("error", &record.error),
        ("started_at", &record.started_at),
        ("finished_at", &record.finished_at),
    ];
    let (columns, values): (Vec<&str>, Vec<&(dyn ToSql + Sync)>) = values.into_iter().unzip();
    let write = render!("ledger/record_task.sql", &minijinja::context! { columns })?;
    let result = client.execute(&write, &values).await;
    result.map(drop).map_err(|cause| database_failure::statement("cannot write to taxi_etl.task_runs", cause))
}
