//! Columns of a file that the target does not have.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::database::failure;
use crate::database::identifier::{NAME_LIMIT_BYTES, TableName, literal, quote};
use crate::database::locks::{self, Lock};
use crate::database::statement::render;
use crate::error::{Error, Kind, Result};

/// What to do with a column of the file that the table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum NewColumns {
    /// Refuse the file.
    #[default]
    Refuse,
    /// Leave the column out.
    Ignore,
    /// Add a text column to the table.
    Add,
}

/// How long one attempt waits for the exclusive lock on the table, and so the longest time that queries wait behind it.
const ATTEMPT_LOCK_TIMEOUT: &str = "1500ms";
const PAUSE: Duration = Duration::from_secs(1);

/// Adds columns with these names to the table, in lower case. Waits for the other loads into the table to end, and
/// requests the exclusive lock on the table for short times only, so that other queries can pass, until `lock_timeout`
/// has passed.
///
/// The columns stay if the load fails later: they are empty then, and the next load fills them.
pub(crate) async fn add(
    client: &Client,
    table: &TableName,
    names: &[String],
    lock_timeout: Duration,
) -> Result<()> {
    let is_invalid = |name: &&String| name.is_empty() || name.len() > NAME_LIMIT_BYTES || name.contains('\0');
    if let Some(name) = names.iter().find(is_invalid) {
        let text = format!("cannot add a column with the name {name:?} to table {table}");
        return Err(Error::new(Kind::Data, text).hint("use --new-columns ignore to leave the column out"));
    }
    let (began, lock) = (Instant::now(), Lock::of_columns(table, lock_timeout));
    for name in names {
        let column = quote(&name.to_lowercase());
        let names = minijinja::context! {
            table => table.quoted(),
            column => &column,
            lock => literal(lock.name()),
            lock_timeout => ATTEMPT_LOCK_TIMEOUT,
        };
        let add = render!("add_column.sql", &names)?;
        loop {
            let remaining = lock_timeout.saturating_sub(began.elapsed());
            locks::set_timeout(client, remaining, false).await?;
            match client.batch_execute(&add).await {
                Ok(()) => break,
                Err(cause) if failure::is_lock_timeout(&cause) && PAUSE < remaining => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(cause) => {
                    let what = format!("cannot add column {column} to table {table}");
                    return Err(failure::statement(what, cause));
                }
            }
        }
    }
    locks::set_timeout(client, lock_timeout, false).await
}
