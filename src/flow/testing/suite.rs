//! A test file: its test cases, their fixtures and assertions.

use serde_json::{Value as Json, json};

use super::assertion::Assertion;
use crate::error::{Error, Result};
use crate::flow::expression::Template;
use crate::flow::model::flow::Flow;
pub(crate) use crate::flow::run::presets::PresetValue;
use crate::flow::run::presets::{Iterations, PresetOutputs, PresetResult};
use crate::flow::yaml::decode::{Decode, Decoder, Entries, Id, choices, properties};
use crate::flow::yaml::document::{Diagnostic, Document, Faults, Node, YamlValue};
use crate::ledger::RunStatus;

properties! {
    /// The tests of a flow.
    pub(crate) struct Suite as "a test file" {
        /// Id of the tests.
        "id" => id: Id,
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// Namespace of the flow.
        "namespace" => namespace: String,
        /// Id of the flow.
        "flowId" => flow_id: Id,
        /// Whether the tests are disabled.
        "disabled" => disabled: bool = false,
        /// The test cases.
        "testCases" => cases: Vec<Case>,
    }
}

choices! {
    /// The types of test case.
    pub(crate) enum CaseType {
        /// Runs the flow once.
        UnitTest = "io.kestra.core.tests.flow.UnitTest",
    }
}

properties! {
    /// One run of the flow, and what has to hold after it.
    pub(crate) struct Case as "a test case" {
        /// Id of the test case.
        "id" => id: Id,
        /// Type of the test case.
        "type" => _case_type: CaseType,
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// Whether the test case is disabled.
        "disabled" => disabled: bool = false,
        /// What the run is given.
        "fixtures" => fixtures: Option<Fixtures> = None,
        /// What has to hold after the run.
        "assertions" => assertions: Vec<Assertion>,
    }
}

properties! {
    /// What a run is given.
    pub(crate) struct Fixtures as "fixtures" {
        /// Values of inputs.
        "inputs" => inputs: Entries<PresetValue> = Entries::default(),
        /// Contents of files, by name. Expressions find the path of a file in `files`.
        "files" => files: Entries<String> = Entries::default(),
        /// Results of tasks, which do not run.
        "tasks" => tasks: Vec<TaskFixture> = Vec::new(),
        /// The trigger of the run.
        "trigger" => trigger: Option<TriggerFixture> = None,
    }
}

choices! {
    /// How a task with a fixture ends.
    pub(crate) enum State {
        /// The task succeeds.
        Success = "SUCCESS",
        /// The task ends with a warning.
        Warning = "WARNING",
        /// The task fails.
        Failed = "FAILED",
        /// The task is skipped.
        Skipped = "SKIPPED",
    }
}

properties! {
    /// The result of a task that does not run.
    pub(crate) struct TaskFixture as "a task fixture" {
        /// Id of the task.
        "id" => id: Id,
        /// The value of the loop that the fixture is for; by default, it is for every iteration.
        "value" => value: Option<String> = None,
        /// How the task ends.
        "state" => state: State = State::Success,
        /// The outputs of the task.
        "outputs" => outputs: Entries<PresetValue> = Entries::default(),
        /// Free-text description, which the task's log shows.
        "description" => description: Option<String> = None,
    }
}

properties! {
    /// The trigger of a run.
    pub(crate) struct TriggerFixture as "a trigger fixture" {
        /// Id of the trigger.
        "id" => id: Id,
        /// Type of the trigger.
        "type" => _trigger_type: String,
        /// The variables that expressions find in `trigger`.
        "variables" => variables: Entries<PresetValue> = Entries::default(),
    }
}

impl Decode for PresetValue {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        Some(match &node.value {
            YamlValue::Null => Self::Plain(Json::Null),
            YamlValue::Bool(value) => Self::Plain(json!(value)),
            YamlValue::Number(text) => match text.parse::<serde_json::Number>() {
                Ok(number) if number.to_string() == *text => Self::Plain(Json::Number(number)),
                _ => Self::Plain(json!(text)),
            },
            YamlValue::Text(_) => Self::Text(Template::decode(node, decoder)?),
            YamlValue::List(_) => Self::List(Vec::decode(node, decoder)?),
            YamlValue::Map(_) => Self::Map(Entries::decode(node, decoder)?.0),
        })
    }

    fn schema() -> Json {
        json!({})
    }
}

impl Suite {
    /// Parses a test file. `name` is the file name shown in errors.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, Faults> {
        let document = Document::parse(name, text)?;
        let mut decoder = Decoder::default();
        let suite = Self::decode(&document.root, &mut decoder);
        match suite {
            Some(suite) if decoder.diagnostics.is_empty() => Ok(suite),
            _ => Err(document.faults(decoder.diagnostics)),
        }
    }

    /// Refuses fixtures for tasks and inputs that the flow does not have.
    pub(crate) fn check_against(&self, flow: &Flow, name: &str, text: &str) -> Result<()> {
        let mut tasks = Vec::new();
        flow.walk(|task| tasks.push(task.id()));
        let mut unknown = Vec::new();
        for case in &self.cases {
            let fixtures = case.fixtures.iter();
            let fixed = fixtures.flat_map(|fixtures| &fixtures.tasks).map(|fixture| &fixture.id);
            let asserted = case.assertions.iter().filter_map(|assertion| assertion.task_id.as_ref());
            let ids = fixed.chain(asserted).filter(|id| !tasks.contains(&id.0.as_str()));
            unknown.extend(ids.map(|id| format!("test case {}: no task with the id {:?}", case.id.0, id.0)));
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let document = Document::parse(name, text)?;
        let position = document.root.position;
        let diagnostic = |message: String| Diagnostic {
            position,
            message: format!("{message} in the flow {}", flow.name()),
        };
        Err(Error::from(document.faults(unknown.into_iter().map(diagnostic).collect())))
    }
}

impl Case {
    /// Whether the test case is about a failure: a task fails by its fixture, or an assertion reads the state.
    pub(crate) fn expects_failure(&self) -> bool {
        let mut fixtures = self.fixtures.iter().flat_map(|fixtures| &fixtures.tasks);
        fixtures.any(|fixture| fixture.state == State::Failed)
            || self.assertions.iter().any(|assertion| assertion.value.text.contains("execution.state"))
    }
}

impl Fixtures {
    /// The given results of the flow's tasks.
    pub(crate) fn results(&self, flow: &Flow) -> Vec<PresetResult> {
        let result = |fixture: &TaskFixture| PresetResult {
            task_id: fixture.id.0.clone(),
            task_type: flow.name(),
            iterations: fixture.value.clone().map_or(Iterations::All, Iterations::Innermost),
            status: match fixture.state {
                State::Success => RunStatus::Succeeded,
                State::Warning => RunStatus::Warning,
                State::Failed => RunStatus::Failed,
                State::Skipped => RunStatus::Skipped,
            },
            outputs: PresetOutputs::Templates(PresetValue::Map(fixture.outputs.0.clone())),
            note: match &fixture.description {
                Some(description) => format!("fixture: {description}"),
                None => "fixture: the task does not run".to_owned(),
            },
            below: Vec::new(),
        };
        self.tasks.iter().map(result).collect()
    }
}
