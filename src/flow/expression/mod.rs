//! Expressions: `{{ inputs.taxi }}`, `{{ render(vars.file) }}`, `{{ trigger.date ?? now() | date('yyyy-MM') }}`.
//!
//! In: a template of the flow, and the variables of a run. Out: text. Refused: an undefined variable.

mod calls;
pub(crate) mod catalog;
pub(crate) mod dates;
pub(crate) mod functions;
pub(crate) mod key_values;
pub(crate) mod lex;
pub(crate) mod library;
pub(crate) mod names;
pub(crate) mod parse;
pub(crate) mod patterns;
pub(crate) mod pebble;
pub(crate) mod syntax;

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value as Data};

use crate::flow::yaml::document::{Diagnostic, Node, Position, YamlValue};
use crate::secrets::Secrets;
use library::Library;
use pebble::Fault;
use syntax::Reference;

/// Maximum number of instructions per template. Without a limit, nested loops delay the response to a signal.
const FUEL: u64 = 2_000_000;

/// A string in the flow that may contain expressions.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The text as written.
    pub(crate) text: String,
    /// Its position in the flow's file.
    pub(crate) position: Position,
    /// The text as a minijinja template; `None` if it contains no expressions.
    program: Option<String>,
}

impl Template {
    /// Translates the expressions in the text, and finds the variables that they read.
    pub(crate) fn parse(text: &str, position: Position) -> Result<(Self, Vec<Reference>), Fault> {
        let translation = if pebble::is_plain(text) { None } else { Some(pebble::translate(text)?) };
        let (program, references) =
            translation.map(|translation| (translation.program, translation.references)).unzip();
        Ok((Self { text: text.to_owned(), position, program }, references.unwrap_or_default()))
    }
}

/// The message for a fault in the expressions of a text.
pub(crate) fn fault_of(text: &str, fault: &Fault) -> String {
    let line = text.lines().find(|line| line.contains("{{") || line.contains("{%")).unwrap_or(text);
    let line = if text.lines().count() > 1 { line.trim() } else { text };
    format!("cannot parse the expression in {line:?}: {}", fault.message)
}

/// The variables that expressions can read.
#[derive(Clone)]
pub(crate) struct Scope {
    environment: Arc<Environment<'static>>,
    /// What the functions share.
    pub(crate) library: Arc<Library>,
    names: BTreeMap<&'static str, Data>,
}

impl Scope {
    /// An empty scope. The values that `secret()` returns are added to `secrets`.
    pub(crate) fn new(secrets: &Secrets) -> Self {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(syntax());
        environment.set_fuel(Some(FUEL));
        let library = Arc::new(Library::new(secrets.clone()));
        functions::add_to(&mut environment, &library);
        Self { environment: Arc::new(environment), library, names: BTreeMap::new() }
    }

    /// Adds a variable.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Data>) -> Self {
        assert!(
            names::VARIABLES.contains(&name),
            "the variable {name} is not in VARIABLES, so render() cannot read it"
        );
        self.names.insert(name, value.into());
        self
    }

    /// Adds entries to a variable that is a mapping.
    #[must_use]
    pub(crate) fn with_entries<const N: usize>(self, name: &'static str, entries: [(&str, Data); N]) -> Self {
        let existing = self.names.get(name).cloned().unwrap_or_default();
        let keys = existing.try_iter().into_iter().flatten();
        let kept = keys.filter_map(|key| Some((key.to_string(), existing.get_item(&key).ok()?)));
        let added = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
        let entries = Data::from_pairs(kept.chain(added));
        self.with(name, entries)
    }

    /// Adds functions that read from the run.
    #[must_use]
    pub(crate) fn with_functions(mut self, add: impl FnOnce(&mut Environment<'static>)) -> Self {
        add(Arc::make_mut(&mut self.environment));
        self
    }

    /// Evaluates the expressions of a template.
    pub(crate) fn fill(&self, template: &Template) -> Result<String, Diagnostic> {
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
                message.push_str("; use --trigger-date to set the date of the run");
            }
            Diagnostic {
                position: template.position,
                message: format!("cannot evaluate {:?}: {message}", template.text),
            }
        })
    }

    /// The text of an input, if the flow has it.
    pub(crate) fn input(&self, name: &str) -> Option<String> {
        let value = self.names.get("inputs")?.get_attr(name).ok()?;
        (!value.is_undefined()).then(|| value.to_string())
    }

    /// Evaluates a template and returns whether the result is true by Kestra's rules.
    pub(crate) fn is_true(&self, template: &Template) -> Result<bool, Diagnostic> {
        let text = self.fill(template)?;
        Ok(!matches!(text.trim(), "" | "false" | "0" | "-0" | "null"))
    }
}

/// Keeps the trailing newline of a template, as Kestra does.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// Converts a YAML node to an expression value.
pub(crate) fn data(node: &Node) -> Data {
    match &node.value {
        YamlValue::Null => Data::from(()),
        YamlValue::Bool(value) => Data::from(*value),
        YamlValue::Number(text) => match text.parse::<i64>() {
            Ok(number) if number.to_string() == *text => Data::from(number),
            _ => text.parse::<f64>().map_or_else(|_| Data::from(text.as_str()), Data::from),
        },
        YamlValue::Text(text) => Data::from(text.as_str()),
        YamlValue::List(items) => items.iter().map(data).collect(),
        YamlValue::Map(entries) => {
            Data::from_pairs(entries.iter().map(|(key, value)| (data(key), data(value))))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A template of this text.
    pub(crate) fn template(text: &str) -> Result<Template, String> {
        Template::parse(text, Position::default())
            .map(|(template, _)| template)
            .map_err(|fault| fault.message)
    }

    /// The value of an expression, as text.
    pub(crate) fn value_of(expression: &str) -> Result<String, String> {
        let template = template(&format!("{{{{ {expression} }}}}"))?;
        Scope::new(&Secrets::default()).fill(&template).map_err(|fault| fault.message)
    }

    #[test]
    fn macros_and_filter_blocks_are_evaluated() {
        let text = "{% macro greet(name, mark='!') %}Hi {{ name }}{{ mark }}{% endmacro %}{{ greet('Ann') }} \
                    {% filter upper | replace({'A': '4'}) %}abc{% endfilter %}";
        let template = template(text).unwrap();
        assert_eq!(Scope::new(&Secrets::default()).fill(&template).unwrap(), "Hi Ann! 4BC");
    }
}
