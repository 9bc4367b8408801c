//! Tasks that need no external system: log, return, label, fail, sleep, purge files.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::model::labels;
use crate::flow::model::values::Rendered;
use crate::flow::yaml::decode::{Decode, Decoder, choices, properties};
use crate::flow::yaml::document::{Node, YamlValue};
use crate::report::event::Level;

choices! {
    /// The severity of a message.
    pub(crate) enum LogLevel {
        /// An error.
        Error = "ERROR",
        /// A warning.
        Warn = "WARN",
        /// Information.
        Info = "INFO",
        /// Debug detail.
        Debug = "DEBUG",
        /// The most detailed level.
        Trace = "TRACE",
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warning,
            LogLevel::Info | LogLevel::Debug | LogLevel::Trace => Self::Info,
        }
    }
}

properties! {
    /// Writes a message to the log.
    pub(crate) struct LogTask as "a Log task" {
        /// The message; each item of a list is a separate message.
        "message" => message: LogMessages,
        /// The severity.
        "level" => level: LogLevel = LogLevel::Info,
    }
}

/// One message or several.
#[derive(Clone, Debug)]
pub(crate) struct LogMessages(Vec<Template>);

impl Decode for LogMessages {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.value {
            YamlValue::List(_) => Vec::decode(node, decoder).map(Self),
            _ => Template::decode(node, decoder).map(|message| Self(vec![message])),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [Template::schema(), Vec::<Template>::schema()] })
    }
}

impl LogTask {
    /// Writes the messages.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        for message in &self.message.0 {
            run.log(self.level.into(), &run.fill(message)?);
        }
        Ok(Outputs::new())
    }
}

properties! {
    /// Returns a value as the task's output.
    pub(crate) struct Return as "a Return task" {
        /// The value to return.
        "format" => format: Option<Template> = None,
    }
}

impl Return {
    /// Fills in the value and returns it.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let value = run.fill_optional(self.format.as_ref())?;
        Ok(Outputs::from_iter([("value".to_owned(), json!(value))]))
    }
}

properties! {
    /// Sets labels on the run.
    pub(crate) struct LabelsTask as "a Labels task" {
        /// The labels: a mapping, or a list of objects with key and value.
        "labels" => labels: labels::Labels,
    }
}

impl LabelsTask {
    /// Sets the labels, replacing existing ones with the same names.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        for (name, value) in &self.labels.0 {
            run.context.label(name.clone(), &run.fill(value)?);
        }
        Ok(Outputs::new())
    }
}

properties! {
    /// Fails the task.
    pub(crate) struct Fail as "a Fail task" {
        /// Fail only if this condition is true.
        "condition" => condition: Option<Template> = None,
        /// The error message.
        "errorMessage" => error_message: Option<Template> = None,
    }
}

impl Fail {
    /// Fails the task, unless its condition is false.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        if let Some(condition) = &self.condition
            && !run.is_true(condition)?
        {
            return Ok(Outputs::new());
        }
        let message = run.fill_optional(self.error_message.as_ref())?;
        let message = message.unwrap_or_else(|| "the flow fails on purpose at this task".to_owned());
        Err(Error::new(Kind::TaskFailed, message))
    }
}

properties! {
    /// Waits for a duration.
    pub(crate) struct Sleep as "a Sleep task" {
        /// How long to wait.
        "duration" => duration: Rendered<Duration>,
    }
}

impl Sleep {
    /// Waits until the duration has passed or the task is interrupted.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        run.interrupt.sleep(run.resolve(&self.duration)?).await?;
        Ok(Outputs::new())
    }
}

properties! {
    /// Deletes the files that the run has stored so far.
    pub(crate) struct PurgeFiles as "a PurgeCurrentExecutionFiles task" {}
}

impl PurgeFiles {
    /// Deletes the files.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let files = run.context.storage.purge()?;
        run.log(Level::Info, &format!("deleted {files} files"));
        Ok(Outputs::from_iter([("count".to_owned(), files.into())]))
    }
}
