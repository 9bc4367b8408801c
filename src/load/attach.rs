//! ATTACH: the staging table of a month that has no partition becomes its partition.
//!
//! Rows of the month that the target holds already are in its default partition: rows of other files that lie outside of those
//! files' months, or of loads by others. They win over rows of the file with the same key, and move into the new partition.
//!
//! ATTACH wants the default partition for itself, and every query of the whole table uses that. A request for the lock would
//! queue all queries that come after it, for as long as the longest one before it runs. So the load asks for a moment, lets the
//! others pass, and asks again.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error as Cause, Transaction};

use super::locks;
use super::merge::holds_rows;
use super::staging::StagingTable;
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::transform::times::Period;

/// How long queries may have to wait behind an attempt. More than the second after which PostgreSQL ends an autovacuum that
/// is in the way (`deadlock_timeout`).
const ATTEMPT: Duration = Duration::from_millis(1500);
/// How long they pass freely before the next.
const PAUSE: Duration = Duration::from_secs(1);

/// A staging table on its way to be a partition.
pub struct Attach<'a> {
    transaction: &'a Transaction<'a>,
    /// The session that can look while the transaction waits.
    control: &'a Client,
    /// The transaction's session.
    session: i32,
    table: &'a TableName,
    period: &'a Period,
    staging: String,
    identifiers: minijinja::Value,
    delete_matched: String,
}

/// What the new partition holds besides the file's rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attached {
    /// Rows of the file whose key the target held.
    pub rows_matched: u64,
    /// Rows that came from the default partition.
    pub rows_moved: u64,
}

impl<'a> Attach<'a> {
    /// Of the `staging` table to the `table`.
    pub fn new(
        transaction: &'a Transaction<'a>,
        (control, session): (&'a Client, i32),
        table: &'a TableName,
        staging: &StagingTable,
        period: &'a Period,
        identifiers: &minijinja::Value,
    ) -> Result<Self> {
        let staging = staging.name.quoted();
        let identifiers = minijinja::context! {
            staging => staging.clone(),
            first_day => period.first_day.to_string(),
            next_first_day => period.next_first_day.to_string(),
            ..identifiers.clone()
        };
        let delete_matched = statement::render("delete_matched.sql", &identifiers)?;
        Ok(Self { transaction, control, session, table, period, staging, identifiers, delete_matched })
    }

    /// Does what reads all rows, before anybody has to wait for it: proves that they lie in the month, and gives them the
    /// indexes that the target has.
    pub async fn prepare(&self) -> Result<()> {
        let failed = |cause| self.failed(cause);
        let prove = statement::render("prove_period.sql", &self.identifiers)?;
        self.transaction.batch_execute(&prove).await.map_err(failed)?;
        let list = statement::render("list_indexes.sql", &self.identifiers)?;
        let listed =
            self.transaction.query(&list, &[&self.table.quoted(), &self.staging]).await.map_err(failed)?;
        for create in listed {
            self.transaction.batch_execute(create.get(0)).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Deletes the staged rows that match rows of the target outside of the month: rows without a time and, where the file
    /// `was_loaded` before, rows whose time was changed. Returns how many.
    pub async fn delete_matched_elsewhere(&self, was_loaded: bool) -> Result<u64> {
        let some_without_time =
            holds_rows(self.transaction, self.table, &self.identifiers, None, true).await?;
        if !was_loaded && !some_without_time {
            return Ok(0);
        }
        self.delete_matched(was_loaded, false, true).await.map_err(|cause| self.failed(cause))
    }

    /// Attaches the partition, to be called under the table's lock; waits no longer than `timeout` for the default partition.
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

    /// One attempt; the inner error is the server's.
    async fn attempt(&self, lock_timeout: Duration) -> Result<Result<Attached, Cause>> {
        locks::bound(self.transaction, lock_timeout, true).await?;
        let holds_some =
            holds_rows(self.transaction, self.table, &self.identifiers, Some(self.period), false).await?;
        let attach = statement::render("attach_partition.sql", &self.identifiers)?;
        let moving = statement::render("move_rows_of_month.sql", &self.identifiers)?;
        let range = &self.period.range;
        let attempt = async {
            let mut attached = Attached::default();
            if holds_some {
                attached.rows_matched = self.delete_matched(false, true, false).await?;
                attached.rows_moved = self.transaction.execute(&moving, &[&range.start, &range.end]).await?;
            }
            self.transaction.batch_execute(&attach).await?;
            Ok(attached)
        };
        Ok(attempt.await)
    }

    async fn delete_matched(
        &self,
        anywhere: bool,
        in_period: bool,
        without_time: bool,
    ) -> Result<u64, Cause> {
        let range = in_period.then_some(&self.period.range);
        let (from, until) = range.map(|range| (range.start, range.end)).unzip();
        self.transaction.execute(&self.delete_matched, &[&anywhere, &from, &until, &without_time]).await
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        self.transaction.batch_execute(statement).await.map_err(|cause| self.failed(cause))
    }

    /// Who keeps the load waiting, as messages say it.
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
