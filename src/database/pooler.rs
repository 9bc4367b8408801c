//! Connection poolers between taxi and the server (PgBouncer, Odyssey, a cloud provider's proxy).
//!
//! A load needs sessions that keep their server process: for locks, settings, prepared statements and the transaction
//! of the load. A pooler keeps it in session mode only. In transaction or statement mode it hands a process that is
//! idle to whichever client asks next, so two idle sessions of ours soon share one or swap theirs. A pooler in session
//! mode lets a session wait at its first statement while all processes of its pool are in use.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

use super::failure;
use super::settings::Settings;
use super::statement::sql;
use crate::error::{Detail, Error, Kind, Result};
use crate::report::Report;

/// How long a session waits at first for its first answer before it is closed and opened again, and at most twice that. A
/// load needs two sessions: runs that keep one while they wait for the second could wait for each other. Each attempt
/// waits twice as long as the one before, because the server may only be slow.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// A server process, by its id and its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    /// The process id on the server.
    pub(crate) pid: i32,
    started_at: String,
}

/// Returns the server process that runs the session's statements now. Uses no prepared statement, which another process
/// would not know.
pub(crate) async fn backend(client: &Client, settings: &Settings) -> Result<Backend> {
    let messages = client.simple_query(sql!("backend.sql")).await.map_err(|cause| {
        let address = settings.address();
        failure::statement(format!("the first statement of a session at {address} failed"), cause)
    })?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0)?.parse().ok()?, row.get(1)?.to_owned())),
        _ => None,
    });
    let (pid, started_at) = row.ok_or_else(|| {
        Error::new(Kind::Unreachable, format!("{} does not name the session's process", settings.address()))
    })?;
    Ok(Backend { pid, started_at })
}

/// Waits at most `attempt_timeout` for the first answer of a session.
pub(crate) async fn first_answer(
    client: &Client,
    settings: &Settings,
    attempt_timeout: Duration,
) -> Result<Backend> {
    match tokio::time::timeout(attempt_timeout, backend(client, settings)).await {
        Ok(answer) => answer,
        Err(_elapsed) => {
            let (address, waited) = (settings.address(), settings.idle_timeout());
            let text = format!(
                "the database at {address} has not answered a session's first statement for {waited:?}"
            );
            Err(Error::new(Kind::Unreachable, text)
                .because("the server is slow, or the pool of a connection pooler is exhausted")
                .with_detail(Detail::PoolExhausted)
                .hint(
                    "use fewer --jobs, enlarge the pool (PgBouncer: default_pool_size), or use --database-timeout to wait longer",
                ))
        }
    }
}

/// The wait for a free connection: sessions are opened again and again while a pool seems to be exhausted, until the
/// idle timeout.
pub(crate) struct PoolWait<'a> {
    settings: &'a Settings,
    report: &'a dyn Report,
    deadline: Instant,
    attempts: u32,
}

impl<'a> PoolWait<'a> {
    /// Starts the wait.
    pub(crate) fn new(settings: &'a Settings, report: &'a dyn Report) -> Self {
        let deadline = Instant::now() + settings.idle_timeout();
        Self { settings, report, deadline, attempts: 0 }
    }

    /// How long the next attempt may wait: a random time, so that runs that wait for each other do not stay in step.
    pub(crate) fn attempt_timeout(&self) -> Duration {
        let random = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        let attempt_timeout = ATTEMPT_TIMEOUT.mul_f64((1.0 + random) * f64::from(self.attempts).exp2());
        attempt_timeout.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether to try again after `error`. The first time, tells the user what the wait is for.
    pub(crate) fn goes_on_after(&mut self, error: &Error) -> bool {
        let goes_on = error.detail() == Some(Detail::PoolExhausted) && Instant::now() < self.deadline;
        self.attempts += 1;
        if goes_on && self.attempts == 1 {
            self.report.notice(&format!(
                "waiting for the database at {}: the server is slow, or the pool of a connection pooler is exhausted",
                self.settings.address()
            ));
        }
        goes_on
    }
}

/// Refuses a pooler that does not keep a session's process: compares the processes of two idle sessions, `first` and
/// `second`, each with the process that ran its first statement. Changes no setting.
///
/// A pooler hands out the process that became idle last, or first, or any. So each session is asked again right after
/// its own statement and right after one of the other session.
pub(crate) async fn check(
    first: (&Client, &Backend),
    second: (&Client, &Backend),
    settings: &Settings,
) -> Result<()> {
    let mut keeps = first.1 != second.1;
    for (client, expected) in [second, first, first, second] {
        keeps = keeps && backend(client, settings).await? == *expected;
    }
    if keeps { Ok(()) } else { Err(refuse(settings)) }
}

/// The error for a pooler that does not keep a session's process.
pub(crate) fn refuse(settings: &Settings) -> Error {
    let text = format!(
        "the database at {} is behind a connection pooler in transaction or statement mode",
        settings.address()
    );
    Error::new(Kind::Configuration, text)
        .because("the pooler does not keep a session's server process between transactions")
        .with_detail(Detail::Pooler)
        .hint("connect to the server itself, or to the pooler in session mode (PgBouncer: pool_mode=session)")
}
