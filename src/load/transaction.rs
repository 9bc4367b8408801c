//! A load in progress: its transaction, and what its statements need.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient, Transaction};

use super::target::Target;
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::locks::{self, Lock};
use crate::database::statement::render;
use crate::error::{Error, Kind, Result};
use crate::extract::rows::Place;
use crate::report::Report;
use crate::transform::times::Period;
use crate::transform::timestamp::LocalTime;

/// A load in progress: its transaction, and what the statements need.
pub(crate) struct Load<'a> {
    /// The transaction of the whole load.
    pub(crate) transaction: &'a Transaction<'a>,
    /// The control connection: for statements that must not be part of the transaction, or cannot wait for it.
    pub(crate) control: &'a Client,
    /// The server's process ID of the transaction's session.
    pub(crate) server_pid: i32,
    /// The target table.
    pub(crate) table: &'a TableName,
    /// The properties of the target table.
    pub(crate) target: Target,
    /// The file's month.
    pub(crate) period: &'a Period,
    /// The file name that is stored with each row.
    pub(crate) filename: &'a str,
    /// The quoted names of the tables and columns, for the statement templates.
    pub(crate) names: minijinja::Value,
    /// Whether the file was loaded before, so that its rows may be in the target with other times.
    pub(crate) was_loaded: bool,
    /// The files whose old rows are deleted first.
    pub(crate) replaces: Vec<String>,
    /// What the positions of the file's rows count.
    pub(crate) place: Place,
    /// Maximum time to wait for a lock that another session holds.
    pub(crate) lock_timeout: Duration,
    /// Receives a notice of each long wait.
    pub(crate) report: &'a dyn Report,
}

/// Result of adding a file's rows to the target.
pub(crate) struct Added {
    /// Number of rows that were inserted.
    pub(crate) rows_inserted: u64,
    /// Number of old rows of the file that were deleted.
    pub(crate) rows_deleted: u64,
    /// Number of the target's rows under the file's name in its month, if it follows from the other counts.
    pub(crate) rows_in_period: Option<u64>,
}

impl Load<'_> {
    /// Waits until no other load is adding rows to the table, and deletes the file's rows if they are to be replaced.
    /// Returns the number of deleted rows, and whether the target may still hold rows of the file.
    pub(crate) async fn begin_to_add(&self) -> Result<(u64, bool)> {
        locks::take(self.transaction, self.control, &Lock::of_table(self.table), self.report).await?;
        locks::set_timeout(self.transaction, self.lock_timeout, true).await?;
        if self.replaces.is_empty() {
            return Ok((0, self.was_loaded));
        }
        let Self { table, filename, replaces, .. } = self;
        let delete = render!("delete_file.sql", &self.names)?;
        let deleted = self.transaction.execute(&delete, &[replaces]).await.map_err(|cause| {
            failure::statement(format!("cannot delete the rows of {filename} from {table}"), cause)
        })?;
        if !self.target.triggers.is_empty() {
            self.check_deleted().await?;
        }
        Ok((deleted, false))
    }

    /// Fails if a trigger has prevented the deletion of rows of the file.
    async fn check_deleted(&self) -> Result<()> {
        let Self { table, filename, replaces, .. } = self;
        let count = render!("count_files.sql", &self.names)?;
        let remaining = self.transaction.query(&count, &[replaces]).await;
        let remaining = remaining
            .map_err(|cause| failure::statement(format!("cannot count the rows of {table}"), cause))?;
        if remaining.is_empty() {
            return Ok(());
        }
        let names = self.target.triggers.join(", ");
        let text =
            format!("some rows of {filename} were not deleted from {table}, which has triggers: {names}");
        Err(Error::new(Kind::Configuration, text)
            .hint("disable the trigger that keeps rows, or use --if-loaded merge"))
    }

    /// Executes a statement without parameters in the load's transaction.
    pub(crate) async fn execute(&self, statement: &str) -> Result<()> {
        let failed = |cause| failure::statement(format!("cannot load into {}", self.table), cause);
        self.transaction.batch_execute(statement).await.map_err(failed)
    }

    /// The quoted names, with `staging` as the staging table.
    pub(crate) fn names_with(&self, staging: &TableName) -> minijinja::Value {
        minijinja::context! { staging => staging.quoted(), ..self.names.clone() }
    }

    /// Whether the target holds rows without a time.
    pub(crate) async fn holds_rows_without_time(&self) -> Result<bool> {
        let holds = render!("holds_rows.sql", &self.names)?;
        let none: Option<LocalTime> = None;
        let row = self.transaction.query_one(&holds, &[&none, &none, &true]).await;
        let failed = |cause| failure::statement(format!("cannot read table {}", self.table), cause);
        Ok(row.map_err(failed)?.get(0))
    }
}

/// Counts the rows under the file's name that the target holds in the file's month. `names` are the quoted names.
pub(crate) async fn count_held(
    client: &impl GenericClient,
    table: &TableName,
    filename: &str,
    period: &Period,
    names: &minijinja::Value,
) -> Result<u64> {
    let count = render!("count_held.sql", names)?;
    let [start, end] = period.bounds();
    let counted = client.query_one(&count, &[&filename, &start, &end]).await;
    let what = format!("cannot count the rows of {filename} in {table}");
    Ok(counted.map_err(|cause| failure::statement(what, cause))?.get::<_, i64>(0).unsigned_abs())
}
