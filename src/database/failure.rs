//! Maps database errors to error kinds, with a hint where the fix is known.

use tokio_postgres::Error as Cause;
use tokio_postgres::error::SqlState;

use super::handshake::{CertificateFault, HandshakeStage};
use super::identifier::TableName;
use super::settings::Settings;
use crate::error::{Detail, Error, Kind, root_cause};

/// The error of a failed statement. `what` names the failed action and the table.
pub(crate) fn statement(what: impl Into<String>, cause: Cause) -> Error {
    let error = Error::new(kind_of(&cause), what);
    let error = match sqlstate(&cause) {
        Some("53100") => {
            error.hint("the disk of the database server is full: free some space, then run the command again")
        }
        Some("55P03") => error.hint("use --lock-timeout to wait longer; it is safe to run the command again"),
        Some("23514") if violates_partition_bounds(&cause) => match add_default_partition(&cause) {
            Some(create) => error.hint(format!("add a partition for all other rows: {create}")),
            None => error,
        },
        Some("25006") => error.hint(
            "connect to the primary server, or turn off default_transaction_read_only of the database or the role",
        ),
        // in the function of a trigger, a default or a policy
        Some("42P01" | "42883" | "42704") if cause.as_db_error().is_some_and(|error| error.where_().is_some()) => {
            error.hint(
                "if a function names objects without their schema, use ALTER FUNCTION ... SET search_path: \
                 docs/your-database.md",
            )
        }
        Some("42501") => error.hint(
            "grant the role the missing privilege: docs/configuration.md lists the privileges that it needs, as SQL",
        ),
        _ => error,
    };
    let error = match &cause {
        cause if refuses_a_row(cause) => error.with_detail(Detail::RefusedRow),
        cause if is_concurrent_creation(cause) => error.with_detail(Detail::ConcurrentCreation),
        _ => error,
    };
    error.because(cause)
}

/// Why a session could not be opened.
pub(crate) enum ConnectFailure {
    /// The settings are invalid: no connection was attempted.
    Settings(Error),
    /// The TLS handshake failed, perhaps because the certificate was refused.
    Handshake(Cause, Option<CertificateFault>),
    /// The connection must use TLS, but the server does not support TLS.
    NoTls(Cause),
    /// Any other failure.
    Connection(Cause),
}

impl ConnectFailure {
    /// The failure of a connection with TLS, whose handshake reached `stage`.
    pub(crate) fn with_tls(cause: Cause, stage: HandshakeStage) -> Self {
        match stage {
            HandshakeStage::Begun => Self::Handshake(cause, None),
            HandshakeStage::Refused(fault) => Self::Handshake(cause, Some(fault)),
            // the driver reports a server without TLS as an error of the driver itself
            HandshakeStage::NotBegun if kind_of(&cause) == Kind::Internal => Self::NoTls(cause),
            HandshakeStage::NotBegun | HandshakeStage::Done => Self::Connection(cause),
        }
    }

    /// Whether the server did not answer. An error of the server is an answer; invalid settings say nothing about it.
    pub(crate) fn is_silence(&self) -> bool {
        !matches!(self, Self::Settings(_)) && self.sqlstate().is_none()
    }

    /// The SQLSTATE, if the server rejected the session.
    pub(crate) fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Settings(_) => None,
            Self::Handshake(cause, _) | Self::NoTls(cause) | Self::Connection(cause) => cause.code(),
        }
    }

    /// The error for the database of `settings`.
    pub(crate) fn into_error(self, settings: &Settings) -> Error {
        let address = settings.address();
        let cannot_connect = format!("cannot connect to the database at {address}");
        match self {
            Self::Settings(error) => error,
            Self::Handshake(cause, Some(fault)) => {
                let what = format!("cannot verify the certificate of the database at {address}");
                let error = Error::new(Kind::Configuration, what).because(cause).with_detail(Detail::Tls);
                match fault {
                    CertificateFault::WrongName => error.hint(
                        "connect with a host name that the certificate contains; sslmode=verify-ca does not check the host name",
                    ),
                    CertificateFault::UnknownIssuer => error.hint(
                        "set sslrootcert (or PGSSLROOTCERT) to the file of the CA that signed the certificate",
                    ),
                    CertificateFault::Other => error,
                }
            }
            Self::Handshake(cause, None) => {
                Error::new(kind_of(&cause), cannot_connect).because(cause).with_detail(Detail::Tls)
            }
            Self::NoTls(cause) => Error::new(Kind::Configuration, cannot_connect)
                .because(cause)
                .with_detail(Detail::Tls)
                .hint("use sslmode=prefer to connect without TLS if the server does not support TLS"),
            Self::Connection(cause) => {
                let error = |kind, what| Error::new(kind, what);
                match kind_of(&cause) {
                    Kind::Authentication => {
                        let what = format!("the database at {address} rejected the user or the password");
                        error(Kind::Authentication, what).because(cause)
                    }
                    // an error of the driver itself
                    Kind::Internal if settings.requires_channel_binding() => {
                        error(Kind::Authentication, cannot_connect).because(cause)
                    }
                    Kind::Internal => error(Kind::Configuration, cannot_connect).because(cause),
                    Kind::Unreachable if cause.as_db_error().is_none() => {
                        error(Kind::Unreachable, format!("{cannot_connect}: {}", root_cause(&cause))).hint(
                            "check the host and port in --database-url, and check that the server is running",
                        )
                    }
                    kind => error(kind, cannot_connect).because(cause),
                }
            }
        }
    }
}

