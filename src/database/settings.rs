//! Which database to connect to, and how.
//!
//! In: a connection string; for the user's database also the environment, the service file and the password file.
//! Out: settings for the driver. Refused: parameters that neither taxi nor the driver supports; taxi does not
//! ignore them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, TargetSessionAttrs};

use super::environment;
use super::parameters::Parameters;
use super::password::PasswordCommand;
use super::tls::{Mode, Roots, Tls};
use super::url::DatabaseUrl;
use crate::error::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for the server to authenticate the user and start the session, after the connection is open.
const SESSION_START_TIMEOUT: Duration = Duration::from_secs(15);

/// The default idle timeout: how long the server may not answer at all. It is also how long sent data may
/// stay unacknowledged (`tcp_user_timeout`).
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// The settings of one connection. They hold the password and never print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    config: Config,
    tls: Tls,
    idle_timeout: Duration,
    /// A hint to show if authentication fails.
    advice: Option<String>,
    /// The command that prints the password, which replaces any other password.
    password_command: Option<PasswordCommand>,
}

impl Settings {
    /// Reads a complete database URL, and ignores the environment.
    pub fn parse(url: &str) -> Result<Self> {
        Self::parse_with(url, None, None, None)
    }

    /// Like [`Self::parse`], with an optional user, password and TLS mode that replace those of the URL.
    pub(crate) fn parse_with(
        url: &str,
        user: Option<&str>,
        password: Option<&str>,
        ssl_mode: Option<&str>,
    ) -> Result<Self> {
        let mut parameters = Parameters::parse(url)?;
        for (name, value) in [("user", user), ("password", password), ("sslmode", ssl_mode)] {
            if let Some(value) = value {
                parameters.add(name, value.to_owned())?;
            }
        }
        Self::of(&parameters, None)
    }

    /// Reads an optional database URL, and completes it from the environment, the service file and the password
    /// file as libpq does.
    pub(crate) fn complete(url: Option<&DatabaseUrl>) -> Result<Self> {
        let mut parameters = url.map(|url| Parameters::parse(url.expose())).transpose()?.unwrap_or_default();
        let advice = environment::complete(&mut parameters)?;
        Self::of(&parameters, advice)
    }

