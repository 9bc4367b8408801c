//! Checks whether the target holds the expected rows: compares its row counts per file with the counts in the ledger
//! and the published counts.

use std::collections::HashMap;

use serde::Serialize;
use tokio_postgres::Client;

use super::job::Job;
use crate::database::failure;
use crate::database::statement::render;
use crate::error::Result;
use crate::ledger::history::{self, LedgerCounts};
use crate::load::tables;
use crate::load::transaction::count_held;

/// The row counts of a file: in the target, in the ledger, and as published.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VerifiedFile {
    /// The file's name.
    pub(crate) filename: String,
    /// The target table.
    pub(crate) table: String,
    /// Number of rows that the target holds under the file's name.
    pub(crate) rows_in_target: u64,
    /// Number of rows that the last load of the file staged, if there was one.
    pub(crate) rows_in_ledger: Option<u64>,
    /// Number of rows that the last load rejected.
    pub(crate) rows_rejected: u64,
    /// Number of rows that the file had when it was published, if known.
    pub(crate) rows_published: Option<u64>,
    /// Whether the counts agree.
    pub(crate) verdict: Verdict,
}

/// Whether the row counts of a file agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The counts agree.
    Agrees,
    /// The file was published, but has not been loaded.
    NotLoaded,
    /// The target holds fewer or more rows than were loaded.
    Differs,
    /// The loaded file does not have the published number of rows.
    NotAsPublished,
    /// The file was loaded, and its rows were dropped on purpose.
    Dropped,
    /// There are no counts to compare with.
    Unknown,
}

impl Verdict {
    /// The verdict as text for users.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Agrees => "✓",
            Self::NotLoaded => "✗ not loaded",
            Self::Differs => "✗ differs from the ledger",
            Self::NotAsPublished => "✗ differs from the published count",
            Self::Dropped => "dropped",
            Self::Unknown => "? no counts",
        }
    }

    /// Whether the verdict reports a mismatch.
    pub(crate) const fn is_mismatch(self) -> bool {
        matches!(self, Self::NotLoaded | Self::Differs | Self::NotAsPublished)
    }

    /// Compares the counts. `in_period` is the number of those rows in the target that lie in the file's own
    /// month.
    fn of(in_target: u64, in_period: u64, ledger: Option<LedgerCounts>, published: Option<u64>) -> Self {
        let Some(ledger) = ledger else {
            return match published {
                Some(_) if in_target == 0 => Self::NotLoaded,
                Some(published) if in_target == published => Self::Agrees,
                Some(_) => Self::NotAsPublished,
                None => Self::Unknown,
            };
        };
        if ledger.is_dropped {
            return if in_target == 0 { Self::Dropped } else { Self::Differs };
        }
        // a row whose key the target already holds under another file's name is not stored under this name
        let as_loaded = in_target == ledger.rows_staged
            || in_target < ledger.rows_staged && ledger.rows_in_period == Some(in_period);
        match published {
            _ if !as_loaded => Self::Differs,
            Some(published) if published != ledger.rows_read => Self::NotAsPublished,
            _ => Self::Agrees,
        }
    }
}

/// Checks the months of these jobs, which all load into one table. Reads the whole table. A month whose file is not
/// known in any form is one file.
pub(crate) async fn check(client: &mut Client, jobs: Vec<Job>) -> Result<Vec<VerifiedFile>> {
    let forms: Vec<[Job; 2]> = jobs.into_iter().map(Job::in_each_form).collect();
    let jobs: Vec<&Job> = forms.iter().flatten().collect();
    let checked = check_files(client, &jobs).await?;
    let is_known = |file: &VerifiedFile| {
        file.rows_in_target > 0 || file.rows_in_ledger.is_some() || file.verdict == Verdict::Dropped
    };
    let months = checked.chunks_exact(2).map(|forms| {
        let known: Vec<VerifiedFile> = forms.iter().filter(|file| is_known(file)).cloned().collect();
        if known.is_empty() { forms[..1].to_vec() } else { known }
    });
    Ok(months.flatten().collect())
}

