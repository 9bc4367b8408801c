//! ATTACH: makes the staging table the month's partition, if the month has no partition yet.
//!
//! Rows of the month that the target already holds are in its default partition. They are out-of-period rows of
//! other files, or rows that somebody else inserted. They move into the new partition. If a row of the file has the
//! same key as one of them, the row of the file is dropped.
//!
//! ATTACH needs an exclusive lock on the default partition: see [`super::exclusive`].

use tokio_postgres::Error as Cause;
use tokio_postgres::types::ToSql;

use super::columns;
use super::exclusive::Exclusive;
use super::merge::Merge;
use super::staging::{Staging, StagingTable};
use super::transaction::{Added, Load};
use crate::database::failure;
use crate::database::statement::{render, sql};
use crate::error::{Error, Result};
use crate::transform::batch::Transformed;

/// Attaches the staging table as the month's partition, and merges the out-of-period rows.
pub(crate) async fn add(load: &Load<'_>, staging: &Staging, transformed: &Transformed) -> Result<Added> {
    // the columns of the target cannot change any more: the staging table was created like it
    let all_columns = columns::fillable(load.transaction, &staging.main.name).await?;
    let names = minijinja::context! { all_columns, ..load.names_with(&staging.main.name) };
    let attach = Attach { load, names };
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
        let Load { transaction, control, server_pid, table, lock_timeout, report, .. } = *self.load;
        let exclusive = Exclusive { transaction, control, server_pid, table, timeout: lock_timeout, report };
        let mut attempts = exclusive.attempts();
        loop {
            attempts.begin().await?;
            match self.attempt().await? {
                Ok(attached) => return Ok(attached),
                Err(cause) => attempts.wait_after(cause, |cause| self.failed(cause)).await?,
            }
        }
    }

    /// Makes one attempt. The inner error is the server's, so that the caller can decide whether to try again.
    async fn attempt(&self) -> Result<Result<Attached, Cause>> {
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

    fn failed(&self, cause: Cause) -> Error {
        failure::statement(format!("cannot attach a partition to {}", self.load.table), cause)
    }
}
