//! The files that can hold a month: its sources can have it in several places and forms. The first that exists is
//! loaded.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio_postgres::Client;

use super::decision::Decision;
use super::job::Job;
use super::options::{IfLoaded, Options};
use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::extract::transfer::RetryPolicy;
use crate::ledger::schema::{self, SchemaState};
use crate::report::Report;

/// A file that can hold the month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Where the file is.
    pub(crate) source: Source,
    /// The file name that is stored with each row.
    pub(crate) filename: String,
    /// Number of rows that the file had when it was published, if known.
    pub(crate) published_rows: Option<u64>,
}

/// The position of the first candidate that exists. The last one counts as existing if a web server has it: opening it
/// returns the error.
pub(super) async fn first_existing(
    candidates: &[Candidate],
    retry_policy: RetryPolicy,
    report: &Arc<dyn Report>,
) -> Result<Option<usize>> {
    for (index, candidate) in candidates.iter().enumerate() {
        let exists = match &candidate.source {
            Source::File(path) => match tokio::fs::metadata(path).await {
                Ok(_) => true,
                Err(cause) => !matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
            },
            Source::Http(_) if index + 1 == candidates.len() => true,
            source @ Source::Http(_) => match source.describe(retry_policy, report).await {
                Ok(_) => true,
                Err(error) if error.kind() == Kind::NotPublished => false,
                Err(error) => return Err(error),
            },
        };
        if exists {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

impl Job {
    /// Sets the file to load to the first candidate that exists. If none exists, or if there is only one, the file stays
    /// the first: opening it returns the error. A load and its dry run call this function.
    pub(crate) async fn find_file(
        &mut self,
        client: Option<&Client>,
        options: &Options,
        report: &Arc<dyn Report>,
    ) -> Result<()> {
        let candidates = std::mem::take(&mut self.other_files);
        if candidates.is_empty() {
            return Ok(());
        }
        let all: Vec<Candidate> = [self.file.clone()].into_iter().chain(candidates).collect();
        if options.if_loaded == IfLoaded::Skip
            && let Some(client) = client
            && schema::state(client).await? == SchemaState::Current
        {
            // the source is not queried for a file that is loaded
            for candidate in &all {
                let job = Self { file: candidate.clone(), ..self.clone() };
                if let Decision::Skip(_) = job.decide(client, client, options).await? {
                    *self = job;
                    return Ok(());
                }
            }
        }
        let found = first_existing(&all, options.retry_policy, report).await?;
        self.file = all.into_iter().nth(found.unwrap_or_default()).unwrap_or_else(|| self.file.clone());
        Ok(())
    }

    /// Adds the job's advice to an error that says that the file does not exist.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match &self.if_missing {
            Some(advice) if error.kind() == Kind::NotPublished => error.hint(advice),
            _ => error,
        }
    }
}
