//! SQL scripts: splits a script into statements, and binds values to the `:name` placeholders in them.

/// Splits a script into statements, without their semicolons. It parses literals, quoted names, dollar quotes
/// and comments like PostgreSQL with `standard_conforming_strings` on.
pub(crate) fn statements(script: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut has_words = false;
    // a function body written as BEGIN ATOMIC … END contains semicolons
    let mut depth = 0_u32;
    let mut previous_word = String::new();
    while at < script.len() {
        let rest = &script[at..];
        let token = token(rest, &previous_word);
        let word = word(token);
        at += token.len();
        if token == ";" && depth == 0 {
            if has_words {
                statements.push(script[start..at - 1].trim());
            }
            (start, has_words) = (at, false);
        }
        match word.to_ascii_lowercase().as_str() {
            "atomic" if previous_word.eq_ignore_ascii_case("begin") => depth += 1,
            "case" if depth > 0 => depth += 1,
            "end" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_space = token.trim().is_empty();
        let is_comment = token.starts_with("--") || token.starts_with("/*");
        has_words |= !is_space && !is_comment && token != ";";
        // in E'…', nothing separates the E and the quote
        if !is_space || previous_word.len() == 1 {
            word.clone_into(&mut previous_word);
        }
    }
    if has_words {
        statements.push(script[start..].trim());
    }
    statements
}

/// Replaces names, as in `WHERE year = :year`, with their values. Values are inserted as literals, so that they
/// remain data whatever they contain. A name without a value stays unchanged: `:` has other meanings in SQL.
pub(crate) fn bind(statement: &str, values: &[(String, String)]) -> String {
    let mut bound = String::with_capacity(statement.len());
    let (mut at, mut previous) = (0, "");
    while at < statement.len() {
        let token = token(&statement[at..], previous);
        at += token.len();
        let name = if token == ":" { word(&statement[at..]) } else { "" };
        match values.iter().find(|(known, _)| known == name) {
            Some((_, value)) => {
                bound.push_str(&literal(value));
                at += name.len();
            }
            None => bound.push_str(token),
        }
        previous = token;
    }
    bound
}

/// Replaces the `?` placeholders of a JDBC statement by `$1`, `$2` and so on. Returns the statement and their number.
pub(crate) fn number_placeholders(statement: &str) -> (String, usize) {
    let mut numbered = String::with_capacity(statement.len());
    let (mut at, mut previous, mut count) = (0, "", 0);
    while at < statement.len() {
        let token = token(&statement[at..], previous);
        at += token.len();
        match token {
            // JDBC's way to write PostgreSQL's operator
            "?" if statement[at..].starts_with('?') => {
                numbered.push('?');
                at += 1;
            }
            "?" => {
                count += 1;
                numbered.push_str(&format!("${count}"));
            }
            token => numbered.push_str(token),
        }
        previous = token;
    }
    (numbered, count)
}

/// Quotes a text as a literal that is correct for every setting of `standard_conforming_strings`.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!(" E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// The next token: a quoted text, a comment, a word, `::`, or else a single character.
fn token<'a>(text: &'a str, previous_word: &str) -> &'a str {
    let word = word(text);
    let length = match text.chars().next() {
        _ if text.starts_with("--") => text.find('\n').unwrap_or(text.len()),
        _ if text.starts_with("/*") => block_comment(text),
        _ if text.starts_with("::") => 2,
        Some('\'') if matches!(previous_word, "e" | "E") => quoted(text, '\'', true),
        Some(quote @ ('\'' | '"')) => quoted(text, quote, false),
        Some('$') => dollar_quoted(text).unwrap_or(1),
        Some(_) if !word.is_empty() => word.len(),
        first => first.map_or(0, char::len_utf8),
    };
    &text[..length]
}

/// The word at the start of the text. `$` may occur in a word, but not as its first character.
fn word(text: &str) -> &str {
    let is_word = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
    if is_word { &text[..end.unwrap_or(text.len())] } else { "" }
}

/// The length in bytes of a block comment, which may be nested.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length in bytes of a quoted text, including its quotes.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut skip = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if skip => skip = false,
            '\\' if escapes => skip = true,
            // a doubled quote ends this token and starts the next one directly after it
            c if c == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length in bytes of `$tag$ … $tag$`, if the text starts with a dollar quote.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_end = text[1..].find('$')? + 2;
    let tag = &text[..tag_end];
    let name = &tag[1..tag.len() - 1];
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return None;
    }
    Some(text[tag_end..].find(tag).map_or(text.len(), |end| tag_end + end + tag.len()))
}

#[cfg(test)]
mod tests {
    use super::{bind, number_placeholders, statements};

    #[test]
    fn scripts_are_split_only_at_semicolons_between_statements() {
        for (script, expected) in [
            ("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"][..]),
            (";; -- nothing; here\n /* nor; /* here; */ */ ;", &[]),
            ("SELECT ';', 'it''s; ', \";\"", &["SELECT ';', 'it''s; ', \";\""]),
            ("SELECT E'\\';', 1; SELECT 2", &["SELECT E'\\';', 1", "SELECT 2"]),
            ("SELECT '\\'; SELECT 2", &["SELECT '\\'", "SELECT 2"]),
            ("DO $$ BEGIN; END $$; SELECT $a$;$$;$a$", &["DO $$ BEGIN; END $$", "SELECT $a$;$$;$a$"]),
            ("SELECT a$b FROM t; SELECT $1", &["SELECT a$b FROM t", "SELECT $1"]),
            (
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
                &[
                    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
                    "SELECT 3",
                ],
            ),
            ("BEGIN; SELECT 1; END; SELECT 2", &["BEGIN", "SELECT 1", "END", "SELECT 2"]),
            ("SELECT 'unclosed; ", &["SELECT 'unclosed;"]),
        ] {
            assert_eq!(statements(script), expected, "{script}");
        }
    }

    #[test]
    fn only_names_outside_quotes_are_bound_and_values_stay_data() {
        let values = [("a", "1"), ("b", "x'; DROP TABLE t; --"), ("c", "\\' OR 1=1")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (statement, expected) in [
            ("SELECT :a, :b", "SELECT '1', 'x''; DROP TABLE t; --'"),
            ("SELECT :c", "SELECT  E'\\\\'' OR 1=1'"),
            ("SELECT ':a', \":a\", $$ :a $$ -- :a", "SELECT ':a', \":a\", $$ :a $$ -- :a"),
            (
                "SELECT now()::a, x[1:2], x[1:n], :ab, E'\\':a'",
                "SELECT now()::a, x[1:2], x[1:n], :ab, E'\\':a'",
            ),
            ("SELECT :a::int", "SELECT '1'::int"),
        ] {
            assert_eq!(bind(statement, &values), expected, "{statement}");
        }
    }

    #[test]
    fn placeholders_are_numbered_outside_quotes() {
        let numbered = |statement: &str| number_placeholders(statement);
        assert_eq!(
            numbered("INSERT INTO t VALUES (?, '?', ?)"),
            ("INSERT INTO t VALUES ($1, '?', $2)".to_owned(), 2)
        );
        assert_eq!(numbered("SELECT a ?? 'k' -- ?"), ("SELECT a ? 'k' -- ?".to_owned(), 0));
    }
}
