//! An assertion: an expression, and what its value has to be.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::suite::PresetValue;
use crate::flow::expression::{Scope, Template};
use crate::flow::model::values::Values;
use crate::flow::yaml::decode::{Decode, Decoder, Id, object_schema, properties};
use crate::flow::yaml::document::{Diagnostic, Node};
use crate::secrets::Secrets;

properties! {
    /// What has to hold after the run of a flow. Several operators have to hold at the same time.
    pub(crate) struct Declared as "an assertion" {
        /// The value to check.
        "value" => value: Template,
        /// The task that the assertion is about, for the result.
        "taskId" => task_id: Option<Id> = None,
        /// The message if the assertion does not hold.
        "errorMessage" => error_message: Option<Template> = None,
        /// Free-text description.
        "description" => description: Option<Template> = None,
        /// The value equals this one.
        "equalTo" => equal_to: Option<PresetValue> = None,
        /// Same as `equalTo`.
        "equalsTo" => equals_to: Option<PresetValue> = None,
        /// The value differs from this one.
        "notEqualTo" => not_equal_to: Option<PresetValue> = None,
        /// Same as `notEqualTo`.
        "notEqualsTo" => not_equals_to: Option<PresetValue> = None,
        /// The value starts with this text.
        "startsWith" => starts_with: Option<Template> = None,
        /// The value ends with this text.
        "endsWith" => ends_with: Option<Template> = None,
        /// The value contains this text.
        "contains" => contains: Option<Template> = None,
        /// The value is a greater number.
        "greaterThan" => greater_than: Option<Template> = None,
        /// The value is a number that is greater or equal.
        "greaterThanOrEqualTo" => greater_than_or_equal_to: Option<Template> = None,
        /// The value is a smaller number.
        "lessThan" => less_than: Option<Template> = None,
        /// The value is a number that is smaller or equal.
        "lessThanOrEqualTo" => less_than_or_equal_to: Option<Template> = None,
        /// The value is one of these.
        "in" => one_of: Option<Values> = None,
        /// The value is none of these.
        "notIn" => none_of: Option<Values> = None,
        /// Whether the value is null or empty.
        "isNull" => is_null: Option<bool> = None,
        /// Whether the value is neither null nor empty.
        "isNotNull" => is_not_null: Option<bool> = None,
    }
}

/// What a value has to be.
#[derive(Clone, Debug)]
enum Expected {
    Equal(PresetValue),
    Text(Template),
    Values(Values),
    Null(bool),
}

/// An assertion with its operators.
#[derive(Clone, Debug)]
pub(crate) struct Assertion {
    /// The value to check.
    pub(crate) value: Template,
    /// The task that the assertion is about.
    pub(crate) task_id: Option<Id>,
    error_message: Option<Template>,
    description: Option<Template>,
    operators: Vec<(&'static str, Expected)>,
}

impl Decode for Assertion {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let declared: Declared = decoder.object(node)?;
        let equal = |value: Option<PresetValue>| value.map(Expected::Equal);
        let text = |text: Option<Template>| text.map(Expected::Text);
        let values = |values: Option<Values>| values.map(Expected::Values);
        let operators = [
            ("equalTo", equal(declared.equal_to.or(declared.equals_to))),
            ("notEqualTo", equal(declared.not_equal_to.or(declared.not_equals_to))),
            ("startsWith", text(declared.starts_with)),
            ("endsWith", text(declared.ends_with)),
            ("contains", text(declared.contains)),
            ("greaterThan", text(declared.greater_than)),
            ("greaterThanOrEqualTo", text(declared.greater_than_or_equal_to)),
            ("lessThan", text(declared.less_than)),
            ("lessThanOrEqualTo", text(declared.less_than_or_equal_to)),
            ("in", values(declared.one_of)),
            ("notIn", values(declared.none_of)),
            ("isNull", declared.is_null.map(Expected::Null)),
            ("isNotNull", declared.is_not_null.map(Expected::Null)),
        ];
        let operators: Vec<_> =
            operators.into_iter().filter_map(|(name, expected)| Some((name, expected?))).collect();
        if operators.is_empty() {
            let text = "an assertion needs at least one operator, such as equalTo";
            return decoder.refuse(node.position, text);
        }
        Some(Self {
            value: declared.value,
            task_id: declared.task_id,
            error_message: declared.error_message,
            description: declared.description,
            operators,
        })
    }

