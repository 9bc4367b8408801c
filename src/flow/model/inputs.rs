//! The inputs of a flow: their declarations, and the values of one run, which are checked before anything runs.

use jiff::civil::Date;
use minijinja::Value as Data;

use crate::error::{Error, Kind, Result};
use crate::flow::expression::dates;
use crate::flow::yaml::decode::{Decode, Decoder, Id, choices, properties};
use crate::flow::yaml::document::{Node, Position, YamlValue};

choices! {
    /// The types of input.
    pub(crate) enum InputType {
        /// Any text.
        String = "STRING",
        /// A whole number.
        Int = "INT",
        /// A number.
        Float = "FLOAT",
        /// `true` or `false`.
        Boolean = "BOOLEAN",
        /// Same as `BOOLEAN`.
        Bool = "BOOL",
        /// One of the declared `values`.
        Select = "SELECT",
        /// A date, like `2020-03-01`.
        Date = "DATE",
        /// A date and time, like `2020-03-01T09:00:00Z`.
        DateTime = "DATETIME",
    }
}

properties! {
    /// An input of a flow.
    pub(crate) struct Input as "an input" {
        /// Name of the input in expressions.
        "id" => id: Id,
        /// Type of the input.
        "type" => input_type: InputType,
        /// Display name.
        "displayName" => _display_name: Option<String> = None,
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// Default value.
        "defaults" => default: Option<Given> = None,
        /// Whether a run must have a value for this input.
        "required" => required: bool = true,
        /// The allowed values of a SELECT input.
        "values" => values: Option<Vec<String>> = None,
        /// Whether a SELECT input also accepts other values.
        "allowCustomValue" => allow_custom_value: Option<bool> = None,
        /// Smallest allowed number.
        "min" => min: Option<f64> = None,
        /// Largest allowed number.
        "max" => max: Option<f64> = None,
        /// Earliest allowed date or time.
        "after" => after: Option<Given> = None,
        /// Latest allowed date or time.
        "before" => before: Option<Given> = None,
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

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Input {
    /// What the input expects instead of `value`, for messages. `None` if the value is valid.
    pub(crate) fn refuse(&self, value: &str) -> Option<String> {
        let number = |kind: &str, number: Option<f64>| match number.filter(|number| number.is_finite()) {
            None => Some(format!("expected {kind}")),
            Some(number) if self.min.is_some_and(|min| number < min) => {
                Some(format!("expected at least {}", self.min.unwrap_or_default()))
            }
            Some(number) if self.max.is_some_and(|max| number > max) => {
                Some(format!("expected at most {}", self.max.unwrap_or_default()))
            }
            Some(_) => None,
        };
        match self.input_type {
            InputType::String => None,
            InputType::Int => number("a whole number", value.parse::<i64>().ok().map(|whole| whole as f64)),
            InputType::Float => number("a number", value.parse().ok()),
            InputType::Boolean | InputType::Bool => {
                let known = matches!(value, "true" | "false");
                (!known).then(|| "expected true or false".to_owned())
            }
            InputType::Select if self.allow_custom_value == Some(true) => None,
            InputType::Select => {
                let values = self.values.as_deref().unwrap_or_default();
                let known = values.iter().any(|allowed| allowed == value);
                (!known).then(|| format!("expected one of {}", values.join(", ")))
            }
            InputType::Date => match value.parse::<Date>() {
                Ok(_) if value.len() == "2020-03-01".len() => self.violated_bound(value),
                _ => Some("expected a date like 2020-03-01".to_owned()),
            },
            InputType::DateTime => match dates::read(value) {
                Ok(_) if value.contains('T') => self.violated_bound(value),
                _ => Some("expected a date and time like 2020-03-01T09:00:00Z".to_owned()),
            },
        }
    }

    /// The bound that a date violates, for messages. `None` if the date is within the bounds.
    fn violated_bound(&self, value: &str) -> Option<String> {
        let parse = |text: &str| dates::read(text).ok().map(|date| date.timestamp());
        let timestamp = parse(value)?;
        let bound =
            |given: Option<&Given>| given.and_then(|given| Some((given.text.clone(), parse(&given.text)?)));
        if let Some((bound, _)) = bound(self.after.as_ref()).filter(|(_, after)| timestamp < *after) {
            return Some(format!("expected {bound} or later"));
        }
        let (bound, _) = bound(self.before.as_ref()).filter(|(_, before)| timestamp > *before)?;
        Some(format!("expected {bound} or earlier"))
    }

    /// Records the properties of the declaration that contradict each other.
    pub(crate) fn check(&self, node: &Node, decoder: &mut Decoder) {
        let position_of = |name: &str| {
            let YamlValue::Map(entries) = &node.value else { return node.position };
            let entry = entries.iter().find(|(key, _)| key.value.text() == Some(name));
            entry.map_or(node.position, |(_, value)| value.position)
        };
        let has_type = |types: &[InputType]| types.contains(&self.input_type);
        let mut require_type = |name: &str, given: bool, types: &[InputType], names: &str| {
            if given && !has_type(types) {
                let text = format!("the property `{name}` requires an input of type {names}");
                decoder.refuse::<()>(position_of(name), text);
            }
        };
        require_type("values", self.values.is_some(), &[InputType::Select], "SELECT");
        require_type("allowCustomValue", self.allow_custom_value.is_some(), &[InputType::Select], "SELECT");
        let number_types = [InputType::Int, InputType::Float];
        require_type("min", self.min.is_some(), &number_types, "INT or FLOAT");
        require_type("max", self.max.is_some(), &number_types, "INT or FLOAT");
        let date_types = [InputType::Date, InputType::DateTime];
        require_type("after", self.after.is_some(), &date_types, "DATE or DATETIME");
        require_type("before", self.before.is_some(), &date_types, "DATE or DATETIME");
        if has_type(&[InputType::Select]) && self.values.is_none() {
            let text = "missing property `values` in an input of type SELECT";
            decoder.refuse::<()>(position_of("type"), text);
        }
        for given in [&self.after, &self.before].into_iter().flatten() {
            if let Err(fault) = dates::read(&given.text) {
                decoder.refuse::<()>(given.position, fault);
            }
        }
        if let Some(default) = &self.default
            && let Some(expected) = self.refuse(&default.text)
        {
            let text = format!("invalid default value {:?}: {expected}", default.text);
            decoder.refuse::<()>(default.position, text);
        }
    }

    /// The value as expressions see it.
    fn data(&self, value: &str) -> Data {
        match self.input_type {
            InputType::Int => value.parse::<i64>().map_or_else(|_| value.into(), Data::from),
            InputType::Float => value.parse::<f64>().map_or_else(|_| value.into(), Data::from),
            InputType::Boolean | InputType::Bool => Data::from(value == "true"),
            _ => value.into(),
        }
    }
}

/// The values of one run: complete, valid and in the order of their declarations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs(Vec<(String, Option<String>, Data)>);

impl Inputs {
    /// Takes the `given` values, fills in defaults and refuses values that the declarations do not allow.
    pub(crate) fn resolve(declared: &[Input], given: &[(String, String)]) -> Result<Self> {
        let usage = |text: String| Error::new(Kind::Usage, text);
        let unknown = given.iter().find(|(name, _)| !declared.iter().any(|input| input.id.0 == *name));
        if let Some((name, _)) = unknown {
            let names: Vec<&str> = declared.iter().map(|input| input.id.0.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(usage(format!("no input with the id {name:?}; known inputs: {known}")));
        }
        let resolve = |input: &Input| {
            let id = &input.id.0;
            let value = given.iter().rfind(|(name, _)| name == id).map(|(_, value)| value);
            let value = value.or(input.default.as_ref().map(|default| &default.text));
            match value {
                None if input.required => Err(usage(format!("missing value for the required input {id:?}"))),
                None => Ok((id.clone(), None, Data::from(()))),
                Some(value) => match input.refuse(value) {
                    Some(expected) => {
                        Err(usage(format!("invalid value {value:?} for the input {id:?}: {expected}")))
                    }
                    None => Ok((id.clone(), Some(value.clone()), input.data(value))),
                },
            }
        };
        declared.iter().map(resolve).collect::<Result<_>>().map(Self)
    }

    /// The text of an input. `None` if an optional input has no value.
    pub(crate) fn get(&self, id: &str) -> Option<&str> {
        self.0.iter().find(|(name, ..)| name == id).and_then(|(_, text, _)| text.as_deref())
    }

    /// Names and texts of the inputs, for the run history.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().filter_map(|(name, text, _)| Some((name, text?))).collect()
    }

    /// The inputs as expressions see them.
    pub(crate) fn data(&self) -> Data {
        Data::from_pairs(self.0.iter().map(|(name, _, value)| (name.as_str(), value.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::model::flow::Flow;

    #[test]
    fn values_are_checked_against_their_declaration() {
        let refusal = |declaration: &str, value: &str| {
            let text = format!(
                "id: a\nnamespace: b\ninputs: [{{id: x, {declaration}}}]\ntasks: [{{id: t, type: \
                 io.kestra.plugin.core.log.Log, message: m}}]\n"
            );
            let flow = Flow::parse("a.yaml", &text).unwrap();
            Inputs::resolve(&flow.inputs, &[("x".to_owned(), value.to_owned())]).err().map(|e| e.to_string())
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
        ] {
            assert_eq!(refusal(declaration, valid), None, "{declaration}");
            let error = refusal(declaration, invalid).unwrap_or_default();
            assert_eq!(error, format!("invalid value {invalid:?} for the input \"x\": {expected}"));
        }
    }
}
