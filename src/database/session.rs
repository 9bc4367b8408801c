//! Opens and ends sessions, refuses servers that are too old and poolers that do not keep sessions, and watches whether the server still answers.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, Config, NoTls, Row, Socket};

use super::failure::{self, ConnectFailure};
use super::password::MAX_AGE;
use super::pooler::{self, Backend, PoolWait};
use super::settings::Settings;
use super::statement::sql;
use super::tls::Mode;
use crate::error::{Detail, Error, Kind, Result};
use crate::report::Report;

/// The oldest supported major version: the first with MERGE.
pub(crate) const OLDEST_MAJOR: u32 = 15;

/// Interval between attempts to connect to a server that is starting.
const STARTING_INTERVAL: Duration = Duration::from_millis(200);

/// Whose statements a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// taxi's own: see `sql/own_session.sql`.
    Own,
    /// The statements of a flow, which expect the settings of their database and role.
    Flow,
}

/// An open session.
pub(crate) struct Session {
    /// The connection.
    pub(crate) client: Client,
    /// The server process of the session, by which other sessions see it.
    pub(crate) server_pid: i32,
}

/// Connects for taxi's own statements. See [`connect_as`].
pub(crate) async fn connect(settings: &Settings, report: &dyn Report) -> Result<Client> {
    Ok(connect_as(settings, SessionKind::Own, report).await?.client)
}

/// Connects, waiting for a server that is starting and for a pooler's free connection. Refuses a server that is too
/// old before it sends a statement, and a pooler that does not keep the session's process before it changes a setting.
pub(crate) async fn connect_as(
    settings: &Settings,
    kind: SessionKind,
    report: &dyn Report,
) -> Result<Session> {
    let mut wait = PoolWait::new(settings, report);
    loop {
        match try_connect(settings, kind, wait.attempt_timeout()).await {
            Err(error) if wait.goes_on_after(&error) => {}
            opened => return opened,
        }
    }
}

/// Connects two sessions for taxi's own statements. See [`connect_as`].
pub(crate) async fn connect_two(settings: &Settings, report: &dyn Report) -> Result<[Session; 2]> {
    let mut wait = PoolWait::new(settings, report);
    loop {
        match try_connect_two(settings, wait.attempt_timeout()).await {
            Err(error) if wait.goes_on_after(&error) => {}
            opened => return opened,
        }
    }
}

async fn try_connect(settings: &Settings, kind: SessionKind, attempt_timeout: Duration) -> Result<Session> {
    let client = open_supported(settings).await?;
    let backend = pooler::first_answer(&client, settings, attempt_timeout).await?;
    check_alone(&client, &backend, settings, attempt_timeout).await?;
    while_answering(settings, prepare_opened(&client, kind, settings)).await?;
    Ok(Session { client, server_pid: backend.pid })
}

/// Checks a session with another one that is opened for the check only.
async fn check_alone(
    client: &Client,
    backend: &Backend,
    settings: &Settings,
    attempt_timeout: Duration,
) -> Result<()> {
    // a limit on connections may allow one session only, which then cannot be checked
    let Ok(other) = open_supported(settings).await else { return Ok(()) };
    match pooler::first_answer(&other, settings, attempt_timeout).await {
        Ok(other_backend) => {
            let checked = pooler::check((client, backend), (&other, &other_backend), settings);
            while_answering(settings, checked).await
        }
        // in session mode, the session keeps its process while another one waits for a free one
        Err(error) if error.detail() == Some(Detail::PoolExhausted) => {
            match pooler::first_answer(client, settings, attempt_timeout).await? == *backend {
                true => Ok(()),
                false => Err(pooler::refuse(settings)),
            }
        }
        Err(error) => Err(error),
    }
}

/// Two sessions, which check each other.
async fn try_connect_two(settings: &Settings, attempt_timeout: Duration) -> Result<[Session; 2]> {
    let (first, second) = (open_supported(settings).await?, open_supported(settings).await?);
    let first_backend = pooler::first_answer(&first, settings, attempt_timeout).await?;
    let second_backend = pooler::first_answer(&second, settings, attempt_timeout).await?;
    let prepared = async {
        pooler::check((&first, &first_backend), (&second, &second_backend), settings).await?;
        prepare_opened(&first, SessionKind::Own, settings).await?;
        prepare_opened(&second, SessionKind::Own, settings).await
    };
    while_answering(settings, prepared).await?;
    let session = |client, backend: Backend| Session { client, server_pid: backend.pid };
    Ok([session(first, first_backend), session(second, second_backend)])
}

