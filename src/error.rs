//! What can go wrong, and the exit code that says so.
//!
//! An [`Error`] is one link of a chain: its own text names the thing that failed and never repeats its cause,
//! which stands behind it as `source`. The chain is printed once, by [`crate::report::failure`].
//!
//! The exit codes follow `sysexits.h`, so that they do not collide with a shell's (126 and up) or with the
//! plain 1 and 2 that any program may end with; a run that a signal has ended says so as a shell would.

use std::error::Error as StdError;
use std::io::ErrorKind;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure a caller can tell apart, each with an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line asks for something that does not exist.
    Usage,
    /// The source's bytes are not what they should be.
    Data,
    /// The month does not exist at the source.
    NotPublished,
    /// The target, the ledger and the published counts do not agree.
    Mismatch,
    /// A server cannot be reached, or broke off.
    Unreachable,
    /// A bug in this program.
    Internal,
    /// A task of a flow failed: a command of its own accord, or because the flow says so.
    TaskFailed,
    /// A task of a flow took longer than it may.
    TimedOut,
    /// A local disk, or the database server's, refuses to write.
    Io,
    /// Another run, or another session, holds what this one needs.
    LockHeld,
    /// The database server is older than PostgreSQL 15.
    ServerTooOld,
    /// A name, a password or a permission was refused.
    Authentication,
    /// A setting, a pipeline or the target's tables do not fit.
    Configuration,
    /// SIGINT, as from Ctrl-C.
    Interrupted,
    /// SIGTERM, as from an orchestrator.
    Terminated,
}

impl Kind {
    /// Every kind, in the order of their exit codes.
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
            // as a shell reports a process that the signal has ended
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

    /// One line for people: when this code is returned.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Usage => "the command line asks for something that does not exist",
            Self::Data => "the file is damaged, or a row of it is not what the table takes",
            Self::NotPublished => "the source has no such month",
            Self::Mismatch => "verify found rows missing or too many",
            Self::Unreachable => "the source or the database cannot be reached, or broke off",
            Self::Internal => "a bug in taxi",
            Self::TaskFailed => "a task of a flow failed: its command did, or the flow says so",
            Self::TimedOut => "a task of a flow took longer than its timeout",
            Self::Io => "a disk is full or refuses to write, here or at the database server",
            Self::LockHeld => "another run loads the same month, or a table is locked",
            Self::ServerTooOld => "the database server is older than PostgreSQL 15",
            Self::Authentication => "a password or a permission was refused",
            Self::Configuration => "a setting, a pipeline or the target's tables do not fit",
            Self::Interrupted => "cancelled by SIGINT",
            Self::Terminated => "cancelled by SIGTERM",
        }
    }

    /// Whether the same command may well succeed if it is run again in a while, with nothing else changed.
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

/// A failure: its kind, what failed, why, and where we know it what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
    hint: Option<String>,
    is_of_task: bool,
}

impl Error {
    /// A failure of `kind`; `message` is a lower-case fragment that names the thing.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hint: None, is_of_task: false }
    }

    /// The same failure with what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, known to name the task that has failed.
    #[must_use]
    pub fn of_task(mut self) -> Self {
        self.is_of_task = true;
        self
    }

    /// Whether it names the task that has failed.
    pub fn is_of_task(&self) -> bool {
        self.is_of_task
    }

    /// A local file or folder that `action` (`"write"`, `"create"`) failed on.
    pub fn file(action: &str, path: &std::path::Path, cause: std::io::Error) -> Self {
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

    /// Which kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the user can do about it, where we know.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn exit_codes_are_distinct_and_leave_the_shells_alone() {
        let codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "not ascending and distinct: {codes:?}");
        let (signals, others): (Vec<u8>, Vec<u8>) = codes.into_iter().partition(|code| *code > 128);
        assert!(others.iter().all(|code| (64..=78).contains(code)), "outside sysexits: {others:?}");
        assert_eq!(signals, [128 + 2, 128 + 15], "SIGINT and SIGTERM");
    }
}
