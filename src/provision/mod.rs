//! The embedded server: a private PostgreSQL server. taxi finds or downloads its binaries, creates its data
//! directory once, and starts it when needed.
//!
//! ```text
//! TAXI_HOME/
//!   connection.json   port, user, password, database; for the owner only
//!   server.conf       the server's configuration, rewritten at each start
//!   data/ log/ run/   the server's data directory, log and socket
//!   cache/            downloaded server binaries
//!   backups/          backups of taxi backup, unless they go elsewhere
//!   upgrade/          a new data directory during an upgrade, see [`upgrade`]
//!   lock              held while the server is started or stopped
//! ```

pub(crate) mod account;
pub(crate) mod binaries;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod download;
pub(crate) mod home;
pub(crate) mod server;
pub(crate) mod server_log;
pub(crate) mod upgrade;

use std::path::PathBuf;

use binaries::{Binaries, Choice, Places};
use connection::Credentials;
use home::Home;
use serde::Serialize;
use server::Server;

use crate::database::settings::Settings;
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Kind, Result};
use crate::http::SourceUrl;
use crate::report::Report;

/// The user's settings for the embedded server.
#[derive(Clone, Debug)]
pub(crate) struct Provisioner {
    /// The server's directory; the platform's default if `None`.
    pub(crate) home: Option<PathBuf>,
    /// Which server binaries to use.
    pub(crate) binaries: Choice,
    /// The base URL of the pinned build's archives.
    pub(crate) mirror: SourceUrl,
}

/// The embedded server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerState {
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
pub(crate) struct ServerStatus {
    /// The server's state.
    pub(crate) state: ServerState,
    /// The URL with the password, ready for any client. Only set for a running server.
    #[serde(serialize_with = "DatabaseUrl::serialize_exposed")]
    pub(crate) database_url: Option<DatabaseUrl>,
    /// The version of the running server, else the major version of the data directory, if there is one.
    pub(crate) version: Option<String>,
    /// The data directory.
    pub(crate) data_dir: PathBuf,
}

/// A running server.
pub(crate) struct Up {
    /// The server's state, with the URL.
    pub(crate) status: ServerStatus,
    /// How to connect to the server.
    pub(crate) connection: Credentials,
    /// The binaries that run the server.
    pub(crate) binaries: Binaries,
    /// Whether this call started the server.
    pub(crate) started: bool,
}

impl Provisioner {
    /// Starts the server, and creates it first if necessary. Concurrent calls result in one server.
    pub(crate) async fn up(&self, report: &dyn Report) -> Result<Up> {
        let home = Home::resolve(self.home.as_deref())?;
        let account = account::Account::for_server(&home.data())?;
        home.create(&account)?;
        let _lock = home.lock(report).await?;
        upgrade::recover(&home, report).await?;
        let account = account::Account::for_server(&home.data())?;
        let created_for = cluster::major_version(&home)?;
        if created_for.is_none() {
            account.check_entry()?;
        }
        let binaries = self.find_binaries(&home, created_for, report).await?;
        let mut connection = Credentials::load_or_create(&home)?;
        if created_for.is_none() {
            cluster::create(&home, &account, &binaries, &connection, &[]).await?;
        }
        let server = Server { home: &home, account: &account, binaries: &binaries };
        let started = server.start(&mut connection, report).await?;
        let version = server::version(&connection).await?;
        Ok(Up {
            status: ServerStatus {
                state: ServerState::Running,
                database_url: Some(connection.url()),
                version: Some(version),
                data_dir: home.data(),
            },
            connection,
            binaries,
            started,
        })
    }

    /// Starts the server. If it was not running, tells the user the server's address.
    pub(crate) async fn bring_up(&self, report: &dyn Report) -> Result<Settings> {
        let up = self.up(report).await?;
        if up.started {
            let address = format!("127.0.0.1:{}/{}", up.connection.port, up.connection.database);
            report.notice(&format!(
                "started PostgreSQL at {address}; it keeps running: use 'taxi psql' to connect and 'taxi down' to stop it"
            ));
        }
        // the server is on this machine and has no certificate
        Settings::parse(&format!("{}?sslmode=disable", up.connection.url().expose()))
    }

    /// Returns the server's state, and changes nothing.
    pub(crate) async fn status(&self) -> Result<ServerStatus> {
        let home = Home::resolve(self.home.as_deref())?;
        let major = cluster::major_version(&home)?;
        let mut status = ServerStatus {
            // an upgrade may have been interrupted between its two renames: the next start completes it
            state: match major {
                None if !upgrade::is_interrupted(&home) => ServerState::Absent,
                _ => ServerState::Stopped,
            },
            database_url: None,
            version: major.map(|major| major.to_string()),
            data_dir: home.data(),
        };
        // the process may be in another namespace
        let is_running = || server::postmaster(&home.data()).is_some() || server::is_locked(&home);
        if major.is_some() && is_running() {
            status.state = ServerState::Starting;
            let connection = Credentials::load(&home)?;
            match server::version(&connection).await {
                Ok(version) => {
                    status.state = ServerState::Running;
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
    pub(crate) async fn down(&self, report: &dyn Report) -> Result<ServerStatus> {
        let home = Home::resolve(self.home.as_deref())?;
        if cluster::major_version(&home)?.is_some() {
            let _lock = home.lock(report).await?;
            server::stop(&home).await?;
        }
        self.status().await
    }

    /// The installed server programs, of version `major` if it is given, also where only the last start knows them;
    /// `None` if there are none.
    pub(crate) fn installed(&self, major: Option<u32>) -> Result<Option<Binaries>> {
        let found = match &self.binaries {
            Choice::Directory(dir) => Some(Binaries::inspect(dir).map_err(|reason| {
                Error::new(Kind::Configuration, format!("cannot use the server in {}", dir.display()))
                    .because(reason)
                    .hint("set --postgres-bin (or TAXI_POSTGRES_BIN) to the directory of postgres, initdb and pg_ctl")
            })?),
            Choice::Search => match Places::of_this_machine().find(major) {
                None => cluster::last_programs(&Home::resolve(self.home.as_deref())?),
                found => found,
            },
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
