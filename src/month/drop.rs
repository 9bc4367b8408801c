//! Removes loaded months from the target, all or nothing, so that the ledger no longer counts them as loaded.
//!
//! In: the jobs of the months. Out: what goes. The rows under a file's name go, whatever their time. The partition of
//! the file's month is detached and dropped as a whole, if a load could attach it again; rows of other files in it move
//! to the default partition first. In every other table, the rows are deleted one by one.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::{Client, Transaction};

use super::job::Job;
use super::sessions::Sessions;
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::locks::{self, Lock};
use crate::database::statement::{render, sql};
use crate::error::Result;
use crate::ledger::history;
use crate::load::columns;
use crate::load::exclusive::Exclusive;
use crate::load::tables;
use crate::load::target::{self, Route};
use crate::report::Report;

/// A loaded file, and where the target holds its rows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadedFile {
    /// The file's name.
    pub(crate) filename: String,
    /// The target table.
    pub(crate) table: String,
    /// Number of rows under the file's name.
    pub(crate) rows: u64,
    /// The rows in each partition of the table, or in the table itself.
    pub(crate) partitions: Vec<HeldRows>,
    /// The partition that is dropped as a whole.
    pub(crate) dropped_partition: Option<String>,
    /// Number of rows of other files in that partition, which move to the default partition.
    pub(crate) rows_moved: u64,
}

/// The rows of a file in one partition.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeldRows {
    /// The partition, or the table if it is not partitioned.
    pub(crate) partition: String,
    /// Number of rows.
    pub(crate) rows: u64,
}

/// A month to drop: its job, what goes, and the partition that goes as a whole.
struct Month<'a> {
    job: &'a Job,
    file: LoadedFile,
    partition: Option<(u32, TableName)>,
}

/// Lists the months that are loaded, or whose rows the target holds. The jobs load into one table.
pub(crate) async fn preview(client: &mut Client, jobs: &[Job]) -> Result<Vec<LoadedFile>> {
    let loaded = loaded(client, jobs).await?;
    Ok(survey(client, jobs, &loaded).await?.into_iter().map(|month| month.file).collect())
}

/// Removes the months in one transaction, under the locks of a load. Returns what went. The jobs load into one table.
pub(crate) async fn run(
    sessions: &mut Sessions,
    jobs: &[Job],
    lock_timeout: Duration,
    report: &dyn Report,
) -> Result<Vec<LoadedFile>> {
    let Some(first) = jobs.first() else { return Ok(Vec::new()) };
    let table = &first.table;
    let failed = |cause| failure::statement(format!("cannot drop months of {table}"), cause);
    let server_pid = sessions.server_pids[0];
    let control = &mut sessions.control;
    let transaction = sessions.load.transaction().await.map_err(failed)?;
    for job in jobs {
        let lock = Lock::of_month(table, job.period.range.start, &job.filename, lock_timeout);
        locks::take(&transaction, control, &lock, report).await?;
    }
    locks::take(&transaction, control, &Lock::of_table(table), report).await?;
    locks::set_timeout(&transaction, lock_timeout, true).await?;
    let loaded = loaded(control, jobs).await?;
    let mut months = survey(control, jobs, &loaded).await?;
    delete_rows(&transaction, &months).await?;
    if months.iter().any(|month| month.partition.is_some()) {
        let columns = columns::fillable(control, table).await?;
        let exclusive = Exclusive {
            transaction: &transaction,
            control,
            server_pid,
            table,
            timeout: lock_timeout,
            report,
        };
        let mut attempts = exclusive.attempts();
        let moved = loop {
            attempts.begin().await?;
            match drop_partitions(&transaction, &months, &columns).await? {
                Ok(moved) => break moved,
                Err(cause) => attempts.wait_after(cause, failed).await?,
            }
        };
        std::iter::zip(&mut months, moved).for_each(|(month, moved)| month.file.rows_moved = moved);
    }
    for Month { file, .. } in &months {
        history::mark_dropped(&transaction, table, &file.filename).await?;
        if file.rows > 0 {
            history::forget_matched(&transaction, table, &file.filename).await?;
        }
    }
    transaction.commit().await.map_err(failed)?;
    Ok(months.into_iter().map(|month| month.file).collect())
}

/// The names of the files that count as loaded.
async fn loaded(client: &mut Client, jobs: &[Job]) -> Result<Vec<String>> {
    let Some(first) = jobs.first() else { return Ok(Vec::new()) };
    let filenames: Vec<&str> = jobs.iter().map(|job| job.filename.as_str()).collect();
    let known = history::counts(client, &first.table, &filenames).await?;
    Ok(known.into_iter().filter(|(_, counts)| !counts.is_dropped).map(|(name, _)| name).collect())
}

