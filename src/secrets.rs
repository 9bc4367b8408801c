//! Secrets that a flow reads. taxi masks them in everything that it prints or records.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Replacement text for a secret.
const MASK: &str = "******";

/// Minimum length in bytes for a single line of a secret to be masked. Shorter lines reveal nothing: a single
/// bracket is a line of nearly every JSON document.
const SHORTEST_LINE: usize = 4;

/// The secrets read so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(Arc<Mutex<Vec<String>>>);

impl Secrets {
    /// Reads the secret `name` from the environment: `SECRET_<NAME>`, which is base64 as in Kestra, otherwise the
    /// variable `name` in plain text.
    pub(crate) fn read(&self, name: &str) -> Result<String, String> {
        let encoded = format!("SECRET_{}", name.to_uppercase());
        let value = match (std::env::var(&encoded), std::env::var(name)) {
            (Ok(value), _) => {
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
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // also add each line: a log shows one line at a time
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        for part in lines.chain([secret]).filter(|part| !part.is_empty()) {
            if !secrets.iter().any(|known| known == part) {
                secrets.push(part.to_owned());
            }
        }
        // longest first: a secret that contains another is masked as a whole
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Returns `text` with every secret masked.
    pub(crate) fn hide(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    /// Returns `value` with every secret masked in its strings, keys and numbers.
    pub(crate) fn hide_in(&self, value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
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
