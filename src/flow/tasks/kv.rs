//! Keys and values that outlive a run: set, get, list and delete them.

use glob::Pattern;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::error::{Error, Kind, Result};
use crate::flow::context::databases::BorrowedSession;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::key_values::find;
use crate::flow::expression::{Template, dates};
use crate::flow::yaml::decode::{choices, properties};
use crate::flow::yaml::values::duration;
use crate::ledger::key_values::{self, KeyValue};
use crate::report::event::Level;

choices! {
    /// The type of a value.
    pub(crate) enum ValueKind {
        /// A text.
        String = "STRING",
        /// A number.
        Number = "NUMBER",
        /// `true` or `false`.
        Boolean = "BOOLEAN",
        /// A date and time.
        DateTime = "DATETIME",
        /// A date.
        Date = "DATE",
        /// A duration.
        Duration = "DURATION",
        /// A JSON document.
        Json = "JSON",
    }
}

impl ValueKind {
    const fn name(self) -> &'static str {
        match self {
            Self::String => "STRING",
            Self::Number => "NUMBER",
            Self::Boolean => "BOOLEAN",
            Self::DateTime => "DATETIME",
            Self::Date => "DATE",
            Self::Duration => "DURATION",
            Self::Json => "JSON",
        }
    }

    /// The value that the text stands for. The error says what is expected.
    fn parse(self, text: &str) -> Result<Json, &'static str> {
        let trimmed = text.trim();
        match self {
            Self::String => Ok(json!(text)),
            Self::Number => trimmed.parse().map(Json::Number).map_err(|_: serde_json::Error| "a number"),
            Self::Boolean => trimmed.to_lowercase().parse().map(Json::Bool).map_err(|_| "true or false"),
            Self::DateTime => match dates::read(trimmed) {
                Ok(date) => Ok(json!(dates::text_of(date.timestamp()))),
                Err(_) => Err("a date and time like 2020-03-01T09:00:00Z"),
            },
            Self::Date => match trimmed.parse::<jiff::civil::Date>() {
                Ok(date) => Ok(json!(date.to_string())),
                Err(_) => Err("a date like 2020-03-01"),
            },
            Self::Duration => duration(trimmed).map(|_| json!(trimmed)).ok_or("a duration like PT5M"),
            Self::Json => serde_json::from_str(trimmed).map_err(|_| "a JSON document"),
        }
    }
}

properties! {
    /// Sets a key to a value, which later runs can read.
    pub(crate) struct Set as "a kv.Set task" {
        /// The key.
        "key" => key: Template,
        /// The value.
        "value" => value: Template,
        /// The namespace of the key. Default: the namespace of the flow.
        "namespace" => namespace: Option<Template> = None,
        /// The type of the value.
        "kvType" => kind: ValueKind = ValueKind::String,
        /// Free-text description of the key.
        "kvDescription" => description: Option<Template> = None,
        /// Whether to replace the value of a key that exists. Otherwise the task fails.
        "overwrite" => overwrite: bool = true,
        /// How long the key exists, as a duration.
        "ttl" => ttl: Option<Template> = None,
        /// Until when the key exists, as a date and time.
        "expirationDate" => expiration_date: Option<Template> = None,
    }
}

impl Set {
    /// Sets the key.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let text = run.fill(&self.value)?;
        let value = self.kind.parse(&text).map_err(|expected| {
            run.fault(self.value.position, format!("invalid value {text:?} of the key: expected {expected}"))
        })?;
        let key = KeyValue {
            namespace: namespace(run, self.namespace.as_ref())?,
            key: key(run, &self.key)?,
            value,
            expires_at: self.expires_at(run)?,
        };
        let description = run.fill_optional(self.description.as_ref())?;
        let session = session(run).await?;
        let write =
            key_values::set(&session.client, &key, self.kind.name(), description.as_deref(), self.overwrite);
        if !session.guard(&run.interrupt, write).await? {
            let text = format!("the key {:?} already exists in the namespace {:?}", key.key, key.namespace);
            return Err(Error::new(Kind::TaskFailed, text)
                .hint("set `overwrite: true` to replace the value of the key"));
        }
        run.context.databases.key_values().set(key);
        Ok(Outputs::new())
    }

    fn expires_at(&self, run: &TaskRun<'_>) -> Result<Option<Timestamp>> {
        if let Some(template) = &self.ttl {
            let text = run.fill(template)?;
            let expires_at = duration(text.trim()).and_then(|ttl| Timestamp::now().checked_add(ttl).ok());
            let fault = || {
                run.fault(template.position, format!("invalid ttl {text:?}: expected a duration like PT1H"))
            };
            return expires_at.map(Some).ok_or_else(fault);
        }
        let Some(template) = &self.expiration_date else { return Ok(None) };
        match dates::read(&run.fill(template)?) {
            Ok(date) => Ok(Some(date.timestamp())),
            Err(fault) => Err(run.fault(template.position, fault)),
        }
    }
}

