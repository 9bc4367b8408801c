//! What the tasks of one run share: files, databases, labels, secrets, and where to report.

pub(crate) mod cache;
pub(crate) mod connection;
pub(crate) mod databases;
pub(crate) mod ending;
pub(crate) mod runners;
pub(crate) mod storage;
pub(crate) mod task_run;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::extract::transfer::RetryPolicy;
use crate::flow::yaml::document::Document;
use crate::report::Report;
use crate::report::summary::FileSummary;
use crate::secrets::Secrets;
use databases::Databases;
use ending::RunEnd;
use runners::Runners;
use storage::Storage;

/// What the tasks of one run share.
pub(crate) struct RunContext {
    /// The flow's name, with its namespace.
    pub(crate) flow: String,
    /// The flow's file, for errors with a position.
    pub(crate) document: Document,
    /// The folder of the flow's file.
    pub(crate) folder: PathBuf,
    /// The id of the run.
    pub(crate) run_id: Uuid,
    /// The input values of the run.
    pub(crate) inputs: Vec<(String, String)>,
    /// The run's files.
    pub(crate) storage: Arc<Storage>,
    /// The run's databases.
    pub(crate) databases: Arc<Databases>,
    /// Where the commands of tasks run.
    pub(crate) runners: Arc<Runners>,
    /// How long to wait for locks that other sessions hold.
    pub(crate) lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    pub(crate) retry_policy: RetryPolicy,
    /// Receives the run's events.
    pub(crate) report: Arc<dyn Report>,
    /// The secrets to mask.
    pub(crate) secrets: Secrets,
    pub(crate) labels: Mutex<Vec<(String, String)>>,
    pub(crate) loads: Mutex<Vec<FileSummary>>,
    pub(crate) has_warned: AtomicBool,
    /// The end that a task has chosen.
    pub(crate) end: OnceLock<RunEnd>,
}

impl RunContext {
    /// The value of an input.
    pub(crate) fn input(&self, name: &str) -> Option<&str> {
        self.inputs.iter().find(|(input, _)| input == name).map(|(_, value)| value.as_str())
    }

    /// The flow's namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.flow.rsplit_once('.').map_or("", |(namespace, _)| namespace)
    }

    /// Sets a label.
    pub(crate) fn label(&self, name: String, value: &str) {
        let mut labels = lock(&self.labels);
        labels.retain(|(label, _)| *label != name);
        labels.push((name, self.secrets.hide(value)));
    }

    /// The labels so far.
    pub(crate) fn labels(&self) -> Vec<(String, String)> {
        lock(&self.labels).clone()
    }

    /// Adds loads to the run's summary.
    pub(crate) fn add_loads(&self, loads: impl IntoIterator<Item = FileSummary>) {
        lock(&self.loads).extend(loads);
    }

    /// Takes the loads so far out of the context.
    pub(crate) fn take_loads(&self) -> Vec<FileSummary> {
        std::mem::take(&mut *lock(&self.loads))
    }

    /// Marks the run: it will end with a warning.
    pub(crate) fn warn(&self) {
        self.has_warned.store(true, Ordering::Relaxed);
    }

    /// Ends the run: no further task starts. The first end counts.
    pub(crate) fn end_with(&self, end: RunEnd) {
        let _ = self.end.set(end);
    }

    /// Whether a task has ended the run.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// Whether the run ends with a warning.
    pub(crate) fn has_warned(&self) -> bool {
        self.has_warned.load(Ordering::Relaxed)
    }
}

/// Locks a mutex, even if another thread panicked while it held the lock: the values are always complete.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
