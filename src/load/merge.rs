//! MERGE: which rows of a file may have a match in the target, and of those the ones that have none, into the target.
//!
//! A key is made of its row's time among others, so a match has the same time. Every statement says so in constants,
//! and the target's index on the time spares the server the rest: a month's load costs the same however many others
//! the target holds.
//!
//! Rows are told apart by their times, the file's and the target's:
//!
//! | rows | the target | go by |
//! |---|---|---|
//! | in the file's period | holds none of it, or few (strays of other files) | COPY into the target |
//! | in the file's period | holds many of it, since the file was loaded before | COPY into the target of those whose keys are not among the target's, which the load reads first |
//! | in the file's period | holds many of it otherwise | MERGE bounded by their span |
//! | where the target holds those few, or outside of the period (real files have some, from years ago or an hour too late) | | MERGE bounded by their times |
//! | without a time (in real files none) | | MERGE with all |
//!
//! Loads of different months go on side by side, and do not see each other's rows before they are committed. Rows of two
//! periods cannot match; those outside of a file's period (strays) can match another's rows. So a load merges its strays
//! at its end, when the table's lock lets one load after the other finish: it sees what the others have committed. The
//! rows of its period went before, and where a stray of another load came in between, they are taken back. That is what
//! one load after the other would have come to, in the order of their commits.

use std::collections::BTreeSet;
use std::ops::Range;

use futures_util::TryStreamExt as _;
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::copy::{Chunk, Copied};
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::transform::batch::Sorting;
use crate::transform::known::{KEYS_LIMIT, KnownKeys};
use crate::transform::row_key::RowKey;
use crate::transform::times::{Bounds, Period, TIMES_LIMIT, Times};
use crate::transform::timestamp::Timestamp;

/// A merge under way.
pub struct Merge<'a> {
    transaction: &'a Transaction<'a>,
    table: &'a TableName,
    period: &'a Period,
    identifiers: minijinja::Value,
    /// The oldest transaction whose rows were perhaps not seen at the beginning.
    seen_until: String,
    /// The runs no older than that which were seen.
    seen: Vec<Uuid>,
    /// The tables of all chunks.
    chunks: Vec<String>,
    /// Rows that are merged at the end.
    strays: Vec<Chunk>,
    /// Rows of the period, which were compared with the target's.
    merged: Vec<Chunk>,
    /// Whether no row of the target can match those of the file's period that go on as they come.
    period_is_free: bool,
    /// Whether that is because the others were compared with the target's keys.
    compares_keys: bool,
    rows_inserted: u64,
}

impl<'a> Merge<'a> {
    /// Looks at what the target holds, and so which rows may go on as they come. `identifiers` are those of the tables and
    /// their columns; `rows_known` is how many rows of the file the target is known to hold in the period.
    pub async fn begin(
        transaction: &'a Transaction<'a>,
        table: &'a TableName,
        period: &'a Period,
        identifiers: &minijinja::Value,
        rows_known: Option<u64>,
    ) -> Result<(Self, Sorting)> {
        let find = statement::render("find_present.sql", identifiers)?;
        let (range, limit) = (&period.range, TIMES_LIMIT as i64);
        let found = transaction
            .query_one(&find, &[&range.start, &range.end, &limit, &table.to_string(), &table.quoted()])
            .await
            .map_err(|cause| failed(table, cause))?;
        let (rows, times): (i64, Vec<Timestamp>) = (found.get(0), found.get(1));
        let (some_without_time, has_policies): (bool, bool) = (found.get(2), found.get(3));
        let may_copy = !some_without_time && !has_policies;
        let is_few = may_copy && rows < limit;
        let known = match rows_known {
            Some(rows) if may_copy && !is_few && rows <= KEYS_LIMIT => {
                known_keys(transaction, table, range, identifiers, rows).await?
            }
            _ => None,
        };
        let merge = Self {
            transaction,
            table,
            period,
            identifiers: minijinja::context! { some_without_time, ..identifiers.clone() },
            seen_until: found.get(4),
            seen: found.get(5),
            chunks: Vec::new(),
            strays: Vec::new(),
            merged: Vec::new(),
            period_is_free: is_few || known.is_some(),
            compares_keys: known.is_some(),
            rows_inserted: 0,
        };
        let except = if is_few { times.into_iter().collect() } else { BTreeSet::new() };
        Ok((merge, Sorting { period: range.clone(), except, known }))
    }

    /// Whether no row of the target can match those of the file's period that go on as they come.
    pub const fn period_is_free(&self) -> bool {
        self.period_is_free
    }

