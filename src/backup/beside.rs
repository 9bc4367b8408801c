//! A new database beside an existing one, on the same server. While it is used, no other process uses its name.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::database::identifier::{NAME_LIMIT_BYTES, quote};
use crate::database::settings::Settings;
use crate::database::statement::{render, sql};
use crate::database::{failure, session};
use crate::error::{Error, Kind, Result};
use crate::report::Report;

/// The databases to connect to for commands that create, rename and drop databases.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// How long sessions may take to end.
const ENDING: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What the new database is for, which its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To check a backup.
    Verify,
    /// To replace the database.
    Restore,
}

impl Purpose {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Verify => "_taxi_verify",
            Self::Restore => "_taxi_restore",
        }
    }
}

/// The suffix of a database that was replaced, until it is dropped.
const REPLACED: &str = "_taxi_replaced";

/// A new, empty database.
pub(crate) struct Beside {
    /// A session outside of both databases.
    maintenance: Client,
    /// The existing database, or the one that is to exist.
    database: String,
    name: String,
    /// How to connect to the new database.
    pub(crate) settings: Settings,
}

impl Beside {
    /// Creates the database. First drops what a killed process has left.
    pub(crate) async fn create(settings: &Settings, purpose: Purpose, report: &dyn Report) -> Result<Self> {
        let database = settings.database().to_owned();
        let name = format!("{database}{}", purpose.suffix());
        if database.len() + REPLACED.len() > NAME_LIMIT_BYTES {
            let text = format!("the name of the database {database} is too long to restore beside it");
            return Err(Error::new(Kind::Configuration, text)
                .hint(format!("names of at most {} bytes fit", NAME_LIMIT_BYTES - REPLACED.len())));
        }
        let maintenance = connect(settings, report).await?;
        let lock = format!("taxi_etl: {name}");
        let locked = maintenance.query_one(sql!("hold_lock.sql"), &[&lock]).await;
        let locked =
            locked.map_err(|cause| failure::statement("cannot lock the name of a database", cause))?;
        if !locked.get::<_, bool>(0) {
            let text = format!("another backup or restore uses the database {name}");
            return Err(Error::new(Kind::LockHeld, text).hint("run the command again when it has ended"));
        }
        let settings = settings.clone().with_database(&name);
        let beside = Self { maintenance, database, name, settings };
        beside.drop_database(&beside.name).await?;
        if purpose == Purpose::Restore && beside.exists().await? {
            beside.drop_database(&beside.replaced()).await?;
        }
        beside.create_database().await?;
        Ok(beside)
    }

