//! The grammar of Pebble's expressions: operator precedence, and the equivalent minijinja expression.

use super::lex::{Lexed, Token, lex};
use super::syntax::{Expression, KEYWORDS, Key, Path, Reference, literal};

/// Maximum nesting depth of an expression: expressions written by hand are far shallower.
const DEPTH_LIMIT: u32 = 64;

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
    pub(super) tokens: Vec<Lexed>,
    pub(super) next: usize,
    depth: u32,
    /// The macros of the template.
    pub(super) macros: &'a [String],
    /// The number of enclosing parts that are evaluated only in some cases.
    guards: u32,
    /// Where the fault is, if it is not at the last token.
    pub(super) fault_at: Option<usize>,
    /// The variables that the expression reads.
    pub(crate) references: Vec<Reference>,
}

impl<'a> Parser<'a> {
    /// Lexes `text` up to the closing mark.
    pub(crate) fn new(text: &'a str, macros: &'a [String]) -> Result<Self, String> {
        Ok(Self {
            text,
            tokens: lex(text)?,
            next: 0,
            depth: 0,
            macros,
            guards: 0,
            fault_at: None,
            references: Vec::new(),
        })
    }

    /// Where the fault is that was found last, in bytes.
    pub(crate) fn fault_at(&self) -> usize {
        let last = self.tokens.get(self.next.saturating_sub(1)).or(self.tokens.last());
        self.fault_at.or(last.map(|lexed| lexed.start)).unwrap_or_default()
    }

    /// Parses an expression and returns it in minijinja syntax.
    pub(crate) fn expression(&mut self) -> Result<String, String> {
        Ok(self.ternary()?.to_string())
    }

    /// Parses an expression that the template prints.
    pub(crate) fn printed(&mut self) -> Result<String, String> {
        let expression = self.ternary()?;
        self.require(&expression);
        Ok(expression.to_string())
    }

    pub(super) fn word_of_name(&mut self) -> Result<String, String> {
        match self.advance() {
            Token::Name(name) => Ok(name),
            other => Err(unexpected(&other)),
        }
    }

    /// Marks a path: the expression fails if it does not exist.
    pub(super) fn require(&mut self, expression: &Expression) {
        if let Expression::Path(Path { reference: Some(index), .. }) = expression
            && let Some(reference) = self.references.get_mut(*index)
        {
            reference.is_strict = self.guards == 0 && !reference.is_guarded;
        }
    }

    /// Marks the variables read since `start`: the expression does without them.
    fn excuse(&mut self, start: usize) {
        for reference in self.references.iter_mut().skip(start) {
            (reference.is_guarded, reference.is_strict) = (true, false);
        }
    }

