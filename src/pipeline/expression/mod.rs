//! Expressions: `{{ inputs.taxi }}`, `{{ render(vars.file) }}`, `{{ trigger.date ?? now() | date('yyyy-MM') }}`.
//!
//! In: a template of the flow and the names of a run. Out: text. Refused: a name that is not defined.

pub mod dates;
pub mod functions;
pub mod lex;
pub mod parse;
pub mod pebble;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value as Data};

use super::document::{Diagnostic, Node, Position, Value};
use crate::secrets::Secrets;

/// How many steps one text may take: a loop in a loop would keep a signal waiting.
const FUEL: u64 = 2_000_000;

/// The names that expressions may see.
const NAMES: [&str; 12] = [
    "inputs",
    "vars",
    "outputs",
    "trigger",
    "execution",
    "flow",
    "task",
    "taskrun",
    "parent",
    "parents",
    "labels",
    "envs",
];

/// A text of the flow that may hold expressions, and where it stands.
#[derive(Clone, Debug)]
pub struct Template {
    /// The text as written.
    pub text: String,
    /// Where it stands.
    pub position: Position,
    /// The text as the template library reads it, where there is anything to fill in.
    program: Option<String>,
}

impl Template {
    /// Takes the text, unless its expressions are not such.
    pub fn new(text: String, position: Position) -> Result<Self, Diagnostic> {
        let program = match pebble::is_plain(&text) {
            true => None,
            false => Some(pebble::translate(&text).map_err(|fault| Diagnostic {
                position,
                message: format!("cannot read the expression in {text:?}: {fault}"),
            })?),
        };
        Ok(Self { text, position, program })
    }
}

/// The names that expressions see.
#[derive(Clone)]
pub struct Scope {
    environment: Arc<Environment<'static>>,
    names: BTreeMap<&'static str, Data>,
}

impl Scope {
    /// No names yet; what `secret()` reads is kept in `secrets`.
    pub fn new(secrets: &Secrets) -> Self {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(syntax());
        environment.set_fuel(Some(FUEL));
        functions::add_to(&mut environment, secrets.clone());
        Self { environment: Arc::new(environment), names: BTreeMap::new() }
    }

    /// The scope with another name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Data>) -> Self {
        debug_assert!(NAMES.contains(&name), "render() would not see {name}");
        self.names.insert(name, value.into());
        self
    }

    /// Fills in a template.
    pub fn fill(&self, template: &Template) -> Result<String, Diagnostic> {
        let Some(program) = &template.program else { return Ok(template.text.clone()) };
        let names = Data::from_pairs(self.names.iter().map(|(name, value)| (*name, value.clone())));
        self.environment.render_str(program, names).map_err(|error| {
            let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            let mut cause = std::error::Error::source(&error);
            while let Some(link) = cause {
                message = format!("{message}: {link}");
                cause = link.source();
            }
            if !self.names.contains_key("trigger") && message.contains("`trigger`") {
                message.push_str("; --trigger-date gives the run a date");
            }
            Diagnostic {
                position: template.position,
                message: format!("cannot fill in {:?}: {message}", template.text),
            }
        })
    }

    /// Fills in a template and says whether it is true, as Kestra sees it.
    pub fn holds(&self, template: &Template) -> Result<bool, Diagnostic> {
        let text = self.fill(template)?;
        Ok(!matches!(text.trim(), "" | "false" | "0" | "-0" | "null"))
    }
}

/// As Kestra has it: the line end of a text stays.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// A node as expressions see it.
pub fn data(node: &Node) -> Data {
    match &node.value {
        Value::Null => Data::from(()),
        Value::Bool(value) => Data::from(*value),
        Value::Number(text) => match text.parse::<i64>() {
            Ok(number) if number.to_string() == *text => Data::from(number),
            _ => text.parse::<f64>().map_or_else(|_| Data::from(text.as_str()), Data::from),
        },
        Value::Text(text) => Data::from(text.as_str()),
        Value::List(items) => items.iter().map(data).collect(),
        Value::Map(entries) => Data::from_pairs(entries.iter().map(|(key, value)| (data(key), data(value)))),
    }
}
