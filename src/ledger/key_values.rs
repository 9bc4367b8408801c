//! The keys and values that flows keep from run to run, in the ledger's table `key_values`.

use jiff::Timestamp;
use serde_json::Value as Json;
use tokio_postgres::Client;
use tokio_postgres::types::Json as AsJson;

use crate::database::failure;
use crate::database::statement::sql;
use crate::error::{Error, Result};

/// A key, its value and when it expires.
#[derive(Clone, Debug)]
pub(crate) struct KeyValue {
    /// The namespace of the key.
    pub(crate) namespace: String,
    /// The key.
    pub(crate) key: String,
    /// The value.
    pub(crate) value: Json,
    /// The time after which flows no longer see the key.
    pub(crate) expires_at: Option<Timestamp>,
}

impl KeyValue {
    /// Whether flows see the key.
    pub(crate) fn is_alive(&self) -> bool {
        self.expires_at.is_none_or(|expires_at| expires_at > Timestamp::now())
    }
}

/// The keys that have not expired.
pub(crate) async fn list(client: &Client) -> Result<Vec<KeyValue>> {
    let rows = client.query(sql!("ledger/list_keys.sql"), &[]).await.map_err(failed)?;
    let key_value = |row: tokio_postgres::Row| {
        let AsJson(value) = row.try_get(2)?;
        let (namespace, key) = (row.try_get(0)?, row.try_get(1)?);
        Ok(KeyValue { namespace, key, value, expires_at: row.try_get(3)? })
    };
    rows.into_iter().map(key_value).collect::<Result<_, _>>().map_err(failed)
}

/// All keys with their namespaces, and whether they have expired.
pub(crate) async fn list_all(client: &Client) -> Result<Vec<(String, String, bool)>> {
    let rows = client.query(sql!("ledger/list_all_keys.sql"), &[]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Sets a key. Returns `false` if the key exists and `overwrite` is false: it then keeps its value.
pub(crate) async fn set(
    client: &Client,
    key_value: &KeyValue,
    kind: &str,
    description: Option<&str>,
    overwrite: bool,
) -> Result<bool> {
    let KeyValue { namespace, key, value, expires_at } = key_value;
    let rows = client
        .execute(
            sql!("ledger/set_key.sql"),
            &[namespace, key, &kind, &AsJson(value), &description, expires_at, &overwrite],
        )
        .await;
    Ok(rows.map_err(failed)? > 0)
}

/// Deletes a key. Returns whether it existed.
pub(crate) async fn delete(client: &Client, namespace: &str, key: &str) -> Result<bool> {
    let rows = client.execute(sql!("ledger/delete_key.sql"), &[&namespace, &key]).await;
    Ok(rows.map_err(failed)? > 0)
}

fn failed(cause: tokio_postgres::Error) -> Error {
    failure::statement("cannot access the keys in taxi_etl.key_values", cause)
}