async fn check_files(client: &mut Client, jobs: &[&Job]) -> Result<Vec<VerifiedFile>> {
    let Some(first) = jobs.first() else { return Ok(Vec::new()) };
    let filenames: Vec<&str> = jobs.iter().map(|job| job.filename.as_str()).collect();
    let held = count(client, first, &filenames).await?;
    let known = history::counts(client, &first.table, &filenames).await?;
    let mut checked = Vec::new();
    for job in jobs {
        let in_target = held.get(&job.filename).copied().unwrap_or_default();
        let in_period = if in_target > 0 {
            count_held(client, &job.table, &job.filename, &job.period, &job.names()).await?
        } else {
            0
        };
        let ledger = known.get(&job.filename).copied();
        checked.push(VerifiedFile {
            filename: job.filename.clone(),
            table: job.table.to_string(),
            rows_in_target: in_target,
            rows_in_ledger: ledger.filter(|known| !known.is_dropped).map(|known| known.rows_staged),
            rows_rejected: ledger.map_or(0, |known| known.rows_read - known.rows_staged),
            rows_published: job.published_rows,
            verdict: Verdict::of(in_target, in_period, ledger, job.published_rows),
        });
    }
    Ok(checked)
}

async fn count(client: &Client, job: &Job, filenames: &[&str]) -> Result<HashMap<String, u64>> {
    let failed = |cause| failure::statement(format!("cannot count the rows of {}", job.table), cause);
    if !tables::exists(client, &job.table).await? {
        return Ok(HashMap::new());
    }
    let count = render!("count_files.sql", &job.names())?;
    let rows = client.query(&count, &[&filenames]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_compares_all_three_counts() {
        let known = |rows_read, rows_staged, rows_in_period| {
            Some(LedgerCounts { rows_read, rows_staged, rows_in_period, is_dropped: false })
        };
        let dropped = known(10, 10, Some(10)).map(|counts| LedgerCounts { is_dropped: true, ..counts });
        let loaded = |rows, in_period| known(rows, rows, Some(in_period));
        for (in_target, in_period, ledger, published, verdict) in [
            (10, 10, loaded(10, 10), Some(10), Verdict::Agrees),
            (10, 9, loaded(10, 9), None, Verdict::Agrees),
            // the target holds one row under another file's name
            (9, 9, loaded(10, 9), Some(10), Verdict::Agrees),
            (8, 8, loaded(10, 9), Some(10), Verdict::Differs),
            (11, 9, loaded(10, 9), Some(10), Verdict::Differs),
            (0, 0, loaded(10, 10), None, Verdict::Differs),
            (9, 9, loaded(9, 9), Some(10), Verdict::NotAsPublished),
            // loaded by an old version of taxi, which did not count the rows in the period
            (10, 10, known(10, 10, None), None, Verdict::Agrees),
            (9, 9, known(10, 10, None), None, Verdict::Differs),
            // one row was rejected
            (9, 9, known(10, 9, Some(9)), Some(10), Verdict::Agrees),
            (8, 8, known(10, 9, Some(9)), Some(10), Verdict::Differs),
            (10, 10, None, Some(10), Verdict::Agrees),
            (9, 9, None, Some(10), Verdict::NotAsPublished),
            (0, 0, dropped, Some(10), Verdict::Dropped),
            (10, 10, dropped, Some(10), Verdict::Differs),
            (0, 0, None, Some(10), Verdict::NotLoaded),
            (0, 0, None, None, Verdict::Unknown),
            (5, 5, None, None, Verdict::Unknown),
        ] {
            let found = Verdict::of(in_target, in_period, ledger, published);
            assert_eq!(found, verdict, "{in_target} {in_period} {ledger:?} {published:?}");
        }
    }
}
