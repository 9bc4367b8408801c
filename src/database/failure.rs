//! Which kind of failure a database error is.

use tokio_postgres::Error as Cause;

use crate::error::{Error, Kind};

/// The failure of a statement; `what` says what it was for, naming the table.
pub fn statement(what: impl Into<String>, cause: Cause) -> Error {
    let error = Error::new(kind_of(&cause), what);
    let error = match sqlstate(&cause) {
        Some("53100") => error.hint("the database server's disk is full: free space there and run again"),
        Some("55P03") => error.hint("--lock-timeout waits longer, and running again later is safe"),
        Some("23514") if is_of_no_partition(&cause) => {
            error.hint("the table needs a default partition for rows dated outside of its others")
        }
        Some("42501") => error.hint("the README has the least rights that a role needs, as SQL"),
        _ => error,
    };
    error.because(cause)
}

/// The failure to connect to `address`.
pub fn connecting(address: &str, cause: Cause) -> Error {
    let said = chain(&cause);
    let kind = match kind_of(&cause) {
        // the driver's own refusals: a password that is needed and not given, no channel binding
        Kind::Internal if said.contains("password") || said.contains("authentication error") => {
            Kind::Authentication
        }
        Kind::Internal => Kind::Configuration,
        kind => kind,
    };
    let what = match kind {
        Kind::Authentication => format!("the database at {address} refused the user or the password"),
        _ => format!("cannot connect to the database at {address}"),
    };
    let certificate = said.contains("invalid peer certificate");
    let (kind, what) = match certificate {
        true => (Kind::Configuration, format!("the certificate of the database at {address} is refused")),
        false => (kind, what),
    };
    let error = Error::new(kind, what).because(cause);
    match kind {
        _ if certificate && said.contains("not valid for name") => {
            error.hint("sslmode=verify-full takes the host's name as the certificate has it; verify-ca does not look at it")
        }
        _ if certificate && said.contains("UnknownIssuer") => {
            error.hint("sslrootcert (or PGSSLROOTCERT) names the file of the CA that has signed it")
        }
        _ if certificate => error,
        _ if said.contains("does not support TLS") => {
            error.hint("sslmode=prefer takes a plain connection where there is no other")
        }
        Kind::Unreachable => {
            error.hint("check the host and port of --database-url and that the server is running")
        }
        _ => error,
    }
}

/// Whether it is TLS that has failed, and not the connection below it or the server above.
pub fn is_of_tls(cause: &Cause) -> bool {
    chain(cause).contains("TLS handshake")
}

/// Whether a statement gave up because it had waited for a lock for too long.
pub fn is_lock_timeout(cause: &Cause) -> bool {
    sqlstate(cause) == Some("55P03")
}

/// Whether a statement failed only because of what another session did at the same moment: a deadlock, or a row that came into
/// the default partition before its month's partition did.
pub fn is_overtaken(cause: &Cause) -> bool {
    matches!(sqlstate(cause), Some("40P01")) || is_of_no_partition(cause)
}

/// Whether a row's partition is what is wrong with it, and not a constraint that somebody has declared.
fn is_of_no_partition(cause: &Cause) -> bool {
    cause.as_db_error().is_some_and(|error| error.code().code() == "23514" && error.constraint().is_none())
}

fn sqlstate(cause: &Cause) -> Option<&str> {
    cause.code().map(|state| state.code())
}

/// The kind by SQLSTATE (PostgreSQL's appendix A); without one, the connection itself failed.
fn kind_of(cause: &Cause) -> Kind {
    let Some(state) = sqlstate(cause) else {
        let broken = cause.is_closed() || has_io_cause(cause);
        return if broken { Kind::Unreachable } else { Kind::Internal };
    };
    match (&state[..2], state) {
        _ if is_of_no_partition(cause) => Kind::Configuration,
        ("28", _) | (_, "42501") => Kind::Authentication,
        // unlike its class: the user's own statement_timeout
        (_, "57014") => Kind::Configuration,
        (_, "55P03") => Kind::LockHeld,
        ("08" | "40" | "57", _) | (_, "53300" | "25P03") => Kind::Unreachable,
        ("53" | "58", _) => Kind::Io,
        ("22" | "23", _) => Kind::Data,
        ("0A" | "25" | "3D" | "3F" | "42" | "55", _) => Kind::Configuration,
        _ => Kind::Internal,
    }
}

fn has_io_cause(cause: &Cause) -> bool {
    let mut link: Option<&(dyn std::error::Error + 'static)> = Some(cause);
    while let Some(error) = link {
        if error.is::<std::io::Error>() {
            return true;
        }
        link = error.source();
    }
    // the driver's time limit is no I/O error
    chain(cause).contains("timed out")
}

/// All that an error and its causes say.
fn chain(cause: &Cause) -> String {
    let mut said = cause.to_string();
    let mut link = std::error::Error::source(cause);
    while let Some(error) = link {
        said = format!("{said}: {error}");
        link = error.source();
    }
    said
}
