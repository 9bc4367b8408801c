//! The inputs that a flow declares, and what their values must be.

use std::time::Duration;

use jiff::civil::Time;
use minijinja::Value as Data;
use regex_lite::Regex;
use serde_json::{Value as Json, json};

pub(crate) use super::input_types::InputType;
use super::input_types::{item_text, list};
use crate::flow::expression::{self, Template, dates};
use crate::flow::yaml::decode::{Decode, Decoder, Id, properties};
use crate::flow::yaml::document::{Node, Position, YamlValue};
use crate::flow::yaml::values::duration;

properties! {
    /// An input of a flow.
    pub(crate) struct Input as "an input" {
        /// Name of the input in expressions.
        "id" | "name" => id: Id,
        /// Type of the input.
        "type" => input_type: InputType,
        /// Display name.
        "displayName" => _display_name: Option<String> = None,
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// Default value. It may contain expressions.
        "defaults" => default: Option<DefaultValue> = None,
        /// Value that a form shows at first.
        "prefill" => _prefill: Option<Node> = None => "taxi has no forms; pass the value with --input",
        /// Whether a run must have a value for this input.
        "required" => required: bool = true,
        /// The allowed values of a SELECT or MULTISELECT input.
        "values" | "options" => values: Option<Vec<String>> = None,
        /// An expression that yields the allowed values of a SELECT or MULTISELECT input.
        "expression" => expression: Option<Template> = None,
        /// Whether a SELECT or MULTISELECT input also accepts other values.
        "allowCustomValue" => allow_custom_value: Option<bool> = None,
        /// Whether the first of the values is the default.
        "autoSelectFirst" => auto_select_first: bool = false,
        /// Whether a form shows the values as buttons.
        "isRadio" => _is_radio: bool = false => "taxi has no forms",
        /// Type of the items of an ARRAY or MULTISELECT input.
        "itemType" => item_type: Option<InputType> = None,
        /// A regular expression that matches the whole value of a STRING or SECRET input.
        "validator" => validator: Option<Validator> = None,
        /// The inputs that this input depends on, and the condition on which a run has it.
        "dependsOn" => depends_on: Option<DependsOn> = None,
        /// Smallest allowed number or duration.
        "min" => min: Option<Given> = None,
        /// Largest allowed number or duration.
        "max" => max: Option<Given> = None,
        /// Earliest allowed date or time.
        "after" => after: Option<Given> = None,
        /// Latest allowed date or time.
        "before" => before: Option<Given> = None,
        /// Extension of the uploaded file.
        "extension" => _extension: Option<String> = None => "the run keeps the name of the file",
        /// Extensions that a form offers.
        "allowedFileExtensions" | "accept" => _extensions: Option<Node> = None => "taxi has no forms",
    }
}

properties! {
    /// What an input depends on.
    pub(crate) struct DependsOn as "a dependency" {
        /// The inputs that must have been resolved.
        "inputs" => inputs: Vec<String> = Vec::new(),
        /// The condition on which a run has the input.
        "condition" => condition: Option<Template> = None,
    }
}

/// A value written in the flow, and its position.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The value.
    pub(crate) text: String,
    /// Where the value is written.
    pub(crate) position: Position,
}

impl Decode for Given {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        if text.contains("{{") {
            return decoder.refuse(node.position, "this property does not support expressions");
        }
        Some(Self { text, position: node.position })
    }

    fn schema() -> Json {
        String::schema()
    }
}

/// A value of an input or an output: a scalar with or without expressions, or a list or mapping, which becomes JSON.
#[derive(Clone, Debug)]
pub(crate) struct DefaultValue {
    /// The value as text.
    pub(crate) text: String,
    /// The value with its expressions, if it has any.
    pub(crate) template: Option<Template>,
    /// Where the value is written.
    pub(crate) position: Position,
}

impl Decode for DefaultValue {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let position = node.position;
        let text = match &node.value {
            YamlValue::List(_) | YamlValue::Map(_) => json_text(&expression::data(node)),
            _ => decoder.text(node)?,
        };
        let template = match text.contains("{{") || text.contains("{%") {
            true => {
                let node = Node { value: YamlValue::Text(text.clone()), position };
                Some(Template::decode(&node, decoder)?)
            }
            false => None,
        };
        Some(Self { text, template, position })
    }

    fn schema() -> Json {
        json!({})
    }
}

/// A regular expression that must match a whole value.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    /// The expression as written.
    pub(crate) text: String,
    regex: Regex,
}

impl Decode for Validator {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        match Regex::new(&format!("^(?:{text})$")) {
            Ok(regex) => Some(Self { text, regex }),
            Err(cause) => {
                let message = format!("unsupported regular expression {text:?}: {cause}");
                decoder.refuse(node.position, message)
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "format": "regex" })
    }
}

