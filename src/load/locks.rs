//! What keeps runs apart: advisory locks of the load's transaction, which the server lets go when that ends, however it does.
//!
//! | lock | held | keeps apart |
//! |---|---|---|
//! | the run's own | from the beginning | it from the dead, which others mark as lost |
//! | the month's | from the beginning | two loads of one month into one table |
//! | the table's | from the last rows to the commit | the ends of loads of different months, see [`super::merge`] |
//!
//! Each is taken after those above it, and whoever has the table's waits for no other: there is no circle to be locked in.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, Transaction};
use uuid::Uuid;

use crate::database::failure::{self, is_lock_timeout};
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::transform::timestamp::Timestamp;

/// How long a run waits for another of its month before it says so.
const MONTH_SILENCE: Duration = Duration::from_secs(1);
/// How long a load waits for others of its table to end before it says so: each takes a second or two for that.
const TABLE_SILENCE: Duration = Duration::from_secs(20);
/// And how long before it gives up: there may be many, and an end is never long in coming.
const TABLE_TIMEOUT: Duration = Duration::from_secs(600);

/// A lock to be waited for.
pub struct Lock {
    name: String,
    /// As messages call it.
    what: String,
    timeout: Duration,
    silence: Duration,
    hint: &'static str,
}

impl Lock {
    /// The one that keeps two loads of a month apart: of the period that begins at `start`.
    pub fn of_month(table: &TableName, start: Timestamp, filename: &str, timeout: Duration) -> Self {
        Self {
            name: format!("taxi_etl: load {} into {}", start.0, table.quoted()),
            what: format!("the month of {filename} in {table}"),
            timeout,
            silence: MONTH_SILENCE,
            hint: "--lock-timeout waits longer, and running again later is safe",
        }
    }

    /// The one under which loads into a table end.
    pub fn of_table(table: &TableName) -> Self {
        Self {
            name: format!("taxi_etl: end a load into {}", table.quoted()),
            what: format!("the end of a load into {table}"),
            timeout: TABLE_TIMEOUT,
            silence: TABLE_SILENCE,
            hint: "running again later is safe; does that run still do something?",
        }
    }
}

/// The name by which the server knows a run's own lock.
pub fn of_run(run: Uuid) -> String {
    run.simple().to_string()
}

/// Bounds every wait for a lock, of the session or of its transaction alone.
pub async fn bound(client: &impl GenericClient, timeout: Duration, transaction_only: bool) -> Result<()> {
    let set = statement::render("lock_timeout.sql", &minijinja::context! {})?;
    // zero would be no bound
    let timeout = format!("{}ms", timeout.as_millis().clamp(1, i32::MAX as u128));
    client
        .execute(&set, &[&timeout, &transaction_only])
        .await
        .map_err(|cause| failure::statement("cannot bound the wait for locks", cause))?;
    Ok(())
}

/// Waits for a lock; says who holds it after a while, and fails where that takes too long.
///
/// `observer` is another session, which can look while this one waits.
pub async fn take(
    transaction: &Transaction<'_>,
    observer: &Client,
    lock: &Lock,
    report: &dyn Report,
) -> Result<()> {
    bound(transaction, lock.timeout, true).await?;
    let Lock { name, what, .. } = lock;
    let take = statement::render("take_lock.sql", &minijinja::context! {})?;
    let parameters: [&(dyn ToSql + Sync); 1] = [name];
    let mut taken = std::pin::pin!(transaction.execute(&take, &parameters));
    let result = match tokio::time::timeout(lock.silence, &mut taken).await {
        Ok(result) => result,
        Err(_elapsed) => {
            report.notice(&format!("waiting for {what}, held by {}", holder(observer, name).await?));
            taken.await
        }
    };
    match result {
        Ok(_) => Ok(()),
        Err(cause) if is_lock_timeout(&cause) => {
            let text = format!("{what} is held by {}", holder(observer, name).await?);
            let waited = lock.timeout.as_secs_f64();
            Err(Error::new(Kind::LockHeld, text).hint(format!("waited {waited:.1} s for it: {}", lock.hint)))
        }
        Err(cause) => Err(failure::statement(format!("cannot lock {what}"), cause)),
    }
}

/// Waits until the server has ended the run's transaction.
pub async fn wait_for_end(client: &Client, run: Uuid) -> Result<()> {
    let lock = statement::render("take_lock.sql", &minijinja::context! {})?;
    client
        .execute(&lock, &[&of_run(run)])
        .await
        .map_err(|cause| failure::statement("cannot wait for the end of a transaction", cause))?;
    Ok(())
}

/// Who holds the lock, as messages say it.
async fn holder(observer: &Client, name: &str) -> Result<String> {
    let find = statement::render("find_holder.sql", &minijinja::context! {})?;
    let found = observer
        .query_opt(&find, &[&name])
        .await
        .map_err(|cause| failure::statement("cannot find out who holds a lock", cause))?;
    let Some(row) = found else { return Ok("a run that has just ended".to_owned()) };
    let session: i32 = row.get(0);
    Ok(match row.get::<_, Option<Uuid>>(1) {
        Some(run) => {
            let (host, pid): (Option<String>, Option<i32>) = (row.get(2), row.get(3));
            let since: jiff::Timestamp = row.get(4);
            format!(
                "run {run} on host {} (pid {}) since {since:.0}",
                host.unwrap_or_default(),
                pid.unwrap_or_default()
            )
        }
        None => format!("a run that is about to begin (the server's process {session})"),
    })
}
