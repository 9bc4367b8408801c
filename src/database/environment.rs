//! Connection parameters from outside the connection string, as libpq reads them: the service file, the
//! environment, then the password file. Each source fills only parameters that are not set yet.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::parameters::Parameters;
use crate::error::{Error, Kind, Result};

/// The environment variables and the parameters that they set.
const VARIABLES: [(&str, &str); 20] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSERVICE", "service"),
    ("PGSERVICEFILE", "servicefile"),
    ("PGAPPNAME", "application_name"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGOPTIONS", "options"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
];
/// The variables that select a database. The others only affect how to connect to it.
const SELECTORS: [&str; 3] = ["PGHOST", "PGHOSTADDR", "PGSERVICE"];

/// The user's home directory; a process may have none.
fn home() -> Option<PathBuf> {
    dirs::home_dir()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the environment selects a database.
pub(crate) fn names_a_database() -> bool {
    SELECTORS.iter().any(|name| variable(name).is_some())
}

/// The path of a file in `~/.postgresql`, where libpq looks for certificates and keys.
pub(crate) fn own_file(name: &str) -> Option<PathBuf> {
    home().map(|home| home.join(".postgresql").join(name))
}

/// Fills the parameters that are not set. Returns a hint for the user if the password file was ignored.
pub(crate) fn complete(parameters: &mut Parameters) -> Result<Option<String>> {
    let service = parameters.get("service").map(str::to_owned).or_else(|| variable("PGSERVICE"));
    if let Some(service) = service {
        add_service(parameters, &service)?;
    }
    for (name, parameter) in VARIABLES {
        if let Some(value) = variable(name) {
            parameters.fill(parameter, value);
        }
    }
    if let Some(path) = variable("PGPASSWORD_FILE") {
        let path = PathBuf::from(path);
        let text = fs::read_to_string(&path).map_err(|cause| Error::file("read", &path, cause))?;
        parameters.fill("password", text.trim_end_matches(['\n', '\r']));
    }
    if let Some(user) = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten() {
        parameters.fill("user", user.name);
    }
    if parameters.get("host").is_none() && parameters.get("hostaddr").is_none() {
        let socket_directory = ["/var/run/postgresql", "/tmp"].into_iter().find(|directory| {
            let port = parameters.get("port").unwrap_or("5432");
            Path::new(directory).join(format!(".s.PGSQL.{port}")).exists()
        });
        parameters.fill("host", socket_directory.unwrap_or("localhost"));
    }
    match parameters.get("password") {
        Some(_) => Ok(None),
        None => add_password(parameters),
    }
}

/// Adds a service's parameters from the first service file that defines it: the user's, then the system's.
fn add_service(parameters: &mut Parameters, service: &str) -> Result<()> {
    let configured = parameters.get("servicefile").map(str::to_owned).or_else(|| variable("PGSERVICEFILE"));
    let system_directory = variable("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    let default = || home().map(|home| home.join(".pg_service.conf"));
    let files: Vec<PathBuf> = configured
        .map(PathBuf::from)
        .or_else(default)
        .into_iter()
        .chain([Path::new(&system_directory).join("pg_service.conf")])
        .filter(|path| path.exists())
        .collect();
    for path in &files {
        let text = fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
        if let Some(found) = read_service(&text, service, path)? {
            for (name, value) in found {
                if parameters.get(&name).is_none() {
                    parameters.add(&name, value)?;
                }
            }
            return Ok(());
        }
    }
    let searched: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let reason = match searched.is_empty() {
        true => "no service file exists".to_owned(),
        false => format!("it is not defined in {}", searched.join(" or ")),
    };
    Err(Error::new(Kind::Configuration, format!("cannot find the service {service:?}")).because(reason).hint(
        "set PGSERVICEFILE to a file that defines the service: a section like [mydb] with lines like host=db",
    ))
}

fn read_service(text: &str, service: &str, path: &Path) -> Result<Option<Vec<(String, String)>>> {
    let mut found = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            match found {
                Some(_) => break,
                None if name == service => found = Some(Vec::new()),
                None => {}
            }
        } else if let Some(found) = &mut found {
            let (name, value) = line.split_once('=').ok_or_else(|| {
                let text = format!("{}, line {}: expected name=value", path.display(), index + 1);
                Error::new(Kind::Configuration, text)
            })?;
            found.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    Ok(found)
}

/// Adds the password that the password file holds for the first host.
fn add_password(parameters: &mut Parameters) -> Result<Option<String>> {
    let configured = parameters.get("passfile").map(PathBuf::from);
    let Some(path) = configured.or_else(|| home().map(|home| home.join(".pgpass"))) else { return Ok(None) };
    let Ok(metadata) = fs::metadata(&path) else { return Ok(None) };
    if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
        // libpq ignores such a file, too
        return Ok(Some(format!(
            "{} was ignored because other users can access it: run 'chmod 600 {}'",
            path.display(),
            path.display()
        )));
    }
    let text = fs::read_to_string(&path).map_err(|cause| Error::file("read", &path, cause))?;
    let first = |name: &str| {
        parameters.get(name).and_then(|list| list.split(',').next()).filter(|value| !value.is_empty())
    };
    let host = first("host").or(first("hostaddr")).unwrap_or("localhost");
    // the default socket directories count as localhost
    let host = if host.starts_with("/var/run/postgresql") || host == "/tmp" { "localhost" } else { host };
    let user = parameters.get("user").unwrap_or_default();
    let expected = [host, first("port").unwrap_or("5432"), parameters.get("dbname").unwrap_or(user), user];
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let found = lines.find_map(|line| password_of(line, expected));
    if let Some(password) = found {
        parameters.fill("password", password);
    }
    Ok(None)
}

/// The password of a line `host:port:database:user:password`, if the line matches `expected`.
fn password_of(line: &str, expected: [&str; 4]) -> Option<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let is_last = fields.len() == 5;
        match (character, fields.last_mut()?) {
            ('\\', field) => field.extend(characters.next()),
            (':', _) if !is_last => fields.push(String::new()),
            (character, field) => field.push(character),
        }
    }
    // an escaped star counts as a wildcard, too: no real name is a single star
    let [host, port, database, user, password] = <[String; 5]>::try_from(fields).ok()?;
    let is_match = [host, port, database, user]
        .iter()
        .zip(expected)
        .all(|(field, expected)| field == "*" || field == expected);
    is_match.then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_line_provides_the_password() {
        let find =
            |text: &str| text.lines().find_map(|line| password_of(line, ["db", "5432", "trips", "ann"]));
        for (text, password) in [
            ("other:5432:trips:ann:no\ndb:*:*:ann:yes\n*:*:*:*:late", Some("yes")),
            ("db:5432:trips:ann:with\\:colon\\\\and:more", Some("with:colon\\and:more")),
            ("db:5432:trips:ann", None),
            ("db:5433:trips:ann:no", None),
            ("", None),
        ] {
            assert_eq!(find(text).as_deref(), password, "{text}");
        }
    }

    #[test]
    fn a_service_has_only_the_parameters_of_its_section() {
        let text = "# mine\n[one]\nhost=a\n\n[two]\n host = b \nport=1\n[three]\nhost=c\n";
        let read = |name: &str| read_service(text, name, Path::new("services")).unwrap();
        assert_eq!(read("two"), Some(vec![("host".into(), "b".into()), ("port".into(), "1".into())]));
        assert_eq!(read("four"), None);
        assert!(read_service("[a]\nhost\n", "a", Path::new("services")).is_err());
    }
}
