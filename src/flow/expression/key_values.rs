//! The function `kv()`, and the keys that it reads. Rendering cannot wait for the database: the keys are read when a
//! run begins, and the tasks that change keys change them here too.

use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value as Data};
use serde_json::Value as Json;

use crate::ledger::key_values::KeyValue;

/// The keys of all namespaces. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyValues(Arc<Mutex<Vec<KeyValue>>>);

impl KeyValues {
    /// Replaces all keys by those of the database.
    pub(crate) fn reset(&self, keys: Vec<KeyValue>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Adds a key, or replaces it.
    pub(crate) fn set(&self, key_value: KeyValue) {
        self.delete(&key_value.namespace, &key_value.key);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(key_value);
    }

    /// Deletes a key.
    pub(crate) fn delete(&self, namespace: &str, key: &str) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|known| known.namespace != namespace || known.key != key);
    }

    fn get(&self, namespace: &str, key: &str) -> Option<Json> {
        find(&self.0.lock().unwrap_or_else(PoisonError::into_inner), namespace, key).cloned()
    }

    /// Registers the function `kv()`.
    pub(crate) fn add_to(self, environment: &mut Environment<'static>) {
        environment.add_function(
            "kv",
            move |state: &State<'_, '_>,
                  key: Option<Data>,
                  namespace: Option<Data>,
                  error_on_missing: Option<bool>,
                  options: Kwargs| {
                let key = text(key.or(options.get("key")?))
                    .ok_or_else(|| refuse("missing argument `key` of kv()".to_owned()))?;
                let own = || state.lookup("flow").and_then(|flow| flow.get_attr("namespace").ok());
                let namespace =
                    text(namespace.or(options.get("namespace")?).or_else(own)).unwrap_or_default();
                let named: Option<bool> = options.get("errorOnMissing")?;
                options.assert_all_used()?;
                match self.get(&namespace, &key) {
                    Some(value) => Ok(Data::from(Serde(&value))),
                    None if error_on_missing.or(named).unwrap_or(true) => {
                        Err(refuse(format!("the key {key:?} does not exist in the namespace {namespace:?}")))
                    }
                    None => Ok(Data::from(())),
                }
            },
        );
    }
}

/// The value of a key: of the namespace itself, else of the nearest namespace above it.
pub(crate) fn find<'a>(keys: &'a [KeyValue], namespace: &str, key: &str) -> Option<&'a Json> {
    let mut namespace = namespace;
    loop {
        let found = keys.iter().find(|known| known.namespace == namespace && known.key == key);
        if let Some(found) = found.filter(|found| found.is_alive()) {
            return Some(&found.value);
        }
        namespace = namespace.rsplit_once('.')?.0;
    }
}

fn text(value: Option<Data>) -> Option<String> {
    value
        .filter(|value| !matches!(value.kind(), ValueKind::Undefined | ValueKind::None))
        .map(|value| value.to_string())
}

fn refuse(text: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_namespace_above_is_found_unless_a_nearer_one_exists() {
        let key = |namespace: &str, value: &str| KeyValue {
            namespace: namespace.to_owned(),
            key: "k".to_owned(),
            value: value.into(),
            expires_at: None,
        };
        let keys = [key("a", "far"), key("a.b", "near"), key("other", "no")];
        assert_eq!(find(&keys, "a.b.c", "k"), Some(&"near".into()));
        assert_eq!(find(&keys, "a.x", "k"), Some(&"far".into()));
        assert_eq!(find(&keys, "x.a", "k"), None);
    }
}
