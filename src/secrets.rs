//! Secrets that a flow reads. taxi masks them in everything that it prints or records, also in the forms in which
//! expressions and commands write them.

mod forms;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Replacement text for a secret.
pub(crate) const MASK: &str = "******";

/// Minimum length in bytes for a part of a secret, or for another form of it, to be masked. Shorter parts reveal
/// nothing: a single bracket is a line of nearly every JSON document.
const SHORTEST_PART: usize = 4;

/// Variables that may hold a URL with a password.
const URLS: [&str; 9] = [
    "DATABASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "TAXI_SOURCE",
    "TAXI_POSTGRES_MIRROR",
];

/// The secrets read so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    secrets: HashSet<String>,
    /// All forms of the secrets, the longest first: a secret that contains another is masked as a whole.
    forms: Vec<String>,
}

impl Secrets {
    /// The passwords in the environment of this process.
    pub(crate) fn from_environment() -> Self {
        let secrets = Self::default();
        if let Ok(password) = std::env::var("PGPASSWORD") {
            secrets.keep(&password);
        }
        let urls = URLS.into_iter().filter_map(|name| url::Url::parse(&std::env::var(name).ok()?).ok());
        for url in urls {
            let password = url.password().unwrap_or_default();
            secrets.keep(password);
            secrets.keep(&percent_decode_str(password).decode_utf8_lossy());
        }
        secrets
    }

    /// Reads the secret `name` from the environment: `SECRET_<NAME>`, which is base64 as in Kestra, otherwise the
    /// variable `name` in plain text.
    pub(crate) fn read(&self, name: &str) -> Result<String, String> {
        let encoded = format!("SECRET_{}", name.to_uppercase());
        let value = match (std::env::var(&encoded), std::env::var(name)) {
            (Ok(value), _) => {
                self.keep(&value);
                let bytes = STANDARD.decode(value.trim()).ok();
                bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
                    format!("the environment variable {encoded} is not UTF-8 text in base64")
                })?
            }
            (Err(_), Ok(value)) => value,
            (Err(_), Err(_)) => {
                return Err(format!("the secret {name} is not set: set {encoded} (in base64) or {name}"));
            }
        };
        self.keep(&value);
        Ok(value)
    }

    /// Adds a text to the secrets, so that it is masked too.
    pub(crate) fn keep(&self, secret: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if secret.is_empty() || !known.secrets.insert(secret.to_owned()) {
            return;
        }
        // also add each line, because a log shows one line at a time, and the values of a JSON document
        let mut parts: Vec<String> = secret.lines().map(|line| line.trim().to_owned()).collect();
        if let Ok(document @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(secret) {
            add_texts(&document, &mut parts);
        }
        parts.extend([secret.trim().to_owned(), secret.to_owned()]);
        parts.retain(|part| part.len() >= SHORTEST_PART);
        let mut all: HashSet<String> = known.forms.drain(..).collect();
        all.extend(parts.iter().flat_map(|part| forms::of(part)));
        all.insert(secret.to_owned());
        known.forms = all.into_iter().collect();
        known.forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// Adds `result` to the secrets if it was made from a text that contains a secret.
    pub(crate) fn keep_derived(&self, text: &str, result: &str) {
        if result.len() >= SHORTEST_PART && self.hide(text) != text {
            self.keep(result);
        }
    }

    /// Adds the `parts` of a text that are parts of a secret in it.
    pub(crate) fn keep_parts(&self, text: &str, parts: &[String]) {
        let is_of_secret = |part: &String| {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.secrets.iter().any(|secret| secret.contains(part.as_str()))
        };
        parts.iter().filter(|part| is_of_secret(part)).for_each(|part| self.keep_derived(text, part));
    }

    /// Returns `text` with every secret masked.
    pub(crate) fn hide(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = known.forms.partition_point(|form| form.len() > text.len());
        let mut hidden = text.to_owned();
        for form in &known.forms[first..] {
            if hidden.contains(form.as_str()) {
                hidden = hidden.replace(form.as_str(), MASK);
            }
        }
        hidden
    }

    /// Returns `value` with every secret masked in its strings, keys and numbers.
    pub(crate) fn hide_in(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.hide(text)),
            Value::Array(items) => items.iter().map(|item| self.hide_in(item)).collect(),
            Value::Object(entries) => {
                entries.iter().map(|(key, value)| (self.hide(key), self.hide_in(value))).collect()
            }
            // a secret may be a number
            Value::Number(number) if self.hide(&number.to_string()) != number.to_string() => MASK.into(),
            other => other.clone(),
        }
    }
}

/// Adds the texts in a JSON document to `texts`, without its keys.
fn add_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| add_texts(item, texts)),
        Value::Object(entries) => entries.values().for_each(|value| add_texts(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
