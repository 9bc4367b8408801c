//! What stands in the way of a load, found out without changing anything.
//!
//! In: where rows would come from and go to. Out: checks, in the order in which a load would stumble over them, each with
//! what to do about it.

pub mod database;
pub mod disk;
pub mod embedded;
pub mod source;

use serde::Serialize;

use crate::error::{Error, Kind};
use crate::report::failure;

/// How a check turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A load works, and could do so better or may not for long.
    Warning,
    /// A load will fail.
    Failed,
}

/// Something that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it turned out.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub fix: Option<String>,
    /// Which kind of failure a load would end with.
    #[serde(skip)]
    pub kind: Option<Kind>,
}

/// The checks so far.
#[derive(Debug, Default)]
pub struct Findings(Vec<Check>);

impl Findings {
    /// The checks, in order.
    pub fn into_checks(self) -> Vec<Check> {
        self.0
    }

    fn ok(&mut self, name: impl Into<String>, message: impl Into<String>) {
        self.note(name, Level::Ok, message, None, None);
    }

    fn warn(&mut self, name: impl Into<String>, message: impl Into<String>, fix: &str) {
        self.note(name, Level::Warning, message, Some(fix), None);
    }

    /// A load would fail as this `error` says; `fix` is for one that does not say what to do.
    pub fn fail(&mut self, name: impl Into<String>, error: &Error, fix: &str) {
        let fix = error.advice().unwrap_or(fix).to_owned();
        self.note(name, Level::Failed, failure::line(error), Some(&fix), Some(error.kind()));
    }

    fn note(
        &mut self,
        name: impl Into<String>,
        level: Level,
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
