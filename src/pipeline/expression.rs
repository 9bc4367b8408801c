//! Expressions: `{{ inputs.taxi }}`, `{{ render(vars.file) }}`, `~`.
//!
//! In: a template of the flow and the scope it is filled in. Out: text. Refused: a name that is not defined.

use minijinja::{Environment, ErrorKind, State, UndefinedBehavior, Value as Data, context};

use super::document::{Diagnostic, Node, Position, Value};
use super::inputs::Inputs;

/// How deep `render` may nest: a variable that renders itself ends here and not in a stack overflow.
const RENDER_LIMIT: u32 = 16;

/// A text of the flow that may hold expressions, and where it stands.
#[derive(Clone, Debug)]
pub struct Template {
    /// The text as written.
    pub text: String,
    /// Where it stands.
    pub position: Position,
}

/// The names that expressions see.
pub struct Scope {
    environment: Environment<'static>,
    names: Data,
}

impl Scope {
    /// The scope of a run: its inputs and the flow's variables.
    pub fn new(inputs: &Inputs, variables: Option<&Node>) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_function("render", render);
        let inputs =
            Data::from_pairs(inputs.iter().map(|(name, value)| (name.to_owned(), Data::from(value))));
        let variables = variables.map_or_else(|| Data::from(()), data);
        Self { environment, names: context! { inputs => inputs, vars => variables, render_depth => 0 } }
    }

    /// Fills in a template.
    pub fn fill(&self, template: &Template) -> Result<String, Diagnostic> {
        self.environment.render_str(&template.text, &self.names).map_err(|error| {
            let mut message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            let mut cause = std::error::Error::source(&error);
            while let Some(link) = cause {
                message = format!("{message}: {link}");
                cause = link.source();
            }
            Diagnostic {
                position: template.position,
                message: format!("cannot fill in {:?}: {message}", template.text),
            }
        })
    }
}

/// Kestra's `render`: a variable's text may hold expressions itself.
fn render(state: &State<'_, '_>, template: &str) -> Result<String, minijinja::Error> {
    let lookup = |name| state.lookup(name).unwrap_or_default();
    let depth = u32::try_from(lookup("render_depth")).unwrap_or(RENDER_LIMIT);
    if depth >= RENDER_LIMIT {
        let text =
            format!("render() is nested more than {RENDER_LIMIT} deep: does a variable render itself?");
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, text));
    }
    let names = context! { inputs => lookup("inputs"), vars => lookup("vars"), render_depth => depth + 1 };
    state.env().render_str(template, names)
}

/// A node as expressions see it.
fn data(node: &Node) -> Data {
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
