//! Tasks that need nothing but the flow: logs, values, labels, failing, waiting, tidying up.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::error::{Error, Kind, Result};
use crate::pipeline::decode::{Decode, Decoder, choices, properties};
use crate::pipeline::document::{Node, Value};
use crate::pipeline::execution::task_run::{Outputs, TaskRun};
use crate::pipeline::expression::Template;
use crate::pipeline::labels;
use crate::report::log::Level;

choices! {
    /// How much a message matters.
    pub enum LogLevel {
        /// It went wrong.
        Error = "ERROR",
        /// Worth a look.
        Warn = "WARN",
        /// Good to know.
        Info = "INFO",
        /// For whoever looks for a fault.
        Debug = "DEBUG",
        /// For whoever looks very closely.
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
    /// Writes a message into the log.
    pub struct Log as "a log" {
        /// What to say; a list is one message each.
        "message" => message: Messages,
        /// How much it matters.
        "level" => level: LogLevel = LogLevel::Info,
    }
}

/// A message, or several.
#[derive(Clone, Debug)]
pub struct Messages(Vec<Template>);

impl Decode for Messages {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.value {
            Value::List(_) => Vec::decode(node, decoder).map(Self),
            _ => Template::decode(node, decoder).map(|message| Self(vec![message])),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [Template::schema(), Vec::<Template>::schema()] })
    }
}

impl Log {
    /// Says it.
    pub fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        for message in &self.message.0 {
            run.say(self.level.into(), &run.fill(message)?);
        }
        Ok(Outputs::new())
    }
}

properties! {
    /// Comes to a value.
    pub struct Return as "a return" {
        /// The value.
        "format" => format: Option<Template> = None,
    }
}

impl Return {
    /// Fills it in.
    pub fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let value = run.fill_optional(self.format.as_ref())?;
        Ok(Outputs::from_iter([("value".to_owned(), json!(value))]))
    }
}

properties! {
    /// Labels the run.
    pub struct Labels as "labels" {
        /// A mapping, or a list of key and value.
        "labels" => labels: labels::Labels,
    }
}

impl Labels {
    /// Sets them, those of the same names too.
    pub fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        for (name, value) in &self.labels.0 {
            run.execution.label(name.clone(), run.fill(value)?);
        }
        Ok(Outputs::new())
    }
}

properties! {
    /// Fails.
    pub struct Fail as "a fail" {
        /// Fails only where this comes to something true.
        "condition" => condition: Option<Template> = None,
        /// What to say.
        "errorMessage" => error_message: Option<Template> = None,
    }
}

impl Fail {
    /// Fails, or does nothing.
    pub fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        if let Some(condition) = &self.condition
            && !run.holds(condition)?
        {
            return Ok(Outputs::new());
        }
        let message = run.fill_optional(self.error_message.as_ref())?;
        Err(Error::new(Kind::TaskFailed, message.unwrap_or_else(|| "the flow asked to fail here".to_owned())))
    }
}

properties! {
    /// Waits.
    pub struct Sleep as "a sleep" {
        /// For so long.
        "duration" => duration: Duration,
    }
}

impl Sleep {
    /// Waits, unless it is interrupted.
    pub async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        run.interrupt.sleep(self.duration).await?;
        Ok(Outputs::new())
    }
}

properties! {
    /// Removes the files that the run has kept so far.
    pub struct PurgeFiles as "a purge" {}
}

/// Removes the run's files.
pub fn purge(run: &TaskRun<'_>) -> Result<Outputs> {
    let files = run.execution.storage.purge()?;
    run.say(Level::Info, &format!("{files} files removed"));
    Ok(Outputs::from_iter([("count".to_owned(), files.into())]))
}