/// Whether a statement failed because it waited too long for a lock.
pub(crate) fn is_lock_timeout(cause: &Cause) -> bool {
    sqlstate(cause) == Some("55P03")
}

/// Whether a statement failed only because of a concurrent session: a deadlock, or a row that entered the default
/// partition before its month's partition was attached.
pub(crate) fn is_concurrent_change(cause: &Cause) -> bool {
    matches!(sqlstate(cause), Some("40P01")) || violates_partition_bounds(cause)
}

/// Whether a row does not belong to its partition. A violation of a declared CHECK constraint does not count.
fn violates_partition_bounds(cause: &Cause) -> bool {
    cause.as_db_error().is_some_and(|error| error.code().code() == "23514" && error.constraint().is_none())
}

/// Whether the server refused a row because of its values: a constraint, a type, a trigger's exception, or no partition for
/// it. The error of a unique index names the values itself.
fn refuses_a_row(cause: &Cause) -> bool {
    sqlstate(cause).is_some_and(|state| state != "23505" && matches!(&state[..2], "22" | "23" | "P0"))
}

/// Whether another session has created an object of the same name at the same time. `IF NOT EXISTS` does not see the
/// object before the other session commits, and then a unique index of the catalog refuses it.
fn is_concurrent_creation(cause: &Cause) -> bool {
    const INDEXES: [&str; 4] = [
        "pg_class_relname_nsp_index",
        "pg_type_typname_nsp_index",
        "pg_namespace_nspname_index",
        "pg_extension_name_index",
    ];
    let Some(error) = cause.as_db_error() else { return false };
    error.code().code() == "23505"
        && error.schema() == Some("pg_catalog")
        && error.constraint().is_some_and(|index| INDEXES.contains(&index))
}

/// The statement that adds a default partition to the table that has no partition for a row.
fn add_default_partition(cause: &Cause) -> Option<String> {
    let error = cause.as_db_error()?;
    let (schema, table) = (error.schema()?, error.table()?);
    let [parent, partition] =
        [table.to_owned(), format!("{table}_default")].map(|name| TableName::of(schema, &name).quoted());
    Some(format!("CREATE TABLE {partition} PARTITION OF {parent} DEFAULT"))
}

fn sqlstate(cause: &Cause) -> Option<&str> {
    cause.code().map(|state| state.code())
}

/// The error kind for the SQLSTATE (PostgreSQL's appendix A). Without a SQLSTATE, the connection itself failed.
fn kind_of(cause: &Cause) -> Kind {
    let Some(state) = sqlstate(cause) else {
        let is_broken = cause.is_closed() || has_io_cause(cause);
        return if is_broken { Kind::Unreachable } else { Kind::Internal };
    };
    match (&state[..2], state) {
        _ if violates_partition_bounds(cause) => Kind::Configuration,
        ("28", _) | (_, "42501") => Kind::Authentication,
        // unlike the rest of class 57: caused by the user's own statement_timeout
        (_, "57014") => Kind::Configuration,
        (_, "55P03") => Kind::LockHeld,
        ("08" | "40" | "57", _) | (_, "53300" | "25P03") => Kind::Unreachable,
        ("53" | "58", _) => Kind::Io,
        // P0001: a trigger or a function of the user's raises an exception
        ("22" | "23" | "P0", _) => Kind::Data,
        ("0A" | "25" | "3D" | "3F" | "42" | "55", _) => Kind::Configuration,
        _ => Kind::Internal,
    }
}

/// Whether the connection failed, and not a value or a message. The driver's error has no public kind: this
/// function checks the type of its cause.
fn has_io_cause(cause: &Cause) -> bool {
    std::error::Error::source(cause).is_some_and(|source| source.is::<std::io::Error>())
}
