//! MERGE: inserts the rows of a staging table that have no match in the target.
//!
//! The row's time is part of its key, so a match has the same time. Every statement states the times as constants,
//! so that the server reads only the partitions, or the ranges of an index, that can hold a match. These bounds
//! only reduce what is read. They never decide what a match is: if the file was loaded before and some of its rows
//! have no match at their times, somebody may have changed the times in the target, and the keys alone decide.

use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::staging::StagingTable;
use super::target::Target;
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::transform::times::{Period, TimesOutside};
use crate::transform::timestamp::Timestamp;

/// A MERGE into the target table.
pub struct Merge<'a> {
    /// The load's transaction.
    pub transaction: &'a Transaction<'a>,
    /// The target table.
    pub table: &'a TableName,
    /// The properties of the target table.
    pub target: &'a Target,
    /// The file's month.
    pub period: &'a Period,
    /// The quoted names of the tables and columns, for the statement templates.
    pub identifiers: &'a minijinja::Value,
    /// Whether the file was loaded before, so that its rows may be in the target with other times.
    pub was_loaded: bool,
}

/// Where the target can hold matches of the staged rows, as parameters of `merge.sql`.
#[derive(Default)]
struct Bounds {
    anywhere: bool,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    times: Option<Vec<Timestamp>>,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    without_time: bool,
}

impl Bounds {
    fn parameters(&self) -> [&(dyn ToSql + Sync); 7] {
        [&self.anywhere, &self.from, &self.until, &self.times, &self.first, &self.last, &self.without_time]
    }
}

impl Merge<'_> {
    /// Merges all rows of a file from one staging table. `outside` holds the times of the out-of-period rows.
    /// Returns the number of inserted rows.
    pub async fn whole_file(&self, staging: &StagingTable, outside: &TimesOutside) -> Result<u64> {
        let range = &self.period.range;
        let bounds =
            Bounds { from: Some(range.start), until: Some(range.end), ..self.bounds_of(outside).await? };
        self.merge(staging, bounds).await
    }

    /// Merges out-of-period rows, whose times are in `outside`. Returns the number of inserted rows.
    pub async fn out_of_period(&self, staging: &StagingTable, outside: &TimesOutside) -> Result<u64> {
        if staging.rows == 0 {
            return Ok(0);
        }
        self.merge(staging, self.bounds_of(outside).await?).await
    }

    async fn bounds_of(&self, outside: &TimesOutside) -> Result<Bounds> {
        let (times, span) = (outside.listed(), outside.span());
        let span = span.filter(|_| times.is_none());
        Ok(Bounds {
            // a staged row without a time can have the same key as a row of any time
            // and a trigger may have stored another time than the file has
            anywhere: outside.some_without_time() || !self.target.triggers.is_empty(),
            times,
            first: span.map(|(first, _)| first),
            last: span.map(|(_, last)| last),
            // and any staged row can have the same key as a target row without a time: whether there is one is
            // checked only in a partitioned table, where the check is cheap
            without_time: !self.target.is_partitioned
                || some_without_time(self.transaction, self.table, self.identifiers).await?,
            ..Bounds::default()
        })
    }

    async fn merge(&self, staging: &StagingTable, mut bounds: Bounds) -> Result<u64> {
        let failed = |cause| failed(self.table, cause);
        let identifiers =
            minijinja::context! { staging => staging.name.quoted(), ..self.identifiers.clone() };
        let merge = statement::render("merge.sql", &identifiers)?;
        let count = statement::render("count_unmatched.sql", &identifiers)?;
        let has_triggers = !self.target.triggers.is_empty();
        let count_unmatched = async |bounds: &Bounds| {
            let counted = self.transaction.query_one(&count, &bounds.parameters()).await;
            counted.map(|row| row.get::<_, i64>(0).unsigned_abs()).map_err(failed)
        };
        let mut unmatched = None;
        if self.was_loaded && !bounds.anywhere {
            if count_unmatched(&bounds).await? == 0 {
                return Ok(0);
            }
            bounds.anywhere = true;
        }
        if has_triggers {
            unmatched = Some(count_unmatched(&bounds).await?);
        }
        let inserted = self.transaction.execute(&merge, &bounds.parameters()).await.map_err(failed)?;
        match unmatched {
            Some(unmatched) if unmatched != inserted => {
                let names = self.target.triggers.join(", ");
                let lost = unmatched.abs_diff(inserted);
                let text = format!(
                    "table {} took {inserted} of {unmatched} new rows: {lost} were dropped by one of its triggers: {names}",
                    self.table
                );
                Err(Error::new(Kind::Configuration, text).hint(
                    "a load keeps all rows of a file or none: disable the trigger, or let it keep them",
                ))
            }
            _ => Ok(inserted),
        }
    }
}

/// Returns whether the target holds rows without a time.
pub async fn some_without_time(
    transaction: &Transaction<'_>,
    table: &TableName,
    identifiers: &minijinja::Value,
) -> Result<bool> {
    let holds = statement::render("holds_rows.sql", identifiers)?;
    let none: Option<Timestamp> = None;
    let row = transaction.query_one(&holds, &[&none, &none, &true]).await;
    Ok(row.map_err(|cause| failed(table, cause))?.get(0))
}

fn failed(table: &TableName, cause: tokio_postgres::Error) -> Error {
    failure::statement(format!("merge into target table {table} failed"), cause)
}
