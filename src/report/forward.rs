//! Reports that pass events on to other reports.

use std::sync::Arc;

use super::event::{Event, Report};
use crate::secrets::Secrets;

/// Ignores all events.
pub(crate) struct Quiet;

impl Report for Quiet {
    fn emit(&self, _: Option<&str>, _: Event<'_>) {}
}

/// Forwards events with the secrets masked.
pub(crate) struct Masked {
    /// The report that receives the events.
    pub(crate) outer: Arc<dyn Report>,
    /// The secrets to mask.
    pub(crate) secrets: Secrets,
}

impl Report for Masked {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        let hide = |text: &str| self.secrets.hide(text);
        let mut hidden = String::new();
        let mut set = |text: &str| hidden = hide(text);
        match event {
            Event::Notice(text) | Event::MonthEnded(text) | Event::Ended(_, _, text) => set(text),
            Event::TaskLogged { text, .. } => set(text),
            Event::TaskEnded { error, .. } => set(error.unwrap_or_default()),
            Event::Began(..)
            | Event::Failed(_)
            | Event::RangeBegan(_)
            | Event::MonthCancelled
            | Event::TaskBegan { .. } => {}
        }
        let event = match event {
            Event::Notice(_) => Event::Notice(&hidden),
            Event::MonthEnded(_) => Event::MonthEnded(&hidden),
            Event::Ended(phase, took, _) => Event::Ended(phase, took, &hidden),
            Event::TaskLogged { task, level, .. } => Event::TaskLogged { task, level, text: &hidden },
            Event::TaskEnded { task, status, took, error } => {
                Event::TaskEnded { task, status, took, error: error.map(|_| hidden.as_str()) }
            }
            other => other,
        };
        self.outer.emit(file, event);
    }
}

/// Forwards the events of a subflow, under the name of the task that runs it.
pub(crate) struct Within {
    /// The report that receives the events.
    pub(crate) outer: Arc<dyn Report>,
    /// The name of the task that runs the subflow.
    pub(crate) task: String,
}

impl Report for Within {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        let (Event::TaskBegan { task, .. } | Event::TaskLogged { task, .. } | Event::TaskEnded { task, .. }) =
            event
        else {
            return self.outer.emit(file.or(Some(&self.task)), event);
        };
        let below = format!("{} > {task}", self.task);
        let event = match event {
            Event::TaskBegan { kind, .. } => Event::TaskBegan { task: &below, kind },
            Event::TaskLogged { level, text, .. } => Event::TaskLogged { task: &below, level, text },
            Event::TaskEnded { status, took, error, .. } => {
                Event::TaskEnded { task: &below, status, took, error }
            }
            other => other,
        };
        self.outer.emit(file, event);
    }
}
