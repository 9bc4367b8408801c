//! What a flow says about its end and its limits: outputs, tasks after the end, time limits, checks.

use std::time::Duration;

use crate::flow::expression::Template;
use crate::flow::model::inputs::{DefaultValue, InputType};
use crate::flow::model::labels::Labels;
use crate::flow::model::task::Task;
use crate::flow::yaml::decode::{Decode, Decoder, Entries, Id, choices, properties};
use crate::flow::yaml::document::{Node, YamlValue};

properties! {
    /// A value that a run returns.
    pub(crate) struct FlowOutput as "an output" {
        /// Name of the output.
        "id" => id: Id,
        /// Type of the output: one of the types of inputs. Without a type, the value is text.
        "type" => output_type: Option<InputType> = None,
        /// The value.
        "value" => value: DefaultValue,
        /// Display name.
        "displayName" => _display_name: Option<String> = None,
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// Whether the output must have a value.
        "required" => _required: bool = true,
    }
}

choices! {
    /// What a service-level agreement is about.
    pub(crate) enum SlaType {
        /// The duration of a run.
        MaxDuration = "MAX_DURATION",
        /// A condition on a run.
        Assertion = "EXECUTION_ASSERTION",
    }
}

choices! {
    /// What happens to a run that violates an agreement.
    pub(crate) enum SlaBehavior {
        /// The run fails.
        Fail = "FAIL",
        /// The run fails too.
        Cancel = "CANCEL",
        /// Nothing but the labels.
        None = "NONE",
    }
}

properties! {
    /// A service-level agreement.
    pub(crate) struct Sla as "a service-level agreement" {
        /// Id of the agreement.
        "id" => id: Id,
        /// What the agreement is about.
        "type" => sla_type: SlaType,
        /// Maximum duration of a run.
        "duration" => duration: Option<Duration> = None,
        /// The condition of an EXECUTION_ASSERTION.
        "assert" => _assert: Option<Template> = None => "only a MAX_DURATION is checked",
        /// What happens to a run that violates the agreement.
        "behavior" => behavior: SlaBehavior,
        /// Labels of a run that violates the agreement.
        "labels" => labels: Labels = Labels::default(),
    }
}

choices! {
    /// What a check does if its condition is false.
    pub(crate) enum CheckBehavior {
        /// The run does not begin.
        Block = "BLOCK_EXECUTION",
        /// The run does not begin either.
        Fail = "FAIL_EXECUTION",
        /// The run begins; the message is shown.
        Create = "CREATE_EXECUTION",
    }
}

properties! {
    /// A condition that is checked before a run begins.
    pub(crate) struct Check as "a check" {
        /// The condition.
        "condition" => condition: Template,
        /// The message if the condition is false.
        "message" => message: Template,
        /// Style of the message in a form.
        "style" => _style: Option<String> = None,
        /// What happens if the condition is false.
        "behavior" => behavior: CheckBehavior = CheckBehavior::Block,
    }
}

properties! {
    /// Tasks that run after a run has ended: the older form of `afterExecution`.
    pub(crate) struct Listener as "a listener" {
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// The states in which the run must have ended.
        "conditions" => conditions: Vec<StateCondition> = Vec::new(),
        /// The tasks.
        "tasks" => tasks: Vec<Task>,
    }
}

/// The condition of a listener: on the state of the run.
#[derive(Clone, Debug)]
pub(crate) struct StateCondition {
    within: Vec<String>,
    outside: Vec<String>,
}

impl StateCondition {
    /// Whether the condition holds for a run that ended in this state.
    pub(crate) fn holds(&self, state: &str) -> bool {
        let names = |states: &[String]| states.iter().any(|name| name == state);
        (self.within.is_empty() || names(&self.within)) && !names(&self.outside)
    }
}

impl Decode for StateCondition {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let YamlValue::Map(entries) = &node.value else {
            return decoder.refuse(
                node.position,
                format!("expected a mapping for a condition, found {}", node.value.kind()),
            );
        };
        let find = |name: &str| {
            entries.iter().find(|(key, _)| key.value.text() == Some(name)).map(|(_, value)| value)
        };
        let name = find("type").and_then(|node| node.value.text()).unwrap_or_default();
        let short = name.rsplit('.').next().unwrap_or_default();
        if !matches!(short, "ExecutionStatus" | "ExecutionStatusCondition") {
            let position = find("type").unwrap_or(node).position;
            let text =
                format!("unsupported condition {name:?} of a listener: only ExecutionStatus is supported");
            return decoder.refuse(position, text);
        }
        let mut states =
            |name| find(name).map_or(Some(Vec::new()), |node| Vec::<String>::decode(node, decoder));
        let (within, outside) = (states("in"), states("notIn"));
        Some(Self { within: within?, outside: outside? })
    }

    fn schema() -> serde_json::Value {
        Entries::<Node>::schema()
    }
}
