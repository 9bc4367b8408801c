//! What the functions of expressions share: the secrets, the files of the run, its errors, and the time zones of the
//! dates that they have made.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use minijinja::{Value as Data, context};

use super::dates;
use crate::secrets::Secrets;

/// Maximum number of remembered time zones.
const ZONE_LIMIT: usize = 1000;

/// What the functions of expressions share.
#[derive(Debug, Default)]
pub(crate) struct Library {
    /// The values of `secret()`, and what filters make of them.
    pub(crate) secrets: Secrets,
    files: OnceLock<Files>,
    errors: Mutex<Vec<Data>>,
    zones: Mutex<HashMap<String, TimeZone>>,
}

/// Where the files are that expressions can read.
#[derive(Debug)]
pub(crate) struct Files {
    /// The folder of the flow.
    pub(crate) folder: PathBuf,
    /// The folder of the files that the run has stored.
    pub(crate) stored: PathBuf,
}

impl Library {
    /// An empty library.
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self { secrets, ..Self::default() }
    }

    /// Sets the folders that expressions can read. A run sets them once.
    pub(crate) fn set_files(&self, files: Files) {
        let _ = self.files.set(files);
    }

    /// The file that an expression names: a file that the run has stored, or one in the folder of the flow.
    pub(crate) fn file(&self, path: &str) -> Result<PathBuf, String> {
        let files = self.files.get().ok_or("expressions can read files only while tasks run")?;
        let inside = |root: &Path, path: &Path| path.canonicalize().ok().zip(root.canonicalize().ok());
        if inside(&files.stored, Path::new(path)).is_some_and(|(path, root)| path.starts_with(root)) {
            return Ok(PathBuf::from(path));
        }
        let relative = path.strip_prefix("nsfile://").unwrap_or(path).trim_start_matches('/');
        let is_inside = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
        if relative.is_empty() || !Path::new(relative).components().all(is_inside) {
            return Err(format!(
                "the file {path:?} is not in the folder of the flow and not a file of the run"
            ));
        }
        Ok(files.folder.join(relative))
    }

    /// Records an error of a task.
    pub(crate) fn add_error(&self, task: &str, message: &str) {
        let error = context! {
            taskId => task,
            level => "ERROR",
            message => message,
            timestamp => dates::text_of(Timestamp::now()),
        };
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
    }

    /// The errors so far.
    pub(crate) fn errors(&self) -> Vec<Data> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The date as text. The text has the offset alone, so the zone is remembered.
    pub(crate) fn date_text(&self, date: &Zoned) -> String {
        let text = dates::text(date);
        if date.time_zone().iana_name().is_some() {
            let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
            if zones.len() >= ZONE_LIMIT {
                zones.clear();
            }
            zones.insert(text.clone(), date.time_zone().clone());
        }
        text
    }

    /// The zone of a date that [`Self::date_text`] has written.
    pub(crate) fn zone_of(&self, text: &str) -> Option<TimeZone> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned()
    }
}
