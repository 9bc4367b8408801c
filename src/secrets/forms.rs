//! The forms in which a secret can reach a log: as expressions and the usual tools write it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Minimum length of a part of an encoded secret to be masked. A shorter part could be any other text.
const SHORTEST_PART: usize = 6;
/// The line lengths of `base64` and of `openssl base64`.
const LINE_LENGTHS: [usize; 2] = [76, 64];

/// The characters that a part of a URL cannot hold as they are (RFC 3986).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_IN_PATHS: &AsciiSet = &RESERVED.remove(b'/');

/// The secret itself and all of its forms.
pub(super) fn of(secret: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for text in [secret.to_owned(), secret.to_uppercase(), secret.to_lowercase()] {
        forms.push(json_escaped(&text));
        forms.push(text.chars().rev().collect());
        forms.push(url::form_urlencoded::byte_serialize(text.as_bytes()).collect());
        forms.extend([RESERVED, RESERVED_IN_PATHS].into_iter().flat_map(|set| percent_encoded(&text, set)));
        base64(&text, &mut forms);
        forms.push(text);
    }
    forms
}

/// The text as JSON writes it, without the quotes around it.
fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The text as URLs write it, with upper-case and with lower-case digits.
fn percent_encoded(text: &str, set: &'static AsciiSet) -> [String; 2] {
    let encoded = utf8_percent_encode(text, set).to_string();
    let (mut lower, mut digits) = (String::new(), 0);
    for character in encoded.chars() {
        lower.push(if digits > 0 { character.to_ascii_lowercase() } else { character });
        digits = if character == '%' { 2_u8 } else { digits.saturating_sub(1) };
    }
    [encoded, lower]
}

/// The text in base64: alone, as a line with its end, broken into lines, and as a part of a longer text.
fn base64(text: &str, forms: &mut Vec<String>) {
    for text in [text.to_owned(), format!("{text}\n")] {
        let padded = STANDARD.encode(&text);
        for length in LINE_LENGTHS.into_iter().filter(|length| padded.len() > *length) {
            let lines = padded.as_bytes().chunks(length).map(String::from_utf8_lossy);
            forms.extend(lines.map(String::from).filter(|line| line.len() >= SHORTEST_PART));
        }
        forms.extend([padded, URL_SAFE.encode(&text)]);
        forms.extend([STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]);
    }
    // in a longer text, as in "user:password", the characters depend on the position, and those at the ends also on
    // the neighbours
    for position in 0..3 {
        let bytes = [&vec![0; position], text.as_bytes()].concat();
        let (start, end) = ((position * 8).div_ceil(6), bytes.len() * 8 / 6);
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let part = encoded.get(start..end).filter(|part| part.len() >= SHORTEST_PART);
            forms.extend(part.map(str::to_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_found_at_any_position_in_a_longer_text() {
        let secret = "s3cr3t-t0ken?";
        let forms = of(secret);
        for (before, after) in [("", ""), ("a:", ""), ("user:", "\n"), ("ab:", ":c"), ("", "x")] {
            for engine in [&STANDARD, &URL_SAFE] {
                let encoded = engine.encode(format!("{before}{secret}{after}"));
                assert!(forms.iter().any(|form| encoded.contains(form.as_str())), "{encoded}");
            }
        }
    }

    #[test]
    fn escapes_follow_json_and_urls() {
        let forms = of("a\"ü/ b");
        for form in
            ["a\\\"ü/ b", "a%22%C3%BC%2F%20b", "a%22%c3%bc/%20b", "a%22%C3%BC%2F+b", "A\"Ü/ B", "b /ü\"a"]
        {
            assert!(forms.iter().any(|known| known == form), "{form}");
        }
    }
}
