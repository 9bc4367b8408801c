//! The grammar of Pebble's expressions: operator precedence, and the equivalent minijinja expression.

use std::fmt;

use super::lex::{Lexed, Token, lex};
use super::names::{FILTERS, FUNCTIONS, TESTS};

/// Maximum nesting depth of an expression: expressions written by hand are far shallower.
const DEPTH_LIMIT: u32 = 64;

/// A parsed part of an expression.
#[derive(Clone, Debug)]
enum Expression {
    /// A minijinja expression.
    Plain(String),
    /// A name and the keys after it: `a.b[0]`.
    Path(String, Vec<Key>),
}

#[derive(Clone, Debug)]
enum Key {
    Name(String),
    Value(String),
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Path(root, keys) => {
                f.write_str(root)?;
                for key in keys {
                    match key {
                        Key::Name(name) if KEYWORDS.contains(&name.as_str()) => {
                            write!(f, "[{}]", literal(name))?;
                        }
                        Key::Name(name) => write!(f, ".{name}")?,
                        Key::Value(value) => write!(f, "[{value}]")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Expression {
    fn is_loop(&self) -> bool {
        matches!(self, Self::Path(root, keys) if root == "loop" && keys.is_empty())
    }

    /// The expression in a form that yields undefined, not an error, if a key is missing.
    fn lenient(&self) -> String {
        match self {
            Self::Path(root, keys) if !keys.is_empty() => {
                let keys = keys.iter().map(|key| match key {
                    Key::Name(name) => literal(name),
                    Key::Value(value) => value.clone(),
                });
                format!("find({root}, {})", keys.collect::<Vec<_>>().join(", "))
            }
            other => other.to_string(),
        }
    }
}

/// Words that minijinja does not accept as a name.
const KEYWORDS: [&str; 14] = [
    "if",
    "else",
    "elif",
    "for",
    "in",
    "is",
    "not",
    "and",
    "or",
    "true",
    "false",
    "none",
    "null",
    "recursive",
];

/// The text as a minijinja string literal.
pub(crate) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// The rest of the text after an expression.
pub(crate) struct Rest<'a> {
    /// `-` if the whitespace after the tag is trimmed.
    pub(crate) trim: &'static str,
    /// The text after the closing mark.
    pub(crate) text: &'a str,
}

/// Parses one expression at the start of a text.
pub(crate) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Lexed>,
    next: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    /// Lexes `text` up to the closing mark.
    pub(crate) fn new(text: &'a str) -> Result<Self, String> {
        Ok(Self { text, tokens: lex(text)?, next: 0, depth: 0 })
    }

    /// Parses an expression and returns it in minijinja syntax.
    pub(crate) fn expression(&mut self) -> Result<String, String> {
        Ok(self.ternary()?.to_string())
    }

    /// Parses a name followed by the word or operator `sign`; returns the name.
    pub(crate) fn binding(&mut self, sign: &str) -> Result<String, String> {
        let name = match self.advance() {
            Token::Name(name) => name,
            other => return Err(unexpected(&other)),
        };
        match self.advance() {
            Token::Name(word) if word == sign => Ok(name),
            Token::Sign(found) if found == sign => Ok(name),
            other => Err(unexpected(&other)),
        }
    }

    /// Parses the closing `mark` and returns the text after it.
    pub(crate) fn close(&mut self, mark: &str) -> Result<Rest<'a>, String> {
        let opening = if mark == "}}" { "{{" } else { "{%" };
        let trim = match self.peek() {
            Token::Sign("-") => {
                self.next += 1;
                "-"
            }
            _ => "",
        };
        match self.tokens.get(self.next) {
            Some(Lexed { token: Token::Close(found), end }) if *found == mark => {
                Ok(Rest { trim, text: &self.text[*end..] })
            }
            Some(Lexed { token, .. }) => Err(unexpected(token)),
            None => Err(format!("missing `{mark}` to close `{opening}`")),
        }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |lexed| &lexed.token)
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn is_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.is_sign(sign) {
            Ok(())
        } else {
            Err(format!("expected `{sign}`, found {}", shown(self.peek())))
        }
    }

