//! ATTACH: makes the staging table the month's partition, if the month has no partition yet.
//!
//! Rows of the month that the target already holds are in its default partition. They are out-of-period rows of
//! other files, or rows that somebody else inserted. They win over rows of the file with the same key, and move
//! into the new partition.
//!
//! ATTACH needs an exclusive lock on the default partition, which every query of the whole table reads. A waiting
//! lock request blocks all later queries, for as long as the longest earlier query runs. So the load requests the
//! lock with a short timeout, lets other queries pass, and tries again.

use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error as Cause, Transaction};

use super::locks;
use super::merge::some_without_time;
use super::staging::StagingTable;
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::transform::times::Period;

/// Lock timeout of one attempt, and so the longest time that queries wait behind it. It is longer than the one
/// second after which PostgreSQL cancels an autovacuum that blocks the lock (`deadlock_timeout`).
const ATTEMPT: Duration = Duration::from_millis(1500);
/// Pause between two attempts, so that other queries can pass.
const PAUSE: Duration = Duration::from_secs(1);

/// The operation that attaches a staging table as a partition.
pub struct Attach<'a> {
    transaction: &'a Transaction<'a>,
    /// The control connection, which can run queries while the transaction waits.
    control: &'a Client,
    /// The server's process ID of the transaction's session.
    session: i32,
    table: &'a TableName,
    period: &'a Period,
    staging: String,
    filename: &'a str,
    identifiers: minijinja::Value,
}

/// How the rows of the new partition differ from those of the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attached {
    /// Number of rows of the file that were dropped, since the target already held their key.
    pub rows_matched: u64,
    /// Number of rows under the file's name that came from the default partition.
    pub rows_of_file_moved: u64,
}

impl<'a> Attach<'a> {
    /// Creates the operation that attaches `staging` to `table`.
    pub fn new(
        transaction: &'a Transaction<'a>,
        (control, session): (&'a Client, i32),
        table: &'a TableName,
        staging: &StagingTable,
        period: &'a Period,
        filename: &'a str,
        identifiers: &minijinja::Value,
    ) -> Self {
        let staging = staging.name.quoted();
        let identifiers = minijinja::context! {
            staging => staging.clone(),
            ..identifiers.clone()
        };
        Self { transaction, control, session, table, period, staging, filename, identifiers }
    }

    /// Creates the target's indexes on the staging table. This reads all rows, so it is done before the load takes
    /// the table's lock.
    pub async fn create_indexes(&self) -> Result<()> {
        let failed = |cause| self.failed(cause);
        let list = statement::render("list_indexes.sql", &self.identifiers)?;
        let listed =
            self.transaction.query(&list, &[&self.table.quoted(), &self.staging]).await.map_err(failed)?;
        for create in listed {
            self.transaction.batch_execute(create.get(0)).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Deletes the staged rows that match rows of the target outside of the month: rows without a time and, if the
    /// file `was_loaded` before, rows whose time has been changed. Returns the number of deleted rows.
    pub async fn delete_matched_elsewhere(&self, was_loaded: bool) -> Result<u64> {
        let some_without_time = some_without_time(self.transaction, self.table, &self.identifiers).await?;
        if !was_loaded && !some_without_time {
            return Ok(0);
        }
        let delete = statement::render("delete_matched.sql", &self.identifiers)?;
        self.transaction.execute(&delete, &[&was_loaded]).await.map_err(|cause| self.failed(cause))
    }

    /// Attaches the partition. Waits at most `timeout` for the default partition. The caller holds the table's lock.
    pub async fn run(&self, timeout: Duration, report: &dyn Report) -> Result<Attached> {
        let began = Instant::now();
        let mut said = false;
        loop {
            let left = timeout.saturating_sub(began.elapsed());
            self.execute("SAVEPOINT attach").await?;
            let cause = match self.attempt(left.min(ATTEMPT)).await? {
                Ok(attached) => return Ok(attached),
                Err(cause) => cause,
            };
            if !failure::is_lock_timeout(&cause) && !failure::is_overtaken(&cause) {
                return Err(self.failed(cause));
            }
            self.execute("ROLLBACK TO SAVEPOINT attach").await?;
            if began.elapsed() + PAUSE > timeout {
                let text =
                    format!("the default partition of {} is in use by {}", self.table, self.users().await?);
                return Err(Error::new(Kind::LockHeld, text).because(cause).hint(format!(
                    "waited {:.1} s for it: --lock-timeout waits longer, and running again later is safe",
                    began.elapsed().as_secs_f64()
                )));
            }
            if !said {
                let users = self.users().await?;
                report.notice(&format!(
                    "waiting for the default partition of {}, in use by {users}",
                    self.table
                ));
                said = true;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes one attempt. The inner error is the server's, so that the caller can decide whether to try again.
    async fn attempt(&self, lock_timeout: Duration) -> Result<Result<Attached, Cause>> {
        locks::bound(self.transaction, lock_timeout, true).await?;
        let holds_rows = statement::render("holds_rows.sql", &self.identifiers)?;
        let attach = statement::render("attach_partition.sql", &self.identifiers)?;
        let moving = statement::render("move_rows_of_month.sql", &self.identifiers)?;
        let range = &self.period.range;
        let attempt = async {
            let mut attached = Attached::default();
            let held = self.transaction.query_one(&holds_rows, &[&range.start, &range.end, &false]).await?;
            if held.get(0) {
                let bounds: [&(dyn ToSql + Sync); 3] = [&range.start, &range.end, &self.filename];
                let moved = self.transaction.query_one(&moving, &bounds).await?;
                let count = |index| moved.get::<_, i64>(index).unsigned_abs();
                (attached.rows_matched, attached.rows_of_file_moved) = (count(0), count(1));
            }
            self.transaction.batch_execute(&attach).await?;
            Ok(attached)
        };
        Ok(attempt.await)
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        self.transaction.batch_execute(statement).await.map_err(|cause| self.failed(cause))
    }

    /// Describes the sessions that keep the load waiting, for messages.
    async fn users(&self) -> Result<String> {
        let find = statement::render("find_table_users.sql", &minijinja::context! {})?;
        let failed = |cause| failure::statement("cannot find out who uses a table", cause);
        let users =
            self.control.query(&find, &[&self.table.quoted(), &self.session]).await.map_err(failed)?;
        let users: Vec<String> = users
            .iter()
            .map(|row| {
                let (pid, user, program): (i32, Option<String>, Option<String>) =
                    (row.get(0), row.get(1), row.get(2));
                format!("process {pid} ({} of {})", program.unwrap_or_default(), user.unwrap_or_default())
            })
            .collect();
        Ok(if users.is_empty() { "a session that has just ended".to_owned() } else { users.join(", ") })
    }

    fn failed(&self, cause: Cause) -> Error {
        failure::statement(format!("attaching a partition to {} failed", self.table), cause)
    }
}
