//! Finds the row that the target refuses, so that the error can name its line: neither MERGE nor ATTACH says which of
//! the staged rows violates a constraint or makes a trigger fail.
//!
//! The rows are inserted again in ever smaller parts, and each part is rolled back: first half of the table's pages,
//! then half of that half, and so on down to one row. All parts together are two more inserts of the whole file.

use tokio_postgres::types::ToSql;

use super::staging::{Staging, StagingTable};
use super::transaction::Load;
use crate::database::statement::render;
use crate::database::{failure, locks};
use crate::error::{Error, Kind, Result};

/// More than a page can hold: a row takes at least 28 bytes of the 8,192.
const ROWS_PER_PAGE: u32 = 300;

/// Adds the line of the first row that the target refuses to `error`. The transaction is back at the state before the
/// rows were added. If the search fails, the error stays as it is.
pub(super) async fn explain(load: &Load<'_>, staging: &Staging, error: Error) -> Error {
    match line(load, staging).await {
        Ok(Some(line)) => {
            error.within(format!("{}, {} {line}: the row was refused", load.filename, load.place.word()))
        }
        Ok(None) | Err(_) => error,
    }
}

async fn line(load: &Load<'_>, staging: &Staging) -> Result<Option<u64>> {
    load.execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
    locks::set_timeout(load.transaction, load.lock_timeout, true).await?;
    // rows outside of the month first: their table is the one whose rows are inserted as here
    let with_lines = staging.created().filter(|table| table.lines.of(0).is_some());
    for table in with_lines.collect::<Vec<_>>().into_iter().rev() {
        if let Some(line) = find(load, table).await? {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// The line of the first refused row of a staging table, if there is one.
async fn find(load: &Load<'_>, table: &StagingTable) -> Result<Option<u64>> {
    let search = Search { load, names: load.names_with(&table.name), is_partition: table.is_partition() };
    let pages = search.count(&render!("count_pages.sql", &search.names)?, &[]).await?;
    let pages = u32::try_from(pages).unwrap_or(u32::MAX);
    if search.accepts((0, 0), (pages, 0)).await? {
        return Ok(None);
    }
    let (mut first, mut end) = (0, pages);
    while end - first > 1 {
        let middle = first + (end - first) / 2;
        match search.accepts((first, 0), (middle, 0)).await? {
            true => first = middle,
            false => end = middle,
        }
    }
    let page = first;
    let (mut first, mut end) = (1, ROWS_PER_PAGE);
    while end - first > 1 {
        let middle = first + (end - first) / 2;
        match search.accepts((page, first), (page, middle)).await? {
            true => first = middle,
            false => end = middle,
        }
    }
    // MERGE skips a row that the target holds, so that another row was refused
    let row = render!("is_held.sql", &search.names)?;
    let held = load.transaction.query_one(&row, &[&text((page, first))]).await;
    let failed = |cause| failure::statement("cannot search the target for the refused row", cause);
    if held.map_err(failed)?.get(0) {
        return Ok(None);
    }
    let count = render!("count_rows_before.sql", &search.names)?;
    let rows_before = search.count(&count, &[&text((page, first))]).await?;
    Ok(table.lines.of(rows_before))
}

/// A page, and a row within it, as the server numbers them.
type Place = (u32, u32);

/// A place as the server writes it.
fn text((page, row): Place) -> String {
    format!("({page},{row})")
}

/// The search in one staging table.
struct Search<'a> {
    load: &'a Load<'a>,
    names: minijinja::Value,
    /// Whether the table would become a partition. Its rows then need no other partition.
    is_partition: bool,
}

impl Search<'_> {
    /// Whether the target accepts the rows from one place up to another, exclusive. Inserts them and rolls back.
    async fn accepts(&self, from: Place, to: Place) -> Result<bool> {
        let insert = render!("insert_part.sql", &self.names)?;
        self.load.execute("SAVEPOINT part").await?;
        let inserted = self.load.transaction.execute(&insert, &[&text(from), &text(to)]).await;
        self.load.execute("ROLLBACK TO SAVEPOINT part").await?;
        match inserted {
            Ok(_) => Ok(true),
            Err(cause) => match failure::statement("cannot insert a part of the rows", cause) {
                error if error.kind() == Kind::Data => Ok(false),
                error if error.kind() == Kind::Configuration => Ok(self.is_partition),
                error => Err(error),
            },
        }
    }

    async fn count(&self, query: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        let counted = self.load.transaction.query_one(query, parameters).await;
        let failed = |cause| failure::statement("cannot count staged rows", cause);
        Ok(counted.map_err(failed)?.get::<_, i64>(0).unsigned_abs())
    }
}
