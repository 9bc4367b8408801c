//! ATTACH: makes the staging table the month's partition, if the month has no partition yet.
//!
//! Rows of the month that the target already holds are in its default partition. They are out-of-period rows of
//! other files, or rows that somebody else inserted. They move into the new partition. If a row of the file has the
//! same key as one of them, the row of the file is dropped.
//!
//! ATTACH needs an exclusive lock on the default partition, which every query of the whole table reads. A waiting
//! lock request blocks all later queries until the earlier queries end. The load therefore requests the lock with a
//! short timeout, lets other queries pass, and tries again.

use std::time::{Duration, Instant};

use tokio_postgres::Error as Cause;
use tokio_postgres::types::ToSql;

use super::merge::Merge;
use super::staging::{Staging, StagingTable};
use super::transaction::{Added, Load};
use crate::database::statement::{render, sql};
use crate::database::{failure, locks};
use crate::error::{Error, Kind, Result};
use crate::transform::batch::Transformed;

/// Lock timeout of one attempt, and so the longest time that queries wait behind it. It is longer than the one
/// second after which PostgreSQL cancels an autovacuum that blocks the lock (`deadlock_timeout`).
const ATTEMPT_LOCK_TIMEOUT: Duration = Duration::from_millis(1500);
/// Pause between two attempts, so that other queries can pass.
const PAUSE: Duration = Duration::from_secs(1);

/// Attaches the staging table as the month's partition, and merges the out-of-period rows.
pub(crate) async fn add(load: &Load<'_>, staging: &Staging, transformed: &Transformed) -> Result<Added> {
    let attach = Attach { load, names: names_with_all_columns(load, &staging.main).await? };
    attach.complete(&staging.main).await?;
    let (rows_deleted, was_loaded) = load.begin_to_add().await?;
    // before the merge, so that the file's own out-of-period rows cannot match
    let mut rows_matched = attach.delete_matched_elsewhere(was_loaded).await?;
    let mut rows_inserted = staging.main.rows;
    if let Some(outside) = &staging.out_of_period {
        rows_inserted += Merge { load, was_loaded }.out_of_period(outside, &transformed.outside).await?;
        outside.drop(load).await?;
    }
    let attached = attach.run().await?;
    rows_matched += attached.rows_matched;
    Ok(Added {
        rows_inserted: rows_inserted - rows_matched,
        rows_deleted,
        rows_in_period: Some(transformed.rows_in_period - rows_matched + attached.rows_of_file_moved),
    })
}

/// The names for the statements, with all columns of the staging table that can be filled: those of the target, which
/// cannot change since the staging table was created like it.
async fn names_with_all_columns(load: &Load<'_>, staging: &StagingTable) -> Result<minijinja::Value> {
    let listed = load.transaction.query_one(sql!("list_columns.sql"), &[&staging.name.quoted()]).await;
    let failed = |cause| failure::statement(format!("cannot read the columns of {}", staging.name), cause);
    let all_columns: String = listed.map_err(failed)?.get(0);
    Ok(minijinja::context! { all_columns, ..load.names_with(&staging.name) })
}

/// The operation that attaches a staging table as a partition.
struct Attach<'a> {
    load: &'a Load<'a>,
    names: minijinja::Value,
}

/// How the rows of the new partition differ from those of the file.
#[derive(Clone, Copy, Debug, Default)]
struct Attached {
    /// Number of rows of the file that were dropped, because the target already held their key.
    rows_matched: u64,
    /// Number of rows under the file's name that came from the default partition.
    rows_of_file_moved: u64,
}

