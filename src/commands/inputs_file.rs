//! The file of `--inputs-file`: inputs of a flow in YAML or JSON.

use std::io::Read as _;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::flow::expression::data;
use crate::flow::yaml::document::{Document, Node, YamlValue};

/// Reads the inputs, in the order of the file. A value that is null counts as not given.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<(String, String)>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let name = path.display().to_string();
    let unreadable = |cause| Error::file("read", path, cause);
    let text = match name.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
            text
        }
        _ => std::fs::read_to_string(path).map_err(unreadable)?,
    };
    let document = Document::parse(&name, &text)?;
    let YamlValue::Map(entries) = &document.root.value else {
        let text = format!("expected a mapping of inputs in {name}, found {}", document.root.value.kind());
        return Err(Error::new(Kind::Usage, text));
    };
    let pair = |(key, value): &(Node, Node)| Some((key.value.text()?.to_owned(), text_of(value)?));
    Ok(entries.iter().filter_map(pair).collect())
}

/// The value as `--input` takes it: a scalar as written, a list or a mapping as JSON.
fn text_of(value: &Node) -> Option<String> {
    match &value.value {
        YamlValue::Null => None,
        YamlValue::Bool(value) => Some(value.to_string()),
        YamlValue::Number(text) | YamlValue::Text(text) => Some(text.clone()),
        YamlValue::List(_) | YamlValue::Map(_) => serde_json::to_string(&data(value)).ok(),
    }
}