    fn schema() -> Json {
        object_schema::<Declared>()
    }
}

/// The result of one operator of an assertion.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    /// The name of the operator.
    pub(crate) operator: &'static str,
    /// What the value has to be.
    pub(crate) expected: Json,
    /// The value; `None` if it could not be evaluated.
    pub(crate) actual: Option<String>,
    /// Whether the assertion holds.
    pub(crate) success: bool,
    /// The task that the assertion is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_id: Option<String>,
    /// The description of the assertion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// Why the assertion does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Assertion {
    /// Checks each operator.
    pub(crate) fn check(&self, scope: &Scope, secrets: &Secrets) -> Vec<Checked> {
        let fill = |template: &Template| scope.fill(template).map_err(|diagnostic| diagnostic.message);
        let actual = fill(&self.value);
        let words = |template: &Option<Template>| {
            template.as_ref().map(|template| secrets.hide(&fill(template).unwrap_or_else(|reason| reason)))
        };
        let check = |(operator, expected): &(&'static str, Expected)| {
            let expected = expected.fill(scope);
            let verdict = match (&actual, &expected) {
                (Ok(actual), Ok(expected)) => holds(operator, actual, expected),
                (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
            };
            let expected = expected.unwrap_or_default();
            let error = match verdict {
                Ok(true) => None,
                Ok(false) => Some(words(&self.error_message).unwrap_or_else(|| {
                    let actual = actual.as_deref().unwrap_or_default();
                    format!("expected {} {operator} {expected}, found {actual:?}", self.value.text)
                })),
                Err(reason) => Some(reason),
            };
            Checked {
                operator,
                expected: secrets.hide_in(&expected),
                actual: actual.as_ref().ok().map(|actual| secrets.hide(actual)),
                success: error.is_none(),
                task_id: self.task_id.as_ref().map(|id| id.0.clone()),
                description: words(&self.description),
                error: error.map(|error| secrets.hide(&error)),
            }
        };
        self.operators.iter().map(check).collect()
    }
}

impl Expected {
    fn fill(&self, scope: &Scope) -> Result<Json, String> {
        let message = |diagnostic: Diagnostic| diagnostic.message;
        match self {
            Self::Equal(value) => value.fill(scope),
            Self::Text(template) => scope.fill(template).map(Json::String).map_err(message),
            Self::Values(values) => values.resolve(scope).map(|values| json!(values)).map_err(message),
            Self::Null(expected) => Ok(json!(expected)),
        }
    }
}

/// Whether the operator holds. As in Kestra, an expression yields text, which is compared with the expected value as
/// text. The error says why the values cannot be compared.
fn holds(operator: &str, actual: &str, expected: &Json) -> Result<bool, String> {
    let text = match expected {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let number = |text: &str| {
        text.trim().parse::<f64>().map_err(|_| format!("expected a number to compare, found {text:?}"))
    };
    let compare = |holds: fn(&f64, &f64) -> bool| Ok(holds(&number(actual)?, &number(&text)?));
    let is_one_of = || expected.as_array().is_some_and(|values| values.iter().any(|value| value == actual));
    match operator {
        "equalTo" => Ok(is_equal(actual, &text, expected)),
        "notEqualTo" => Ok(!is_equal(actual, &text, expected)),
        "startsWith" => Ok(actual.starts_with(&text)),
        "endsWith" => Ok(actual.ends_with(&text)),
        "contains" => Ok(actual.contains(&text)),
        "greaterThan" => compare(f64::gt),
        "greaterThanOrEqualTo" => compare(f64::ge),
        "lessThan" => compare(f64::lt),
        "lessThanOrEqualTo" => compare(f64::le),
        "in" => Ok(is_one_of()),
        "notIn" => Ok(!is_one_of()),
        "isNull" => Ok(actual.is_empty() == (*expected == json!(true))),
        _ => Ok(actual.is_empty() != (*expected == json!(true))),
    }
}

/// Lists and mappings are compared as JSON, everything else as text.
fn is_equal(actual: &str, text: &str, expected: &Json) -> bool {
    match expected {
        Json::Array(_) | Json::Object(_) => {
            serde_json::from_str::<Json>(actual).is_ok_and(|actual| actual == *expected)
        }
        Json::Null => actual.is_empty(),
        _ => actual == text,
    }
}
