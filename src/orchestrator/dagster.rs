//! Dagster Pipes: two environment variables, each base64 of zlib of JSON, name the assets to materialize and the
//! file for messages, one JSON object per line.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::ZlibDecoder;
use serde::Deserialize;
use serde_json::{Value, json};

use super::level_name;
use crate::error::{Error, Kind, Result};
use crate::report::failure::Failure;
use crate::report::log::Line;
use crate::report::output::CommandOutput;
use crate::report::summary::Outcome;
use crate::report::{Event, LogDetail, Report, lines};

const CONTEXT: &str = "DAGSTER_PIPES_CONTEXT";
const MESSAGES: &str = "DAGSTER_PIPES_MESSAGES";
/// The version of the Pipes protocol.
const VERSION: &str = "0.1";

/// A session with the Dagster process that started this process.
#[derive(Clone)]
pub(crate) struct Pipes {
    messages: Arc<Mutex<DagsterMessages>>,
    asset_keys: Vec<String>,
}

enum DagsterMessages {
    File(File),
    Stdout,
    Stderr,
}

/// The value of `DAGSTER_PIPES_CONTEXT`: the context, or the path of a file that holds it.
#[derive(Deserialize)]
struct ContextParameters {
    path: Option<PathBuf>,
    data: Option<Context>,
}

#[derive(Deserialize)]
struct Context {
    asset_keys: Option<Vec<String>>,
}

/// The value of `DAGSTER_PIPES_MESSAGES`: the path of the file for messages, or the name of a stream.
#[derive(Deserialize)]
struct MessagesParameters {
    path: Option<PathBuf>,
    stdio: Option<String>,
}

impl Pipes {
    /// Opens the session, if both variables are set.
    pub(crate) fn from_environment() -> Result<Option<Self>> {
        let (Ok(context), Ok(messages)) = (std::env::var(CONTEXT), std::env::var(MESSAGES)) else {
            return Ok(None);
        };
        let context = match decode::<ContextParameters>(CONTEXT, &context)? {
            ContextParameters { data: Some(context), .. } => context,
            ContextParameters { path: Some(path), .. } => read(&path)?,
            _ => return Err(invalid(CONTEXT, "expected `data` or `path`")),
        };
        let messages: MessagesParameters = decode(MESSAGES, &messages)?;
        let messages = match (messages.path, messages.stdio.as_deref()) {
            (Some(path), _) => {
                let file = OpenOptions::new().create(true).append(true).open(&path);
                DagsterMessages::File(file.map_err(|cause| Error::file("write", &path, cause))?)
            }
            (None, Some("stdout")) => DagsterMessages::Stdout,
            (None, Some("stderr")) => DagsterMessages::Stderr,
            _ => {
                return Err(invalid(MESSAGES, "expected `path`, or `stdio` with the value stdout or stderr"));
            }
        };
        let messages = Arc::new(Mutex::new(messages));
        let pipes = Self { messages, asset_keys: context.asset_keys.unwrap_or_default() };
        pipes.send("opened", json!({ "extras": {} }))?;
        Ok(Some(pipes))
    }

    /// Reports the loaded asset, and ends the session.
    pub(crate) fn close(&self, output: &CommandOutput) -> Result<()> {
        if let ([asset_key], None) = (&self.asset_keys[..], &output.error) {
            let parameters =
                json!({ "asset_key": asset_key, "data_version": null, "metadata": metadata(output) });
            self.send("report_asset_materialization", parameters)?;
        }
        let closed = match output.error.as_ref().map(Failure::of) {
            Some(Failure { kind, message, hint, .. }) => {
                let message = hint.iter().fold(message, |message, hint| format!("{message}\n  hint: {hint}"));
                json!({ "exception": {
                    "message": message, "name": kind, "stack": [], "cause": null, "context": null
                } })
            }
            None => json!({}),
        };
        self.send("closed", closed)
    }

    fn send(&self, method: &str, parameters: Value) -> Result<()> {
        let message = json!({ "__dagster_pipes_version": VERSION, "method": method, "params": parameters });
        let line = format!("{message}\n");
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &mut *messages {
            DagsterMessages::File(file) => file.write_all(line.as_bytes()),
            DagsterMessages::Stdout => std::io::stdout().write_all(line.as_bytes()),
            DagsterMessages::Stderr => std::io::stderr().write_all(line.as_bytes()),
        };
        written.map_err(|cause| Error::new(Kind::Io, "cannot write a message to Dagster").because(cause))
    }
}

/// Sends events to Dagster as log lines.
pub(crate) struct DagsterLog(pub(crate) Pipes, pub(crate) LogDetail);

impl Report for DagsterLog {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        if let Some(text) = lines::text(file, event, self.1) {
            let level = level_name(Line::new(file, event).level);
            // a write error is reported when the session is closed
            let _ = self.0.send("log", json!({ "message": text, "level": level }));
        }
    }
}

/// The totals over all files, and the names of the loaded and the skipped files.
fn metadata(output: &CommandOutput) -> Value {
    let typed = |value: Value, kind: &str| json!({ "raw_value": value, "type": kind });
    let sum = |count: fn(&crate::report::load_counts::LoadCounts) -> u64| {
        typed(output.files.iter().map(|file| count(&file.rows)).sum::<u64>().into(), "int")
    };
    let files = |status: Outcome| {
        let names = output.files.iter().filter(|file| file.status == status).map(|file| &file.filename);
        typed(names.cloned().collect::<Vec<_>>().into(), "json")
    };
    let seconds: f64 = output.files.iter().map(|file| file.seconds).sum();
    json!({
        // what the target holds of the months, whether this run has loaded them or found them loaded
        "dagster/partition_row_count": sum(|rows| rows.rows_in_period),
        "rows_read": sum(|rows| rows.rows_read),
        "rows_inserted": sum(|rows| rows.rows_inserted),
        "rows_matched": sum(|rows| rows.rows_matched),
        "rows_rejected": sum(|rows| rows.rows_rejected),
        "rows_deleted": sum(|rows| rows.rows_deleted),
        "bytes_downloaded": sum(|rows| rows.downloaded_bytes),
        "files_loaded": files(Outcome::Loaded),
        "files_skipped": files(Outcome::Skipped),
        "seconds": typed(seconds.into(), "float"),
    })
}

fn decode<T: for<'a> Deserialize<'a>>(variable: &str, text: &str) -> Result<T> {
    let compressed = BASE64.decode(text).map_err(|_| invalid(variable, "the value is not valid base64"))?;
    let mut json = String::new();
    ZlibDecoder::new(&compressed[..])
        .read_to_string(&mut json)
        .map_err(|_| invalid(variable, "the value is not zlib-compressed text"))?;
    serde_json::from_str(&json).map_err(|cause| invalid(variable, &cause.to_string()))
}

fn read(path: &Path) -> Result<Context> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::file("read", path, cause))?;
    serde_json::from_str(&text).map_err(|cause| invalid(CONTEXT, &cause.to_string()))
}

fn invalid(variable: &str, reason: &str) -> Error {
    Error::new(Kind::Configuration, format!("cannot read {variable}: {reason}"))
        .hint("Dagster sets this variable for a Pipes session; unset it to run without Dagster")
}
