//! Translates Pebble, the template language of Kestra's flows, to the syntax of minijinja.
//!
//! In: text with `{{ … }}` and `{% … %}`. Out: a minijinja template. The differences are `??`, `? :`, `elseif`,
//! `equals`, `contains`, ranges, and operator precedence: in Pebble, `a ~ b | upper` applies `upper` to both.
//! Refused: whatever Pebble does not know or taxi does not support.

use std::fmt::Write as _;

use crate::flow::expression::parse::{self, Parser};

/// Tags without an expression, and their minijinja names.
const PLAIN_TAGS: [(&str, &str); 5] =
    [("else", "else"), ("endif", "endif"), ("endfor", "endfor"), ("raw", "raw"), ("endraw", "endraw")];

/// Translates a template. The error describes the fault.
pub(crate) fn translate(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(start) = opening(rest) {
        let (before, marked) = rest.split_at(start);
        out.push_str(before);
        let (mark, inside) = marked.split_at(2);
        rest = match mark {
            "{{" => expression(inside, &mut out)?,
            "{%" => tag(inside, &mut out)?,
            _ => inside.split_once("#}").ok_or("missing `#}` to close the comment `{#`")?.1,
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether the text contains no expressions, tags or comments.
pub(crate) fn is_plain(text: &str) -> bool {
    opening(text).is_none()
}

fn opening(text: &str) -> Option<usize> {
    ["{{", "{%", "{#"].iter().filter_map(|mark| text.find(mark)).min()
}

/// Translates up to the closing `}}`, and returns the text after it.
fn expression<'a>(inside: &'a str, out: &mut String) -> Result<&'a str, String> {
    let (trimmed, inside) = trim_mark(inside);
    let mut parser = Parser::new(inside)?;
    let expression = parser.expression()?;
    let rest = parser.close("}}")?;
    let _ = write!(out, "{{{{{trimmed} {expression} {}}}}}", rest.trim);
    Ok(rest.text)
}

fn tag<'a>(inside: &'a str, out: &mut String) -> Result<&'a str, String> {
    let (trimmed, inside) = trim_mark(inside);
    let inside = inside.trim_start();
    let end = inside.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(inside.len());
    let (name, inside) = inside.split_at(end);
    if let "verbatim" | "raw" = name {
        return raw(name, inside, out);
    }
    if let Some((_, name)) = PLAIN_TAGS.iter().find(|(known, _)| *known == name) {
        let rest = Parser::new(inside)?.close("%}")?;
        let _ = write!(out, "{{%{trimmed} {name} {}%}}", rest.trim);
        return Ok(rest.text);
    }
    let mut parser = Parser::new(inside)?;
    let head = match name {
        "if" => "if".to_owned(),
        "elseif" => "elif".to_owned(),
        "for" => format!("for {} in", parser.binding("in")?),
        "set" => format!("set {} =", parser.binding("=")?),
        other => {
            let supported = "if, elseif, else, for, set, raw, verbatim";
            return Err(format!("unsupported tag `{other}`; supported tags: {supported}"));
        }
    };
    let expression = match name {
        "for" => format!("iterate({})", parser.expression()?),
        _ => parser.expression()?,
    };
    let rest = parser.close("%}")?;
    let _ = write!(out, "{{%{trimmed} {head} {expression} {}%}}", rest.trim);
    Ok(rest.text)
}

/// Copies a `raw` or `verbatim` block unchanged.
fn raw<'a>(name: &str, inside: &'a str, out: &mut String) -> Result<&'a str, String> {
    let unclosed = || format!("missing `{{% end{name} %}}` to close `{{% {name} %}}`");
    let content = Parser::new(inside)?.close("%}")?.text;
    for (index, _) in content.match_indices("{%") {
        let (text, end) = content.split_at(index);
        let closing = end[2..].trim_start_matches('-').trim_start().strip_prefix(&format!("end{name}"));
        if let Some(closing) = closing {
            let rest = Parser::new(closing)?.close("%}")?.text;
            // as a string literal, which minijinja does not expand
            let _ = write!(out, "{{{{ {} }}}}", parse::literal(text));
            return Ok(rest);
        }
    }
    Err(unclosed())
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
            ("{{ x | default(1) | json }}", "{{ json(default(x, 1)) }}"),
            ("{# gone #}a", "a"),
            ("{% raw %}{{ kept }}{% endraw %}", "{{ \"{{ kept }}\" }}"),
            ("{{ 'it\\'s' ~ \"}}\" }}", "{{ concat(\"it's\", \"}}\") }}"),
            (
                "{% for m in 1..3 %}{{ m }}{% endfor %}",
                "{% for m in iterate(range(1, 3)) %}{{ m }}{% endfor %}",
            ),
        ] {
            assert_eq!(translate(pebble).as_deref(), Ok(minijinja), "{pebble}");
        }
    }

    #[test]
    fn invalid_expressions_are_explained() {
        for (pebble, fault) in [
            ("{{ a", "missing `}}` to close `{{`"),
            ("{{ }}", "expected a value, found `}}`"),
            ("{{ a b }}", "unexpected `b`"),
            ("{{ 'a }}", "missing closing ' of a string"),
            ("{{ a | shout }}", "unsupported filter `shout`"),
            ("{{ kv('a') }}", "unsupported function `kv`"),
            ("{% include 'a' %}", "unsupported tag `include`"),
            ("{{ a is purple }}", "unsupported test `purple`"),
            ("{{ (a }}", "expected `)`, found `}}`"),
            ("{{ a ? b }}", "expected `:`, found `}}`"),
        ] {
            let error = translate(pebble).unwrap_err();
            assert!(error.contains(fault), "{pebble}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
        let error = translate(&format!("{{{{ {} }}}}", "(".repeat(100_000))).unwrap_err();
        assert!(error.contains("nested"), "{error}");
        let error = translate(&format!("{{{{ {} a }}}}", "not ".repeat(100_000))).unwrap_err();
        assert!(error.contains("nested"), "{error}");
    }
}
