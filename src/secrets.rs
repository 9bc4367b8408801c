//! Secrets that a flow reads, and that nobody else is to see.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands where a secret would.
const MASK: &str = "******";

/// A line of a secret that is shorter tells nothing: a bracket is one in every JSON.
const SHORTEST_LINE: usize = 4;

/// The secrets that were read so far.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<Mutex<Vec<String>>>);

impl Secrets {
    /// The secret of a name: `SECRET_<NAME>` of the environment, in base64 as Kestra has it, else `<NAME>` as it is.
    pub fn read(&self, name: &str) -> Result<String, String> {
        let encoded = format!("SECRET_{}", name.to_uppercase());
        let value = match (std::env::var(&encoded), std::env::var(name)) {
            (Ok(value), _) => {
                let bytes = STANDARD.decode(value.trim()).ok();
                bytes
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| format!("the environment variable {encoded} is not in base64"))?
            }
            (Err(_), Ok(value)) => value,
            (Err(_), Err(_)) => {
                return Err(format!("there is no secret {name}: set {encoded} (in base64) or {name}"));
            }
        };
        self.keep(&value);
        Ok(value)
    }

    /// Takes a text for a secret, too.
    pub fn keep(&self, secret: &str) {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // its lines, too: a log shows them one by one
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        for part in lines.chain([secret]).filter(|part| !part.is_empty()) {
            if !secrets.iter().any(|known| known == part) {
                secrets.push(part.to_owned());
            }
        }
        // one that contains another is hidden first
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    /// The value with none of them in its texts and keys.
    pub fn hide_in(&self, value: &serde_json::Value) -> serde_json::Value {
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
