//! The databases of one run, and the pool of sessions that its tasks reuse.
//!
//! A database given for the run replaces those in the flow for every task: credentials come from outside, and the
//! flow stays unchanged. Otherwise a task uses the connection that it names. A task that names none uses the run's
//! main database: the one that the other tasks name if they agree on one, and otherwise the embedded server.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_postgres::{CancelToken, Client};

use super::task_run::TaskRun;
use crate::database::settings::Settings;
use crate::database::{session, statement};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::load::sessions::Sessions;
use crate::pipeline::document::Diagnostic;
use crate::pipeline::expression::Scope;
use crate::pipeline::flow::Flow;
use crate::pipeline::tasks::query::Connection;
use crate::provision::Provisioner;
use crate::report::Report;

/// Timeout for cancelling a statement.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// Timeout for resetting a session.
const CLEAN_TIMEOUT: Duration = Duration::from_secs(1);

/// The databases of one run.
pub struct Databases {
    given: Option<Settings>,
    main: OnceCell<Settings>,
    embedded: OnceCell<Settings>,
    provisioner: Provisioner,
    idle: Mutex<Vec<(Settings, Session)>>,
}

impl Databases {
    /// The databases of a run; `given` replaces those in the flow.
    pub fn new(given: Option<Settings>, provisioner: Provisioner) -> Arc<Self> {
        Arc::new(Self {
            given,
            main: OnceCell::new(),
            embedded: OnceCell::new(),
            provisioner,
            idle: Mutex::default(),
        })
    }

    /// The database given for the run.
    pub fn given(&self) -> Option<&Settings> {
        self.given.as_ref()
    }

    /// Chooses the run's main database, and starts the embedded server if that is the one.
    pub async fn choose(&self, flow: &Flow, scope: &Scope, report: &dyn Report) -> Result<&Settings> {
        self.main
            .get_or_try_init(async || {
                if let Some(given) = &self.given {
                    return Ok(given.clone());
                }
                match declared(flow, scope)? {
                    Some(declared) => Ok(declared),
                    None => {
                        self.embedded.get_or_try_init(|| self.provisioner.bring_up(report)).await.cloned()
                    }
                }
            })
            .await
    }

    /// The run's main database.
    pub async fn main(&self, run: &TaskRun<'_>) -> Result<&Settings> {
        let execution = run.execution;
        self.choose(&execution.flow, &run.scope, execution.report.as_ref()).await
    }

    /// A session on a task's database, reused if one is idle.
    pub async fn session<'a>(
        &'a self,
        run: &TaskRun<'_>,
        connection: Option<&Connection>,
    ) -> Result<Borrowed<'a>> {
        let named = connection.filter(|connection| self.given.is_none() && connection.url.is_some());
        let settings = match named {
            Some(connection) => resolve(&run.scope, connection).map_err(|fault| match fault {
                Fault::Expression(diagnostic) => run.diagnostic(diagnostic),
                Fault::Settings(error) => error,
            })?,
            None => self.main(run).await?.clone(),
        };
        let usable = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|(_, session)| !session.client.is_closed());
            let index = idle.iter().position(|(known, _)| *known == settings);
            index.map(|index| idle.swap_remove(index).1)
        };
        let session = match usable {
            Some(session) => session,
            None => run.interrupt.or(self.connect(&settings)).await?,
        };
        Ok(Borrowed { databases: self, settings, client: session.client, number: session.number })
    }

    /// The two sessions that a load needs.
    pub async fn sessions(&self, run: &TaskRun<'_>) -> Result<Sessions> {
        let settings = self.main(run).await?;
        run.interrupt.or(Sessions::open(settings)).await
    }

    /// Connects. If the URL comes from the flow, the error's hint says how to override it.
    pub async fn connect(&self, settings: &Settings) -> Result<Session> {
        let connected = async {
            let client = session::connect(settings).await?;
            let number = session::attended(settings, session::number(&client)).await?;
            Ok(Session { client, number })
        };
        let is_embedded = self.embedded.get() == Some(settings);
        connected.await.map_err(|error: Error| match self.given {
            None if error.kind() == Kind::Unreachable && !is_embedded => {
                error.hint("this address is the flow's own: --database-url or DATABASE_URL takes another, for all of its tasks")
            }
            _ => error,
        })
    }
}

