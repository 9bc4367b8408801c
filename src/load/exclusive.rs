//! Changes to a partitioned table that need an exclusive lock on its default partition, which every query of the whole
//! table reads.
//!
//! A waiting lock request blocks all later queries until the earlier queries end. The lock is therefore requested with a
//! short timeout; other queries then pass, and the change is tried again.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, Error as Cause, Transaction};

use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::locks;
use crate::database::session;
use crate::database::statement::sql;
use crate::error::{Error, Kind, Result};
use crate::report::Report;

/// Lock timeout of one attempt, and so the longest time that queries wait behind it. It is longer than the one
/// second after which PostgreSQL cancels an autovacuum that blocks the lock (`deadlock_timeout`).
const ATTEMPT_LOCK_TIMEOUT: Duration = Duration::from_millis(1500);
/// Pause between two attempts, so that other queries can pass.
const PAUSE: Duration = Duration::from_secs(1);

/// A change of a table, in a transaction, that needs an exclusive lock.
pub(crate) struct Exclusive<'a> {
    /// The transaction of the change.
    pub(crate) transaction: &'a Transaction<'a>,
    /// A session that sees who holds a lock.
    pub(crate) control: &'a Client,
    /// The server's process ID of the transaction's session.
    pub(crate) server_pid: i32,
    /// The partitioned table.
    pub(crate) table: &'a TableName,
    /// Maximum time to wait for the lock.
    pub(crate) timeout: Duration,
    /// Receives a notice of a long wait.
    pub(crate) report: &'a dyn Report,
}

/// The attempts at a change.
pub(crate) struct Attempts<'a> {
    change: Exclusive<'a>,
    began: Instant,
    is_reported: bool,
}

impl<'a> Exclusive<'a> {
    /// Starts to count the time of the attempts.
    pub(crate) fn attempts(self) -> Attempts<'a> {
        Attempts { change: self, began: Instant::now(), is_reported: false }
    }
}

impl Attempts<'_> {
    /// Begins an attempt: from a savepoint, with a short lock timeout.
    pub(crate) async fn begin(&self) -> Result<()> {
        let remaining = self.change.timeout.saturating_sub(self.began.elapsed());
        self.execute("SAVEPOINT exclusive").await?;
        locks::set_timeout(self.change.transaction, remaining.min(ATTEMPT_LOCK_TIMEOUT), true).await
    }

    /// Rolls back an attempt that failed with `cause`, and lets other queries pass before the next one. Fails if another
    /// attempt would not help, or if the time is over.
    pub(crate) async fn wait_after(
        &mut self,
        cause: Cause,
        failed: impl FnOnce(Cause) -> Error,
    ) -> Result<()> {
        if !failure::is_lock_timeout(&cause) && !failure::is_concurrent_change(&cause) {
            return Err(failed(cause));
        }
        self.execute("ROLLBACK TO SAVEPOINT exclusive").await?;
        let table = self.change.table;
        if self.began.elapsed() + PAUSE > self.change.timeout {
            let text = format!("the default partition of {table} is in use by {}", self.users().await?);
            return Err(Error::new(Kind::LockHeld, text).because(cause).hint(format!(
                "waited {:.1} s: use --lock-timeout to wait longer; it is safe to run the command again",
                self.began.elapsed().as_secs_f64()
            )));
        }
        if !self.is_reported {
            let users = self.users().await?;
            self.change
                .report
                .notice(&format!("waiting for the default partition of {table}, which is in use by {users}"));
            self.is_reported = true;
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        let failed = |cause| failure::statement(format!("cannot lock table {}", self.change.table), cause);
        self.change.transaction.batch_execute(statement).await.map_err(failed)
    }

    /// Describes the sessions that hold the lock, for messages.
    async fn users(&self) -> Result<String> {
        let table = self.change.table;
        let failed =
            |cause| failure::statement(format!("cannot list the sessions that use table {table}"), cause);
        let users = self
            .change
            .control
            .query(sql!("find_table_users.sql"), &[&table.quoted(), &self.change.server_pid])
            .await
            .map_err(failed)?;
        let users: Vec<String> = users.iter().map(session::describe).collect();
        Ok(if users.is_empty() { "a session that has just ended".to_owned() } else { users.join(", ") })
    }
}
