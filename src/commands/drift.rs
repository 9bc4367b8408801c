//! `taxi drift`: reports how the columns of the published files change from month to month.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use super::{backfill, settings};
use crate::cli::DriftArgs;
use crate::error::{Error, Kind, Result};
use crate::extract::shape::Shape;
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::interrupt::Interrupt;
use crate::month::drift::{self, Change};
use crate::month::job::Job;
use crate::month::options::Options;
use crate::report::failure::{self, Failure};
use crate::report::output::CommandOutput;
use crate::report::{Report, table};

/// Number of files whose columns are read at the same time.
const FILES_AT_ONCE: usize = 8;

#[derive(Serialize)]
struct Drift {
    status: &'static str,
    changes: Vec<Change>,
    files: Vec<FileShape>,
    /// The files that the source does not have.
    not_published: Vec<String>,
    bytes_read: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Serialize)]
struct FileShape {
    filename: String,
    #[serde(flatten)]
    shape: Shape,
}

/// Reads the columns of the files, and compares each file with the one before.
pub(crate) async fn run(
    args: DriftArgs,
    interrupt: &Interrupt,
    report: &Arc<dyn Report>,
) -> Result<CommandOutput> {
    let flow = Flow::builtin(plan::PIPELINE)?;
    let (first, last) = backfill::range(&args.from, &args.to)?;
    let source = settings::existing_source(&flow, args.source.source.as_ref())?;
    let options = Options { retry_policy: settings::retry_policy(&args.retry), ..Options::default() };
    let mut drift = Drift {
        status: "reported",
        changes: Vec::new(),
        files: Vec::new(),
        not_published: Vec::new(),
        bytes_read: 0,
        error: None,
    };
    let (mut failed, mut count) = (Vec::new(), 0);
    for taxi in flow.selected_types(&args.taxi) {
        let jobs: Vec<Job> = first
            .to(last)
            .map(|month| Ok(plan::of_month(&flow, taxi, month, source, 0)?.job))
            .collect::<Result<_>>()?;
        count += jobs.len();
        let shapes = stream::iter(jobs.into_iter().map(|job| shape(job, &options, report)));
        let shapes: Vec<_> =
            interrupt.or(async { Ok(shapes.buffered(FILES_AT_ONCE).collect().await) }).await?;
        let mut previous: Option<Shape> = None;
        for (filename, shape) in shapes {
            match shape {
                Ok(shape) => {
                    drift.bytes_read += shape.bytes_read;
                    if let Some(previous) = previous.replace(shape.clone()) {
                        drift.changes.extend(drift::changes(&previous, &filename, &shape));
                    }
                    drift.files.push(FileShape { filename, shape });
                }
                Err(error) if error.kind() == Kind::NotPublished => drift.not_published.push(filename),
                Err(error) => failed.push((filename, error)),
            }
        }
    }
    let failed: Vec<(&str, Error)> =
        failed.iter_mut().map(|(name, error)| (name.as_str(), std::mem::replace(error, nothing()))).collect();
    let error = match failed.is_empty() {
        false => Some(failure::of_several(&failed, count, "files cannot be read")),
        true => drift.files.is_empty().then(nothing),
    };
    drift.error = error.as_ref().map(Failure::of);
    if error.is_some() {
        drift.status = "failed";
    }
    Ok(CommandOutput::new(&drift, text)?.with_error(error))
}

/// The error if there is no file.
fn nothing() -> Error {
    Error::new(Kind::NotPublished, "the source has none of the months")
}

/// The name of the job's file, and what it declares.
async fn shape(mut job: Job, options: &Options, report: &Arc<dyn Report>) -> (String, Result<Shape>) {
    let shape = match job.find_file(None, options, report).await {
        Ok(()) => job.source.shape(options.retry_policy, report).await,
        Err(error) => Err(error),
    };
    (job.filename.clone(), shape)
}

fn text(drift: &Drift) -> String {
    let mut parts = Vec::new();
    if !drift.changes.is_empty() {
        let rows = drift.changes.iter().map(|change| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            [
                change.filename.clone(),
                change.change.words().to_owned(),
                part(&change.column),
                part(&change.before),
                part(&change.after),
            ]
        });
        parts.push(table::text(Some(["since", "change", "column", "before", "after"]), rows, &[]));
    }
    if !drift.not_published.is_empty() {
        parts.push(format!("not published: {}", drift.not_published.join(", ")));
    }
    let files = drift.files.len();
    parts.push(format!(
        "{} {} of {files} files; {} read",
        HumanCount(drift.changes.len() as u64),
        if drift.changes.len() == 1 { "change" } else { "changes" },
        HumanBytes(drift.bytes_read)
    ));
    parts.join("\n")
}