    /// The tables of all chunks, quoted.
    pub fn chunks(&self) -> &[String] {
        &self.chunks
    }

    /// Merges the rows of the file's period that were not copied into the target; strays wait for the end.
    pub async fn begin_with(&mut self, copied: Copied) -> Result<()> {
        self.rows_inserted += copied.rows_inserted;
        for chunk in copied.chunks {
            self.chunks.push(chunk.table.clone());
            match chunk.times {
                Times::Inside(_) => {
                    self.merge(&chunk, false).await?;
                    self.merged.push(chunk);
                }
                Times::Anywhere { .. } => self.strays.push(chunk),
            }
        }
        Ok(())
    }

    /// Merges a chunk; `again` where it has been, so that what this transaction has inserted is a match too.
    async fn merge(&mut self, chunk: &Chunk, again: bool) -> Result<()> {
        match chunk.times.bounds() {
            Bounds::Times(times) => self.execute("merge_times.sql", chunk, again, &[&times]).await,
            Bounds::Span(span) => {
                self.execute("merge_span.sql", chunk, again, &[&span.first, &span.last]).await
            }
            Bounds::None => self.execute("merge_all.sql", chunk, again, &[]).await,
        }
    }

    async fn execute(
        &mut self,
        file: &str,
        chunk: &Chunk,
        own_rows_match: bool,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<()> {
        let identifiers = minijinja::context! {
            chunk => chunk.table.clone(),
            own_rows_match,
            ..self.identifiers.clone()
        };
        let statement = statement::render(file, &identifiers)?;
        let inserted = self.transaction.execute(&statement, values).await;
        self.rows_inserted += inserted.map_err(|cause| failed(self.table, cause))?;
        Ok(())
    }

    /// Adds the strays, makes up for what other loads have committed in the meantime, and lets the planner know the new
    /// rows; to be called under the table's lock.
    pub async fn finish(mut self) -> Result<Merged> {
        let committed = self.find_committed().await?;
        if committed.some_deleted {
            // what a row was matched with may have been replaced since, by a file without it
            if self.compares_keys {
                let text = format!("the merge into {} was overtaken", self.table);
                return Err(Error::new(Kind::LockHeld, text)
                    .because(Overtaken)
                    .hint("running again is safe"));
            }
            for chunk in std::mem::take(&mut self.merged) {
                self.merge(&chunk, true).await?;
            }
        }
        let strays = std::mem::take(&mut self.strays);
        let stray_times = listed_times(&strays);
        let matches = self.find_matches(&strays, stray_times.as_deref(), &committed).await?;
        for chunk in &strays {
            if matches.of_strays {
                self.merge(chunk, false).await?;
            } else {
                self.execute("insert_strays.sql", chunk, false, &[]).await?;
            }
        }
        if matches.of_own_rows {
            self.take_back(&committed).await?;
        }
        let failed = |cause| failed(self.table, cause);
        if !self.chunks.is_empty() {
            let drop = statement::render("drop_chunks.sql", &minijinja::context! { chunks => self.chunks })?;
            self.transaction.batch_execute(&drop).await.map_err(failed)?;
        }
        if self.rows_inserted > 0 {
            let known = statement::render("has_statistics.sql", &self.identifiers)?;
            let time_column = self.period.time_column.to_lowercase();
            let known = self.transaction.query_one(&known, &[&self.table.quoted(), &time_column]).await;
            if !known.map_err(failed)?.get::<_, bool>(0) {
                let analyze = statement::render("analyze_target.sql", &self.identifiers)?;
                self.transaction.batch_execute(&analyze).await.map_err(failed)?;
            }
        }
        Ok(Merged { rows_inserted: self.rows_inserted, stray_times })
    }

    async fn find_committed(&self) -> Result<Committed> {
        let range = &self.period.range;
        let find = statement::render("find_committed.sql", &self.identifiers)?;
        let table = self.table.to_string();
        let values: [&(dyn ToSql + Sync); 5] =
            [&table, &self.seen_until, &self.seen, &range.start, &range.end];
        let found = self.transaction.query_one(&find, &values).await;
        let found = found.map_err(|cause| failed(self.table, cause))?;
        Ok(Committed { all_times: found.get(0), times: found.get(1), some_deleted: found.get(2) })
    }

    /// Looks once for what hardly ever is: each look reads stretches of the table that other loads share. Strays whose
    /// times are not listed are taken to have matches.
    async fn find_matches(
        &self,
        strays: &[Chunk],
        stray_times: Option<&[Timestamp]>,
        committed: &Committed,
    ) -> Result<Matches> {
        let is_listed = stray_times.is_some();
        let times = [stray_times.unwrap_or_default(), &committed.times].concat();
        let all_times = committed.all_times;
        if times.is_empty() && !all_times {
            return Ok(Matches { of_strays: !is_listed, of_own_rows: false });
        }
        let strays: Vec<String> =
            strays.iter().filter(|_| is_listed).map(|chunk| chunk.table.clone()).collect();
        let names = minijinja::context! { strays, all_times, ..self.identifiers.clone() };
        let find = statement::render("find_matches.sql", &names)?;
        let range = &self.period.range;
        let values: [&(dyn ToSql + Sync); 4] = [&self.seen_until, &times, &range.start, &range.end];
        let found = self.transaction.query_one(&find, if all_times { &values } else { &values[..2] }).await;
        let found = found.map_err(|cause| failed(self.table, cause))?;
        Ok(Matches { of_strays: !is_listed || found.get(0), of_own_rows: found.get(1) })
    }

    async fn take_back(&mut self, committed: &Committed) -> Result<()> {
        let all_times = committed.all_times;
        let names = minijinja::context! { all_times, ..self.identifiers.clone() };
        let take_back = statement::render("take_back.sql", &names)?;
        let range = &self.period.range;
        let by_range: [&(dyn ToSql + Sync); 3] = [&self.seen_until, &range.start, &range.end];
        let by_times: [&(dyn ToSql + Sync); 2] = [&self.seen_until, &committed.times];
        let values = if all_times { &by_range[..] } else { &by_times[..] };
        let taken = self.transaction.execute(&take_back, values).await;
        self.rows_inserted -= taken.map_err(|cause| failed(self.table, cause))?;
        Ok(())
    }
}

/// What other loads have committed since this one looked.
struct Committed {
    /// Whether the times are not known of all rows outside of their files' periods.
    all_times: bool,
    /// The times that are, in this file's period.
    times: Vec<Timestamp>,
    /// Whether rows were deleted, to be replaced.
    some_deleted: bool,
}

/// What the target was seen to hold at the end.
struct Matches {
    /// Whether strays may match other rows.
    of_strays: bool,
    /// Whether rows that went in before match what others have committed since.
    of_own_rows: bool,
}

/// The times of all rows of `strays`; `None` where they are too many to list, or some row has none.
fn listed_times(strays: &[Chunk]) -> Option<Vec<Timestamp>> {
    let mut all = Vec::new();
    for chunk in strays {
        match chunk.times.bounds() {
            Bounds::Times(times) => all.extend(times),
            Bounds::Span(_) | Bounds::None => return None,
        }
    }
    Some(all)
}

/// The keys of the target in the range, if they are not too many; about `rows` of them are to be expected.
async fn known_keys(
    transaction: &Transaction<'_>,
    table: &TableName,
    range: &Range<Timestamp>,
    identifiers: &minijinja::Value,
    rows: u64,
) -> Result<Option<KnownKeys>> {
    let failed = |cause| failed(table, cause);
    let find = statement::render("find_keys.sql", identifiers)?;
    let limit = KEYS_LIMIT as i64 + 1;
    let values: [&(dyn ToSql + Sync); 3] = [&range.start, &range.end, &limit];
    let found = transaction.query_raw(&find, values).await.map_err(failed)?;
    let mut found = std::pin::pin!(found);
    let (mut keys, mut count) = (Vec::with_capacity(rows as usize), 0);
    while let Some(row) = found.try_next().await.map_err(failed)? {
        count += 1;
        // any other text is no row's of the file
        keys.extend(row.get::<_, Option<&str>>(0).and_then(RowKey::from_text));
    }
    Ok((count < limit).then(|| KnownKeys::new(keys)))
}

/// Another load has replaced rows that the file's were compared with.
#[derive(Debug, thiserror::Error)]
#[error("another load replaced rows meanwhile")]
struct Overtaken;

/// Whether `error` says so: the load is to be started over.
pub fn is_overtaken(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<Overtaken>())
}

/// What a merge came to.
pub struct Merged {
    /// The rows that were new.
    pub rows_inserted: u64,
    /// The times of the rows that were merged at the end; `None` where they are too many to list.
    pub stray_times: Option<Vec<Timestamp>>,
}

fn failed(table: &TableName, cause: tokio_postgres::Error) -> Error {
    failure::statement(format!("merge into target table {table} failed"), cause)
}