fn json_text(value: &Data) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Input {
    /// What the input expects instead of `value`, for messages. `None` if the value is valid.
    pub(crate) fn refuse(&self, value: &str) -> Option<String> {
        self.refuse_among(value, self.values.as_deref())
    }

    /// Like [`Self::refuse`], with these allowed values.
    pub(crate) fn refuse_among(&self, value: &str, allowed: Option<&[String]>) -> Option<String> {
        if let Some(expected) = self.input_type.refuse(value) {
            return Some(format!("expected {expected}"));
        }
        let items = || list(value).unwrap_or_default().iter().map(item_text).collect::<Vec<_>>();
        match self.input_type {
            InputType::String | InputType::Secret => {
                let validator =
                    self.validator.as_ref().filter(|validator| !validator.regex.is_match(value))?;
                Some(format!("expected a text that matches {}", validator.text))
            }
            InputType::Int | InputType::Float => self.violated_limit(value, |text| text.parse::<f64>().ok()),
            InputType::Duration => self.violated_limit::<Duration>(value, duration),
            InputType::Date | InputType::DateTime => {
                self.violated_bound(value, |text| dates::read(text).ok().map(|date| date.timestamp()))
            }
            InputType::Time => self.violated_bound(value, |text| text.parse::<Time>().ok()),
            InputType::Select | InputType::Enum => self.not_allowed(&[value.to_owned()], allowed),
            InputType::Multiselect => self.not_allowed(&items(), allowed),
            InputType::Array => {
                let kind = self.item_type?;
                let mut refused = items().into_iter().filter_map(|item| Some((kind.refuse(&item)?, item)));
                refused
                    .next()
                    .map(|(expected, item)| format!("expected {expected} as an item, found {item:?}"))
            }
            _ => None,
        }
    }

    /// The allowed values, for messages. `None` if all `values` are allowed.
    fn not_allowed(&self, values: &[String], allowed: Option<&[String]>) -> Option<String> {
        // the values of an expression are known only when a run begins
        if self.allow_custom_value == Some(true) || allowed.is_none() && self.expression.is_some() {
            return None;
        }
        let allowed = allowed.unwrap_or_default();
        let is_allowed = values.iter().all(|value| allowed.contains(value));
        let some = if self.input_type == InputType::Multiselect { "some" } else { "one" };
        (!is_allowed).then(|| format!("expected {some} of {}", allowed.join(", ")))
    }

    /// The limit that a number or a duration violates, for messages.
    fn violated_limit<T: PartialOrd>(
        &self,
        value: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<String> {
        let number = parse(value)?;
        let limit = |given: &Option<Given>| {
            given.as_ref().and_then(|given| Some((given.text.clone(), parse(&given.text)?)))
        };
        if let Some((min, _)) = limit(&self.min).filter(|(_, min)| number < *min) {
            return Some(format!("expected at least {min}"));
        }
        let (max, _) = limit(&self.max).filter(|(_, max)| number > *max)?;
        Some(format!("expected at most {max}"))
    }

    /// The bound that a date or time violates, for messages.
    fn violated_bound<T: PartialOrd>(
        &self,
        value: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<String> {
        let time = parse(value)?;
        let bound = |given: &Option<Given>| {
            given.as_ref().and_then(|given| Some((given.text.clone(), parse(&given.text)?)))
        };
        if let Some((bound, _)) = bound(&self.after).filter(|(_, after)| time < *after) {
            return Some(format!("expected {bound} or later"));
        }
        let (bound, _) = bound(&self.before).filter(|(_, before)| time > *before)?;
        Some(format!("expected {bound} or earlier"))
    }

    /// Records the properties of the declaration that contradict each other.
    pub(crate) fn check(&self, node: &Node, decoder: &mut Decoder) {
        use InputType::{
            Array, Date, DateTime, Duration, Enum, Float, Int, Multiselect, Secret, Select, String, Time,
        };
        let position_of = |name: &str| {
            let YamlValue::Map(entries) = &node.value else { return node.position };
            let entry = entries.iter().find(|(key, _)| key.value.text() == Some(name));
            entry.map_or(node.position, |(_, value)| value.position)
        };
        let own_type = self.input_type;
        let mut require_type = |name: &str, given: bool, types: &[InputType], names: &str| {
            if given && !types.contains(&own_type) {
                let text = format!("the property `{name}` requires an input of type {names}");
                decoder.refuse::<()>(position_of(name), text);
            }
        };
        let choices = [Select, Enum, Multiselect];
        require_type("values", self.values.is_some(), &choices, "SELECT or MULTISELECT");
        require_type("expression", self.expression.is_some(), &choices, "SELECT or MULTISELECT");
        require_type(
            "allowCustomValue",
            self.allow_custom_value.is_some(),
            &choices,
            "SELECT or MULTISELECT",
        );
        require_type("itemType", self.item_type.is_some(), &[Array, Multiselect], "ARRAY or MULTISELECT");
        require_type("validator", self.validator.is_some(), &[String, Secret], "STRING or SECRET");
        require_type("min", self.min.is_some(), &[Int, Float, Duration], "INT, FLOAT or DURATION");
        require_type("max", self.max.is_some(), &[Int, Float, Duration], "INT, FLOAT or DURATION");
        require_type("after", self.after.is_some(), &[Date, DateTime, Time], "DATE, DATETIME or TIME");
        require_type("before", self.before.is_some(), &[Date, DateTime, Time], "DATE, DATETIME or TIME");
        if choices.contains(&own_type) && self.values.is_none() && self.expression.is_none() {
            let text = "missing property `values` in an input of type SELECT";
            decoder.refuse::<()>(position_of("type"), text);
        }
        if own_type == Array && self.item_type.is_none() {
            decoder
                .refuse::<()>(position_of("type"), "missing property `itemType` in an input of type ARRAY");
        }
        self.check_bounds(decoder);
        let Some(default) = self.default.as_ref().filter(|default| default.template.is_none()) else {
            return;
        };
        if let Some(expected) = self.refuse(&default.text) {
            let text = format!("invalid default value {:?}: {expected}", default.text);
            decoder.refuse::<()>(default.position, text);
        }
    }

    /// Records bounds that are not values of the input's type.
    fn check_bounds(&self, decoder: &mut Decoder) {
        for given in [&self.min, &self.max, &self.after, &self.before].into_iter().flatten() {
            let expected = match self.input_type {
                InputType::Int | InputType::Float => InputType::Float.refuse(&given.text),
                // a date bounds a date and time too
                InputType::Date | InputType::DateTime if dates::read(&given.text).is_ok() => None,
                InputType::Date | InputType::DateTime => {
                    Some("a date like 2020-03-01 or 2020-03-01T09:00:00Z")
                }
                other => other.refuse(&given.text),
            };
            if let Some(expected) = expected {
                decoder.refuse::<()>(given.position, format!("expected {expected}, found {:?}", given.text));
            }
        }
    }

    /// The value as expressions see it.
    pub(crate) fn data(&self, value: &str) -> Data {
        self.input_type.data(value, self.item_type)
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::model::flow::Flow;
    use crate::flow::model::input_values::Inputs;

    #[test]
    fn values_are_checked_against_their_declaration() {
        let refusal = |declaration: &str, value: &str| {
            let text = format!(
                "id: a\nnamespace: b\ninputs: [{{id: x, {declaration}}}]\ntasks: [{{id: t, type: \
                 io.kestra.plugin.core.log.Log, message: m}}]\n"
            );
            let flow = Flow::parse("a.yaml", &text).unwrap();
            let scope = crate::flow::expression::Scope::new(&crate::secrets::Secrets::default());
            Inputs::resolve(&flow.inputs, &[("x".to_owned(), value.to_owned())], &scope)
                .err()
                .map(|e| e.to_string())
        };
        for (declaration, valid, invalid, expected) in [
            ("type: INT, min: 1, max: 12", "12", "13", "expected at most 12"),
            ("type: INT", "-3", "1.5", "expected a whole number"),
            ("type: FLOAT, min: 0", "1.5", "-0.1", "expected at least 0"),
            ("type: FLOAT", "1e3", "NaN", "expected a number"),
            ("type: BOOLEAN", "true", "yes", "expected true or false"),
            ("type: DATE, after: 2020-01-01", "2020-01-01", "2019-12-31", "expected 2020-01-01 or later"),
            ("type: DATE", "2020-02-29", "2021-02-29", "expected a date like 2020-03-01"),
            (
                "type: DATETIME",
                "2020-01-01T00:00:00Z",
                "2020-01-01",
                "expected a date and time like 2020-03-01T09:00:00Z",
            ),
            ("type: SELECT, values: [a, b]", "b", "c", "expected one of a, b"),
            ("type: ENUM, values: [a, b]", "b", "c", "expected one of a, b"),
            ("type: MULTISELECT, values: [a, b]", r#"["b"]"#, r#"["c"]"#, "expected some of a, b"),
            (
                "type: ARRAY, itemType: INT",
                "[1]",
                r#"["x"]"#,
                r#"expected a whole number as an item, found "x""#,
            ),
            ("type: ARRAY, itemType: STRING", "[]", "a,b", r#"expected a JSON array like ["a", "b"]"#),
            ("type: STRING, validator: 'v[0-9]+'", "v12", "v12x", "expected a text that matches v[0-9]+"),
            ("type: TIME, after: '08:00'", "08:00:00", "07:59", "expected 08:00 or later"),
            ("type: TIME", "09:30", "9", "expected a time like 09:30:00"),
            ("type: DURATION, max: PT1H", "PT60M", "PT2H", "expected at most PT1H"),
            ("type: DURATION", "P1D", "5m", "expected an ISO 8601 duration like PT30S, PT5M or P1D"),
            ("type: JSON", r#"{"a": 1}"#, "{a", "expected a JSON document"),
            ("type: YAML", "a: 1", "a: [", "expected a YAML document"),
            ("type: URI", "https://example.com", "example", "expected a URI like https://example.com/a.csv"),
            ("type: EMAIL", "a.b@example.com", "example.com", "expected an e-mail address"),
        ] {
            assert_eq!(refusal(declaration, valid), None, "{declaration}");
            let error = refusal(declaration, invalid).unwrap_or_default();
            assert_eq!(error, format!("invalid value {invalid:?} for the input \"x\": {expected}"));
        }
    }
}
