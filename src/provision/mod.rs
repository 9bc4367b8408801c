//! The embedded server: a private PostgreSQL server. Its binaries are found or downloaded, its data directory is
//! created once, and it is started when needed.
//!
//! ```text
//! TAXI_HOME/
//!   connection.json   port, user, password, database; for the owner only
//!   server.conf       the server's configuration, rewritten at each start
//!   data/ log/ run/   the server's data directory, log and socket
//!   cache/            downloaded server binaries
//!   lock              held while the server is started or stopped
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

/// The user's settings for the embedded server.
#[derive(Clone, Debug)]
pub struct Provisioner {
    /// The server's directory; the platform's default if `None`.
    pub home: Option<PathBuf>,
    /// Which server binaries to use.
    pub binaries: Choice,
    /// The base URL of the pinned build's archives.
    pub mirror: String,
}

/// The embedded server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The server answers queries.
    Running,
    /// The server's process exists, but does not answer queries yet.
    Starting,
    /// The data directory exists, but no process runs.
    Stopped,
    /// The server was never created.
    Absent,
}

/// The result that `up`, `status` and `down` print.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The server's state.
    pub state: State,
    /// The URL with the password, ready for any client. Set only for a running server.
    pub database_url: Option<String>,
    /// The version of the running server, else the major version of the data directory, if there is one.
    pub version: Option<String>,
    /// The data directory.
    pub data_dir: PathBuf,
}

/// A running server.
pub struct Up {
    /// The server's state, with the URL.
    pub status: Status,
    /// How to connect to the server.
    pub connection: Connection,
    /// The binaries that run the server.
    pub binaries: Binaries,
    /// Whether this call started the server.
    pub started: bool,
}

impl Provisioner {
    /// Starts the server, and creates it first if necessary. Concurrent calls result in one server.
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

    /// Starts the server. If it was not running, tells the user its address.
    pub async fn bring_up(&self, report: &dyn Report) -> Result<Settings> {
        let up = self.up(report).await?;
        if up.started {
            let address = format!("127.0.0.1:{}/{}", up.connection.port, up.connection.database);
            report.notice(&format!(
                "started PostgreSQL at {address}, which stays up: connect with 'taxi psql', stop it with 'taxi down'"
            ));
        }
        // the server is on this machine and has no certificate
        Settings::parse(&format!("{}?sslmode=disable", up.connection.url()))
    }

    /// Inspects the server, and changes nothing.
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

    /// Stops the server. It is not an error if none is running.
    pub async fn down(&self, report: &dyn Report) -> Result<Status> {
        let home = Home::resolve(self.home.as_deref())?;
        if cluster::major_version(&home)?.is_some() {
            let _lock = home.lock(report).await?;
            server::stop(&home.data()).await?;
        }
        self.status().await
    }

    /// The installed server programs, of version `major` if that is given; `None` if there are none.
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
