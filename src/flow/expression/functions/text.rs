//! Filters on text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::Value as Data;
use minijinja::value::ValueKind;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex_lite::Regex;
use sha2::Digest as _;

use super::{Call, Result, refuse, to_text};

/// What Java's `URLEncoder` does not escape, besides letters and digits.
const URL_ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_').remove(b' ');

pub(crate) fn lower(call: &Call<'_, '_, '_>) -> Result {
    Ok(call.text(0)?.to_lowercase().into())
}

pub(crate) fn upper(call: &Call<'_, '_, '_>) -> Result {
    Ok(call.text(0)?.to_uppercase().into())
}

pub(crate) fn trim(call: &Call<'_, '_, '_>) -> Result {
    Ok(call.text(0)?.trim().into())
}

pub(crate) fn string(call: &Call<'_, '_, '_>) -> Result {
    Ok(to_text(&call.value(0))?.into())
}

/// The first letter in upper case; the rest unchanged.
pub(crate) fn capitalize(call: &Call<'_, '_, '_>) -> Result {
    let text = call.text(0)?;
    let start = text.len() - text.trim_start().len();
    let (spaces, rest) = text.split_at(start);
    let mut letters = rest.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    Ok(spaces.chars().chain(first).chain(letters).collect::<String>().into())
}

/// The first letter of each word in upper case; the rest unchanged.
pub(crate) fn title(call: &Call<'_, '_, '_>) -> Result {
    let mut title = String::new();
    let mut is_start = true;
    for letter in call.text(0)?.chars() {
        match is_start && !letter.is_whitespace() {
            true => title.extend(letter.to_uppercase()),
            false => title.push(letter),
        }
        is_start = letter.is_whitespace();
    }
    Ok(title.into())
}

/// Pebble's rules: a text that is as long as the limit is cut too, a text of three characters never.
pub(crate) fn abbreviate(call: &Call<'_, '_, '_>) -> Result {
    let (text, limit) = (call.text(0)?, call.optional_count(1)?.unwrap_or_default());
    let length = text.chars().count();
    let cut = |count: usize| text.chars().take(count).collect::<String>();
    Ok(match () {
        () if length < limit || length <= 3 => text.into(),
        () if limit <= 3 => cut(limit).into(),
        () => (cut(limit - 3) + "...").into(),
    })
}

pub(crate) fn starts_with(call: &Call<'_, '_, '_>) -> Result {
    Ok(call.text(0)?.starts_with(&call.text(1)?).into())
}

pub(crate) fn ends_with(call: &Call<'_, '_, '_>) -> Result {
    Ok(call.text(0)?.ends_with(&call.text(1)?).into())
}

/// The text without a match is the result of `substringBefore`, and the empty text that of `substringAfter`.
pub(crate) fn substring_before(call: &Call<'_, '_, '_>) -> Result {
    let (text, separator) = (call.text(0)?, call.text(1)?);
    Ok(text.split_once(&separator).map_or(text.as_str(), |(before, _)| before).into())
}

pub(crate) fn substring_before_last(call: &Call<'_, '_, '_>) -> Result {
    let (text, separator) = (call.text(0)?, call.text(1)?);
    let before = text.rsplit_once(&separator).filter(|_| !separator.is_empty());
    Ok(before.map_or(text.as_str(), |(before, _)| before).into())
}

pub(crate) fn substring_after(call: &Call<'_, '_, '_>) -> Result {
    let (text, separator) = (call.text(0)?, call.text(1)?);
    Ok(text.split_once(&separator).map_or("", |(_, after)| after).into())
}

pub(crate) fn substring_after_last(call: &Call<'_, '_, '_>) -> Result {
    let (text, separator) = (call.text(0)?, call.text(1)?);
    let after = text.rsplit_once(&separator).filter(|_| !separator.is_empty());
    Ok(after.map_or("", |(_, after)| after).into())
}

