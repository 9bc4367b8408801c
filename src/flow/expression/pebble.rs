//! Translates Pebble, the template language of Kestra's flows, to the syntax of minijinja.
//!
//! In: text with `{{ … }}` and `{% … %}`. Out: a minijinja template, and the variables that it reads. The differences
//! are `??`, `? :`, `elseif`, `equals`, `contains`, ranges, and operator precedence: in Pebble, `a ~ b | upper` applies
//! `upper` to both. Refused: whatever Pebble does not know or taxi does not support.

use std::fmt::Write as _;

use super::parse::Parser;
use super::syntax::{Reference, literal};

/// A translated template.
#[derive(Clone, Debug)]
pub(crate) struct Translation {
    /// The minijinja template.
    pub(crate) program: String,
    /// The variables that the template reads, without those that it defines.
    pub(crate) references: Vec<Reference>,
}

/// A fault in a template.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Where the fault is in the text, in bytes.
    pub(crate) at: usize,
    /// What is wrong.
    pub(crate) message: String,
}

/// Translates a template.
pub(crate) fn translate(text: &str) -> Result<Translation, Fault> {
    let mut translator = Translator::new(text);
    let mut rest = text;
    while let Some(start) = opening(rest) {
        let (before, marked) = rest.split_at(start);
        translator.out.push_str(before);
        let (mark, inside) = marked.split_at(2);
        rest = match mark {
            "{{" => translator.expression(inside)?,
            "{%" => translator.tag(inside)?,
            _ => {
                let end = inside.split_once("#}");
                end.ok_or_else(|| translator.fault(inside, 0, "missing `#}` to close the comment `{#`"))?.1
            }
        };
    }
    translator.out.push_str(rest);
    let Translator { out, mut references, locals, .. } = translator;
    references.retain(|reference| reference.root != "loop" && !locals.contains(&reference.root));
    Ok(Translation { program: out, references })
}

/// Whether the text contains no expressions, tags or comments.
pub(crate) fn is_plain(text: &str) -> bool {
    opening(text).is_none()
}

fn opening(text: &str) -> Option<usize> {
    ["{{", "{%", "{#"].iter().filter_map(|mark| text.find(mark)).min()
}

struct Translator<'a> {
    text: &'a str,
    out: String,
    references: Vec<Reference>,
    /// The names that the template defines itself.
    locals: Vec<String>,
    macros: Vec<String>,
    /// The number of open blocks whose content may not be evaluated.
    open_blocks: u32,
    /// The filters of the open `filter` blocks.
    open_filters: Vec<String>,
}

impl<'a> Translator<'a> {
    fn new(text: &'a str) -> Self {
        // a macro may be called before its definition
        let definitions = text.split("{%").skip(1).filter_map(|tag| {
            let name = tag.trim_start_matches('-').trim_start().strip_prefix("macro ")?.trim_start();
            Some(name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?.to_owned())
        });
        Self {
            text,
            out: String::with_capacity(text.len() + 16),
            references: Vec::new(),
            locals: Vec::new(),
            macros: definitions.collect(),
            open_blocks: 0,
            open_filters: Vec::new(),
        }
    }

    /// A fault `at` bytes after the start of `part`, which is the end of the text.
    fn fault(&self, part: &str, at: usize, message: impl Into<String>) -> Fault {
        Fault { at: self.text.len() - part.len() + at, message: message.into() }
    }

