//! Formats an error and its causes: what failed, why, the database's message, the hint. Prints each cause
//! once.

use std::error::Error as StdError;
use std::fmt::Write as _;

use serde::Serialize;
use tokio_postgres::error::DbError;

use crate::error::{Error, Kind};

/// An error in the machine-readable result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    /// The stable name of the error's kind.
    pub(crate) kind: &'static str,
    /// What failed, and why.
    pub(crate) message: String,
    /// How to fix the problem, if known.
    pub(crate) hint: Option<String>,
    /// Whether the same command may succeed later.
    pub(crate) retry: bool,
    /// The exit code of the error's kind.
    pub(crate) exit_code: u8,
}

impl Failure {
    /// The machine-readable form of an error.
    pub(crate) fn of(error: &Error) -> Self {
        let kind = error.kind();
        Self {
            kind: kind.name(),
            message: plain(error),
            hint: error.advice().map(str::to_owned),
            retry: kind.is_worth_retrying(),
            exit_code: kind.exit_code(),
        }
    }
}

/// Combines the errors of several named items into one. Its kind is the kind of the first error that a retry can
/// fix, else the kind of the first error: a retry completes what it can, and then reports the rest. A hint that all of
/// them have stays.
pub(crate) fn of_several(failed: &[(&str, Error)], count: usize, outcome: &str) -> Error {
    let kinds = || failed.iter().map(|(_, error)| error.kind());
    let kind = kinds().find(|kind| kind.is_worth_retrying()).or_else(|| kinds().next());
    let messages: Vec<String> =
        failed.iter().map(|(name, error)| format!("{name}: {}", plain(error))).collect();
    let error = Error::new(kind.unwrap_or(Kind::Internal), format!("{} of {count} {outcome}", failed.len()))
        .because(messages.join("\n  "));
    let advice = failed.first().and_then(|(_, first)| first.advice());
    match advice.filter(|advice| failed.iter().all(|(_, error)| error.advice() == Some(advice))) {
        Some(advice) => error.hint(advice),
        None => error,
    }
}

/// The error and its causes as text, with the hint.
pub fn text(error: &Error) -> String {
    let mut text = format!("taxi: error: {}", plain(error));
    if let Some(hint) = error.advice() {
        let _ = write!(text, "\n  hint: {hint}");
    }
    text
}

/// The error and its causes, without prefix and hint, as the ledger stores them.
pub(crate) fn plain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    let mut previous_text = text.clone();
    while let Some(link) = cause {
        let link_text = link.to_string();
        // some libraries repeat the cause in their own text
        if let Some(database) = link.downcast_ref::<DbError>() {
            describe(database, &mut text);
        } else if !previous_text.contains(&link_text) && link_text != "db error" {
            let _ = write!(text, "\n  because: {link_text}");
        }
        previous_text = link_text;
        cause = link.source();
    }
    text
}

/// Like [`plain`], but on one line, to embed in other text.
pub(crate) fn line(error: &Error) -> String {
    plain(error).replace("\n  because: ", ": ").replace("\n  ", "; ")
}

fn describe(error: &DbError, text: &mut String) {
    let _ = write!(
        text,
        "\n  because: {}: {} (SQLSTATE {})",
        error.severity(),
        error.message(),
        error.code().code()
    );
    for (name, part) in
        [("detail", error.detail()), ("server's hint", error.hint()), ("where", error.where_())]
    {
        if let Some(part) = part {
            let _ = write!(text, "\n  {name}: {part}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::of_several;
    use crate::error::{Error, Kind};

    #[test]
    fn an_error_worth_retrying_wins_among_several() {
        let kind = |kinds: &[Kind]| {
            let failed: Vec<(&str, Error)> =
                kinds.iter().map(|kind| ("month", Error::new(*kind, "x"))).collect();
            of_several(&failed, 3, "files were not loaded").kind()
        };
        assert_eq!(kind(&[Kind::Data, Kind::NotPublished, Kind::Unreachable]), Kind::Unreachable);
        assert_eq!(kind(&[Kind::NotPublished, Kind::Data]), Kind::NotPublished);
    }

    #[test]
    fn each_cause_is_printed_once_and_in_order() {
        let cause = Error::new(Kind::Io, "the disk is full").because(std::io::Error::other("no space"));
        let error = Error::new(Kind::Data, "the load failed").because(cause).hint("free some space");
        assert_eq!(
            super::text(&error),
            "taxi: error: the load failed\n  because: the disk is full\n  because: no space\n  hint: free some space"
        );
    }
}
