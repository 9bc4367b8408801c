//! A script of SQL as its statements.

/// The statements of a script, without the semicolons between them. Quoted texts and names, dollar quotes and comments are
/// taken as PostgreSQL takes them, with `standard_conforming_strings` on.
pub fn statements(script: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut start, mut at) = (0, 0);
    let mut has_words = false;
    // a function's body may be written with BEGIN ATOMIC … END, and holds semicolons then
    let mut depth = 0_u32;
    let mut previous_word = String::new();
    while let Some(first) = script[at..].chars().next() {
        let rest = &script[at..];
        let word = word(rest);
        at += match first {
            _ if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => block_comment(rest),
            ';' if depth == 0 => {
                if has_words {
                    statements.push(script[start..at].trim());
                }
                (start, has_words) = (at + 1, false);
                1
            }
            '\'' if matches!(previous_word.as_str(), "e" | "E") => quoted(rest, '\'', true),
            '\'' | '"' => quoted(rest, first, false),
            '$' => dollar_quoted(rest).unwrap_or(1),
            _ if !word.is_empty() => {
                match word.to_ascii_lowercase().as_str() {
                    "atomic" if previous_word.eq_ignore_ascii_case("begin") => depth += 1,
                    "case" if depth > 0 => depth += 1,
                    "end" => depth = depth.saturating_sub(1),
                    _ => {}
                }
                word.len()
            }
            _ => first.len_utf8(),
        };
        if !first.is_whitespace() && first != ';' && !rest.starts_with("--") && !rest.starts_with("/*") {
            has_words = true;
        }
        // E'…' has nothing between the two
        if !first.is_whitespace() || previous_word.len() == 1 {
            word.clone_into(&mut previous_word);
        }
    }
    if has_words {
        statements.push(script[start..].trim());
    }
    statements
}

/// The word that the text begins with; `$` may stand in it, but not first.
fn word(text: &str) -> &str {
    let starts = text.starts_with(|one: char| one.is_alphabetic() || one == '_');
    let end = text.find(|one: char| !(one.is_alphanumeric() || one == '_' || one == '$'));
    if starts { &text[..end.unwrap_or(text.len())] } else { "" }
}

/// The length of a block comment, which may hold others.
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

/// The length of what is in quotes, quotes included.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut skip = false;
    for (index, one) in text.char_indices().skip(1) {
        match one {
            _ if skip => skip = false,
            '\\' if escapes => skip = true,
            // a quote that is doubled begins the next piece, which has no gap to this one
            one if one == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `$tag$ … $tag$`.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_end = text[1..].find('$')? + 2;
    let tag = &text[..tag_end];
    let name = &tag[1..tag.len() - 1];
    let sound = name.chars().all(|one| one.is_alphanumeric() || one == '_')
        && !name.starts_with(|one: char| one.is_ascii_digit());
    if !sound {
        return None;
    }
    Some(text[tag_end..].find(tag).map_or(text.len(), |end| tag_end + end + tag.len()))
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn only_semicolons_between_statements_split() {
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
}