    fn ternary(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(format!("the expression is nested more than {DEPTH_LIMIT} levels deep"));
        }
        let condition = self.binary(0)?;
        let expression = if self.is_sign("?") {
            let then = self.ternary()?;
            self.expect(":")?;
            let otherwise = self.ternary()?;
            Expression::Plain(format!("({then} if {condition} else {otherwise})"))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expression)
    }

    /// Parses operands joined by operators of at least this precedence. The precedences are Pebble's.
    fn binary(&mut self, min_precedence: u32) -> Result<Expression, String> {
        let mut left = self.unary()?;
        while let Some((operator, precedence)) =
            self.operator().filter(|(_, precedence)| *precedence >= min_precedence)
        {
            self.next += 1;
            left = match operator {
                "|" => self.filter(&left)?,
                "is" => self.test(&left)?,
                "??" | "???" => self.fallback(&left, operator)?,
                _ => {
                    let right = self.binary(precedence + 1)?;
                    Expression::Plain(match operator {
                        "~" => format!("concat({left}, {right})"),
                        "+" => format!("plus({left}, {right})"),
                        "/" => format!("divide({left}, {right})"),
                        ".." => format!("range({left}, {right})"),
                        "contains" => format!("({right} in {left})"),
                        "equals" => format!("({left} == {right})"),
                        operator => format!("({left} {operator} {right})"),
                    })
                }
            };
        }
        Ok(left)
    }

    /// `a ?? b ?? c`: the first value that exists. Later operands are evaluated only if needed. Each may be
    /// undefined, except the last.
    fn fallback(&mut self, left: &Expression, operator: &str) -> Result<Expression, String> {
        let right = self.binary(121)?;
        let next = match self.operator() {
            Some((operator @ ("??" | "???"), _)) => {
                self.next += 1;
                self.fallback(&right, operator)?
            }
            _ => right,
        };
        // `???` replaces only undefined values; null counts as defined
        let test = if operator == "??" { "not is_null" } else { "is_defined" };
        let left = left.lenient();
        Ok(Expression::Plain(format!("({left} if {test}({left}) else {next})")))
    }

    fn operator(&self) -> Option<(&'static str, u32)> {
        let ((Token::Sign(operator), _) | (Token::Name(_), operator)) = (self.peek(), self.word()) else {
            return None;
        };
        let precedence = match *operator {
            "or" => 10,
            "and" => 15,
            "contains" | "is" => 20,
            "==" | "!=" | "<" | ">" | "<=" | ">=" | "equals" => 30,
            "+" => 40,
            // the `-` may belong to a closing `-}}`
            "-" if self.closes_next() => return None,
            "-" => 40,
            "*" | "/" | "%" => 60,
            "|" => 100,
            "~" => 110,
            "??" | "???" | ".." => 120,
            _ => return None,
        };
        Some((operator, precedence))
    }

    /// The next token's operator if it is written as a word, else an empty string.
    fn word(&self) -> &'static &'static str {
        const WORDS: [&str; 5] = ["or", "and", "contains", "is", "equals"];
        const NONE: &str = "";
        match self.peek() {
            Token::Name(name) => WORDS.iter().find(|word| *word == name).unwrap_or(&NONE),
            _ => &NONE,
        }
    }

    fn closes_next(&self) -> bool {
        matches!(self.tokens.get(self.next + 1), Some(Lexed { token: Token::Close(_), .. }))
    }

    fn unary(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(format!("the expression is nested more than {DEPTH_LIMIT} levels deep"));
        }
        let expression = match self.advance() {
            Token::Name(word) if word == "not" => {
                let operand = self.unary()?;
                Ok(Expression::Plain(format!("(not {operand})")))
            }
            Token::Sign(sign @ ("-" | "+")) => {
                let operand = self.unary()?;
                Ok(Expression::Plain(format!("({sign}{operand})")))
            }
            token => self.primary(token),
        };
        self.depth -= 1;
        expression
    }

    fn primary(&mut self, token: Token) -> Result<Expression, String> {
        let value = match token {
            Token::Text(text) => Expression::Plain(literal(&text)),
            Token::Number(number) => Expression::Plain(number),
            Token::Name(name) => match name.as_str() {
                "null" | "none" => Expression::Plain("none".to_owned()),
                "true" | "false" => Expression::Plain(name),
                _ if self.is_sign("(") => self.call(&name)?,
                _ if KEYWORDS.contains(&name.as_str()) => return Err(unexpected(&Token::Name(name))),
                _ => Expression::Path(name, Vec::new()),
            },
            Token::Sign("(") => {
                let inner = self.ternary()?;
                self.expect(")")?;
                inner
            }
            Token::Sign("[") => {
                let items = self.items("]", |parser| parser.expression())?;
                Expression::Plain(format!("[{}]", items.join(", ")))
            }
            Token::Sign("{") => {
                let entries = self.items("}", |parser| {
                    let key = parser.expression()?;
                    parser.expect(":")?;
                    Ok(format!("{key}: {}", parser.expression()?))
                })?;
                Expression::Plain(format!("{{{}}}", entries.join(", ")))
            }
            Token::Close(_) | Token::End => {
                return Err(format!("expected a value, found {}", shown(&token)));
            }
            other => return Err(unexpected(&other)),
        };
        self.keys(value)
    }

    /// Parses the keys after a value: `.name` and `[key]`.
    fn keys(&mut self, mut value: Expression) -> Result<Expression, String> {
        loop {
            let key = if self.is_sign(".") {
                match self.advance() {
                    // Pebble's loop index starts at 0
                    Token::Name(name) if matches!(name.as_str(), "index" | "revindex") && value.is_loop() => {
                        Key::Name(format!("{name}0"))
                    }
                    Token::Name(name) | Token::Number(name) => Key::Name(name),
                    other => return Err(unexpected(&other)),
                }
            } else if self.is_sign("[") {
                let key = self.expression()?;
                self.expect("]")?;
                Key::Value(key)
            } else {
                return Ok(value);
            };
            value = match value {
                Expression::Path(root, mut keys) => {
                    keys.push(key);
                    Expression::Path(root, keys)
                }
                Expression::Plain(text) => Expression::Path(format!("({text})"), vec![key]),
            };
        }
    }

    fn call(&mut self, name: &str) -> Result<Expression, String> {
        known("function", name, &FUNCTIONS)?;
        let arguments = self.items(")", Self::argument)?;
        Ok(Expression::Plain(format!("{name}({})", arguments.join(", "))))
    }

    fn filter(&mut self, input: &Expression) -> Result<Expression, String> {
        let name = match self.advance() {
            Token::Name(name) => name,
            other => return Err(unexpected(&other)),
        };
        known("filter", &name, &FILTERS)?;
        let mut arguments = vec![if name == "default" { input.lenient() } else { input.to_string() }];
        if self.is_sign("(") {
            arguments.extend(self.items(")", Self::argument)?);
        }
        Ok(Expression::Plain(format!("{name}({})", arguments.join(", "))))
    }

    fn test(&mut self, input: &Expression) -> Result<Expression, String> {
        let negated = matches!(self.peek(), Token::Name(word) if word == "not");
        self.next += usize::from(negated);
        let name = match self.advance() {
            Token::Name(name) => name,
            other => return Err(unexpected(&other)),
        };
        known("test", &name, &TESTS)?;
        let test = format!("is_{name}({})", input.lenient());
        Ok(Expression::Plain(if negated { format!("(not {test})") } else { test }))
    }

    /// Parses an argument, which may be named.
    fn argument(&mut self) -> Result<String, String> {
        let named = matches!(
            self.tokens.get(self.next..self.next + 2),
            Some([Lexed { token: Token::Name(_), .. }, Lexed { token: Token::Sign("="), .. }])
        );
        if !named {
            return self.expression();
        }
        let name = self.binding("=")?;
        Ok(format!("{name}={}", self.expression()?))
    }

    /// Parses comma-separated items up to the closing bracket.
    fn items(
        &mut self,
        closing: &str,
        mut item: impl FnMut(&mut Self) -> Result<String, String>,
    ) -> Result<Vec<String>, String> {
        let mut items = Vec::new();
        loop {
            if self.is_sign(closing) {
                return Ok(items);
            }
            items.push(item(self)?);
            if !self.is_sign(",") {
                self.expect(closing)?;
                return Ok(items);
            }
        }
    }
}

fn known(what: &str, name: &str, names: &[&str]) -> Result<(), String> {
    if names.contains(&name) {
        return Ok(());
    }
    Err(format!("unsupported {what} `{name}`; supported {what}s: {}", names.join(", ")))
}

fn unexpected(token: &Token) -> String {
    format!("unexpected {}", shown(token))
}

fn shown(token: &Token) -> String {
    match token {
        Token::Name(text) | Token::Number(text) => format!("`{text}`"),
        Token::Text(text) => format!("`{}`", literal(text)),
        Token::Sign(text) | Token::Close(text) => format!("`{text}`"),
        Token::End => "end of text".to_owned(),
    }
}
