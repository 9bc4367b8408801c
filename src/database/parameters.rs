//! Parses connection parameters, under libpq's names, from a URL or a `key=value` string.
//!
//! Refused: names that libpq does not know, and parameters that are not supported here. Errors name the fault and
//! never quote the text, which may hold a password.

use percent_encoding::percent_decode_str;

use crate::error::{Error, Kind, Result};

/// The supported parameters, in libpq's spelling, except that libpq's `keepalives_count` is `keepalives_retries`.
const NAMES: [&str; 25] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "service",
    "servicefile",
    "application_name",
    "connect_timeout",
    "options",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "target_session_attrs",
    "load_balance_hosts",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "tcp_user_timeout",
];

/// Connection parameters; each name occurs once.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `postgresql://…`, `postgres://…`, `postgresql+psycopg2://…`, `jdbc:postgresql://…` or `key=value …`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let url = text.strip_prefix("jdbc:").unwrap_or(text);
        // SQLAlchemy's form names its driver: postgresql+psycopg2://
        let is_scheme = |scheme: &str| {
            matches!(scheme.split_once('+').map_or(scheme, |(scheme, _)| scheme), "postgresql" | "postgres")
        };
        match url.split_once("://") {
            Some((scheme, after_scheme)) if is_scheme(scheme) => parse_url(after_scheme),
            _ if url.contains("://") || url != text => {
                Err(unreadable("it does not start with postgresql://"))
            }
            _ => parse_pairs(text),
        }
    }

    /// The value of a parameter, if it is set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The parameters that the driver parses itself, as its `key='value'` string. `taxi` handles the others.
    pub(crate) fn for_driver(&self) -> String {
        let is_for_taxi = |name: &str| {
            name.starts_with("ssl") && name != "sslnegotiation"
                || ["passfile", "service", "servicefile", "tcp_user_timeout", "target_session_attrs"]
                    .contains(&name)
        };
        let pairs = self.0.iter().filter(|(name, _)| !is_for_taxi(name)).map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            format!("{name}='{value}'")
        });
        pairs.collect::<Vec<_>>().join(" ")
    }

    /// Sets a parameter, unless it is set already.
    pub(crate) fn fill(&mut self, name: &str, value: impl Into<String>) {
        if self.get(name).is_none() {
            self.0.push((name.to_owned(), value.into()));
        }
    }

    /// Sets a parameter that the user gave, and replaces an earlier value. Refuses unsupported names.
    pub(crate) fn add(&mut self, name: &str, value: String) -> Result<()> {
        let (name, value) = match (name, value.as_str()) {
            // JDBC's spelling
            ("ssl", "true") => ("sslmode", "require".to_owned()),
            ("ApplicationName", _) => ("application_name", value),
            // these values request what `taxi` does anyway
            ("client_encoding", "UTF8" | "utf8" | "UTF-8" | "auto")
            | ("gssencmode", "disable" | "prefer")
            | ("pgbouncer", "false") => return Ok(()),
            ("pgbouncer", _) => {
                return Err(unreadable("the address is that of a pooler in transaction mode")
                    .hint("use the database's own address, or the pooler's address for session mode"));
            }
            ("keepalives_count", _) => ("keepalives_retries", value),
            _ => (name, value),
        };
        if !NAMES.contains(&name) {
            return Err(unreadable(format!("the parameter {name} is not supported")));
        }
        // the last value wins, as in libpq
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
        Ok(())
    }
}

fn unreadable(reason: impl Into<String>) -> Error {
    Error::new(Kind::Configuration, "cannot read the database URL").because(reason.into()).hint(
        "set --database-url (or DATABASE_URL) to a URL like postgresql://user:password@host:5432/database, or to host=… user=… dbname=…",
    )
}

