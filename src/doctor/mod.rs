//! Finds the problems that would make a load fail, and changes nothing.
//!
//! In: the source and the target of a load. Out: checks, in the order in which a load would hit the problems, each
//! with its fix.

pub(crate) mod database;
pub(crate) mod disk;
pub(crate) mod embedded;
pub(crate) mod source;

use serde::Serialize;

use crate::error::{Error, Kind};
use crate::report::failure;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckLevel {
    /// There is no problem.
    Ok,
    /// A load works, but it could work better, or it may soon fail.
    Warning,
    /// A load will fail.
    Failed,
}

/// One check and its result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// What was checked.
    pub(crate) name: String,
    /// Whether there is a problem.
    pub(crate) level: CheckLevel,
    /// What the check found.
    pub(crate) message: String,
    /// How to fix the problem.
    pub(crate) fix: Option<String>,
    /// The kind of error that a load would fail with.
    #[serde(skip)]
    pub(crate) kind: Option<Kind>,
}

/// The checks so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Check>);

impl Findings {
    /// The checks, in order.
    pub(crate) fn into_checks(self) -> Vec<Check> {
        self.0
    }

    fn ok(&mut self, name: impl Into<String>, message: impl Into<String>) {
        self.add(name, CheckLevel::Ok, message, None, None);
    }

    fn warn(&mut self, name: impl Into<String>, message: impl Into<String>, fix: &str) {
        self.add(name, CheckLevel::Warning, message, Some(fix), None);
    }

    /// Adds a failed check: a load would fail with this `error`. `fix` is used if the error has no hint.
    pub(crate) fn fail(&mut self, name: impl Into<String>, error: &Error, fix: &str) {
        let fix = error.advice().unwrap_or(fix).to_owned();
        self.add(name, CheckLevel::Failed, failure::line(error), Some(&fix), Some(error.kind()));
    }

    fn add(
        &mut self,
        name: impl Into<String>,
        level: CheckLevel,
        message: impl Into<String>,
        fix: Option<&str>,
        kind: Option<Kind>,
    ) {
        self.0.push(Check {
            name: name.into(),
            level,
            message: message.into(),
            fix: fix.map(str::to_owned),
            kind,
        });
    }
}
