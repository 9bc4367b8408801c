//! Calls in expressions: functions, filters, tests and macros, checked against the catalog.

use super::catalog::{self, Entry, NOT_SERVED, Role};
use super::lex::{Lexed, Token};
use super::parse::Parser;
use super::syntax::{Expression, Path};
use crate::flow::yaml::hints;

/// Filters that take a variable that does not exist.
const LENIENT: [&str; 5] = ["default", "json", "toIon", "toJson", "yaml"];

impl Parser<'_> {
    /// Parses `name | name`: filters that apply to the variable `input`.
    pub(crate) fn filters(&mut self, input: &str) -> Result<String, String> {
        let mut value = self.filter(&Expression::Plain(input.to_owned()))?;
        while self.is_sign("|") {
            value = self.filter(&value)?;
        }
        Ok(value.to_string())
    }

    /// Parses the name and the parameters of a macro. A parameter without a default is null.
    pub(crate) fn parameters(&mut self) -> Result<(String, Vec<String>, String), String> {
        let name = self.word_of_name()?;
        self.expect("(")?;
        let mut names = Vec::new();
        let parameters = self.items(")", |parser| {
            let parameter = parser.word_of_name()?;
            let default = if parser.is_sign("=") { parser.expression()? } else { "none".to_owned() };
            names.push(parameter.clone());
            Ok(format!("{parameter}={default}"))
        })?;
        Ok((name, names, parameters.join(", ")))
    }

    /// Parses a call of a function, or of a macro of the template. The opening bracket is already parsed.
    pub(super) fn call(&mut self, name: &str) -> Result<Expression, String> {
        let at = self.tokens.get(self.next.saturating_sub(2)).map(|lexed| lexed.start);
        if self.macros.iter().any(|known| known == name) {
            let arguments = self.items(")", |parser| {
                let (name, value) = parser.argument()?;
                Ok(name.map_or(value.clone(), |name| format!("{name}={value}")))
            })?;
            return Ok(Expression::Plain(format!("{name}({})", arguments.join(", "))));
        }
        let entry = self.known(Role::Function, name, at)?;
        let given = self.arguments()?;
        let arguments = self.in_order(entry, given, at)?;
        Ok(Expression::Plain(format!("{}({})", entry.engine_name(), arguments.join(", "))))
    }

    pub(super) fn filter(&mut self, input: &Expression) -> Result<Expression, String> {
        let name = self.word_of_name()?;
        let at = self.tokens.get(self.next - 1).map(|lexed| lexed.start);
        let entry = self.known(Role::Filter, &name, at)?;
        match LENIENT.contains(&entry.name) {
            true => self.pardon(input),
            false => self.require(input),
        }
        let given = if self.is_sign("(") { self.arguments()? } else { Vec::new() };
        let mut arguments = vec![if name == "default" { input.lenient() } else { input.to_string() }];
        arguments.extend(self.in_order(entry, given, at)?);
        Ok(Expression::Plain(format!("{}({})", entry.engine_name(), arguments.join(", "))))
    }

    /// Marks a path: the expression does without it.
    fn pardon(&mut self, input: &Expression) {
        if let Expression::Path(Path { reference: Some(index), .. }) = input {
            self.references[*index].is_guarded = true;
        }
    }

    pub(super) fn test(&mut self, input: &Expression) -> Result<Expression, String> {
        let negated = matches!(self.peek(), Token::Name(word) if word == "not");
        self.next += usize::from(negated);
        let name = self.word_of_name()?;
        let at = self.tokens.get(self.next - 1).map(|lexed| lexed.start);
        let entry = self.known(Role::Test, &name, at)?;
        let test = format!("{}({})", entry.engine_name(), input.lenient());
        Ok(Expression::Plain(if negated { format!("(not {test})") } else { test }))
    }

    /// The entry of the catalog with this name.
    fn known(&mut self, role: Role, name: &str, at: Option<usize>) -> Result<&'static Entry, String> {
        if let Some(entry) = catalog::find(role, name) {
            return Ok(entry);
        }
        self.fault_at = at;
        let what = role.name();
        if let Some((_, reason)) = NOT_SERVED.iter().find(|(known, _)| *known == name) {
            return Err(format!("taxi does not support the {what} `{name}`: {reason}"));
        }
        let entries = catalog::ENTRIES.iter().filter(|entry| entry.role == role);
        let names: Vec<&str> = entries.map(|entry| entry.name).collect();
        let nearest = hints::by_letters(name, &names).map(|nearest| format!("; did you mean `{nearest}`?"));
        let nearest = nearest.unwrap_or_else(|| "; 'taxi schema --expressions' lists them".to_owned());
        Err(format!("unknown {what} `{name}`{nearest}"))
    }

    fn arguments(&mut self) -> Result<Vec<(Option<String>, String)>, String> {
        let mut given = Vec::new();
        self.items(")", |parser| {
            given.push(parser.argument()?);
            Ok(String::new())
        })?;
        Ok(given)
    }

    /// The arguments in the order of the catalog, `none` for those that are not given.
    fn in_order(
        &mut self,
        entry: &Entry,
        given: Vec<(Option<String>, String)>,
        at: Option<usize>,
    ) -> Result<Vec<String>, String> {
        self.fault_at = at;
        let what = format!("the {} `{}`", entry.role.name(), entry.name);
        let known: Vec<&str> = entry.arguments.iter().map(|name| name.trim_end_matches('?')).collect();
        let is_variadic = known == ["…"];
        let mut values: Vec<Option<String>> = vec![None; if is_variadic { given.len() } else { known.len() }];
        for (index, (name, value)) in given.into_iter().enumerate() {
            let slot = match &name {
                Some(name) => known.iter().position(|known| known == name),
                None => Some(index),
            };
            let slot = slot.and_then(|slot| values.get_mut(slot)).ok_or_else(|| {
                let names = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let unknown =
                    name.map_or("too many arguments".to_owned(), |name| format!("unknown argument `{name}`"));
                format!("{unknown} of {what}; its arguments: {names}")
            })?;
            *slot = Some(value);
        }
        let required = entry.arguments.iter().filter(|name| !name.ends_with('?') && !is_variadic);
        for (name, value) in required.zip(&values) {
            if value.is_none() {
                return Err(format!("missing argument `{name}` of {what}"));
            }
        }
        self.fault_at = None;
        let count = values.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        Ok(values.into_iter().take(count).map(|value| value.unwrap_or_else(|| "none".to_owned())).collect())
    }

    /// Parses an argument, which may be named.
    fn argument(&mut self) -> Result<(Option<String>, String), String> {
        let named = matches!(
            self.tokens.get(self.next..self.next + 2),
            Some([Lexed { token: Token::Name(_), .. }, Lexed { token: Token::Sign("="), .. }])
        );
        let name = named.then(|| self.binding("=")).transpose()?;
        Ok((name, self.expression()?))
    }
}