properties! {
    /// Reads a key.
    pub(crate) struct Get as "a kv.Get task" {
        /// The key.
        "key" => key: Template,
        /// The namespace of the key. Default: the namespace of the flow, then those above it.
        "namespace" => namespace: Option<Template> = None,
        /// Whether the task fails if the key does not exist.
        "errorOnMissing" => error_on_missing: bool = false,
    }
}

impl Get {
    /// Returns the value; null if the key does not exist.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let (namespace, key) = (namespace(run, self.namespace.as_ref())?, key(run, &self.key)?);
        let session = session(run).await?;
        let keys = session.guard(&run.interrupt, key_values::list(&session.client)).await?;
        let value = match &self.namespace {
            None => find(&keys, &namespace, &key),
            Some(_) => {
                let found = keys.iter().find(|known| known.namespace == namespace && known.key == key);
                found.map(|found| &found.value)
            }
        };
        if value.is_none() && self.error_on_missing {
            return Err(missing(&namespace, &key));
        }
        Ok(Outputs::from_iter([("value".to_owned(), json!(value))]))
    }
}

properties! {
    /// Lists the keys of a namespace.
    pub(crate) struct GetKeys as "a kv.GetKeys task" {
        /// The beginning of the keys.
        "prefix" => prefix: Option<Template> = None,
        /// The namespace of the keys. Default: the namespace of the flow.
        "namespace" => namespace: Option<Template> = None,
    }
}

impl GetKeys {
    /// Returns the keys in alphabetical order.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let namespace = namespace(run, self.namespace.as_ref())?;
        let prefix = run.fill_optional(self.prefix.as_ref())?.unwrap_or_default();
        let session = session(run).await?;
        let keys = session.guard(&run.interrupt, key_values::list(&session.client)).await?;
        let keys =
            keys.into_iter().filter(|known| known.namespace == namespace && known.key.starts_with(&prefix));
        let keys: Vec<String> = keys.map(|known| known.key).collect();
        Ok(Outputs::from_iter([("keys".to_owned(), json!(keys))]))
    }
}

properties! {
    /// Deletes a key.
    pub(crate) struct Delete as "a kv.Delete task" {
        /// The key.
        "key" => key: Template,
        /// The namespace of the key. Default: the namespace of the flow.
        "namespace" => namespace: Option<Template> = None,
        /// Whether the task fails if the key does not exist.
        "errorOnMissing" => error_on_missing: bool = false,
    }
}

impl Delete {
    /// Deletes the key, and returns whether it existed.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let (namespace, key) = (namespace(run, self.namespace.as_ref())?, key(run, &self.key)?);
        let session = session(run).await?;
        let write = key_values::delete(&session.client, &namespace, &key);
        let deleted = session.guard(&run.interrupt, write).await?;
        run.context.databases.key_values().delete(&namespace, &key);
        if !deleted && self.error_on_missing {
            return Err(missing(&namespace, &key));
        }
        Ok(Outputs::from_iter([("deleted".to_owned(), json!(deleted))]))
    }
}

choices! {
    /// What `PurgeKV` deletes.
    pub(crate) enum PurgeType {
        /// Keys.
        Key = "key",
    }
}

