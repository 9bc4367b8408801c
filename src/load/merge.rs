//! MERGE: inserts the rows of a staging table that have no match in the target.
//!
//! The row's time is part of its key, so a match has the same time. Every statement contains the times as constants,
//! so that the server reads only the partitions, or the ranges of an index, that can hold a match. These bounds
//! only reduce what the server reads. They do not define what a match is: if the file was loaded before and some of
//! its rows have no match at their times, somebody may have changed the times in the target. Then only the keys
//! decide.

use tokio_postgres::types::ToSql;

use super::staging::{Staging, StagingTable};
use super::transaction::{Added, Load};
use crate::database::failure;
use crate::database::statement::render;
use crate::error::{Error, Kind, Result};
use crate::transform::batch::Transformed;
use crate::transform::times::TimesOutside;
use crate::transform::timestamp::{LocalTime, Timestamp};

/// Merges all staged rows into the target.
pub(crate) async fn add(load: &Load<'_>, staging: &Staging, transformed: &Transformed) -> Result<Added> {
    let (rows_deleted, was_loaded) = load.begin_to_add().await?;
    let staging = &staging.main;
    let rows_inserted = Merge { load, was_loaded }.whole_file(staging, &transformed.outside).await?;
    // matched rows may be under another file's name, and the target may hold rows of an earlier version of the file
    let is_as_staged = rows_inserted == staging.rows && !was_loaded && load.target.triggers.is_empty();
    let rows_in_period = is_as_staged.then_some(transformed.rows_in_period);
    staging.drop(load).await?;
    Ok(Added { rows_inserted, rows_deleted, rows_in_period })
}

const HOUR_MICROSECONDS: i64 = 3_600_000_000;

/// A MERGE into the target table.
pub(crate) struct Merge<'a> {
    /// The load.
    pub(crate) load: &'a Load<'a>,
    /// Whether the target may hold rows of the file, perhaps with other times.
    pub(crate) was_loaded: bool,
}

/// Where the target can hold matches of the staged rows, as parameters of `merge.sql`.
#[derive(Default)]
struct Bounds {
    anywhere: bool,
    from: Option<LocalTime>,
    until: Option<LocalTime>,
    times: Option<Vec<LocalTime>>,
    first: Option<LocalTime>,
    last: Option<LocalTime>,
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
    async fn whole_file(&self, staging: &StagingTable, outside: &TimesOutside) -> Result<u64> {
        let [from, until] = self.load.period.bounds().map(Some);
        let bounds = Bounds { from, until, ..self.bounds_of(outside).await? };
        self.merge(staging, bounds).await
    }

    /// Merges out-of-period rows, whose times are in `outside`. Returns the number of inserted rows.
    pub(crate) async fn out_of_period(&self, staging: &StagingTable, outside: &TimesOutside) -> Result<u64> {
        if staging.rows == 0 {
            return Ok(0);
        }
        self.merge(staging, self.bounds_of(outside).await?).await
    }

    async fn bounds_of(&self, outside: &TimesOutside) -> Result<Bounds> {
        let (times, span) = (outside.listed(), outside.span());
        let local = |time| self.load.period.local(time);
        // an hour more at each end: times that the clocks skip in spring are not stored in their order
        let span = span.filter(|_| times.is_none());
        let span = span.map(|(Timestamp(first), Timestamp(last))| {
            [first - HOUR_MICROSECONDS, last + HOUR_MICROSECONDS].map(|time| local(Timestamp(time)))
        });
        let [first, last] = span.map_or([None, None], |span| span.map(Some));
        Ok(Bounds {
            // A staged row without a time can have the same key as a row of any time. A trigger may have stored a
            // time that differs from the file's.
            anywhere: outside.some_without_time() || !self.load.target.triggers.is_empty(),
            times: times.map(|times| times.into_iter().map(local).collect()),
            first,
            last,
            // Any staged row can have the same key as a target row without a time. Whether the target has such a
            // row is checked only in a partitioned table, where the check is cheap.
            without_time: !self.load.target.is_partitioned || self.load.holds_rows_without_time().await?,
            ..Bounds::default()
        })
    }

    async fn merge(&self, staging: &StagingTable, mut bounds: Bounds) -> Result<u64> {
        let Load { transaction, table, target, .. } = self.load;
        let failed = |cause| failure::statement(format!("cannot merge into target table {table}"), cause);
        let names = self.load.names_with(&staging.name);
        let (merge, count) = (render!("merge.sql", &names)?, render!("count_unmatched.sql", &names)?);
        let count_unmatched = async |bounds: &Bounds| {
            let counted = transaction.query_one(&count, &bounds.parameters()).await;
            counted.map(|row| row.get::<_, i64>(0).unsigned_abs()).map_err(failed)
        };
        if self.was_loaded && !bounds.anywhere {
            if count_unmatched(&bounds).await? == 0 {
                return Ok(0);
            }
            bounds.anywhere = true;
        }
        if target.triggers.is_empty() {
            return transaction.execute(&merge, &bounds.parameters()).await.map_err(failed);
        }
        let unmatched = count_unmatched(&bounds).await?;
        let inserted = transaction.execute(&merge, &bounds.parameters()).await.map_err(failed)?;
        if inserted == unmatched {
            return Ok(inserted);
        }
        let (dropped, names) = (unmatched.abs_diff(inserted), target.triggers.join(", "));
        let text = format!(
            "table {table} accepted {inserted} of {unmatched} new rows; its triggers dropped {dropped} rows: {names}"
        );
        Err(Error::new(Kind::Configuration, text).hint(
            "disable the trigger that drops rows, or change it; a load inserts all rows of a file or none",
        ))
    }
}