    /// The database's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn replaced(&self) -> String {
        format!("{}{REPLACED}", self.database)
    }

    /// Whether the server has the database that this one is beside.
    pub(crate) async fn exists(&self) -> Result<bool> {
        let row = self.maintenance.query_one(sql!("database_exists.sql"), &[&self.database]).await;
        Ok(row.map_err(|cause| failure::statement("cannot list the databases", cause))?.get(0))
    }

    async fn create_database(&self) -> Result<()> {
        let failed = |cause: tokio_postgres::Error| {
            let is_privilege = cause.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
            let error = failure::statement(format!("cannot create the database {}", self.name), cause);
            if !is_privilege {
                return error;
            }
            error.hint(
                "a restore needs the privilege to create databases: ALTER ROLE ... CREATEDB, as a superuser",
            )
        };
        let names: [&(dyn ToSql + Sync); 2] = [&self.name, &self.database];
        let like = self.maintenance.query_opt(sql!("backup/create_like.sql"), &names).await;
        let create = match like.map_err(failed)? {
            Some(row) => row.get(0),
            None => {
                let database = quote(&self.name);
                render!("backup/create_database.sql", &minijinja::context! { database })?
            }
        };
        self.maintenance.batch_execute(&create).await.map_err(failed)
    }

    async fn drop_database(&self, name: &str) -> Result<()> {
        let drop = render!("backup/drop_database.sql", &minijinja::context! { database => quote(name) })?;
        let dropped = self.maintenance.batch_execute(&drop).await;
        dropped.map_err(|cause| failure::statement(format!("cannot drop the database {name}"), cause))
    }

    /// Lists the roles that the server does not have.
    pub(crate) async fn missing_roles(&self, roles: &[String]) -> Result<Vec<String>> {
        let rows = self.maintenance.query(sql!("backup/missing_roles.sql"), &[&roles]).await;
        let rows = rows.map_err(|cause| failure::statement("cannot list the roles", cause))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Drops the database.
    pub(crate) async fn remove(self) -> Result<()> {
        self.drop_database(&self.name).await
    }

    /// Gives the new database the name of the existing one, whose sessions are ended if `ends_sessions`, and then drops
    /// the existing one. Returns whether there was one.
    pub(crate) async fn replace(&self, ends_sessions: bool) -> Result<bool> {
        let had_old = self.exists().await?;
        if had_old {
            self.copy_properties().await?;
            if ends_sessions {
                let ended =
                    self.maintenance.execute(sql!("backup/end_sessions.sql"), &[&self.database]).await;
                ended
                    .map_err(|cause| failure::statement("cannot end the sessions of the database", cause))?;
            }
        }
        self.swap(had_old).await?;
        if had_old {
            self.drop_database(&self.replaced()).await?;
        }
        Ok(had_old)
    }

    /// Copies the owner, the settings and the privileges of the existing database.
    async fn copy_properties(&self) -> Result<()> {
        let failed = |cause| failure::statement("cannot copy the properties of the database", cause);
        let names: [&(dyn ToSql + Sync); 2] = [&self.database, &self.name];
        let statements = self.maintenance.query(sql!("backup/list_properties.sql"), &names).await;
        for statement in statements.map_err(failed)? {
            self.maintenance.batch_execute(statement.get(0)).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn swap(&self, had_old: bool) -> Result<()> {
        let rename = |from: &str, to: &str| {
            let names = minijinja::context! { database => quote(from), new_name => quote(to) };
            render!("backup/rename_database.sql", &names)
        };
        let away = if had_old { rename(&self.database, &self.replaced())? } else { String::new() };
        let swap = format!("BEGIN; {away}; {}; COMMIT", rename(&self.name, &self.database)?);
        let Err(cause) = self.maintenance.batch_execute(&swap).await else { return Ok(()) };
        if cause.code() != Some(&SqlState::OBJECT_IN_USE) {
            return Err(failure::statement(format!("cannot rename the database {}", self.name), cause));
        }
        // the failed transaction is still open
        let rolled_back = self.maintenance.batch_execute("ROLLBACK").await;
        rolled_back.map_err(|cause| failure::statement("cannot end the transaction", cause))?;
        let users = self.users(false).await?;
        Err(self.in_use(&users).because(cause))
    }

    /// The error for a database that these sessions use.
    fn in_use(&self, users: &[String]) -> Error {
        let users =
            if users.is_empty() { "a session that has just ended".to_owned() } else { users.join(", ") };
        let text = format!("the database {} is in use by {users}", self.database);
        Error::new(Kind::LockHeld, text).hint(
            "wait until the loads have ended, and end other sessions; --force ends the sessions of other programs",
        )
    }

    /// Refuses an existing database that other commands of taxi use. Waits for sessions that are ending, as those of this
    /// command are.
    pub(crate) async fn refuse_if_used_by_taxi(&self) -> Result<()> {
        let deadline = Instant::now() + ENDING;
        loop {
            let users = self.users(true).await?;
            match users.is_empty() {
                true => return Ok(()),
                false if Instant::now() > deadline => return Err(self.in_use(&users)),
                false => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }

    async fn users(&self, of_taxi: bool) -> Result<Vec<String>> {
        let sessions =
            self.maintenance.query(sql!("backup/list_sessions.sql"), &[&self.database, &of_taxi]).await;
        let sessions = sessions.map_err(|cause| failure::statement("cannot list the sessions", cause))?;
        Ok(sessions.iter().map(session::describe).collect())
    }
}

/// Connects to a database that every server has.
async fn connect(settings: &Settings, report: &dyn Report) -> Result<Client> {
    let [first, second] = MAINTENANCE.map(|name| settings.clone().with_database(name));
    match session::connect(&first, report).await {
        Err(error) if error.kind() != Kind::Unreachable => {
            session::connect(&second, report).await.map_err(|_| error)
        }
        connected => connected,
    }
}