    fn of(parameters: &Parameters, advice: Option<String>) -> Result<Self> {
        let invalid = |text: String| Error::new(Kind::Configuration, text);
        let mut config: Config =
            parameters.for_driver().parse().map_err(|cause: tokio_postgres::Error| {
                invalid("invalid connection parameter".to_owned()).because(cause)
            })?;
        let hosts = config.get_hosts();
        let host_count = hosts.len().max(config.get_hostaddrs().len());
        if host_count == 0 || hosts.contains(&Host::Tcp(String::new())) {
            return Err(invalid("the database URL has no host".to_owned()));
        }
        if config.get_user().is_none() {
            return Err(invalid("the database URL has no user".to_owned()));
        }
        let ports = config.get_ports().len();
        if ports > 1 && ports != host_count {
            return Err(invalid(format!(
                "the database URL has {ports} ports for {host_count} hosts; expected one port, or one for each host"
            )));
        }
        if config.get_password().is_none() {
            // without a password, the server's error is clearer than the driver's
            config.password("");
        }
        if config.get_application_name().is_none() {
            config.application_name("taxi-etl");
        }
        if config.get_connect_timeout().is_none() {
            // libpq waits without limit if the parameter is zero; here, the limit is a year
            let is_given = parameters.get("connect_timeout").is_some();
            config.connect_timeout(if is_given {
                Duration::from_secs(365 * 86_400)
            } else {
                CONNECT_TIMEOUT
            });
        }
        for (name, set, default) in [
            ("keepalives_idle", Config::keepalives_idle as fn(&mut _, _) -> &mut _, KEEPALIVE_IDLE),
            ("keepalives_interval", Config::keepalives_interval, KEEPALIVE_INTERVAL),
        ] {
            if parameters.get(name).is_none() {
                set(&mut config, default);
            }
        }
        if parameters.get("keepalives_retries").is_none() {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        // set here, because the driver reads libpq's milliseconds as seconds
        match parameters.get("tcp_user_timeout").map(str::parse::<i32>) {
            None => _ = config.tcp_user_timeout(IDLE_TIMEOUT),
            // the system's default, as in libpq
            Some(Ok(..=0)) => {}
            Some(Ok(milliseconds)) => {
                config.tcp_user_timeout(Duration::from_millis(milliseconds.unsigned_abs().into()));
            }
            Some(Err(_)) => {
                let text = "invalid value for `tcp_user_timeout`: expected a whole number";
                return Err(invalid(text.to_owned()));
            }
        }
        // set here, because the driver does not know "primary"
        match parameters.get("target_session_attrs") {
            None | Some("any") => {}
            Some("read-write" | "primary") => _ = config.target_session_attrs(TargetSessionAttrs::ReadWrite),
            Some(_) => {
                let reason = "expected any, read-write or primary, because a load writes";
                return Err(invalid(format!("invalid value for `target_session_attrs`: {reason}")));
            }
        }
        let root = parameters.get("sslrootcert").map(|root| match root {
            "system" => Roots::System,
            file => Roots::File(PathBuf::from(file)),
        });
        let mode = match parameters.get("sslmode") {
            // a certificate from a public CA proves nothing unless its host name is checked
            None if root == Some(Roots::System) => Mode::VerifyFull,
            None => Mode::Prefer,
            Some(text) => Mode::of(text).ok_or_else(|| {
                let modes = "disable, allow, prefer, require, verify-ca or verify-full";
                invalid(format!("invalid value for `sslmode`: expected {modes}"))
            })?,
        };
        let file = |name| parameters.get(name).map(PathBuf::from);
        let tls = Tls { mode, roots: root, certificate: file("sslcert"), key: file("sslkey") };
        Ok(Self { config, tls, idle_timeout: IDLE_TIMEOUT, advice, password_command: None })
    }

    /// The TLS settings of the connection.
    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The TLS mode to use; a Unix socket needs no TLS.
    pub(crate) fn mode(&self) -> Mode {
        let is_socket = |host: &Host| matches!(host, Host::Unix(_));
        let hosts = self.config.get_hosts();
        if !hosts.is_empty() && hosts.iter().all(is_socket) { Mode::Disable } else { self.tls.mode }
    }

    /// Whether the connection must use channel binding.
    pub(crate) fn requires_channel_binding(&self) -> bool {
        self.config.get_channel_binding() == ChannelBinding::Require
    }

    /// Whether a password was given.
    pub(crate) fn has_password(&self) -> bool {
        self.password_command.is_some()
            || self.config.get_password().is_some_and(|password| !password.is_empty())
    }

    /// The same settings with a command that prints the password.
    #[must_use]
    pub(crate) fn with_password_command(mut self, command: Option<&PasswordCommand>) -> Self {
        self.password_command = command.filter(|command| !command.is_empty()).cloned();
        if self.password_command.is_some() {
            // it is about the password file, whose password is not used
            self.advice = None;
        }
        self
    }

    /// Whether a command prints the password.
    pub(crate) fn has_password_command(&self) -> bool {
        self.password_command.is_some()
    }

    /// The same settings with the password that the password command prints, if there is such a command. A password
    /// that it has printed within `max_age` is used again.
    pub(crate) async fn authenticated(&self, max_age: Duration) -> Result<Self> {
        let mut settings = self.clone();
        if let Some(command) = &self.password_command {
            settings.config.password(command.password(max_age).await?);
        }
        Ok(settings)
    }

    /// The name of the database.
    pub(crate) fn database(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or_default()
    }

    /// The same settings for another database of the server.
    #[must_use]
    pub(crate) fn with_database(mut self, name: &str) -> Self {
        self.config.dbname(name);
        self
    }

    /// A hint to show if authentication fails.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// The parts of the URL, for programs that take them separately. `None` unless there is exactly one TCP host.
    pub(crate) fn parts(&self) -> Option<UrlParts<'_>> {
        let [Host::Tcp(host)] = self.config.get_hosts() else { return None };
        let user = self.config.get_user()?;
        Some(UrlParts {
            host,
            port: self.config.get_ports().first().copied().unwrap_or(5432),
            user,
            password: std::str::from_utf8(self.config.get_password().unwrap_or_default()).ok()?,
            database: self.config.get_dbname().unwrap_or(user),
            ssl_mode: self.tls.mode.name(),
        })
    }

