//! Deletes old runs from the run history. The run that says whether a file is loaded always stays.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, GenericClient, Row};
use uuid::Uuid;

use super::{history, schema};
use crate::database::failure;
use crate::database::statement::sql;
use crate::error::{Error, Kind, Result};

/// Which runs to delete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Only runs that began before this time.
    pub(crate) before: Timestamp,
    /// The number of latest runs that stay, whatever their age.
    pub(crate) keep_last: u32,
}

/// A run that is deleted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PrunedRun {
    /// The run's id.
    pub(crate) run_id: Uuid,
    /// The run's status.
    pub(crate) status: String,
    /// The file, or else the pipeline.
    pub(crate) name: String,
    /// When the run began.
    pub(crate) started_at: Timestamp,
    #[serde(skip)]
    tasks: u64,
    #[serde(skip)]
    rejects: u64,
}

/// The runs that are deleted, and what goes with them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Pruned {
    /// Number of runs by status.
    pub(crate) runs_by_status: BTreeMap<String, u64>,
    /// Number of task runs.
    pub(crate) task_runs: u64,
    /// Number of rejected rows.
    pub(crate) rejects: u64,
    /// The runs, the oldest first.
    pub(crate) runs: Vec<PrunedRun>,
}

/// Lists the runs that [`prune`] would delete. Returns none if there is no ledger.
pub(crate) async fn preview(client: &mut Client, retention: &Retention) -> Result<Pruned> {
    match schema::upgrade_existing(client).await? {
        true => find(client, retention).await,
        false => Ok(Pruned::default()),
    }
}

/// Deletes the runs, with their task runs and rejected rows, all or nothing.
pub(crate) async fn prune(client: &mut Client, retention: &Retention) -> Result<Pruned> {
    if !schema::upgrade_existing(client).await? {
        return Ok(Pruned::default());
    }
    history::mark_lost(client).await?;
    let failed = |cause| failure::statement("cannot delete runs from taxi_etl.runs", cause);
    let transaction = client.transaction().await.map_err(failed)?;
    let pruned = find(&transaction, retention).await?;
    let ids: Vec<Uuid> = pruned.runs.iter().map(|run| run.run_id).collect();
    transaction.execute(sql!("ledger/delete_runs.sql"), &[&ids]).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(pruned)
}

async fn find(client: &impl GenericClient, retention: &Retention) -> Result<Pruned> {
    let keep_last = i64::from(retention.keep_last);
    let rows = client.query(sql!("ledger/list_prunable.sql"), &[&retention.before, &keep_last]).await;
    let rows = rows.map_err(|cause| failure::statement("cannot read taxi_etl.runs", cause))?;
    let mut pruned = Pruned::default();
    for row in &rows {
        let run = run(row)?;
        *pruned.runs_by_status.entry(run.status.clone()).or_default() += 1;
        pruned.task_runs += run.tasks;
        pruned.rejects += run.rejects;
        pruned.runs.push(run);
    }
    Ok(pruned)
}

fn run(row: &Row) -> Result<PrunedRun> {
    let started_at = row.try_get(3).map_err(|cause| {
        Error::new(Kind::Data, "cannot read the column started_at of taxi_etl.runs").because(cause)
    })?;
    Ok(PrunedRun {
        run_id: row.get(0),
        status: row.get(1),
        name: row.get(2),
        started_at,
        tasks: row.get::<_, i64>(4).unsigned_abs(),
        rejects: row.get::<_, i64>(5).unsigned_abs(),
    })
}
