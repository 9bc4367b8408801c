//! The databases of one run, and the pool of sessions that its tasks reuse.
//!
//! A database given for the run replaces the databases in the flow: credentials come from outside, and the
//! flow stays unchanged. Otherwise a task uses its own connection. A task without a connection uses the
//! run's main database: if all other tasks name the same database, that database, and otherwise the embedded
//! server.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_postgres::{CancelToken, Client};

use crate::database::session;
use crate::database::session::{Session, SessionKind};
use crate::database::settings::Settings;
use crate::database::statement::sql;
use crate::error::{Error, Kind, Result};
use crate::flow::expression::key_values::KeyValues;
use crate::interrupt::Interrupt;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::secrets::Secrets;

/// Timeout for cancelling a statement.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout for resetting a session.
const RESET_TIMEOUT: Duration = Duration::from_secs(1);

/// The databases of one run.
pub(crate) struct Databases {
    given: Option<Settings>,
    main: OnceCell<Settings>,
    embedded: OnceCell<Settings>,
    provisioner: Provisioner,
    idle: Mutex<Vec<(Settings, Session)>>,
    key_values: KeyValues,
}

impl Databases {
    /// The databases of a run; `given` replaces those in the flow.
    pub(crate) fn new(given: Option<Settings>, provisioner: Provisioner) -> Arc<Self> {
        Arc::new(Self {
            given,
            main: OnceCell::new(),
            embedded: OnceCell::new(),
            provisioner,
            idle: Mutex::default(),
            key_values: KeyValues::default(),
        })
    }

    /// The database given for the run.
    pub(crate) fn given(&self) -> Option<&Settings> {
        self.given.as_ref()
    }

    /// The keys in the main database, for the function `kv()`.
    pub(crate) const fn key_values(&self) -> &KeyValues {
        &self.key_values
    }

    /// Chooses the run's main database, unless the flow that calls this one has chosen it: the given
    /// database, else the `declared` database of the flow, else the embedded server, which is started.
    pub(crate) async fn choose(
        &self,
        declared: impl FnOnce() -> Result<Option<Settings>>,
        report: &dyn Report,
    ) -> Result<&Settings> {
        self.main
            .get_or_try_init(async || {
                if let Some(given) = &self.given {
                    return Ok(given.clone());
                }
                match declared()? {
                    Some(declared) => Ok(declared),
                    None => {
                        self.embedded.get_or_try_init(|| self.provisioner.bring_up(report)).await.cloned()
                    }
                }
            })
            .await
    }

    /// Masks the passwords of the given and of the main database in the run's log and record.
    pub(crate) fn keep_passwords(&self, secrets: &Secrets) {
        self.given.iter().chain(self.main.get()).for_each(|settings| keep_password(settings, secrets));
    }

    /// The run's main database.
    pub(crate) fn main(&self) -> Result<&Settings> {
        self.main.get().ok_or_else(|| Error::new(Kind::Internal, "the run has no database yet"))
    }

    /// A session on the database of `settings`, reused if one is idle.
    pub(crate) async fn session(
        &self,
        settings: Settings,
        interrupt: &Interrupt,
        report: &dyn Report,
    ) -> Result<BorrowedSession<'_>> {
        let idle_session = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|(_, session)| !session.client.is_closed());
            let index = idle.iter().position(|(other, _)| *other == settings);
            index.map(|index| idle.swap_remove(index).1)
        };
        let session = match idle_session {
            Some(session) => session,
            None => interrupt.or(self.connect(&settings, SessionKind::Flow, report)).await?,
        };
        Ok(BorrowedSession {
            databases: self,
            settings,
            client: session.client,
            server_pid: session.server_pid,
        })
    }

    /// A session on the run's main database for a statement of taxi itself. It must not be released into the pool.
    pub(crate) async fn own_session(
        &self,
        interrupt: &Interrupt,
        report: &dyn Report,
    ) -> Result<BorrowedSession<'_>> {
        let settings = self.main()?.clone();
        let Session { client, server_pid } =
            interrupt.or(self.connect(&settings, SessionKind::Own, report)).await?;
        Ok(BorrowedSession { databases: self, settings, client, server_pid })
    }

    /// Connects. If the URL comes from the flow, the error's hint says how to override it.
    pub(crate) async fn connect(
        &self,
        settings: &Settings,
        kind: SessionKind,
        report: &dyn Report,
    ) -> Result<Session> {
        let is_embedded = self.embedded.get() == Some(settings);
        session::connect_as(settings, kind, report).await.map_err(|error| match self.given {
            None if error.kind() == Kind::Unreachable && !is_embedded => {
                error.hint("this URL is set in the flow; use --database-url or DATABASE_URL to run all tasks on another database")
            }
            _ => error,
        })
    }
}

/// Adds the password of the connection to the secrets.
pub(crate) fn keep_password(settings: &Settings, secrets: &Secrets) {
    let password = settings.config().get_password().map(String::from_utf8_lossy);
    secrets.keep(&password.unwrap_or_default());
}

/// A session borrowed by a task, and returned to the pool on success.
pub(crate) struct BorrowedSession<'a> {
    databases: &'a Databases,
    settings: Settings,
    /// The connection.
    pub(crate) client: Client,
    server_pid: i32,
}

impl BorrowedSession<'_> {
    /// Runs `work` on the session; see [`Guardian::guard`].
    pub(crate) async fn guard<T>(
        &self,
        interrupt: &Interrupt,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.guardian().guard(interrupt, work).await
    }

    /// A guard for the session that does not borrow it.
    pub(crate) fn guardian(&self) -> Guardian {
        Guardian {
            settings: self.settings.clone(),
            token: self.client.cancel_token(),
            server_pid: self.server_pid,
        }
    }

    /// Resets the session and returns it to the pool.
    pub(crate) async fn release(self) {
        // a transaction that is still open was not committed
        let reset = async {
            self.client.batch_execute("ROLLBACK").await.ok()?;
            self.client.batch_execute(sql!("discard_session.sql")).await.ok()?;
            session::prepare(&self.client, SessionKind::Flow).await.ok()
        };
        // a session that cannot be reset in time is not reused
        if let Ok(Some(())) = tokio::time::timeout(RESET_TIMEOUT, reset).await {
            let mut idle = self.databases.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((self.settings, Session { client: self.client, server_pid: self.server_pid }));
        }
    }
}

/// Ends a session on the server if its work fails.
pub(crate) struct Guardian {
    settings: Settings,
    token: CancelToken,
    server_pid: i32,
}

impl Guardian {
    /// Runs `work` on the session. If it fails or is interrupted, cancels the statement and ends the session, so
    /// that nothing keeps running on the server.
    pub(crate) async fn guard<T>(
        &self,
        interrupt: &Interrupt,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let outcome = interrupt.or(session::while_answering(&self.settings, work)).await;
        if outcome.is_err() {
            // if the server does not answer, it ends the statement itself once it notices that the client is gone
            let (tokens, server_pids) = ([self.token.clone()], [self.server_pid]);
            let end = session::terminate(&self.settings, &tokens, &server_pids);
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, end).await;
        }
        outcome
    }
}