    /// The TLS mode, by libpq's name.
    pub(crate) fn ssl_mode(&self) -> &'static str {
        self.tls.mode.name()
    }

    /// The addresses of the server, in the order in which they are tried.
    pub(crate) fn addresses(&self) -> Vec<ServerAddress> {
        let ports = self.config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let addresses = self.config.get_hostaddrs();
        let hosts = self.config.get_hosts();
        let address = |index: usize| match (addresses.get(index), hosts.get(index)) {
            (Some(ip), _) => Some(ServerAddress::Tcp(ip.to_string(), port(index))),
            (None, Some(Host::Tcp(name))) => Some(ServerAddress::Tcp(name.clone(), port(index))),
            (None, Some(Host::Unix(path))) => {
                Some(ServerAddress::Socket(path.join(format!(".s.PGSQL.{}", port(index)))))
            }
            (None, None) => None,
        };
        (0..hosts.len().max(addresses.len())).filter_map(address).collect()
    }

    /// Whether the server is on this machine, judging by its address: a socket, `localhost` or a loopback address.
    pub(crate) fn is_local(&self) -> bool {
        self.addresses().iter().all(|address| match address {
            ServerAddress::Socket(_) => true,
            ServerAddress::Tcp(host, _) => {
                host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
        })
    }

    /// The driver's configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The total timeout for connecting, over all hosts.
    pub(crate) fn answer_timeout(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()) as u32;
        let connect_timeout = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        (connect_timeout + SESSION_START_TIMEOUT.min(self.idle_timeout)) * hosts
    }

    /// The idle timeout: how long the server may not answer at all.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// The same settings with a different idle timeout.
    #[must_use]
    pub(crate) fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// The address as `host:port/database`, safe to show in messages; several hosts are joined by commas.
    pub fn address(&self) -> String {
        let name = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let mut hosts: Vec<String> = self.config.get_hosts().iter().map(name).collect();
        if hosts.is_empty() {
            hosts.extend(self.config.get_hostaddrs().iter().map(ToString::to_string));
        }
        let ports = self.config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let servers: Vec<String> =
            hosts.iter().enumerate().map(|(index, host)| format!("{host}:{}", port(index))).collect();
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{}/{database}", servers.join(","))
    }
}

/// An address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// A Unix socket on this machine.
    Socket(PathBuf),
    /// A host and a port.
    Tcp(String, u16),
}

/// The parts of a database URL.
pub(crate) struct UrlParts<'a> {
    /// The host name or IP address.
    pub(crate) host: &'a str,
    /// The port number.
    pub(crate) port: u16,
    /// The user name.
    pub(crate) user: &'a str,
    /// The user's password.
    pub(crate) password: &'a str,
    /// The database name.
    pub(crate) database: &'a str,
    /// The TLS mode, by libpq's name.
    pub(crate) ssl_mode: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_url_forms_name_the_same_database() {
        for url in [
            "postgresql://ann:s3cret@db.example:5433/trips",
            "postgres://ann:s3cret@db.example:5433/trips",
            "postgresql+psycopg2://ann:s3cret@db.example:5433/trips",
            "postgresql+asyncpg://ann:s3cret@db.example:5433/trips?pgbouncer=false",
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
    fn the_address_shows_every_host() {
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
    fn invalid_parameters_are_refused() {
        for (text, fault) in [
            ("host=db user=ann sslmode=perhaps", "`sslmode`: expected disable, allow"),
            ("host=db user=ann port=none", "invalid value for option `port`"),
            ("host=a,b user=ann port=1,2,3", "3 ports for 2 hosts"),
            ("host=db user=ann connect_timeout=soon", "invalid value for option `connect_timeout`"),
            ("host=db user=ann target_session_attrs=standby", "a load writes"),
            ("user=ann", "has no host"),
            ("host=db", "has no user"),
        ] {
            let error = Settings::parse(text).err().unwrap();
            assert_eq!(error.kind(), Kind::Configuration);
            let message = crate::report::failure::line(&error);
            assert!(message.contains(fault), "{text}: {message}");
        }
    }
}
