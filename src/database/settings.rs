//! Which database to connect to, as the user gave it.
//!
//! In: `postgresql://`, `postgres://` and `jdbc:postgresql://` addresses, or the `key=value` form. Out: the
//! driver's settings. Refused: what the driver does not understand, rather than ignoring it.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::error::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// For the server to greet, authenticate and begin the session, once it is connected.
const GREETING_TIMEOUT: Duration = Duration::from_secs(15);

/// The settings of one connection; they hold the password and never print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    config: Config,
}

impl Settings {
    /// Reads a database URL. Errors name the fault, never the URL: it may hold a password.
    pub fn parse(url: &str) -> Result<Self> {
        Self::parse_with(url, None, None)
    }

    /// Reads a database URL; the user and the password may stand beside it.
    pub fn parse_with(url: &str, user: Option<&str>, password: Option<&str>) -> Result<Self> {
        let native = url.strip_prefix("jdbc:").unwrap_or(url);
        let mut config: Config = native.parse().map_err(|cause| {
            Error::new(Kind::Configuration, "cannot read the database URL").because(cause).hint(
                "--database-url (or DATABASE_URL) is like postgresql://user:password@host:5432/database",
            )
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Error::new(Kind::Configuration, "the database URL names no host"));
        }
        if let Some(user) = user {
            config.user(user);
        }
        if let Some(password) = password {
            config.password(password);
        }
        if config.get_user().is_none() {
            return Err(Error::new(Kind::Configuration, "the database URL names no user"));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("taxi-etl");
        }
        Ok(Self { config })
    }

    /// The parts of a database at one host, for programs that take them one by one.
    pub fn parts(&self) -> Option<Parts<'_>> {
        let [Host::Tcp(host)] = self.config.get_hosts() else { return None };
        let user = self.config.get_user()?;
        Some(Parts {
            host,
            port: self.config.get_ports().first().copied().unwrap_or(5432),
            user,
            password: std::str::from_utf8(self.config.get_password().unwrap_or_default()).ok()?,
            database: self.config.get_dbname().unwrap_or(user),
        })
    }

    /// The driver's form.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// How long connecting may take in all.
    pub(super) fn answer_timeout(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()) as u32;
        let connecting = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        (connecting + GREETING_TIMEOUT) * hosts
    }

    /// `host:port/database` as messages may show it; several hosts are joined by commas.
    pub fn address(&self) -> String {
        let name = |host: &Host| match host {
            // a password with an unescaped @ spills over into what the driver takes for the host
            Host::Tcp(name) => name.rsplit('@').next().unwrap_or_default().to_owned(),
            Host::Unix(path) => path.display().to_string(),
        };
        let mut hosts: Vec<String> = self.config.get_hosts().iter().map(name).collect();
        if hosts.is_empty() {
            hosts.extend(self.config.get_hostaddrs().iter().map(ToString::to_string));
        }
        let ports = self.config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let places: Vec<String> =
            hosts.iter().enumerate().map(|(index, host)| format!("{host}:{}", port(index))).collect();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{}/{database}", places.join(","))
    }
}

/// The parts of a database's address.
pub struct Parts<'a> {
    /// The host.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: &'a str,
    /// The user's password.
    pub password: &'a str,
    /// The database.
    pub database: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_the_same_database() {
        for url in [
            "postgresql://ann:s3cret@db.example:5433/trips",
            "postgres://ann:s3cret@db.example:5433/trips",
            "jdbc:postgresql://db.example:5433/trips?user=ann&password=s3cret",
            "host=db.example port=5433 user=ann password=s3cret dbname=trips",
        ] {
            let settings = Settings::parse(url).unwrap();
            assert_eq!(settings.address(), "db.example:5433/trips", "{url}");
            assert_eq!(settings.config.get_user(), Some("ann"), "{url}");
            assert_eq!(settings.config.get_password(), Some(&b"s3cret"[..]), "{url}");
        }
    }

    #[test]
    fn every_host_is_named() {
        for (url, address) in [
            ("postgresql://ann@one,two:5433/trips", "one:5432,two:5433/trips"),
            ("hostaddr=10.0.0.1 user=ann", "10.0.0.1:5432/ann"),
            ("host=/run/postgresql user=ann dbname=trips", "/run/postgresql:5432/trips"),
            ("postgresql://ann:s3@cret@db/trips", "db:5432/trips"),
        ] {
            assert_eq!(Settings::parse(url).unwrap().address(), address);
        }
    }

    #[test]
    fn a_refused_url_is_not_repeated() {
        for url in
            ["mysql://ann:s3cret@db/trips", "postgresql://ann:s3cret@db/trips?tls=yes", "postgresql:///trips"]
        {
            let error = Settings::parse(url).err().unwrap();
            assert_eq!(error.kind(), Kind::Configuration);
            let chain = crate::report::failure::plain(&error);
            assert!(!chain.contains("s3cret"), "{chain}");
        }
    }
}
