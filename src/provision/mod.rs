//! The embedded server: a PostgreSQL of one's own, found or downloaded, created once and brought up when needed.
//!
//! ```text
//! TAXI_HOME/
//!   connection.json   port, user, password, database; for the owner only
//!   server.conf       the server's settings, written anew at each start
//!   data/ log/ run/   the server's: its data directory, its log, its socket
//!   cache/            downloaded server binaries
//!   lock              held while the server is brought up or down
//! ```

pub mod account;
pub mod binaries;
pub mod cluster;
pub mod connection;
pub mod download;
pub mod home;
pub mod server;

use std::path::PathBuf;

use binaries::{Binaries, Choice, Places};
use connection::Connection;
use home::Home;
use serde::Serialize;
use server::Server;

use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::report::Report;

/// Where the embedded server lives and what it is made of, as the user chose.
#[derive(Clone, Debug)]
pub struct Provisioner {
    /// The folder that holds it; the platform's if none is given.
    pub home: Option<PathBuf>,
    /// Which server binaries to use.
    pub binaries: Choice,
    /// The base address of the pinned build.
    pub mirror: String,
}

/// The embedded server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It answers queries.
    Running,
    /// Its process is there, it does not answer yet.
    Starting,
    /// Its data is there, no process.
    Stopped,
    /// It was never created.
    Absent,
}

/// What `up`, `status` and `down` print.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The state.
    pub state: State,
    /// With the password: any client can use it as it stands. Only of a running server.
    pub database_url: Option<String>,
    /// The server's version, where there is one.
    pub version: Option<String>,
    /// The data directory.
    pub data_dir: PathBuf,
}

/// A server that answers.
pub struct Up {
    /// The state, with the URL.
    pub status: Status,
    /// How to connect.
    pub connection: Connection,
    /// The binaries that run it.
    pub binaries: Binaries,
    /// Whether it was this call that started it.
    pub started: bool,
}

impl Provisioner {
    /// Brings the server up, creating it first if need be. Two at once end with one server.
    pub async fn up(&self, report: &dyn Report) -> Result<Up> {
        let home = Home::resolve(self.home.as_deref())?;
        let account = account::Account::for_server(&home.data())?;
        home.create(&account)?;
        let _lock = home.lock(report).await?;
        let created_for = cluster::major_version(&home)?;
        let binaries = self.find_binaries(&home, created_for, report).await?;
        let mut connection = Connection::load_or_create(&home)?;
        if created_for.is_none() {
            cluster::create(&home, &account, &binaries, &connection).await?;
        }
        let server = Server { home: &home, account: &account, binaries: &binaries };
        let started = server.start(&mut connection, report).await?;
        let version = server::version(&connection).await?;
        Ok(Up {
            status: Status {
                state: State::Running,
                database_url: Some(connection.url()),
                version: Some(version),
                data_dir: home.data(),
            },
            connection,
            binaries,
            started,
        })
    }

    /// Brings the server up, and tells the user where it is if it was not yet.
    pub async fn bring_up(&self, report: &dyn Report) -> Result<Settings> {
        let up = self.up(report).await?;
        if up.started {
            let address = format!("127.0.0.1:{}/{}", up.connection.port, up.connection.database);
            report.notice(&format!(
                "started PostgreSQL at {address}, which stays up: connect with 'taxi psql', stop it with 'taxi down'"
            ));
        }
        // it is on this machine, and has no certificate
        Settings::parse(&format!("{}?sslmode=disable", up.connection.url()))
    }

    /// Looks, and changes nothing.
    pub async fn status(&self) -> Result<Status> {
        let home = Home::resolve(self.home.as_deref())?;
        let major = cluster::major_version(&home)?;
        let mut status = Status {
            state: if major.is_some() { State::Stopped } else { State::Absent },
            database_url: None,
            version: major.map(|major| major.to_string()),
            data_dir: home.data(),
        };
        if major.is_some() && server::postmaster(&home.data()).is_some() {
            status.state = State::Starting;
            let connection = Connection::load(&home)?;
            match server::version(&connection).await {
                Ok(version) => {
                    status.state = State::Running;
                    status.version = Some(version);
                    status.database_url = Some(connection.url());
                }
                Err(error) if error.kind() == Kind::Unreachable => {}
                Err(error) => return Err(error),
            }
        }
        Ok(status)
    }

    /// Stops the server; no failure where none runs.
    pub async fn down(&self, report: &dyn Report) -> Result<Status> {
        let home = Home::resolve(self.home.as_deref())?;
        if cluster::major_version(&home)?.is_some() {
            let _lock = home.lock(report).await?;
            server::stop(&home.data()).await?;
        }
        self.status().await
    }

    /// The server programs of this machine, for data of the `major` version; `None` where they are to be downloaded.
    pub fn installed(&self, major: Option<u32>) -> Result<Option<Binaries>> {
        let found = match &self.binaries {
            Choice::Directory(dir) => Some(Binaries::inspect(dir).map_err(|why| {
                Error::new(Kind::Configuration, format!("{} holds no usable server: {why}", dir.display()))
                    .hint("--postgres-bin (or TAXI_POSTGRES_BIN) names the directory of postgres, initdb and pg_ctl")
            })?),
            Choice::Search => Places::of_this_machine().find(major),
            Choice::Download => None,
        };
        Ok(found.filter(|found| major.is_none_or(|major| found.major == major)))
    }

    async fn find_binaries(&self, home: &Home, major: Option<u32>, report: &dyn Report) -> Result<Binaries> {
        if let Some(installed) = self.installed(major)? {
            return Ok(installed);
        }
        if matches!(self.binaries, Choice::Directory(_))
            || major.is_some_and(|major| major != download::MAJOR)
        {
            return Err(cluster::other_major(home, major.unwrap_or_default(), &self.binaries));
        }
        download::Archive::pinned(&self.mirror)?.install(&home.cache(), report).await
    }
}