/// A database session.
pub struct Session {
    /// The connection.
    pub client: Client,
    /// The server's process id for the session.
    pub number: i32,
}

/// A session borrowed by a task, and returned to the pool on success.
pub struct Borrowed<'a> {
    databases: &'a Databases,
    settings: Settings,
    /// The connection.
    pub client: Client,
    number: i32,
}

impl Borrowed<'_> {
    /// Runs `work` on the session; see [`Guardian::guard`].
    pub async fn guard<T>(&self, interrupt: &Interrupt, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.guardian().guard(interrupt, work).await
    }

    /// A guard for the session that does not borrow it.
    pub fn guardian(&self) -> Guardian {
        Guardian { settings: self.settings.clone(), token: self.client.cancel_token(), number: self.number }
    }

    /// Resets the session and returns it to the pool.
    pub async fn give_back(self) {
        // a transaction that is still open was not committed
        let cleaning = async {
            self.client.batch_execute("ROLLBACK").await.ok()?;
            let discard = statement::render("discard_session.sql", &minijinja::context! {}).ok()?;
            self.client.batch_execute(&discard).await.ok()?;
            session::prepare(&self.client).await.ok()
        };
        // a session that cannot be reset in time is not reused
        if let Ok(Some(())) = tokio::time::timeout(CLEAN_TIMEOUT, cleaning).await {
            let mut idle = self.databases.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((self.settings, Session { client: self.client, number: self.number }));
        }
    }
}

/// Ends a session on the server if its work fails.
pub struct Guardian {
    settings: Settings,
    token: CancelToken,
    number: i32,
}

impl Guardian {
    /// Runs `work` on the session. If it fails or is interrupted, cancels the statement and ends the session, so
    /// that nothing keeps running on the server.
    pub async fn guard<T>(&self, interrupt: &Interrupt, work: impl Future<Output = Result<T>>) -> Result<T> {
        let outcome = interrupt.or(session::attended(&self.settings, work)).await;
        if outcome.is_err() {
            // if the server does not answer, it ends the statement itself once it notices that the client is gone
            let (tokens, numbers) = ([self.token.clone()], [self.number]);
            let end = session::terminate(&self.settings, &tokens, &numbers);
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, end).await;
        }
        outcome
    }
}

enum Fault {
    Expression(Diagnostic),
    Settings(Error),
}

/// Fills in and parses a task's connection settings.
fn resolve(scope: &Scope, connection: &Connection) -> Result<Settings, Fault> {
    let fill = |template: Option<&_>| template.map(|template| scope.fill(template)).transpose();
    let url = fill(connection.url.as_ref()).map_err(Fault::Expression)?.unwrap_or_default();
    let user = fill(connection.username.as_ref()).map_err(Fault::Expression)?;
    let password = fill(connection.password.as_ref()).map_err(Fault::Expression)?;
    Settings::parse_with(&url, user.as_deref(), password.as_deref()).map_err(|error| {
        Fault::Settings(error.hint("the address is the flow's own: jdbc:postgresql://host:5432/database"))
    })
}

/// The database that the flow's tasks name, if they name exactly one.
fn declared(flow: &Flow, scope: &Scope) -> Result<Option<Settings>> {
    let mut connections = Vec::new();
    flow.walk(|task| {
        connections.extend(task.kind.connection().filter(|connection| connection.url.is_some()))
    });
    let mut found: Option<Settings> = None;
    for connection in connections {
        match resolve(scope, connection) {
            Ok(settings) if found.as_ref().is_some_and(|known| *known != settings) => return Ok(None),
            Ok(settings) => found = Some(settings),
            // the connection depends on outputs that do not exist yet
            Err(Fault::Expression(_)) if connection.is_of_tasks() => return Ok(None),
            Err(Fault::Expression(diagnostic)) => return Err(flow.faults(vec![diagnostic])),
            Err(Fault::Settings(error)) => return Err(error),
        }
    }
    Ok(found)
}
