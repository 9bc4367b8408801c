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
        "displayName" => display_name: Option<String> = None,
        /// Free-text description.
        "description" => description: Option<String> = None,
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
            return decoder.refuse(node.position, "an expression is not supported here");
        }
        Some(Self { text, position: node.position })
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Input {
    /// Explains why `value` is not valid for this input; `None` if it is valid.
    pub(crate) fn refuse(&self, value: &str) -> Option<String> {
        let number = |what: &str, number: Option<f64>| match number.filter(|number| number.is_finite()) {
            None => Some(format!("{value:?} is not {what}")),
            Some(number) if self.min.is_some_and(|least| number < least) => {
                Some(format!("{value} is less than {}", self.min.unwrap_or_default()))
            }
            Some(number) if self.max.is_some_and(|most| number > most) => {
                Some(format!("{value} is more than {}", self.max.unwrap_or_default()))
            }
            Some(_) => None,
        };
        match self.input_type {
            InputType::String => None,
            InputType::Int => number("a whole number", value.parse::<i64>().ok().map(|whole| whole as f64)),
            InputType::Float => number("a number", value.parse().ok()),
            InputType::Boolean | InputType::Bool => {
                let known = matches!(value, "true" | "false");
                (!known).then(|| format!("{value:?} is neither true nor false"))
            }
            InputType::Select if self.allow_custom_value == Some(true) => None,
            InputType::Select => {
                let values = self.values.as_deref().unwrap_or_default();
                let known = values.iter().any(|one| one == value);
                (!known).then(|| format!("{value:?} is not one of {}", values.join(", ")))
            }
            InputType::Date => match value.parse::<Date>() {
                Ok(_) if value.len() == "2020-03-01".len() => self.outside(value),
                _ => Some(format!("{value:?} is not a day like 2020-03-01")),
            },
            InputType::DateTime => match dates::read(value) {
                Ok(_) if value.contains('T') => self.outside(value),
                _ => Some(format!("{value:?} is not a moment like 2020-03-01T09:00:00Z")),
            },
        }
    }

    /// Explains which bound a date violates; `None` if it violates none.
    fn outside(&self, value: &str) -> Option<String> {
        let read = |text: &str| dates::read(text).ok().map(|date| date.timestamp());
        let value_at = read(value)?;
        let bound =
            |given: Option<&Given>| given.and_then(|given| Some((given.text.clone(), read(&given.text)?)));
        if let Some((bound, _)) = bound(self.after.as_ref()).filter(|(_, at)| value_at < *at) {
            return Some(format!("{value} lies before {bound}"));
        }
        let (bound, _) = bound(self.before.as_ref()).filter(|(_, at)| value_at > *at)?;
        Some(format!("{value} lies behind {bound}"))
    }

    /// Records the properties of the declaration that contradict each other.
    pub(crate) fn check(&self, node: &Node, decoder: &mut Decoder) {
        let at = |name: &str| {
            let YamlValue::Map(entries) = &node.value else { return node.position };
            let found = entries.iter().find(|(key, _)| key.value.text() == Some(name));
            found.map_or(node.position, |(_, value)| value.position)
        };
        let is = |types: &[InputType]| types.contains(&self.input_type);
        let mut only = |name: &str, given: bool, types: &[InputType], names: &str| {
            if given && !is(types) {
                decoder.refuse::<()>(at(name), format!("only an input of type {names} has {name}"));
            }
        };
        only("values", self.values.is_some(), &[InputType::Select], "SELECT");
        only("allowCustomValue", self.allow_custom_value.is_some(), &[InputType::Select], "SELECT");
        let numbers = [InputType::Int, InputType::Float];
        only("min", self.min.is_some(), &numbers, "INT or FLOAT");
        only("max", self.max.is_some(), &numbers, "INT or FLOAT");
        let moments = [InputType::Date, InputType::DateTime];
        only("after", self.after.is_some(), &moments, "DATE or DATETIME");
        only("before", self.before.is_some(), &moments, "DATE or DATETIME");
        if is(&[InputType::Select]) && self.values.is_none() {
            decoder.refuse::<()>(at("type"), "an input of type SELECT needs values");
        }
        for given in [&self.after, &self.before].into_iter().flatten() {
            if let Err(why) = dates::read(&given.text) {
                decoder.refuse::<()>(given.position, why);
            }
        }
        if let Some(default) = &self.default
            && let Some(why) = self.refuse(&default.text)
        {
            decoder.refuse::<()>(default.position, format!("the default {why}"));
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
            return Err(usage(format!("there is no input {name:?}; the pipeline has {known}")));
        }
        let resolve = |input: &Input| {
            let id = &input.id.0;
            let value = given.iter().rfind(|(name, _)| name == id).map(|(_, value)| value);
            let value = value.or(input.default.as_ref().map(|default| &default.text));
            match value {
                None if input.required => Err(usage(format!("the input {id} is required"))),
                None => Ok((id.clone(), None, Data::from(()))),
                Some(value) => match input.refuse(value) {
                    Some(why) => Err(usage(format!("the input {id}: {why}"))),
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
    fn values_are_held_against_their_declaration() {
        let refusal = |declaration: &str, value: &str| {
            let text = format!(
                "id: a\nnamespace: b\ninputs: [{{id: x, {declaration}}}]\ntasks: [{{id: t, type: \
                 io.kestra.plugin.core.log.Log, message: m}}]\n"
            );
            let flow = Flow::parse("a.yaml", &text).unwrap();
            Inputs::resolve(&flow.inputs, &[("x".to_owned(), value.to_owned())]).err().map(|e| e.to_string())
        };
        for (declaration, good, bad, why) in [
            ("type: INT, min: 1, max: 12", "12", "13", "13 is more than 12"),
            ("type: INT", "-3", "1.5", "\"1.5\" is not a whole number"),
            ("type: FLOAT, min: 0", "1.5", "-0.1", "-0.1 is less than 0"),
            ("type: FLOAT", "1e3", "NaN", "\"NaN\" is not a number"),
            ("type: BOOLEAN", "true", "yes", "\"yes\" is neither true nor false"),
            (
                "type: DATE, after: 2020-01-01",
                "2020-01-01",
                "2019-12-31",
                "2019-12-31 lies before 2020-01-01",
            ),
            ("type: DATE", "2020-02-29", "2021-02-29", "\"2021-02-29\" is not a day like 2020-03-01"),
            ("type: DATETIME", "2020-01-01T00:00:00Z", "2020-01-01", "is not a moment"),
            ("type: SELECT, values: [a, b]", "b", "c", "\"c\" is not one of a, b"),
        ] {
            assert_eq!(refusal(declaration, good), None, "{declaration}");
            let refused = refusal(declaration, bad).unwrap_or_default();
            assert!(
                refused.starts_with("the input x: ") && refused.contains(why),
                "{declaration}: {refused}"
            );
        }
    }
}
