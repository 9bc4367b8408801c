//! The JSON Schema of a flow, for editors: made from what the types are read from.

use serde_json::{Value, json};

use super::decode::Decode as _;
use super::flow::Declaration;
use super::task;

/// The schema.
pub fn of_flow() -> Value {
    let mut schema = Declaration::schema();
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".to_owned(), json!("A flow that taxi runs"));
        schema.insert("$defs".to_owned(), json!({ "task": task::schema() }));
    }
    schema
}