    /// Calls `parse` with a parser for `part`, and takes over what the parser finds.
    fn parse<T>(
        &mut self,
        part: &'a str,
        parse: impl FnOnce(&mut Parser<'_>) -> Result<T, String>,
    ) -> Result<T, Fault> {
        let macros = std::mem::take(&mut self.macros);
        let result = Parser::new(part, &macros).map_err(|message| (0, message)).and_then(|mut parser| {
            let parsed = parse(&mut parser).map_err(|message| (parser.fault_at(), message))?;
            Ok((parsed, parser.references))
        });
        self.macros = macros;
        let (parsed, references) = result.map_err(|(at, message)| self.fault(part, at, message))?;
        let start = self.text.len() - part.len();
        let is_inside = self.open_blocks > 0;
        self.references.extend(references.into_iter().map(|reference| Reference {
            at: start + reference.at,
            is_strict: reference.is_strict && !is_inside,
            ..reference
        }));
        Ok(parsed)
    }

    /// Translates up to the closing `}}`, and returns the text after it.
    fn expression(&mut self, inside: &'a str) -> Result<&'a str, Fault> {
        let (trimmed, inside) = trim_mark(inside);
        let (expression, rest) = self.parse(inside, |parser| {
            let expression = parser.printed()?;
            let rest = parser.close("}}")?;
            Ok((expression, (rest.trim, rest.text.len())))
        })?;
        let _ = write!(self.out, "{{{{{trimmed} {expression} {}}}}}", rest.0);
        Ok(&inside[inside.len() - rest.1..])
    }

    fn tag(&mut self, inside: &'a str) -> Result<&'a str, Fault> {
        let (trimmed, inside) = trim_mark(inside);
        let inside = inside.trim_start();
        let end = inside.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(inside.len());
        let (name, content) = inside.split_at(end);
        if let "verbatim" | "raw" = name {
            return self.raw(name, content);
        }
        match name {
            "if" | "for" | "macro" | "filter" => self.open_blocks += 1,
            "endif" | "endfor" | "endmacro" | "endfilter" => {
                self.open_blocks = self.open_blocks.saturating_sub(1)
            }
            _ => {}
        }
        let (head, after, rest) = match name {
            "else" | "endif" | "endfor" | "endmacro" => (name.to_owned(), String::new(), self.end(content)?),
            "endfilter" => {
                let filters = self.open_filters.pop();
                let filters = filters.ok_or_else(|| self.fault(inside, 0, "`endfilter` without `filter`"))?;
                ("endset".to_owned(), format!("{{{{ {filters} }}}}"), self.end(content)?)
            }
            "filter" => self.filter(content)?,
            "if" | "elseif" | "for" | "set" | "macro" => self.head(name, content)?,
            other => {
                let supported = "if, elseif, else, for, set, macro, filter, raw, verbatim";
                let text = format!("unsupported tag `{other}`; supported tags: {supported}");
                return Err(self.fault(inside, 0, text));
            }
        };
        let (trim, text) = rest;
        let _ = write!(self.out, "{{%{trimmed} {head} {trim}%}}{after}");
        Ok(text)
    }

    /// Translates a tag with an expression, up to the closing `%}`.
    fn head(
        &mut self,
        name: &str,
        content: &'a str,
    ) -> Result<(String, String, (&'static str, &'a str)), Fault> {
        // the condition of the block itself is evaluated
        let is_inside = self.open_blocks;
        self.open_blocks -= u32::from(matches!(name, "if" | "for") && is_inside > 0);
        let parsed = self.parse(content, |parser| {
            let (head, names) = match name {
                "if" => (format!("if {}", parser.expression()?), Vec::new()),
                "elseif" => (format!("elif {}", parser.expression()?), Vec::new()),
                "for" => {
                    let item = parser.binding("in")?;
                    (format!("for {item} in iterate({})", parser.expression()?), vec![item])
                }
                "set" => {
                    let variable = parser.binding("=")?;
                    (format!("set {variable} = {}", parser.expression()?), vec![variable])
                }
                _ => {
                    let (name, names, parameters) = parser.parameters()?;
                    (format!("macro {name}({parameters})"), names)
                }
            };
            let rest = parser.close("%}")?;
            Ok((head, names, (rest.trim, rest.text.len())))
        });
        self.open_blocks = is_inside;
        let (head, names, (trim, length)) = parsed?;
        self.locals.extend(names);
        Ok((head, String::new(), (trim, &content[content.len() - length..])))
    }

    /// Translates a `filter` tag: its content becomes a variable, to which `endfilter` applies the filters.
    fn filter(&mut self, content: &'a str) -> Result<(String, String, (&'static str, &'a str)), Fault> {
        let variable = format!("filtered_{}", self.text.len() - content.len());
        let (filters, (trim, length)) = self.parse(content, |parser| {
            let filters = parser.filters(&variable)?;
            let rest = parser.close("%}")?;
            Ok((filters, (rest.trim, rest.text.len())))
        })?;
        self.open_filters.push(filters);
        Ok((format!("set {variable}"), String::new(), (trim, &content[content.len() - length..])))
    }

    /// Parses the closing `%}` of a tag without an expression.
    fn end(&mut self, content: &'a str) -> Result<(&'static str, &'a str), Fault> {
        let (trim, length) = self.parse(content, |parser| {
            let rest = parser.close("%}")?;
            Ok((rest.trim, rest.text.len()))
        })?;
        Ok((trim, &content[content.len() - length..]))
    }

    /// Copies a `raw` or `verbatim` block unchanged.
    fn raw(&mut self, name: &str, inside: &'a str) -> Result<&'a str, Fault> {
        let content = self.end(inside)?.1;
        for (index, _) in content.match_indices("{%") {
            let (text, end) = content.split_at(index);
            let closing = end[2..].trim_start_matches('-').trim_start().strip_prefix(&format!("end{name}"));
            if let Some(closing) = closing {
                let rest = self.end(closing)?.1;
                // as a string literal, which minijinja does not expand
                let _ = write!(self.out, "{{{{ {} }}}}", literal(text));
                return Ok(rest);
            }
        }
        Err(self.fault(inside, 0, format!("missing `{{% end{name} %}}` to close `{{% {name} %}}`")))
    }
}

/// Splits off the `-` of `{{-`, which trims the whitespace before the tag.
fn trim_mark(inside: &str) -> (&'static str, &str) {
    match inside.strip_prefix('-') {
        Some(inside) => ("-", inside),
        None => ("", inside),
    }
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn operator_precedence_follows_pebble() {
        for (pebble, minijinja) in [
            ("{{ a ~ b | upper }}", "{{ upper(concat(a, b)) }}"),
            ("{{ a ~ (b | upper) }}", "{{ concat(a, upper(b)) }}"),
            (
                "{{ x.a ?? y | date('yyyy') }}",
                "{{ date((find(x, \"a\") if not is_null(find(x, \"a\")) else y), \"yyyy\") }}",
            ),
            (
                "{{ a ?? b.c ?? d }}",
                "{{ (a if not is_null(a) else (find(b, \"c\") if not is_null(find(b, \"c\")) else d)) }}",
            ),
            (
                "{% for m in x %}{{ loop.index }}{% endfor %}",
                "{% for m in iterate(x) %}{{ loop.index0 }}{% endfor %}",
            ),
            ("{{ a == 'b' ? 1 : 2 }}", "{{ (1 if (a == \"b\") else 2) }}"),
            ("{{ not a == b and c }}", "{{ (((not a) == b) and c) }}"),
            ("{{ a equals b or a contains 'x' }}", "{{ ((a == b) or (\"x\" in a)) }}"),
            ("{{ 1 + 2 * 3 - -4 }}", "{{ (plus(1, (2 * 3)) - (-4)) }}"),
            ("{{ a is not null }}", "{{ (not is_null(a)) }}"),
            ("{{ a.b['c-d'][0].if }}", "{{ a.b[\"c-d\"][0][\"if\"] }}"),
            (
                "{% if a is empty %}x{% elseif b %}y{%- endif %}",
                "{% if is_empty(a) %}x{% elif b %}y{%- endif %}",
            ),
            ("{{ x | default(1) | json }}", "{{ filter_json(default(x, 1)) }}"),
            ("{# gone #}a", "a"),
            ("{% raw %}{{ kept }}{% endraw %}", "{{ \"{{ kept }}\" }}"),
            ("{{ a in b or c not in b }}", "{{ ((a in b) or (c not in b)) }}"),
            ("{{ a matches '[0-9]+' }}", "{{ matches(a, \"[0-9]+\") }}"),
            ("{{ x | date(timeZone='UTC') | json }}", "{{ filter_json(date(x, none, \"UTC\")) }}"),
            (
                "{% filter upper | trim %}a{% endfilter %}",
                "{% set filtered_9 %}a{% endset %}{{ trim(upper(filtered_9)) }}",
            ),
            (
                "{% macro f(a, b=1) %}{{ a }}{% endmacro %}{{ f(2) }}",
                "{% macro f(a=none, b=1) %}{{ a }}{% endmacro %}{{ f(2) }}",
            ),
            ("{{ 'it\\'s' ~ \"}}\" }}", "{{ concat(\"it's\", \"}}\") }}"),
            (
                "{% for m in 1..3 %}{{ m }}{% endfor %}",
                "{% for m in iterate(range(1, 3)) %}{{ m }}{% endfor %}",
            ),
        ] {
            let translated = translate(pebble).map(|translation| translation.program);
            assert_eq!(translated.unwrap_or_else(|fault| fault.message), minijinja, "{pebble}");
        }
    }

    #[test]
    fn invalid_expressions_are_explained() {
        for (pebble, fault) in [
            ("{{ a", "missing `}}` to close `{{`"),
            ("{{ }}", "expected a value, found `}}`"),
            ("{{ a b }}", "unexpected `b`"),
            ("{{ 'a }}", "missing closing ' of a string"),
            ("{{ launch('a') }}", "unknown function `launch`"),
            ("{{ a | shout }}", "unknown filter `shout`; 'taxi schema --expressions' lists them"),
            ("{{ a | uper }}", "unknown filter `uper`; did you mean `upper`?"),
            (
                "{{ appLink() }}",
                "taxi does not support the function `appLink`: it links to Kestra's web pages",
            ),
            (
                "{{ a | date(zone='x') }}",
                "unknown argument `zone` of the filter `date`; its arguments: format,",
            ),
            ("{{ a | trim(1) }}", "too many arguments of the filter `trim`; its arguments: none"),
            ("{{ a | dateAdd(1) }}", "missing argument `unit` of the filter `dateAdd`"),
            ("{% endfilter %}", "`endfilter` without `filter`"),
            ("{% include 'a' %}", "unsupported tag `include`"),
            ("{{ a is purple }}", "unknown test `purple`"),
            ("{{ (a }}", "expected `)`, found `}}`"),
            ("{{ a ? b }}", "expected `:`, found `}}`"),
        ] {
            let error = translate(pebble).unwrap_err().message;
            assert!(error.contains(fault), "{pebble}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        let error = translate(&format!("{{{{ {} }}}}", "(".repeat(100_000))).unwrap_err().message;
        assert!(error.contains("nested"), "{error}");
        let error = translate(&format!("{{{{ {} a }}}}", "not ".repeat(100_000))).unwrap_err().message;
        assert!(error.contains("nested"), "{error}");
    }

    #[test]
    fn variables_are_found_at_their_place() {
        let found = |text: &str| {
            let references = translate(text).unwrap().references;
            references
                .into_iter()
                .map(|found| {
                    let key = found.key.unwrap_or_default();
                    let mark = if found.is_strict {
                        "!"
                    } else if found.is_guarded {
                        "?"
                    } else {
                        ""
                    };
                    format!("{}.{key}@{}{mark}", found.root, found.at)
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (text, expected) in [
            ("é {{ inputs.a }}", "inputs.a@6!"),
            ("{{ outputs['a-b'].c }}", "outputs.a-b@3!"),
            ("{{ inputs.a | upper ~ vars.b }}", "inputs.a@3! vars.b@22!"),
            ("{{ inputs.a ?? vars.b }}", "inputs.a@3? vars.b@15"),
            ("{{ inputs.a | default(1) }}", "inputs.a@3?"),
            ("{{ inputs.a == 1 ? vars.b : vars.c }}", "inputs.a@3 vars.b@19 vars.c@28"),
            ("{% if inputs.a is defined %}{{ vars.b }}{% endif %}", "inputs.a@6? vars.b@31"),
            ("{% for m in inputs.a %}{{ m }}{{ loop.index }}{% endfor %}", "inputs.a@12"),
            ("{% set x = vars.a %}{{ x }}", "vars.a@11"),
            ("{{ inputs[vars.a] }}", "inputs.@3! vars.a@10"),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
