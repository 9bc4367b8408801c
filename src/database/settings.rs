//! Which database to connect to, as the user gave it.
//!
//! In: `postgresql://`, `postgres://` and `jdbc:postgresql://` addresses, or the `key=value` form. Out: the
//! driver's settings. Refused: what the driver does not understand, rather than ignoring it.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::error::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The settings of one connection; they hold the password and never print it.
#[derive(Clone)]
pub struct Settings {
    config: Config,
}

impl Settings {
    /// Reads a database URL. Errors name the fault, never the URL: it may hold a password.
    pub fn parse(url: &str) -> Result<Self> {
        let native = url.strip_prefix("jdbc:").unwrap_or(url);
        let mut config: Config = native.parse().map_err(|cause| {
            Error::new(Kind::Configuration, "cannot read the database URL").because(cause).hint(
                "--database-url (or DATABASE_URL) is like postgresql://user:password@host:5432/database",
            )
        })?;
        if config.get_hosts().is_empty() {
            return Err(Error::new(Kind::Configuration, "the database URL names no host"));
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

    /// The driver's form.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// `host:port/database` as messages may show it.
    pub fn address(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{host}:{port}/{database}")
    }
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