/// Connects for taxi's own statements to a database that has no pooler, or was checked before.
pub(crate) async fn connect_again(settings: &Settings) -> Result<Client> {
    let client = open_supported(settings).await?;
    while_answering(settings, prepare_opened(&client, SessionKind::Own, settings)).await?;
    Ok(client)
}

async fn prepare_opened(client: &Client, kind: SessionKind, settings: &Settings) -> Result<()> {
    let failed = |cause| ConnectFailure::Connection(cause).into_error(settings);
    prepare(client, kind).await.map_err(failed)
}

/// Opens a session. If the server refuses a password that the password command printed for an earlier session, runs
/// the command again.
async fn open_supported(settings: &Settings) -> Result<Client> {
    let began = Instant::now();
    let tried = settings.authenticated(MAX_AGE).await?;
    match open_once(&tried).await {
        Err(error) if error.kind() == Kind::Authentication && settings.has_password_command() => {
            let renewed = settings.authenticated(began.elapsed()).await?;
            if renewed == tried { Err(error) } else { open_once(&renewed).await }
        }
        opened => opened,
    }
}

/// Opens a session, waiting for a server that is starting. Refuses a server that is too old or has another encoding.
async fn open_once(settings: &Settings) -> Result<Client> {
    let address = settings.address();
    let opening = async {
        loop {
            match open(settings).await {
                Err(failed) if failed.sqlstate() == Some(&SqlState::CANNOT_CONNECT_NOW) => {
                    tokio::time::sleep(STARTING_INTERVAL).await;
                }
                opened => return opened,
            }
        }
    };
    let opened = match tokio::time::timeout(settings.answer_timeout(), opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(failed)) => {
            let error = failed.into_error(settings);
            return Err(match (settings.advice(), error.kind()) {
                (Some(advice), Kind::Authentication) => error.hint(advice),
                (None, Kind::Authentication) if !settings.has_password() => error.hint(
                    "no password was given: set PGPASSWORD, or add the password to DATABASE_URL or ~/.pgpass",
                ),
                _ => error,
            });
        }
        Err(_elapsed) => {
            let text = format!("the database at {address} accepts the connection but does not answer");
            return Err(Error::new(Kind::Unreachable, text));
        }
    };
    check_version(&opened.version, &address)?;
    check_encoding(&opened.encoding, &address)?;
    Ok(opened.client)
}

/// Returns after the server has not answered for the whole idle timeout.
///
/// A statement may run as long as it needs, and a server that hangs, or a proxy in front of it, keeps connections
/// open. So this function opens new sessions to check whether the server still answers.
async fn lost(settings: &Settings) -> Error {
    let idle_timeout = settings.idle_timeout();
    let mut last_answer = Instant::now();
    while last_answer.elapsed() < idle_timeout {
        tokio::time::sleep(idle_timeout / 4).await;
        // one of several hosts may be down; an error from the server counts as an answer, also if it is that the
        // last password of the password command has expired
        let limit = idle_timeout * settings.addresses().len() as u32;
        let Ok(settings) = settings.authenticated(Duration::MAX).await else { continue };
        match tokio::time::timeout(limit, open(&settings)).await {
            Ok(Err(failed)) if failed.is_silence() => {}
            Ok(_) => last_answer = Instant::now(),
            Err(_elapsed) => {}
        }
    }
    let text = format!("the database at {} has not answered for {idle_timeout:?}", settings.address());
    Error::new(Kind::Unreachable, text)
        .because("it does not answer new sessions either")
        .with_detail(Detail::ServerLost)
        .hint("use --database-timeout to wait longer")
}

/// Runs `work` on sessions, and fails if the server stops answering in the meantime.
pub(crate) async fn while_answering<T>(
    settings: &Settings,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        result = work => result,
        lost = lost(settings) => Err(lost),
    }
}

/// A new session, with the version and the encoding that the server reported.
struct OpenedSession {
    client: Client,
    version: String,
    encoding: String,
}

