//! Maps database errors to error kinds, with a hint where the fix is known.

use tokio_postgres::Error as Cause;

use crate::error::{Error, Kind};

/// The error of a failed statement. `what` says what the statement was for and names the table.
pub fn statement(what: impl Into<String>, cause: Cause) -> Error {
    let error = Error::new(kind_of(&cause), what);
    let error = match sqlstate(&cause) {
        Some("53100") => error.hint("the database server's disk is full: free space there and run again"),
        Some("55P03") => error.hint("--lock-timeout waits longer, and running again later is safe"),
        Some("23514") if is_of_no_partition(&cause) => {
            error.hint("the table needs a default partition for rows dated outside of its others")
        }
        Some("42501") => error.hint("docs/configuration.md has the least rights that a role needs, as SQL"),
        _ => error,
    };
    error.because(cause)
}

/// The error of a failed connection to `address`.
pub fn connecting(address: &str, cause: Cause) -> Error {
    let said = chain(&cause);
    let kind = match kind_of(&cause) {
        // errors of the driver itself: a missing password, no channel binding
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

/// Whether the TLS handshake failed, rather than the TCP connection or the PostgreSQL session.
pub fn is_of_tls(cause: &Cause) -> bool {
    chain(cause).contains("TLS handshake")
}

/// Whether a statement failed because it waited too long for a lock.
pub fn is_lock_timeout(cause: &Cause) -> bool {
    sqlstate(cause) == Some("55P03")
}

/// Whether a statement failed only because of a concurrent session: a deadlock, or a row that entered the default
/// partition before its month's partition was attached.
pub fn is_overtaken(cause: &Cause) -> bool {
    matches!(sqlstate(cause), Some("40P01")) || is_of_no_partition(cause)
}

/// Whether a row does not fit its partition, rather than violating a declared CHECK constraint.
fn is_of_no_partition(cause: &Cause) -> bool {
    cause.as_db_error().is_some_and(|error| error.code().code() == "23514" && error.constraint().is_none())
}

fn sqlstate(cause: &Cause) -> Option<&str> {
    cause.code().map(|state| state.code())
}

/// The error kind for the SQLSTATE (PostgreSQL's appendix A). Without a SQLSTATE, the connection itself failed.
fn kind_of(cause: &Cause) -> Kind {
    let Some(state) = sqlstate(cause) else {
        let broken = cause.is_closed() || has_io_cause(cause);
        return if broken { Kind::Unreachable } else { Kind::Internal };
    };
    match (&state[..2], state) {
        _ if is_of_no_partition(cause) => Kind::Configuration,
        ("28", _) | (_, "42501") => Kind::Authentication,
        // unlike the rest of class 57: caused by the user's own statement_timeout
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
    // the driver's own timeout is not an I/O error
    chain(cause).contains("timed out")
}

/// The messages of an error and of all its causes.
fn chain(cause: &Cause) -> String {
    let mut said = cause.to_string();
    let mut link = std::error::Error::source(cause);
    while let Some(error) = link {
        said = format!("{said}: {error}");
        link = error.source();
    }
    said
}
