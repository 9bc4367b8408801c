//! How to connect to the embedded server. A file that only the owner can read stores the port and the password.

use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

use super::home::Home;
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Kind, Result};

const USER: &str = "taxi";
/// The name of the database, as in the course.
const DATABASE: &str = "ny_taxi";
const PASSWORD_BYTES: usize = 24;

/// How to connect to the embedded server.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// The port on 127.0.0.1, kept across restarts.
    pub(crate) port: u16,
    /// The server's superuser.
    pub(crate) user: String,
    /// The superuser's password, in hex, so that a URL needs no escaping.
    pub(crate) password: String,
    /// The database name.
    pub(crate) database: String,
}

impl Credentials {
    /// Reads the connection of the server in `home`.
    pub(crate) fn load(home: &Home) -> Result<Self> {
        let path = home.connection();
        let text = std::fs::read(&path).map_err(|cause| Error::file("read", &path, cause))?;
        serde_json::from_slice(&text).map_err(|cause| {
            Error::new(Kind::Configuration, format!("cannot read {}", path.display())).because(cause)
        })
    }

    /// Reads the connection of the server in `home`, or creates one with a free port and a random password.
    /// Refused: a data directory without a connection file.
    pub(crate) fn load_or_create(home: &Home) -> Result<Self> {
        if home.connection().exists() {
            return Self::load(home);
        }
        if home.data().exists() {
            let path = home.connection();
            return Err(Error::new(Kind::Configuration, format!("{} is missing", path.display())).hint(
                "restore the file, which contains the server's password, or set TAXI_HOME to a new directory",
            ));
        }
        let mut password = [0; PASSWORD_BYTES];
        getrandom::fill(&mut password)
            .map_err(|cause| Error::new(Kind::Io, "cannot generate a random password").because(cause))?;
        let connection = Self {
            port: free_port()?,
            user: USER.to_owned(),
            password: hex::encode(password),
            database: DATABASE.to_owned(),
        };
        connection.save(home)?;
        Ok(connection)
    }

    /// Writes the connection to its file, which only the owner can read.
    pub(crate) fn save(&self, home: &Home) -> Result<()> {
        let path = home.connection();
        let failed = |cause| Error::file("write", &path, cause);
        // a temporary file is private from the start
        let mut file = tempfile::NamedTempFile::new_in(home.path()).map_err(failed)?;
        serde_json::to_writer(&mut file, self).map_err(|cause| failed(cause.into()))?;
        // after a power failure, the server's data would be useless without this file
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|cause| failed(cause.error))?;
        Ok(())
    }

    /// The database URL, with the password.
    pub(crate) fn url(&self) -> DatabaseUrl {
        self.url_of(&self.database)
    }

    /// The URL of another database on the server, with the password.
    pub(crate) fn url_of(&self, database: &str) -> DatabaseUrl {
        let Self { port, user, password, .. } = self;
        DatabaseUrl::new(format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}"))
    }
}

/// A free port on 127.0.0.1.
pub(crate) fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|cause| Error::new(Kind::Io, "cannot find a free port on 127.0.0.1").because(cause))
}
