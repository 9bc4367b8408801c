//! The events of a run, which the renderers show.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::phase::{Phase, Progress};

/// The severity of a line, the least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// Information.
    Info,
    /// Something that may need attention.
    Warning,
    /// An error, such as the one that ended the command.
    Error,
}

/// An event of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// A message for the user.
    Notice(&'a str),
    /// A phase begins. A phase that streams data has a progress counter.
    Began(Phase, Option<&'a Progress>),
    /// A phase has ended, with its duration and a description of its result.
    Ended(Phase, Duration, &'a str),
    /// A phase has failed; the error follows.
    Failed(Phase),
    /// A load of this many files begins.
    RangeBegan(usize),
    /// One of the files is finished, with a description of its result.
    MonthEnded(&'a str),
    /// A signal cancelled one of the files.
    MonthCancelled,
    /// A task of a flow begins.
    TaskBegan {
        /// The task's name, with the values of the loops around it.
        task: &'a str,
        /// The task's type.
        kind: &'a str,
    },
    /// A task of a flow logs a message.
    TaskLogged {
        /// The task's name.
        task: &'a str,
        /// The severity of the message.
        level: Level,
        /// The message.
        text: &'a str,
    },
    /// A task of a flow has ended.
    TaskEnded {
        /// The task's name.
        task: &'a str,
        /// The task's status.
        status: &'a str,
        /// How long the task took.
        took: Duration,
        /// Why the task failed, if it did.
        error: Option<&'a str>,
    },
}

/// Renders events.
pub(crate) trait Report: Send + Sync {
    /// Renders an event. If the command loads several files, `file` is the file that the event belongs to.
    fn emit(&self, file: Option<&str>, event: Event<'_>);

    /// Removes the bars that the renderer has drawn, because the command ends.
    fn clear(&self) {}
}

impl dyn Report + '_ {
    /// Emits a message for the user.
    pub(crate) fn notice(&self, text: &str) {
        self.emit(None, Event::Notice(text));
    }
}