impl Attach<'_> {
    /// Adds the target's CHECK constraints and indexes to the staging table. This reads all rows, so it is done before
    /// the load takes the table's lock.
    async fn complete(&self, staging: &StagingTable) -> Result<()> {
        let failed = |cause| self.failed(cause);
        let (table, staging) = (self.load.table.quoted(), staging.name.quoted());
        for list in [sql!("list_checks.sql"), sql!("list_indexes.sql")] {
            let listed = self.load.transaction.query(list, &[&table, &staging]).await;
            for statement in listed.map_err(failed)?.iter().filter_map(|row| row.get::<_, Option<&str>>(0)) {
                self.load.transaction.batch_execute(statement).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Deletes the staged rows that match rows of the target outside of the month: rows without a time and, if the
    /// file `was_loaded` before, rows whose time has been changed. Returns the number of deleted rows.
    async fn delete_matched_elsewhere(&self, was_loaded: bool) -> Result<u64> {
        if !was_loaded && !self.load.holds_rows_without_time().await? {
            return Ok(0);
        }
        let delete = render!("delete_matched.sql", &self.names)?;
        self.load.transaction.execute(&delete, &[&was_loaded]).await.map_err(|cause| self.failed(cause))
    }

    /// Attaches the partition. Waits for the default partition up to the lock timeout. The load holds the table's
    /// lock.
    async fn run(&self) -> Result<Attached> {
        let (table, timeout, report) = (self.load.table, self.load.lock_timeout, self.load.report);
        let began = Instant::now();
        let mut is_reported = false;
        loop {
            let remaining = timeout.saturating_sub(began.elapsed());
            self.load.execute("SAVEPOINT attach").await?;
            let cause = match self.attempt(remaining.min(ATTEMPT_LOCK_TIMEOUT)).await? {
                Ok(attached) => return Ok(attached),
                Err(cause) => cause,
            };
            if !failure::is_lock_timeout(&cause) && !failure::is_concurrent_change(&cause) {
                return Err(self.failed(cause));
            }
            self.load.execute("ROLLBACK TO SAVEPOINT attach").await?;
            if began.elapsed() + PAUSE > timeout {
                let text = format!("the default partition of {table} is in use by {}", self.users().await?);
                return Err(Error::new(Kind::LockHeld, text).because(cause).hint(format!(
                    "waited {:.1} s: use --lock-timeout to wait longer; it is safe to run the command again",
                    began.elapsed().as_secs_f64()
                )));
            }
            if !is_reported {
                let users = self.users().await?;
                report.notice(&format!(
                    "waiting for the default partition of {table}, which is in use by {users}"
                ));
                is_reported = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes one attempt. The inner error is the server's, so that the caller can decide whether to try again.
    async fn attempt(&self, lock_timeout: Duration) -> Result<Result<Attached, Cause>> {
        locks::set_timeout(self.load.transaction, lock_timeout, true).await?;
        let holds_rows = render!("holds_rows.sql", &self.names)?;
        let attach = render!("attach_partition.sql", &self.names)?;
        let move_rows = render!("move_rows_of_month.sql", &self.names)?;
        let range = &self.load.period.range;
        let attempt = async {
            let mut attached = Attached::default();
            let held =
                self.load.transaction.query_one(&holds_rows, &[&range.start, &range.end, &false]).await?;
            if held.get(0) {
                let bounds: [&(dyn ToSql + Sync); 3] = [&range.start, &range.end, &self.load.filename];
                let moved = self.load.transaction.query_one(&move_rows, &bounds).await?;
                let count = |index| moved.get::<_, i64>(index).unsigned_abs();
                (attached.rows_matched, attached.rows_of_file_moved) = (count(0), count(1));
            }
            self.load.transaction.batch_execute(&attach).await?;
            Ok(attached)
        };
        Ok(attempt.await)
    }

    /// Describes the sessions that keep the load waiting, for messages.
    async fn users(&self) -> Result<String> {
        let table = self.load.table;
        let failed =
            |cause| failure::statement(format!("cannot list the sessions that use table {table}"), cause);
        let users = self
            .load
            .control
            .query(sql!("find_table_users.sql"), &[&table.quoted(), &self.load.server_pid])
            .await
            .map_err(failed)?;
        let users: Vec<String> = users
            .iter()
            .map(|row| {
                let (pid, user, program): (i32, Option<String>, Option<String>) =
                    (row.get(0), row.get(1), row.get(2));
                format!("process {pid} ({}, user {})", program.unwrap_or_default(), user.unwrap_or_default())
            })
            .collect();
        Ok(if users.is_empty() { "a session that has just ended".to_owned() } else { users.join(", ") })
    }

    fn failed(&self, cause: Cause) -> Error {
        failure::statement(format!("cannot attach a partition to {}", self.load.table), cause)
    }
}