/// Finds the rows of each file, and the partitions that go as a whole. Leaves out the months of which there is nothing.
async fn survey<'a>(client: &Client, jobs: &'a [Job], loaded: &[String]) -> Result<Vec<Month<'a>>> {
    let Some(first) = jobs.first() else { return Ok(Vec::new()) };
    let table = &first.table;
    let failed = |cause| failure::statement(format!("cannot count the rows of {table}"), cause);
    let counted = match tables::exists(client, table).await? {
        true => client.query(&render!("drop/count_rows.sql", &first.names())?, &[]).await.map_err(failed)?,
        false => Vec::new(),
    };
    let counted: Vec<(Option<String>, u32, String, u64)> = counted
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get::<_, i64>(3).unsigned_abs()))
        .collect();
    let goes = |filename: &Option<String>| jobs.iter().any(|job| filename.as_ref() == Some(&job.filename));
    let mut months = Vec::new();
    for job in jobs {
        let partitions: Vec<HeldRows> = counted
            .iter()
            .filter(|(filename, ..)| filename.as_ref() == Some(&job.filename))
            .map(|(_, _, partition, rows)| HeldRows { partition: partition.clone(), rows: *rows })
            .collect();
        if partitions.is_empty() && !loaded.contains(&job.filename) {
            continue;
        }
        let others = |oid: u32| -> u64 {
            let others = counted.iter().filter(|(filename, of, ..)| *of == oid && !goes(filename));
            others.map(|(.., rows)| rows).sum()
        };
        let partition = whole_partition(client, job).await?;
        let partition = partition.filter(|found| found.has_default || others(found.oid) == 0);
        // the month's file in another form can be in the same partition, which goes once
        let goes_already = |oid: u32| {
            months
                .iter()
                .filter_map(|month: &Month<'_>| month.partition.as_ref())
                .any(|(known, _)| *known == oid)
        };
        let partition = partition.filter(|found| !goes_already(found.oid));
        months.push(Month {
            job,
            file: LoadedFile {
                filename: job.filename.clone(),
                table: table.to_string(),
                rows: partitions.iter().map(|held| held.rows).sum(),
                partitions,
                dropped_partition: partition.as_ref().map(|found| found.name.to_string()),
                rows_moved: partition.as_ref().map_or(0, |found| others(found.oid)),
            },
            partition: partition.map(|found| (found.oid, found.name)),
        });
    }
    Ok(months)
}

/// The partition of a month.
struct MonthPartition {
    oid: u32,
    name: TableName,
    has_default: bool,
}

/// The partition of the job's month, if a load could attach it: the role may, and there are no triggers, policies or
/// references that a DROP would bypass.
async fn whole_partition(client: &Client, job: &Job) -> Result<Option<MonthPartition>> {
    let Job { table, period, computed, .. } = job;
    let column = period.time_column.to_lowercase();
    let found = client
        .query_opt(
            sql!("drop/find_partition.sql"),
            &[&table.quoted(), &column, &period.range.start, &period.range.end],
        )
        .await
        .map_err(|cause| failure::statement(format!("cannot list the partitions of {table}"), cause))?;
    let Some(row) = found else { return Ok(None) };
    let target = target::inspect(client, table, period, &computed.key_column).await?;
    let name = TableName::of(row.get(1), row.get(2));
    let partition = MonthPartition { oid: row.get(0), name, has_default: row.get(3) };
    Ok(matches!(target.new_months, Route::Attach(_)).then_some(partition))
}

/// Deletes the rows that are not in the partitions that go as a whole.
async fn delete_rows(transaction: &Transaction<'_>, months: &[Month<'_>]) -> Result<()> {
    let whole: Vec<&String> =
        months.iter().filter_map(|month| month.file.dropped_partition.as_ref()).collect();
    let has_others =
        |month: &&Month<'_>| month.file.partitions.iter().any(|held| !whole.contains(&&held.partition));
    let Some(first) = months.iter().find(has_others) else { return Ok(()) };
    let filenames: Vec<&str> = months.iter().map(|month| month.file.filename.as_str()).collect();
    let whole: Vec<u32> = months.iter().filter_map(|month| Some(month.partition.as_ref()?.0)).collect();
    let delete = render!("drop/delete_rows.sql", &first.job.names())?;
    let deleted = transaction.execute(&delete, &[&filenames, &whole]).await;
    let what = format!("cannot delete rows from {}", first.job.table);
    deleted.map(drop).map_err(|cause| failure::statement(what, cause))
}

/// Drops the partitions that go as a whole. Returns how many rows of other files each month had. The inner error is the
/// server's.
async fn drop_partitions(
    transaction: &Transaction<'_>,
    months: &[Month<'_>],
    all_columns: &str,
) -> Result<Result<Vec<u64>, tokio_postgres::Error>> {
    let filenames: Vec<&str> = months.iter().map(|month| month.file.filename.as_str()).collect();
    let mut statements = Vec::new();
    for month in months {
        let Some((_, partition)) = &month.partition else {
            statements.push(None);
            continue;
        };
        let partition = partition.quoted();
        let names = minijinja::context! { partition, all_columns, ..month.job.names() };
        statements.push(Some([
            render!("drop/detach_partition.sql", &names)?,
            render!("drop/move_rows.sql", &names)?,
            render!("drop/drop_partition.sql", &names)?,
        ]));
    }
    let attempt = async {
        let mut moved = Vec::new();
        // all of them first: rows that move must not get into a partition that is dropped next
        for [detach, ..] in statements.iter().flatten() {
            transaction.batch_execute(detach).await?;
        }
        for statements in &statements {
            moved.push(match statements {
                None => 0,
                Some([_, move_rows, drop]) => {
                    let rows = transaction.execute(move_rows, &[&filenames]).await?;
                    transaction.batch_execute(drop).await?;
                    rows
                }
            });
        }
        Ok(moved)
    };
    Ok(attempt.await)
}
