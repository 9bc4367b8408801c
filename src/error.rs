//! Errors and their exit codes.
//!
//! An [`Error`] is one link of a chain: its message names the thing that failed and never repeats the cause, which
//! it keeps as its `source`. [`crate::report::failure`] prints the chain once.
//!
//! The exit codes follow `sysexits.h`, so that they do not collide with those of a shell (126 and up) or with 1
//! and 2, which any program may return. After a signal, the exit code is the one that a shell reports for it.

use std::error::Error as StdError;
use std::io::ErrorKind;

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure that a caller can tell apart, each with its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The arguments of the command line are invalid.
    Usage,
    /// The file is damaged, or a row does not fit the table.
    Data,
    /// The month does not exist at the source.
    NotPublished,
    /// The target, the ledger and the published counts do not agree.
    Mismatch,
    /// A server is unreachable, or the connection broke.
    Unreachable,
    /// A bug in this program.
    Internal,
    /// A task of a flow failed: its command failed, or the flow contains a task that fails on purpose.
    TaskFailed,
    /// A task of a flow exceeded its timeout.
    TimedOut,
    /// A disk of this machine or of the database server is full or failed.
    Io,
    /// Another run or session holds a lock that this run needs.
    LockHeld,
    /// The database server is older than PostgreSQL 15.
    ServerTooOld,
    /// The user name or password was rejected, or a permission is missing.
    Authentication,
    /// A setting, a flow or the target's table definition is invalid.
    Configuration,
    /// SIGINT stopped the run, for example after Ctrl-C.
    Interrupted,
    /// SIGTERM stopped the run, for example from an orchestrator.
    Terminated,
}

impl Kind {
    /// Every kind, in the order of the exit codes.
    pub const ALL: [Self; 15] = [
        Self::Usage,
        Self::Data,
        Self::NotPublished,
        Self::Mismatch,
        Self::Unreachable,
        Self::Internal,
        Self::TaskFailed,
        Self::TimedOut,
        Self::Io,
        Self::LockHeld,
        Self::ServerTooOld,
        Self::Authentication,
        Self::Configuration,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The process's exit code for this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Data => 65,
            Self::NotPublished => 66,
            Self::Mismatch => 67,
            Self::Unreachable => 69,
            Self::Internal => 70,
            Self::TaskFailed => 71,
            Self::TimedOut => 72,
            Self::Io => 74,
            Self::LockHeld => 75,
            Self::ServerTooOld => 76,
            Self::Authentication => 77,
            Self::Configuration => 78,
            // 128 and the signal's number, as a shell reports it
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The stable name that JSON output and the ledger use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Data => "data",
            Self::NotPublished => "not_published",
            Self::Mismatch => "mismatch",
            Self::Unreachable => "unreachable",
            Self::Internal => "internal",
            Self::TaskFailed => "task_failed",
            Self::TimedOut => "timed_out",
            Self::Io => "io",
            Self::LockHeld => "lock_held",
            Self::ServerTooOld => "server_too_old",
            Self::Authentication => "authentication",
            Self::Configuration => "configuration",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// A one-line explanation of this kind.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Usage => "invalid command line: an argument, or a combination of arguments",
            Self::Data => "invalid data: the file is damaged, or a row does not fit the table",
            Self::NotPublished => "the source does not have the month",
            Self::Mismatch => "verify, backup or restore found missing or extra rows",
            Self::Unreachable => "the source or the database is unreachable or disconnected",
            Self::Internal => "a bug in taxi",
            Self::TaskFailed => "a task or a test of a flow failed",
            Self::TimedOut => "a task of a flow took longer than its timeout",
            Self::Io => "a disk is full or failed, on this machine or on the database server",
            Self::LockHeld => "another run loads the same month, or a table is locked",
            Self::ServerTooOld => "the database server is older than PostgreSQL 15",
            Self::Authentication => "a password was rejected, or a permission is missing",
            Self::Configuration => {
                "invalid configuration: a setting, a flow, or the target's table definition"
            }
            Self::Interrupted => "cancelled by SIGINT",
            Self::Terminated => "cancelled by SIGTERM or SIGHUP",
        }
    }

    /// Whether a signal stopped the run.
    pub(crate) const fn is_signal(self) -> bool {
        matches!(self, Self::Interrupted | Self::Terminated)
    }

    /// Whether the same command may succeed later without any other change.
    pub const fn is_worth_retrying(self) -> bool {
        match self {
            Self::Unreachable | Self::TimedOut | Self::LockHeld | Self::Interrupted | Self::Terminated => {
                true
            }
            Self::Usage
            | Self::Data
            | Self::NotPublished
            | Self::Mismatch
            | Self::Internal
            | Self::TaskFailed
            | Self::Io
            | Self::ServerTooOld
            | Self::Authentication
            | Self::Configuration => false,
        }
    }
}

/// A failure: its kind, what failed, why, and a hint if we know the fix.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
    hint: Option<String>,
    detail: Option<Detail>,
}

/// What a caller must know about a failure besides its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The file changed at the source while it was read.
    SourceChanged,
    /// The database server no longer answers, so its sessions are useless.
    ServerLost,
    /// The TLS handshake with the database server failed, or the TLS settings are invalid.
    Tls,
    /// The database has an encoding that does not keep the bytes of a file.
    Encoding,
    /// The database server refused a row because of its values.
    RefusedRow,
    /// Another session has created an object of the same name at the same time.
    ConcurrentCreation,
    /// The message names the failed task of a flow.
    NamesTask,
    /// A connection pooler does not keep the server process of a session.
    Pooler,
    /// A session got no answer to its first statement: a pooler has no free connection.
    PoolExhausted,
}

impl Error {
    /// A failure of this `kind`. The `message` is a lower-case fragment that names the thing that failed.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hint: None, detail: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Wraps the error in one that says what failed because of it. Kind and hint stay the same.
    #[must_use]
    pub(crate) fn within(self, message: impl Into<String>) -> Self {
        let (kind, hint) = (self.kind, self.hint.clone());
        Self { hint, ..Self::new(kind, message).because(self) }
    }

    /// Adds a hint: what the user can do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a detail.
    #[must_use]
    pub(crate) fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The detail, if there is one.
    pub(crate) fn detail(&self) -> Option<Detail> {
        self.detail
    }

    /// A failed `action` (`"write"`, `"create"`) on a local file or folder.
    pub(crate) fn file(action: &str, path: &std::path::Path, cause: std::io::Error) -> Self {
        let kind = match cause.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidInput => Kind::Configuration,
            _ => Kind::Io,
        };
        Self::new(kind, format!("cannot {action} {}", path.display())).because(cause)
    }

    /// The kind of the failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the user can do, if we know it.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The last cause of an error: the reason why a connection could not be opened, for example.
pub(crate) fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    error.source().map_or(error, root_cause)
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn exit_codes_are_distinct_and_do_not_collide_with_shells() {
        let codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "not ascending and distinct: {codes:?}");
        let (signals, others): (Vec<u8>, Vec<u8>) = codes.into_iter().partition(|code| *code > 128);
        assert!(others.iter().all(|code| (64..=78).contains(code)), "outside sysexits: {others:?}");
        assert_eq!(signals, [128 + 2, 128 + 15], "SIGINT and SIGTERM");
    }
}
