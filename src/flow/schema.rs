//! The JSON Schema of flows, for editors. It is generated from the types that flows are decoded into.

use serde_json::{Value, json};

use crate::flow::model::flow::Declaration;
use crate::flow::model::task;
use crate::flow::yaml::decode::Decode as _;

/// The JSON Schema of a flow.
pub(crate) fn of_flow() -> Value {
    let mut schema = Declaration::schema();
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".to_owned(), json!("A flow that taxi runs"));
        schema.insert("$defs".to_owned(), json!({ "task": task::schema() }));
    }
    schema
}
