//! The databases of one run: which they are, and the sessions that its tasks share one after the other.
//!
//! A database that is given for the run is that of every task, whatever the flow says: credentials come from outside, the flow
//! stays. Else a task's own is used; a task that names none gets the run's: the one that all others name, else the embedded
//! server's.

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

/// How long ending a statement may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long making a session as new may take.
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
    /// The databases of a run that is `given` one, or none.
    pub fn new(given: Option<Settings>, provisioner: Provisioner) -> Arc<Self> {
        Arc::new(Self {
            given,
            main: OnceCell::new(),
            embedded: OnceCell::new(),
            provisioner,
            idle: Mutex::default(),
        })
    }

    /// The one that is given for the run.
    pub fn given(&self) -> Option<&Settings> {
        self.given.as_ref()
    }

    /// Decides which is the run's, and brings up the embedded server if it is that.
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

    /// The run's.
    pub async fn main(&self, run: &TaskRun<'_>) -> Result<&Settings> {
        let execution = run.execution;
        self.choose(&execution.flow, &run.scope, execution.report.as_ref()).await
    }

    /// A session on the database of a task.
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

    /// The pair of sessions that a load takes.
    pub async fn sessions(&self, run: &TaskRun<'_>) -> Result<Sessions> {
        let settings = self.main(run).await?;
        run.interrupt.or(Sessions::open(settings)).await
    }

    /// Connects; where the address is the flow's own, the error says how to replace it.
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

/// A session.
pub struct Session {
    /// The connection.
    pub client: Client,
    /// What the server calls it.
    pub number: i32,
}

/// A session that a task uses, and gives back if all went well.
pub struct Borrowed<'a> {
    databases: &'a Databases,
    settings: Settings,
    /// The connection.
    pub client: Client,
    number: i32,
}

impl Borrowed<'_> {
    /// What `work` on the session comes to; see [`Guardian::guard`].
    pub async fn guard<T>(&self, interrupt: &Interrupt, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.guardian().guard(interrupt, work).await
    }

    /// What ends the session's statement, apart from the session.
    pub fn guardian(&self) -> Guardian {
        Guardian { settings: self.settings.clone(), token: self.client.cancel_token(), number: self.number }
    }

    /// Gives it back, as new.
    pub async fn give_back(self) {
        // whatever is still open was not committed
        let cleaning = async {
            self.client.batch_execute("ROLLBACK").await.ok()?;
            let discard = statement::render("discard_session.sql", &minijinja::context! {}).ok()?;
            self.client.batch_execute(&discard).await.ok()?;
            session::prepare(&self.client).await.ok()
        };
        // a session that cannot be cleaned, or not soon, is not used again
        if let Ok(Some(())) = tokio::time::timeout(CLEAN_TIMEOUT, cleaning).await {
            let mut idle = self.databases.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((self.settings, Session { client: self.client, number: self.number }));
        }
    }
}

/// Ends the statement of a session.
pub struct Guardian {
    settings: Settings,
    token: CancelToken,
    number: i32,
}

impl Guardian {
    /// What `work` on the session comes to; where that fails, on whichever side, nothing of it goes on on the server.
    pub async fn guard<T>(&self, interrupt: &Interrupt, work: impl Future<Output = Result<T>>) -> Result<T> {
        let outcome = interrupt.or(session::attended(&self.settings, work)).await;
        if outcome.is_err() {
            // where the server does not answer, it ends the statement when it notices that the client is gone
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

/// The settings of a connection that a task names.
fn resolve(scope: &Scope, connection: &Connection) -> Result<Settings, Fault> {
    let fill = |template: Option<&_>| template.map(|template| scope.fill(template)).transpose();
    let url = fill(connection.url.as_ref()).map_err(Fault::Expression)?.unwrap_or_default();
    let user = fill(connection.username.as_ref()).map_err(Fault::Expression)?;
    let password = fill(connection.password.as_ref()).map_err(Fault::Expression)?;
    Settings::parse_with(&url, user.as_deref(), password.as_deref()).map_err(|error| {
        Fault::Settings(error.hint("the address is the flow's own: jdbc:postgresql://host:5432/database"))
    })
}

/// The one database that all tasks name which name any.
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
            // it is of what a task has yet to come to
            Err(Fault::Expression(_)) if connection.is_of_tasks() => return Ok(None),
            Err(Fault::Expression(diagnostic)) => return Err(flow.faults(vec![diagnostic])),
            Err(Fault::Settings(error)) => return Err(error),
        }
    }
    Ok(found)
}