    /// Parses a part that is evaluated only in some cases.
    fn guarded<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.guards += 1;
        let parsed = parse(self);
        self.guards -= 1;
        parsed
    }

    /// Parses a name followed by the word or operator `sign`; returns the name.
    pub(crate) fn binding(&mut self, sign: &str) -> Result<String, String> {
        let name = self.word_of_name()?;
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
            Some(Lexed { token: Token::Close(found), end, .. }) if *found == mark => {
                Ok(Rest { trim, text: &self.text[*end..] })
            }
            Some(Lexed { token, .. }) => Err(unexpected(token)),
            None => Err(format!("missing `{mark}` to close `{opening}`")),
        }
    }

    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |lexed| &lexed.token)
    }

    pub(super) fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    pub(super) fn is_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.next += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), String> {
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
            let then = self.guarded(Self::ternary)?;
            self.expect(":")?;
            let otherwise = self.guarded(Self::ternary)?;
            Expression::Plain(format!("({then} if {condition} else {otherwise})"))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expression)
    }

    /// Parses operands joined by operators of at least this precedence. The precedences are Pebble's.
    fn binary(&mut self, min_precedence: u32) -> Result<Expression, String> {
        let start = self.references.len();
        let mut left = self.unary()?;
        while let Some((operator, precedence)) =
            self.operator().filter(|(_, precedence)| *precedence >= min_precedence)
        {
            self.next += 1;
            left = match operator {
                "|" => self.filter(&left)?,
                "is" => {
                    self.excuse(start);
                    self.test(&left)?
                }
                "??" | "???" => {
                    self.excuse(start);
                    self.fallback(&left, operator)?
                }
                // `not in`, whose second word is the operator
                "not" => {
                    self.next += 1;
                    let right = self.binary(precedence + 1)?;
                    Expression::Plain(format!("({left} not in {right})"))
                }
                "and" | "or" => {
                    let right = self.guarded(|parser| parser.binary(precedence + 1))?;
                    Expression::Plain(format!("({left} {operator} {right})"))
                }
                operator => {
                    let right = self.binary(precedence + 1)?;
                    self.combined(&left, operator, &right)
                }
            };
        }
        Ok(left)
    }

    /// Two operands and the operator between them.
    fn combined(&mut self, left: &Expression, operator: &str, right: &Expression) -> Expression {
        if operator == "~" {
            self.require(left);
            self.require(right);
        }
        Expression::Plain(match operator {
            "~" => format!("concat({left}, {right})"),
            "+" => format!("plus({left}, {right})"),
            "/" => format!("divide({left}, {right})"),
            ".." => format!("range({left}, {right})"),
            "contains" => format!("({right} in {left})"),
            "isIn" => format!("({left} in {right})"),
            "equals" => format!("({left} == {right})"),
            "matches" => format!("matches({left}, {right})"),
            operator => format!("({left} {operator} {right})"),
        })
    }

    /// `a ?? b ?? c`: the first value that exists. Later operands are evaluated only if needed. Each may be
    /// undefined, except the last.
    fn fallback(&mut self, left: &Expression, operator: &str) -> Result<Expression, String> {
        let start = self.references.len();
        let right = self.guarded(|parser| parser.binary(121))?;
        let next = match self.operator() {
            Some((operator @ ("??" | "???"), _)) => {
                self.next += 1;
                self.excuse(start);
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
            "contains" | "is" | "in" | "isIn" | "matches" => 20,
            "not" if self.is_not_in() => 20,
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
        const WORDS: [&str; 9] = ["or", "and", "contains", "is", "equals", "in", "isIn", "matches", "not"];
        const NONE: &str = "";
        match self.peek() {
            Token::Name(name) => WORDS.iter().find(|word| *word == name).unwrap_or(&NONE),
            _ => &NONE,
        }
    }

    fn is_not_in(&self) -> bool {
        matches!(self.tokens.get(self.next + 1), Some(Lexed { token: Token::Name(word), .. }) if word == "in")
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
                _ => {
                    let at = self.tokens.get(self.next - 1).map_or(0, |lexed| lexed.start);
                    return self.path(name, at);
                }
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

    /// Parses the keys after a name, and records the variable.
    fn path(&mut self, root: String, at: usize) -> Result<Expression, String> {
        let reference = Reference { root: root.clone(), key: None, at, is_guarded: false, is_strict: false };
        self.references.push(reference);
        let index = self.references.len() - 1;
        let mut value = self.keys(Expression::name(root))?;
        if let Expression::Path(path) = &mut value {
            path.reference = Some(index);
            let key = match path.keys.first() {
                Some(Key::Name(name)) => Some(name.clone()),
                // a text in brackets is a name too
                Some(Key::Value(value)) => serde_json::from_str(value).ok(),
                None => None,
            };
            self.references[index].key = key;
        }
        Ok(value)
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
                Expression::Path(mut path) => {
                    path.keys.push(key);
                    Expression::Path(path)
                }
                Expression::Plain(text) => {
                    Expression::Path(Path { root: format!("({text})"), keys: vec![key], reference: None })
                }
            };
        }
    }

    /// Parses comma-separated items up to the closing bracket.
    pub(super) fn items(
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