/// Opens a session, with or without TLS: tries the options that the mode allows, in order.
async fn open(settings: &Settings) -> Result<OpenedSession, ConnectFailure> {
    let config_with = |mode| {
        let mut config = settings.config().clone();
        config.ssl_mode(mode);
        config
    };
    let plain = async || open_with(config_with(SslMode::Disable), NoTls).await;
    let secure = async |mode| {
        let connector = settings.tls().connector().map_err(ConnectFailure::Settings)?;
        let progress = connector.progress.clone();
        open_with(config_with(mode), connector).await.map_err(|failed| match failed {
            ConnectFailure::Connection(cause) => ConnectFailure::with_tls(cause, progress.stage()),
            other => other,
        })
    };
    // the server's pg_hba.conf may allow only connections with TLS, or only connections without TLS
    let is_refused =
        |failed: &ConnectFailure| failed.sqlstate() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    match settings.mode() {
        Mode::Disable => plain().await,
        Mode::Allow => match plain().await {
            Err(failed) if is_refused(&failed) => secure(SslMode::Require).await,
            opened => opened,
        },
        Mode::Prefer => match secure(SslMode::Prefer).await {
            // a client certificate that the user names must not be ignored
            Err(failed @ ConnectFailure::Settings(_)) if settings.tls().certificate.is_some() => Err(failed),
            Err(failed @ ConnectFailure::Connection(_)) if !is_refused(&failed) => Err(failed),
            Err(_) => plain().await,
            opened => opened,
        },
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => secure(SslMode::Require).await,
    }
}

async fn open_with<T>(config: Config, tls: T) -> Result<OpenedSession, ConnectFailure>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await.map_err(ConnectFailure::Connection)?;
    let parameter = |name, default: &str| connection.parameter(name).unwrap_or(default).to_owned();
    let (version, encoding) = (parameter("server_version", ""), parameter("server_encoding", "UTF8"));
    // A broken connection shows as an error of the running statement, so the task's handle is not needed.
    tokio::spawn(connection);
    Ok(OpenedSession { client, version, encoding })
}

/// Asks the server to cancel a session's current statement; ignores failures.
pub(crate) async fn cancel(settings: &Settings, token: &CancelToken) {
    let _ = match (settings.mode(), settings.tls().connector()) {
        (Mode::Require | Mode::VerifyCa | Mode::VerifyFull, Ok(connector)) => {
            token.cancel_query(connector).await
        }
        _ => token.cancel_query(NoTls).await,
    };
}

/// Applies the settings of `sql/connection.sql` and, for taxi's own statements, those of `sql/own_session.sql`.
pub(crate) async fn prepare(client: &Client, kind: SessionKind) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(sql!("connection.sql")).await?;
    match kind {
        SessionKind::Own => client.batch_execute(sql!("own_session.sql")).await,
        SessionKind::Flow => Ok(()),
    }
}

/// Cancels the statements of sessions, terminates the sessions by their server process ids, and returns a new one.
///
/// Cancelling alone is not enough: the request may arrive between two statements, and then cancels none or the
/// wrong one.
pub(crate) async fn terminate(
    settings: &Settings,
    tokens: &[CancelToken],
    server_pids: &[i32],
) -> Result<Client> {
    for token in tokens {
        // if the server cannot be reached, connecting reports it
        cancel(settings, token).await;
    }
    let client = connect_again(settings).await?;
    let result = client.execute(sql!("end_sessions.sql"), &[&server_pids]).await;
    result.map_err(|cause| failure::statement("cannot terminate the sessions", cause))?;
    Ok(client)
}

/// Describes another session for messages. `row` has its process ID, its user and its program.
pub(crate) fn describe(row: &Row) -> String {
    let (pid, user, program): (i32, Option<String>, Option<String>) = (row.get(0), row.get(1), row.get(2));
    format!("process {pid} ({}, user {})", program.unwrap_or_default(), user.unwrap_or_default())
}

/// Refuses encodings other than UTF8 and SQL_ASCII. A row key is a hash of bytes: taxi's keys equal the server's
/// only if the server stores the bytes of the file.
fn check_encoding(encoding: &str, address: &str) -> Result<()> {
    match encoding {
        "UTF8" | "SQL_ASCII" => Ok(()),
        _ => Err(Error::new(
            Kind::Configuration,
            format!("the database at {address} has the encoding {encoding}; taxi needs UTF8"),
        )
        .with_detail(Detail::Encoding)
        .hint("create a database with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0")),
    }
}

fn check_version(version: &str, address: &str) -> Result<()> {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(major) if major >= OLDEST_MAJOR => Ok(()),
        _ => Err(Error::new(
            Kind::ServerTooOld,
            format!("the server at {address} is PostgreSQL {version}; taxi needs {OLDEST_MAJOR} or later"),
        )
        .hint("upgrade the server, or omit --database-url to use the embedded server: MERGE requires PostgreSQL 15")),
    }
}
