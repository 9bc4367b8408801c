//! A flow's inputs: their declarations, and the values of one run, checked before anything runs.

use crate::error::{Error, Kind, Result};

/// A declared input.
#[derive(Clone, Debug)]
pub struct Input {
    /// The name that expressions use.
    pub id: String,
    /// What values it takes.
    pub input_type: InputType,
    /// The value where none is given.
    pub default: Option<String>,
}

/// The types of input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputType {
    /// Any text.
    String,
    /// A whole number.
    Int,
    /// One of some values.
    Select {
        /// These.
        values: Vec<String>,
        /// Whether any other is as good.
        allow_custom_value: bool,
    },
}

impl InputType {
    /// Says why `value` is not of this type, if it is not.
    pub fn refuse(&self, value: &str) -> Option<String> {
        match self {
            Self::String => None,
            Self::Int if value.parse::<i64>().is_ok() => None,
            Self::Int => Some(format!("{value:?} is not a whole number")),
            Self::Select { allow_custom_value: true, .. } => None,
            Self::Select { values, .. } if values.iter().any(|one| one == value) => None,
            Self::Select { values, .. } => Some(format!("{value:?} is not one of {}", values.join(", "))),
        }
    }
}

/// The values of one run, complete and valid, in the order of their declarations.
#[derive(Clone, Debug, Default)]
pub struct Inputs(Vec<(String, String)>);

impl Inputs {
    /// Takes the `given` values, fills in defaults, and refuses what the declarations do not allow.
    pub fn resolve(declared: &[Input], given: &[(String, String)]) -> Result<Self> {
        let usage = |text: String| Error::new(Kind::Usage, text);
        if let Some((name, _)) =
            given.iter().find(|(name, _)| !declared.iter().any(|input| input.id == *name))
        {
            let names: Vec<&str> = declared.iter().map(|input| input.id.as_str()).collect();
            return Err(usage(format!("there is no input {name:?}; the pipeline has {}", names.join(", "))));
        }
        let resolve = |input: &Input| {
            let value = given.iter().rfind(|(name, _)| *name == input.id).map(|(_, value)| value);
            let value = value.or(input.default.as_ref());
            let value = value.ok_or_else(|| usage(format!("the input {} is required", input.id)))?;
            match input.input_type.refuse(value) {
                Some(why) => Err(usage(format!("the input {}: {why}", input.id))),
                None => Ok((input.id.clone(), value.clone())),
            }
        };
        declared.iter().map(resolve).collect::<Result<_>>().map(Self)
    }

    /// The value of an input; every declared one has a value.
    pub fn get(&self, id: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == id).map(|(_, value)| value)
    }

    /// Names and values, for the record.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