/// Reads `[user[:password]@][host[:port][,…]][/database][?name=value[&…]]`.
fn parse_url(after_scheme: &str) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    let (target, query) = after_scheme.split_once('?').unwrap_or((after_scheme, ""));
    // an unescaped @ in a password belongs to the password
    let (credentials, target) =
        target.rsplit_once('@').map_or((None, target), |(user, target)| (Some(user), target));
    let (hosts, database) = target.split_once('/').unwrap_or((target, ""));
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').map_or((credentials, None), |(u, p)| (u, Some(p)));
        add_decoded(&mut parameters, "user", user)?;
        add_decoded(&mut parameters, "password", password.unwrap_or_default())?;
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',').filter(|_| !hosts.is_empty()) {
        let (name, port) = match host.strip_prefix('[') {
            Some(inside) => {
                let (name, rest) =
                    inside.split_once(']').ok_or_else(|| unreadable("the closing ] is missing"))?;
                (name, rest.strip_prefix(':').unwrap_or(rest))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(port);
    }
    if names.iter().any(|name| !name.is_empty()) {
        parameters.add("host", names.join(","))?;
    }
    if ports.iter().any(|port| !port.is_empty()) {
        parameters.add("port", ports.join(","))?;
    }
    add_decoded(&mut parameters, "dbname", database)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| unreadable("expected name=value after the ?"))?;
        parameters.add(&decode(name)?, decode(value)?)?;
    }
    Ok(parameters)
}

fn add_decoded(parameters: &mut Parameters, name: &str, value: &str) -> Result<()> {
    if value.is_empty() { Ok(()) } else { parameters.add(name, decode(value)?) }
}

fn decode(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    match decoded {
        Ok(decoded) if !decoded.contains('\0') => Ok(decoded.into_owned()),
        _ => Err(unreadable("a percent-encoded value is not UTF-8 text")),
    }
}

/// Reads `name = value` pairs. A value with white space is quoted as `'…'`; `\` escapes a special character.
fn parse_pairs(text: &str) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| unreadable("expected name=value"))?;
        let (value, after) = read_value(after.trim_start())?;
        parameters.add(name.trim(), value)?;
        rest = after.trim_start();
    }
    Ok(parameters)
}

fn read_value(text: &str) -> Result<(String, &str)> {
    let (quoted, text) = text.strip_prefix('\'').map_or((false, text), |text| (true, text));
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\'' if quoted => return Ok((value, &text[index + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            character if character.is_whitespace() && !quoted => return Ok((value, &text[index..])),
            character => value.push(character),
        }
    }
    if quoted { Err(unreadable("a closing ' is missing")) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let mut pairs = Parameters::parse(text).unwrap().0;
        pairs.sort();
        pairs
    }

    #[test]
    fn all_forms_give_the_same_parameters() {
        let expected = read("host=db.example port=5433 user=ann password='s3 cr\\'t' dbname=trips");
        for text in [
            "postgresql://ann:s3%20cr't@db.example:5433/trips",
            "postgres://ann@db.example:5433/trips?password=s3%20cr%27t",
            "jdbc:postgresql://db.example:5433/trips?user=ann&password=s3%20cr't",
            "postgresql:///trips?host=db.example&port=5433&user=ann&password=s3%20cr't",
            "user = ann  host=db.example port=5433\tpassword='s3 cr\\'t' dbname=other dbname=trips",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn several_hosts_and_addresses_in_brackets_are_read() {
        let read = |text: &str, name: &str| Parameters::parse(text).unwrap().get(name).map(str::to_owned);
        for (text, hosts, ports) in [
            ("postgresql://ann@one,two:5433/trips", Some("one,two"), Some(",5433")),
            ("postgresql://[::1]:5433,[fe80::1%25eth0]/trips", Some("::1,fe80::1%eth0"), Some("5433,")),
            ("postgresql://%2Frun%2Fpostgresql/trips", Some("/run/postgresql"), None),
            ("postgresql:///trips", None, None),
            ("postgresql://", None, None),
        ] {
            assert_eq!(
                (read(text, "host").as_deref(), read(text, "port").as_deref()),
                (hosts, ports),
                "{text}"
            );
        }
    }

    #[test]
    fn errors_name_the_fault_and_do_not_quote_values() {
        for (text, fault) in [
            ("mysql://ann:s3cret@db/trips", "does not start with postgresql://"),
            ("postgresql://ann:s3cret@db/trips?tls=yes", "the parameter tls is not supported"),
            ("postgresql://ann:s3cret@[::1/trips", "the closing ] is missing"),
            ("postgresql://ann:s3cret%FF@db/trips", "not UTF-8 text"),
            ("host=db password='s3cret", "a closing ' is missing"),
            ("host=db s3cret", "expected name=value"),
            ("host=db krbsrvname=s3cret", "the parameter krbsrvname is not supported"),
        ] {
            let error = Parameters::parse(text).err().unwrap();
            let message = crate::report::failure::plain(&error);
            assert!(message.contains(fault) && !message.contains("s3cret"), "{text}: {message}");
        }
    }
}
