//! The end of a run: its outputs, the tasks after it, and its time limit.

use std::time::Duration;

use minijinja::context;
use serde_json::Value as Json;

use super::frame::Frame;
use super::{Execution, Outputs};
use crate::error::{Error, Kind, Result};
use crate::flow::expression::{Scope, dates};
use crate::flow::model::ending::{CheckBehavior, Sla, SlaBehavior, SlaType};
use crate::flow::model::flow::Flow;
use crate::flow::model::inputs::InputType;
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::report::{Report, failure};

/// Checks the conditions that must hold before the run begins.
pub(super) fn check(flow: &Flow, scope: &Scope, report: &dyn Report) -> Result<()> {
    let fault = |diagnostic| flow.faults(vec![diagnostic]);
    for check in &flow.checks {
        if scope.is_true(&check.condition).map_err(fault)? {
            continue;
        }
        let message = scope.fill(&check.message).map_err(fault)?;
        match check.behavior {
            CheckBehavior::Create => report.notice(&message),
            CheckBehavior::Block | CheckBehavior::Fail => {
                return Err(Error::new(Kind::Usage, format!("a check of the flow does not hold: {message}")));
            }
        }
    }
    Ok(())
}

/// The shortest time limit that the flow sets for its runs, with the agreement that sets it.
pub(super) fn time_limit(flow: &Flow) -> Option<(&Sla, Duration)> {
    let limits = flow.sla.iter().filter(|sla| sla.sla_type == SlaType::MaxDuration);
    let limits = limits.filter(|sla| sla.behavior != SlaBehavior::None);
    limits.filter_map(|sla| Some((sla, sla.duration?))).min_by_key(|(_, limit)| *limit)
}

/// The name of a run's status in expressions.
pub(super) fn state(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Succeeded | RunStatus::Skipped => "SUCCESS",
        RunStatus::Warning => "WARNING",
        RunStatus::Cancelled => "KILLED",
        RunStatus::Running => "RUNNING",
        _ => "FAILED",
    }
}

impl Execution {
    /// Runs the tasks of the flow, for no longer than its agreements allow.
    pub(super) async fn run_body(&self, flow: &Flow, root: Frame<'_>, interrupt: &Interrupt) -> Result<()> {
        let Some((sla, limit)) = time_limit(flow) else {
            return self.run_tasks(&flow.tasks, root, interrupt).await;
        };
        let limited = interrupt.limited(limit);
        let result = self.run_tasks(&flow.tasks, root, &limited).await;
        if limited.raised().is_none() || interrupt.raised().is_some() {
            return result;
        }
        for (name, value) in &sla.labels.0 {
            let value = self.scope.fill(value).map_err(|diagnostic| flow.faults(vec![diagnostic]))?;
            self.context.label(name.clone(), &value);
        }
        let text = format!("the run exceeded the maximum duration of {limit:?} (sla {})", sla.id.0);
        Err(Error::new(Kind::TimedOut, text))
    }

    /// The outputs of the flow, with secrets masked.
    pub(super) fn flow_outputs(&self, flow: &Flow) -> Result<Outputs> {
        let labels = minijinja::Value::from_pairs(self.context.labels());
        let scope = self.scope.clone().with("outputs", self.all_outputs()).with("labels", labels);
        let mut outputs = Outputs::new();
        for output in &flow.outputs {
            let text = match &output.value.template {
                Some(template) => scope.fill(template).map_err(|diagnostic| flow.faults(vec![diagnostic]))?,
                None => output.value.text.clone(),
            };
            let value = match output.output_type {
                Some(kind) => kind.read(&text).map_err(|expected| {
                    let text = self.context.secrets.hide(&text);
                    let text = format!(
                        "invalid value {text:?} for the output {:?}: expected {expected}",
                        output.id.0
                    );
                    Error::new(Kind::Configuration, text)
                })?,
                None => text.as_str().into(),
            };
            if output.output_type == Some(InputType::Secret) {
                self.context.secrets.keep(&text);
            }
            let value = serde_json::to_value(&value).unwrap_or_default();
            outputs.insert(output.id.0.clone(), self.context.secrets.hide_in(&value));
        }
        Ok(outputs)
    }

    /// Runs the tasks that follow the end of the run: `afterExecution` and `listeners`. A failure of theirs does not
    /// change the status of the run.
    pub(super) async fn run_after(&mut self, flow: &Flow, status: RunStatus, interrupt: &Interrupt) {
        let state = state(status);
        let execution = context! {
            id => self.run.id.to_string(),
            startDate => dates::text_of(self.run.started_at),
            state => state,
        };
        self.scope = self.scope.clone().with("execution", execution);
        let listeners = flow.listeners.iter();
        let listeners =
            listeners.filter(|listener| listener.conditions.iter().all(|condition| condition.holds(state)));
        let lists = std::iter::once(&flow.after_execution).chain(listeners.map(|listener| &listener.tasks));
        for tasks in lists {
            if interrupt.raised().is_some() {
                return;
            }
            if let Err(error) = self.run_tasks(tasks, Frame::root(), interrupt).await {
                let text = format!("a task after the end of the run failed: {}", failure::line(&error));
                self.context.report.notice(&self.context.secrets.hide(&text));
            }
        }
    }

    fn all_outputs(&self) -> minijinja::Value {
        minijinja::Value::from(minijinja::value::Serde(&Json::Object(
            crate::flow::context::lock(&self.outputs).clone(),
        )))
    }
}
