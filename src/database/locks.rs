//! Advisory locks between runs. They belong to the load's transaction: the server releases them when the
//! transaction ends, for whatever reason.
//!
//! | lock | held | purpose |
//! |---|---|---|
//! | the run's | from the beginning | shows that the run is alive; other runs mark a dead run as lost |
//! | the month's | from the beginning | prevents two concurrent loads of one month into one table |
//! | the table's columns | shared, from the inspection of the table to the commit | a load that adds a column waits for the others |
//! | the table's | from the end of staging to the commit | lets only one load at a time add its rows, see [`crate::load`] |
//!
//! A load takes the locks in this order. While it holds the table's lock, it does not wait for another of
//! these locks, so they cannot deadlock.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, Transaction};
use uuid::Uuid;

use crate::database::failure::{self, is_lock_timeout};
use crate::database::identifier::TableName;
use crate::database::statement::sql;
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::transform::timestamp::Timestamp;

/// Time that a load waits for another load of its month before it prints a notice.
const MONTH_NOTICE_DELAY: Duration = Duration::from_secs(1);
/// Time that a load waits for the table's lock before it prints a notice. Every load holds that lock for one
/// or two seconds.
const TABLE_NOTICE_DELAY: Duration = Duration::from_secs(20);
/// Time after which a load gives up waiting for the table's lock. Many loads may be ahead of it, but each holds
/// the lock only briefly.
const TABLE_TIMEOUT: Duration = Duration::from_secs(600);

/// An advisory lock to wait for.
pub(crate) struct Lock {
    name: String,
    /// Description of the lock in messages.
    what: String,
    timeout: Duration,
    notice_delay: Duration,
    hint: &'static str,
    /// The statement that takes the lock.
    take: &'static str,
}

impl Lock {
    /// The lock on the month that begins at `start`. It prevents two concurrent loads of that month.
    pub(crate) fn of_month(table: &TableName, start: Timestamp, filename: &str, timeout: Duration) -> Self {
        Self {
            name: format!("taxi_etl: load {} into {}", start.0, table.quoted()),
            what: format!("the lock on {filename} in {table}"),
            timeout,
            notice_delay: MONTH_NOTICE_DELAY,
            hint: "use --lock-timeout to wait longer; it is safe to run the command again",
            take: sql!("take_lock.sql"),
        }
    }

    /// The lock on a lookup table. It prevents two concurrent loads of that table.
    pub(crate) fn of_lookup(table: &TableName, timeout: Duration) -> Self {
        Self {
            name: format!("taxi_etl: load the lookup table {}", table.quoted()),
            what: format!("the lock on {table}"),
            timeout,
            notice_delay: MONTH_NOTICE_DELAY,
            hint: "use --lock-timeout to wait longer; it is safe to run the command again",
            take: sql!("take_lock.sql"),
        }
    }

    /// The lock on the columns of the table, which loads share. The load of a file with new columns takes it alone.
    pub(crate) fn of_columns(table: &TableName, timeout: Duration) -> Self {
        Self {
            name: format!("taxi_etl: columns of {}", table.quoted()),
            what: format!("the lock on the columns of {table}"),
            timeout,
            notice_delay: MONTH_NOTICE_DELAY,
            hint: "use --lock-timeout to wait longer; it is safe to run the command again",
            take: sql!("take_shared_lock.sql"),
        }
    }

    /// The lock that a load holds while it adds its rows to the table.
    pub(crate) fn of_table(table: &TableName) -> Self {
        Self {
            name: format!("taxi_etl: end a load into {}", table.quoted()),
            what: format!("the lock for the end of a load into {table}"),
            timeout: TABLE_TIMEOUT,
            notice_delay: TABLE_NOTICE_DELAY,
            hint: "check whether that run is still making progress; it is safe to run the command again",
            take: sql!("take_lock.sql"),
        }
    }

    /// The lock's name on the server.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The name of a run's lock on the server.
pub(crate) fn of_run(run: Uuid) -> String {
    run.simple().to_string()
}

/// Sets the lock timeout, for the current transaction only or for the whole session.
pub(crate) async fn set_timeout(
    client: &impl GenericClient,
    timeout: Duration,
    transaction_only: bool,
) -> Result<()> {
    // zero would disable the timeout
    let timeout = format!("{}ms", timeout.as_millis().clamp(1, i32::MAX as u128));
    client
        .execute(sql!("lock_timeout.sql"), &[&timeout, &transaction_only])
        .await
        .map_err(|cause| failure::statement("cannot set the lock timeout", cause))?;
    Ok(())
}

/// Waits for a lock. After a while, reports who holds it. Fails after the lock's timeout.
///
/// `observer` is another session, which can run queries while this one waits.
pub(crate) async fn take(
    transaction: &Transaction<'_>,
    observer: &Client,
    lock: &Lock,
    report: &dyn Report,
) -> Result<()> {
    set_timeout(transaction, lock.timeout, true).await?;
    let Lock { name, what, .. } = lock;
    let parameters: [&(dyn ToSql + Sync); 1] = [name];
    let mut attempt = std::pin::pin!(transaction.execute(lock.take, &parameters));
    let result = match tokio::time::timeout(lock.notice_delay, &mut attempt).await {
        Ok(result) => result,
        Err(_elapsed) => {
            report.notice(&format!("waiting for {what}, held by {}", holder(observer, name).await?));
            attempt.await
        }
    };
    match result {
        Ok(_) => Ok(()),
        Err(cause) if is_lock_timeout(&cause) => {
            let text = format!("{what} is held by {}", holder(observer, name).await?);
            let waited_seconds = lock.timeout.as_secs_f64();
            Err(Error::new(Kind::LockHeld, text).hint(format!("waited {waited_seconds:.1} s: {}", lock.hint)))
        }
        Err(cause) => Err(failure::statement(format!("cannot take {what}"), cause)),
    }
}

/// Waits until the server has ended the run's transaction.
pub(crate) async fn wait_for_end(client: &Client, run: Uuid) -> Result<()> {
    client
        .execute(sql!("take_lock.sql"), &[&of_run(run)])
        .await
        .map_err(|cause| failure::statement("cannot wait for the end of the transaction", cause))?;
    Ok(())
}

/// Describes who holds the lock, for messages.
async fn holder(observer: &Client, name: &str) -> Result<String> {
    let found = observer
        .query_opt(sql!("find_holder.sql"), &[&name])
        .await
        .map_err(|cause| failure::statement("cannot query which session holds the lock", cause))?;
    let Some(row) = found else { return Ok("a run that just ended".to_owned()) };
    let server_pid: i32 = row.get(0);
    Ok(match row.get::<_, Option<Uuid>>(1) {
        Some(run) => {
            let (host, pid): (Option<String>, Option<i32>) = (row.get(2), row.get(3));
            let since = row.try_get::<_, jiff::Timestamp>(4).map(|since| format!(" since {since:.0}"));
            format!(
                "run {run} on host {} (pid {}){}",
                host.unwrap_or_default(),
                pid.unwrap_or_default(),
                since.unwrap_or_default()
            )
        }
        None => format!("a run that is starting (server process {server_pid})"),
    })
}
