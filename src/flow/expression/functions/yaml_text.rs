//! Writes a value as a YAML document.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// Texts that YAML reads as another value.
const RESERVED: [&str; 11] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// The value as a YAML document.
pub(super) fn of(value: &Json) -> String {
    let mut out = String::new();
    match value {
        Json::Array(items) if !items.is_empty() => write_list(items, 0, &mut out),
        Json::Object(entries) if !entries.is_empty() => write_map(entries, 0, &mut out),
        other => {
            let _ = writeln!(out, "{}", scalar(other, 0));
        }
    }
    out
}

fn write_map(entries: &serde_json::Map<String, Json>, indent: usize, out: &mut String) {
    for (key, value) in entries {
        let _ = write!(out, "{:indent$}{}:", "", text(key, indent));
        write_value(value, indent, out);
    }
}

fn write_list(items: &[Json], indent: usize, out: &mut String) {
    for item in items {
        let _ = write!(out, "{:indent$}-", "");
        match item {
            Json::Object(entries) if !entries.is_empty() => {
                // the first entry stands on the line of the hyphen
                let mut nested = String::new();
                write_map(entries, indent + 2, &mut nested);
                let _ = write!(out, " {}", nested.trim_start());
            }
            other => write_value(other, indent, out),
        }
    }
}

/// Writes what follows a key or a hyphen.
fn write_value(value: &Json, indent: usize, out: &mut String) {
    match value {
        Json::Array(items) if !items.is_empty() => {
            out.push('\n');
            write_list(items, indent + 2, out);
        }
        Json::Object(entries) if !entries.is_empty() => {
            out.push('\n');
            write_map(entries, indent + 2, out);
        }
        other => {
            let _ = writeln!(out, " {}", scalar(other, indent + 2));
        }
    }
}

fn scalar(value: &Json, indent: usize) -> String {
    match value {
        Json::String(written) => text(written, indent),
        other => other.to_string(),
    }
}

/// A text: plain, as a block of lines, or quoted.
fn text(text: &str, indent: usize) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || "_./ -+@()".contains(letter);
    let is_plain = text
        .starts_with(|first: char| first.is_alphanumeric() || matches!(first, '/' | '_' | '.'))
        && text.chars().all(is_word)
        && !text.ends_with(' ')
        && !RESERVED.contains(&text.to_lowercase().as_str())
        && text.parse::<f64>().is_err();
    let is_block = text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.chars().any(|letter| letter.is_control() && letter != '\n');
    if is_plain {
        return text.to_owned();
    }
    if !is_block {
        return Json::from(text).to_string();
    }
    let body = text.trim_end_matches('\n');
    let mark = match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => return Json::from(text).to_string(),
    };
    let margin = " ".repeat(indent);
    let lines =
        body.lines().map(|line| if line.is_empty() { String::new() } else { format!("{margin}{line}") });
    lines.fold(mark.to_owned(), |block, line| block + "\n" + &line)
}
