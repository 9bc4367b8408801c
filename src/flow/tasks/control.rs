//! Tasks that steer a run, or pass values on: assert, exit, pause, output values, and echo, the older log task.

use std::time::Duration;

use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::flow::context::ending::{ExitState, RunEnd};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::model::values::{Dynamic, Rendered};
use crate::flow::tasks::builtin::LogLevel;
use crate::flow::yaml::decode::{
    Decode as _, Decoder, Entries, Fields, Properties, Property, choices, properties,
};
use crate::report::event::Level;

properties! {
    /// Writes a text to the log. An older task type: log.Log does the same.
    pub(crate) struct Echo as "an Echo task" {
        /// The text.
        "format" => format: Option<Template> = None,
        /// The severity.
        "level" => level: LogLevel = LogLevel::Info,
    }
}

impl Echo {
    /// Writes the text.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let text = run.fill_optional(self.format.as_ref())?;
        run.log(self.level.into(), &text.unwrap_or_default());
        Ok(Outputs::new())
    }
}

properties! {
    /// Fails unless all of its conditions are true.
    pub(crate) struct Assert as "an Assert task" {
        /// The conditions.
        "conditions" => conditions: Vec<Template>,
        /// The error message.
        "errorMessage" => error_message: Option<Template> = None,
    }
}

impl Assert {
    /// Evaluates the conditions. The error names those that are false.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let mut failed = Vec::new();
        for condition in &self.conditions {
            if !run.is_true(condition)? {
                failed.push(condition.text.trim());
            }
        }
        if failed.is_empty() {
            return Ok(Outputs::new());
        }
        let text = run.fill_optional(self.error_message.as_ref())?;
        let text = text.unwrap_or_else(|| format!("false: {}", failed.join(", ")));
        Err(Error::new(Kind::TaskFailed, text))
    }
}

properties! {
    /// Ends the run. No task starts after it, also none of `errors` and `finally`; tasks that run at the same time end first.
    pub(crate) struct Exit as "an Exit task" {
        /// The state in which the run ends.
        "state" => state: Rendered<ExitState> = Rendered::Known(ExitState::Success),
    }
}

impl Exit {
    /// Ends the run. The task has the state of the run.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let end = RunEnd { state: run.resolve(&self.state)?, task: run.name.to_owned() };
        run.context.end_with(end.clone());
        if end.state == ExitState::Warning {
            run.warn();
        }
        end.result().map(|()| Outputs::new())
    }
}

choices! {
    /// What happens at the end of a pause.
    pub(crate) enum PauseBehavior {
        /// The flow goes on.
        Resume = "RESUME",
        /// The flow goes on, and its run ends with a warning.
        Warn = "WARN",
        /// The task fails.
        Fail = "FAIL",
        /// The task fails, as with `FAIL`.
        Cancel = "CANCEL",
    }
}

properties! {
    /// Waits for a duration before the flow goes on.
    pub(crate) struct Pause as "a Pause task" {
        /// What happens at the end of the pause.
        "behavior" => behavior: PauseBehavior = PauseBehavior::Resume,
        with {
            /// How long to wait.
            duration: PauseDuration,
        }
    }
}

/// The duration of a pause, which has an older name too.
#[derive(Clone, Debug)]
pub(crate) struct PauseDuration(Rendered<Duration>);

impl Properties for PauseDuration {
    const ABOUT: &'static str = "The duration of a pause.";
    const NAME: &'static str = "a Pause task";

    fn take(fields: &mut Fields<'_>, decoder: &mut Decoder) -> Option<Self> {
        if let Some(node) = fields.take("errors") {
            let text = "a Pause task runs no tasks; put it into a Sequential task with these `errors`";
            decoder.refuse::<()>(node.position, text);
        }
        let asks = fields.take("onResume");
        match fields.take_first(&["pauseDuration", "delay"]) {
            _ if let Some(node) = asks => {
                let text = "`onResume` asks a person for values, and taxi has no page to do so";
                decoder.refuse(node.position, text)
            }
            Some(node) => Rendered::decode(node, decoder).map(Self),
            None => decoder.refuse(
                fields.position(),
                "a Pause task without `pauseDuration` waits until a person resumes it, and taxi has no page to do so; \
                 set `pauseDuration`",
            ),
        }
    }

    fn properties() -> Vec<Property> {
        let property =
            Property::optional("pauseDuration", "How long to wait.", Rendered::<Duration>::schema());
        vec![Property { aliases: &["delay"], ..property }]
    }
}

impl Pause {
    /// Waits until the duration has passed or the task is interrupted.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        run.interrupt.sleep(run.resolve(&self.duration.0)?).await?;
        match self.behavior {
            PauseBehavior::Resume => {}
            PauseBehavior::Warn => {
                run.context.warn();
                run.log(Level::Warning, "the pause has ended without a resume of the run");
            }
            PauseBehavior::Fail | PauseBehavior::Cancel => {
                let text = "the pause has ended without a resume of the run";
                return Err(Error::new(Kind::TaskFailed, text));
            }
        }
        Ok(Outputs::new())
    }
}

properties! {
    /// Passes values on as outputs.
    pub(crate) struct OutputValues as "an OutputValues task" {
        /// The values, by name.
        "values" => values: Entries<Dynamic>,
    }
}

impl OutputValues {
    /// Evaluates the values and returns them.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let mut values = Outputs::new();
        for (name, value) in &self.values.0 {
            let value = value.resolve(&run.scope).map_err(|diagnostic| run.diagnostic(diagnostic))?;
            values.insert(name.clone(), value);
        }
        Ok(Outputs::from_iter([("values".to_owned(), json!(values))]))
    }
}