properties! {
    /// Which keys `PurgeKV` deletes.
    pub(crate) struct PurgeBehavior as "a behavior" {
        /// What to delete.
        "type" => _purge_type: PurgeType = PurgeType::Key,
        /// Whether to delete only keys that have expired.
        "expiredOnly" => expired_only: bool = true,
    }
}

properties! {
    /// Deletes keys, by default those that have expired.
    pub(crate) struct PurgeKeys as "a PurgeKV task" {
        /// The namespaces. Default: all namespaces.
        "namespaces" => namespaces: Vec<Template> = Vec::new(),
        /// Pattern of the namespaces, such as `taxi.*`.
        "namespacePattern" => namespace_pattern: Option<Template> = None,
        /// Pattern of the keys, such as `2020-*`.
        "keyPattern" => key_pattern: Option<Template> = None,
        /// Whether `namespaces` include the namespaces below them.
        "includeChildNamespaces" => include_child_namespaces: bool = true,
        /// Whether to delete only keys that have expired.
        "expiredOnly" => expired_only: Option<bool> = None,
        /// Which keys to delete.
        "behavior" => behavior: Option<PurgeBehavior> = None,
    }
}

impl PurgeKeys {
    /// Deletes the keys, and returns their number.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let behavior = self.behavior.as_ref().map(|behavior| behavior.expired_only);
        let expired_only = self.expired_only.or(behavior).unwrap_or(true);
        let namespaces: Vec<String> =
            self.namespaces.iter().map(|namespace| run.fill(namespace)).collect::<Result<_>>()?;
        let namespace_pattern = pattern(run, self.namespace_pattern.as_ref())?;
        let key_pattern = pattern(run, self.key_pattern.as_ref())?;
        let is_named = |namespace: &str| {
            let is_of = |named: &String| match namespace.strip_prefix(named.as_str()) {
                Some("") => true,
                Some(below) => self.include_child_namespaces && below.starts_with('.'),
                None => false,
            };
            namespaces.is_empty() || namespaces.iter().any(is_of)
        };
        let session = session(run).await?;
        let work = async {
            let mut size = 0_u64;
            for (namespace, key, is_expired) in key_values::list_all(&session.client).await? {
                let is_chosen = is_named(&namespace)
                    && namespace_pattern.as_ref().is_none_or(|pattern| pattern.matches(&namespace))
                    && key_pattern.as_ref().is_none_or(|pattern| pattern.matches(&key));
                if is_chosen && (is_expired || !expired_only) {
                    size += u64::from(key_values::delete(&session.client, &namespace, &key).await?);
                    run.context.databases.key_values().delete(&namespace, &key);
                }
            }
            Ok(size)
        };
        let size = session.guard(&run.interrupt, work).await?;
        run.log(Level::Info, &format!("deleted {size} keys"));
        Ok(Outputs::from_iter([("size".to_owned(), json!(size))]))
    }
}

fn pattern(run: &TaskRun<'_>, template: Option<&Template>) -> Result<Option<Pattern>> {
    let Some(template) = template else { return Ok(None) };
    let text = run.fill(template)?;
    let fault = |cause| run.fault(template.position, format!("invalid pattern {text:?}: {cause}"));
    Pattern::new(&text).map(Some).map_err(fault)
}

/// The namespace of a key: the given one, else that of the flow.
fn namespace(run: &TaskRun<'_>, given: Option<&Template>) -> Result<String> {
    let own = || run.context.flow.rsplit_once('.').map(|(namespace, _)| namespace.to_owned());
    Ok(run.fill_optional(given)?.or_else(own).unwrap_or_default())
}

fn key(run: &TaskRun<'_>, template: &Template) -> Result<String> {
    let key = run.fill(template)?;
    match key.trim() {
        "" => Err(run.fault(template.position, "the key is empty".to_owned())),
        _ => Ok(key),
    }
}

async fn session<'a>(run: &'a TaskRun<'_>) -> Result<BorrowedSession<'a>> {
    run.context.databases.own_session(&run.interrupt, run.context.report.as_ref()).await
}

fn missing(namespace: &str, key: &str) -> Error {
    Error::new(Kind::TaskFailed, format!("the key {key:?} does not exist in the namespace {namespace:?}"))
}