/// Kestra's slugs: letters without accents, digits and single hyphens, in lower case.
pub(crate) fn slugify(call: &Call<'_, '_, '_>) -> Result {
    let text = call.text(0)?;
    let mut slug = String::new();
    for letter in text.chars().flat_map(without_accent) {
        match letter {
            letter if letter.is_ascii_alphanumeric() => slug.push(letter.to_ascii_lowercase()),
            '-' | '_' if !slug.ends_with('-') => slug.push('-'),
            letter if letter.is_whitespace() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    Ok(slug.trim_matches('-').into())
}

/// The letter that an accented letter of a European language is made of; other letters unchanged.
fn without_accent(letter: char) -> Option<char> {
    const PLAIN: [(&str, char); 24] = [
        ("ÀÁÂÃÄÅĀĂĄ", 'A'),
        ("àáâãäåāăą", 'a'),
        ("ÇĆĈĊČ", 'C'),
        ("çćĉċč", 'c'),
        ("ÈÉÊËĒĔĖĘĚ", 'E'),
        ("èéêëēĕėęě", 'e'),
        ("ÌÍÎÏĨĪĬĮİ", 'I'),
        ("ìíîïĩīĭį", 'i'),
        ("ÑŃŅŇ", 'N'),
        ("ñńņň", 'n'),
        ("ÒÓÔÕÖŌŎŐ", 'O'),
        ("òóôõöōŏő", 'o'),
        ("ŔŖŘ", 'R'),
        ("ŕŗř", 'r'),
        ("ŚŜŞŠȘ", 'S'),
        ("śŝşšș", 's'),
        ("ŢŤȚĎĞĜĢĹĽĻ", 'T'),
        ("ţťț", 't'),
        ("ÙÚÛÜŨŪŬŮŰŲ", 'U'),
        ("ùúûüũūŭůűų", 'u'),
        ("ÝŶŸ", 'Y'),
        ("ýÿŷ", 'y'),
        ("ŹŻŽ", 'Z'),
        ("źżž", 'z'),
    ];
    let found = PLAIN.iter().find(|(accented, _)| accented.contains(letter));
    Some(found.map_or(letter, |(_, plain)| *plain))
}

/// Replaces each key of the mapping in the text by its value.
pub(crate) fn replace(call: &Call<'_, '_, '_>) -> Result {
    let (mut text, pairs) = (call.text(0)?, call.value(1));
    if pairs.kind() != ValueKind::Map {
        return Err(refuse("expected a mapping as the argument of replace, like replace({'a': 'b'})"));
    }
    let is_regular = call.given(2).is_some_and(Data::is_true);
    for key in pairs.try_iter()? {
        let (from, to) = (to_text(&key)?, to_text(&pairs.get_item(&key)?)?);
        text = match is_regular {
            true => regex(&from)?.replace_all(&text, to.as_str()).into_owned(),
            false => text.replace(&from, &to),
        };
    }
    Ok(text.into())
}

/// Splits as Java does: without the empty texts at the end unless a limit is given.
pub(crate) fn split(call: &Call<'_, '_, '_>) -> Result {
    let (text, delimiter) = (call.text(0)?, call.text(1)?);
    let limit = call.optional_integer(2)?.unwrap_or_default();
    if delimiter.is_empty() {
        return Err(refuse("split does not support the empty delimiter"));
    }
    // one character that is not escaped stands for itself in Java, except that . | $ and others are refused there
    let pattern = if delimiter.chars().count() == 1 { regex_lite::escape(&delimiter) } else { delimiter };
    let pattern = regex(&pattern)?;
    let mut parts: Vec<String> = match usize::try_from(limit) {
        Ok(limit) if limit > 0 => pattern.splitn(&text, limit).map(str::to_owned).collect(),
        _ => pattern.split(&text).map(str::to_owned).collect(),
    };
    while limit == 0 && parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    Ok(parts.into())
}

/// Whether the pattern matches the whole text, as Java's `matches` does.
pub(crate) fn whole_match(text: &str, pattern: &str) -> Result<bool> {
    Ok(regex(&format!("^(?:{pattern})$"))?.is_match(text))
}

fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|cause| refuse(format!("invalid regular expression {pattern:?}: {cause}")))
}

pub(crate) fn escape(call: &Call<'_, '_, '_>) -> Result {
    let text = call.text(0)?;
    let mut escaped = String::with_capacity(text.len());
    match call.optional_text(1)?.as_deref().unwrap_or("html") {
        "html" => {
            for letter in text.chars() {
                match letter {
                    '&' => escaped.push_str("&amp;"),
                    '<' => escaped.push_str("&lt;"),
                    '>' => escaped.push_str("&gt;"),
                    '"' => escaped.push_str("&quot;"),
                    '\'' => escaped.push_str("&#39;"),
                    letter => escaped.push(letter),
                }
            }
        }
        "json" => {
            let quoted = serde_json::to_string(&text).unwrap_or_default();
            escaped.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
        }
        other => {
            return Err(refuse(format!("unsupported strategy {other:?} of escape: expected html or json")));
        }
    }
    Ok(escaped.into())
}

pub(crate) fn escape_char(call: &Call<'_, '_, '_>) -> Result {
    let (text, kind) = (call.text(0)?, call.text(1)?);
    match kind.to_lowercase().as_str() {
        "single" => Ok(text.replace('\'', "\\'").into()),
        "double" => Ok(text.replace('"', "\\\"").into()),
        "shell" => Ok(text.replace('\'', "'\\''").into()),
        _ => {
            Err(refuse(format!("unsupported type {kind:?} of escapeChar: expected single, double or shell")))
        }
    }
}

