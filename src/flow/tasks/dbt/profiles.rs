//! dbt's profiles: how dbt connects to the run's database.

use serde_json::{Map, Value as Json, json};

use crate::database::password::MAX_AGE;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::flow::context::RunContext;
use crate::flow::context::databases::keep_password;
use crate::flow::yaml::document::{Document, Node, YamlValue};

/// The content of profiles.yml, and whether it connects to a database on this machine by its local name.
pub(super) struct Profiles {
    pub(super) text: String,
    pub(super) is_local: bool,
}

impl Profiles {
    /// The given profiles, whose outputs of type postgres connect to the database of the run if the user names one.
    /// Without profiles, a profile named taxi connects to the run's database.
    pub(super) async fn of(given: Option<String>, context: &RunContext) -> Result<Self> {
        let Some(text) = given else {
            let settings = authenticated(context.databases.main()?, context).await?;
            let profile = json!({ "target": "taxi", "outputs": { "taxi": output(&settings)? } });
            return Ok(Self { text: json!({ "taxi": profile }).to_string(), is_local: is_local(&settings) });
        };
        match context.databases.given() {
            Some(given) => {
                let settings = authenticated(given, context).await?;
                Ok(Self { text: redirect(&text, &settings)?, is_local: is_local(&settings) })
            }
            None => Ok(Self { text, is_local: false }),
        }
    }
}

/// The settings with the password of the password command, which is masked in the log and the record of the run.
async fn authenticated(settings: &Settings, context: &RunContext) -> Result<Settings> {
    let settings = settings.authenticated(MAX_AGE).await?;
    keep_password(&settings, &context.secrets);
    Ok(settings)
}

/// Whether the host is this machine, which a container reaches only in the network of the machine.
fn is_local(settings: &Settings) -> bool {
    let host = settings.parts().map(|parts| parts.host).unwrap_or_default();
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The connection as an output of a dbt profile.
fn output(settings: &Settings) -> Result<Map<String, Json>> {
    let parts = settings.parts().ok_or_else(|| {
        Error::new(
            Kind::Configuration,
            format!("cannot write a dbt profile for the database at {}", settings.address()),
        )
        .hint("use a database URL with exactly one host, a user and a database")
    })?;
    let properties = [
        ("type", json!("postgres")),
        ("host", json!(parts.host)),
        ("port", json!(parts.port)),
        ("user", json!(parts.user)),
        ("password", json!(parts.password)),
        ("dbname", json!(parts.database)),
        ("sslmode", json!(parts.ssl_mode)),
        ("schema", json!("public")),
        ("threads", json!(2)),
    ];
    Ok(properties.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}

/// Redirects every output of type postgres to the database. Returns JSON, which is valid YAML.
fn redirect(profiles: &str, settings: &Settings) -> Result<String> {
    let document = Document::parse("profiles", profiles)?;
    let mut profiles = json(&document.root);
    let replacement = output(settings)?;
    let outputs = profiles.as_object_mut().into_iter().flat_map(Map::values_mut);
    let outputs = outputs.filter_map(|profile| profile.get_mut("outputs")?.as_object_mut());
    for output in outputs.flat_map(Map::values_mut).filter_map(Json::as_object_mut) {
        if output.get("type").and_then(Json::as_str) == Some("postgres") {
            for name in ["host", "port", "user", "password", "dbname", "sslmode"] {
                output.insert(name.to_owned(), replacement[name].clone());
            }
            // aliases of `password` and `dbname`
            output.remove("pass");
            output.remove("database");
        }
    }
    Ok(profiles.to_string())
}

fn json(node: &Node) -> Json {
    match &node.value {
        YamlValue::Null => Json::Null,
        YamlValue::Bool(value) => json!(value),
        YamlValue::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        YamlValue::Text(text) => json!(text),
        YamlValue::List(items) => items.iter().map(json).collect(),
        YamlValue::Map(entries) => {
            let values =
                entries.iter().filter_map(|(key, value)| Some((key.value.text()?.to_owned(), json(value))));
            Json::Object(values.collect())
        }
    }
}
