//! The settings of a connection as environment variables, for programs that use libpq. Other users of the machine can
//! read a program's command line, but not its environment.

use std::ffi::OsString;

use tokio_postgres::config::{ChannelBinding, Host, LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};

use super::settings::Settings;
use super::tls::Roots;

/// The names of the variables of this process that libpq reads: they may belong to another server.
pub(crate) fn inherited() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.as_encoded_bytes().starts_with(b"PG"))
}

/// The variables that make libpq connect as these settings say. The caller removes those that are [`inherited`].
pub(crate) fn variables(settings: &Settings) -> Vec<(&'static str, OsString)> {
    let config = settings.config();
    let list = |items: Vec<String>| items.join(",");
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("PGHOST", list(hosts.collect()).into()),
        ("PGHOSTADDR", list(config.get_hostaddrs().iter().map(ToString::to_string).collect()).into()),
        ("PGPORT", list(config.get_ports().iter().map(ToString::to_string).collect()).into()),
        ("PGUSER", config.get_user().unwrap_or_default().into()),
        ("PGDATABASE", settings.database().into()),
        (
            "PGPASSWORD",
            String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned().into(),
        ),
        ("PGAPPNAME", config.get_application_name().unwrap_or_default().into()),
        ("PGOPTIONS", config.get_options().unwrap_or_default().into()),
        ("PGSSLMODE", settings.tls().mode.name().into()),
    ];
    let timeout = config.get_connect_timeout().map(|timeout| timeout.as_secs().max(1).to_string());
    variables.extend(timeout.map(|seconds| ("PGCONNECT_TIMEOUT", seconds.into())));
    let tls = settings.tls();
    variables.extend(tls.roots.as_ref().map(|roots| match roots {
        Roots::System => ("PGSSLROOTCERT", "system".into()),
        Roots::File(path) => ("PGSSLROOTCERT", path.into()),
    }));
    variables.extend(tls.certificate.as_ref().map(|path| ("PGSSLCERT", path.into())));
    variables.extend(tls.key.as_ref().map(|path| ("PGSSLKEY", path.into())));
    let choices = [
        (
            "PGCHANNELBINDING",
            match config.get_channel_binding() {
                ChannelBinding::Disable => "disable",
                ChannelBinding::Require => "require",
                _ => "",
            },
        ),
        (
            "PGSSLNEGOTIATION",
            match config.get_ssl_negotiation() {
                SslNegotiation::Direct => "direct",
                _ => "",
            },
        ),
        (
            "PGTARGETSESSIONATTRS",
            match config.get_target_session_attrs() {
                TargetSessionAttrs::ReadWrite => "read-write",
                _ => "",
            },
        ),
        (
            "PGLOADBALANCEHOSTS",
            match config.get_load_balance_hosts() {
                LoadBalanceHosts::Random => "random",
                _ => "",
            },
        ),
    ];
    variables.extend(choices.map(|(name, value)| (name, value.into())));
    // libpq takes an empty variable of some names for a value
    variables.retain(|(_, value)| !value.is_empty());
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_hold_what_the_url_says() {
        let settings = Settings::parse(
            "postgresql://ann:s3%20cret@one,two:5433/trips?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem\
             &sslkey=/c.key&options=-c%20jit%3Doff&target_session_attrs=read-write&channel_binding=require\
             &connect_timeout=7&load_balance_hosts=random&application_name=nightly",
        )
        .unwrap();
        let found: Vec<String> =
            variables(&settings).iter().map(|(name, value)| format!("{name}={}", value.display())).collect();
        let expected = [
            "PGHOST=one,two",
            "PGPORT=5432,5433",
            "PGUSER=ann",
            "PGDATABASE=trips",
            "PGPASSWORD=s3 cret",
            "PGAPPNAME=nightly",
            "PGOPTIONS=-c jit=off",
            "PGSSLMODE=verify-full",
            "PGCONNECT_TIMEOUT=7",
            "PGSSLROOTCERT=/ca.pem",
            "PGSSLCERT=/c.pem",
            "PGSSLKEY=/c.key",
            "PGCHANNELBINDING=require",
            "PGTARGETSESSIONATTRS=read-write",
            "PGLOADBALANCEHOSTS=random",
        ];
        assert_eq!(found, expected);
    }
}