pub(crate) fn indent(call: &Call<'_, '_, '_>) -> Result {
    let (text, margin) = (call.text(0)?, margin(call)?);
    Ok(indented(&text, &margin).into())
}

pub(crate) fn nindent(call: &Call<'_, '_, '_>) -> Result {
    let (text, margin) = (call.text(0)?, margin(call)?);
    match text.is_empty() {
        true => Ok(text.into()),
        false => Ok(indented(&format!("{}{text}", line_break(&text)), &margin).into()),
    }
}

/// What the lines are indented with.
fn margin(call: &Call<'_, '_, '_>) -> Result<String> {
    let amount = call.optional_count(1)?.unwrap_or_default();
    Ok(call.optional_text(2)?.unwrap_or_else(|| " ".to_owned()).repeat(amount))
}

fn indented(text: &str, margin: &str) -> String {
    let line_break = line_break(text);
    text.replace(line_break, &format!("{line_break}{margin}"))
}

fn line_break(text: &str) -> &'static str {
    ["\r\n", "\n\r", "\n", "\r"].into_iter().find(|mark| text.contains(mark)).unwrap_or("\n")
}

pub(crate) fn base64_encode(call: &Call<'_, '_, '_>) -> Result {
    Ok(STANDARD.encode(call.text(0)?).into())
}

pub(crate) fn base64_decode(call: &Call<'_, '_, '_>) -> Result {
    let bytes = STANDARD.decode(call.text(0)?).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Data::from).ok_or_else(|| refuse("the text is not UTF-8 text in base64"))
}

pub(crate) fn url_encode(call: &Call<'_, '_, '_>) -> Result {
    Ok(utf8_percent_encode(&call.text(0)?, URL_ESCAPED).to_string().replace(' ', "+").into())
}

pub(crate) fn url_decode(call: &Call<'_, '_, '_>) -> Result {
    let text = call.text(0)?.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded.map(|text| Data::from(text.as_ref())).map_err(|_| refuse("the text is not URL-encoded UTF-8"))
}

pub(crate) fn md5(call: &Call<'_, '_, '_>) -> Result {
    Ok(hex::encode(md5::Md5::digest(call.text(0)?)).into())
}

pub(crate) fn sha1(call: &Call<'_, '_, '_>) -> Result {
    Ok(hex::encode(sha1::Sha1::digest(call.text(0)?)).into())
}

pub(crate) fn sha256(call: &Call<'_, '_, '_>) -> Result {
    Ok(hex::encode(sha2::Sha256::digest(call.text(0)?)).into())
}

pub(crate) fn sha512(call: &Call<'_, '_, '_>) -> Result {
    Ok(hex::encode(sha2::Sha512::digest(call.text(0)?)).into())
}

#[cfg(test)]
mod tests {
    use crate::flow::expression::tests::value_of;

    #[test]
    fn filters_on_text_follow_java() {
        for (expression, expected) in [
            ("'abcdef' | abbreviate(6)", "abc..."),
            ("'abc' | abbreviate(2)", "abc"),
            ("'  two words' | capitalize", "  Two words"),
            ("'a.b' | substringBefore('x')", "a.b"),
            ("'a.b' | substringAfter('x')", ""),
            ("'a.b' | substringAfterLast('')", ""),
            ("'2020-03' | split('-') | join('/')", "2020/03"),
            ("'a, b;c' | split('[,;] ?') | join('|')", "a|b|c"),
            ("'a.b.' | split('\\\\.') | length", "2"),
            ("'a|b' | split('|') | last", "b"),
            ("'a-b-c' | split('-', 2) | last", "b-c"),
            ("'v1.2' | replace({'[0-9]': '#'}, regexp=true)", "v#.#"),
            ("'Österreich & Søn' | slugify", "osterreich-sn"),
            ("'it\\'s' | escapeChar('shell')", "it'\\''s"),
            ("'a\"b' | escape('json')", "a\\\"b"),
            ("'it\\'s <b>' | escape", "it&#39;s &lt;b&gt;"),
            ("'one' | nindent(4)", "\n    one"),
            ("'a\nb' | indent(1, '> ')", "a\n> b"),
            ("'ä/é~' | urlencode", "%C3%A4%2F%C3%A9%7E"),
            ("null | upper", ""),
            ("'yellow' matches 'y.*w'", "true"),
            ("'yellow' matches 'ello'", "false"),
        ] {
            assert_eq!(value_of(expression).as_deref(), Ok(expected), "{expression}");
        }
        assert!(value_of("'*' | base64decode").is_err());
        assert!(value_of("'a' matches '('").unwrap_err().contains("invalid regular expression"));
    }
}
