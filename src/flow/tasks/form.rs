//! The form of a request: its fields as one text, or in several parts, of which some are files.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::stored_files;
use crate::error::{Error, Result};
use crate::flow::context::task_run::TaskRun;
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Decode, Decoder, Entries, properties};
use crate::flow::yaml::document::{Node, YamlValue};

properties! {
    /// A file of a form.
    pub(crate) struct FormFile as "a file of a form" {
        /// The name that the server sees. Default: the name of the file.
        "name" => name: Option<Template> = None,
        /// The file: its URI, as in the outputs of a task.
        "content" => content: Template,
    }
}

/// A field of a form.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    /// A text.
    Text(Template),
    /// A file.
    File(FormFile),
}

impl Decode for Field {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.value {
            YamlValue::Map(_) => FormFile::decode(node, decoder).map(Self::File),
            _ => Template::decode(node, decoder).map(Self::Text),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [Template::schema(), FormFile::schema()] })
    }
}

/// A body, and its type if that is not the one that the task names.
pub(super) type TypedBody = (Bytes, Option<String>);

/// The body with the fields of a form. It has several parts if `content_type` says so, or if a field is a file.
pub(super) fn body(run: &TaskRun<'_>, form: &Entries<Field>, content_type: &str) -> Result<TypedBody> {
    let has_files = form.0.iter().any(|(_, field)| matches!(field, Field::File(_)));
    if has_files || content_type.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        return in_parts(run, form);
    }
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, field) in &form.0 {
        if let Field::Text(value) = field {
            text.append_pair(name, &run.fill(value)?);
        }
    }
    Ok((Bytes::from(text.finish()), None))
}

fn in_parts(run: &TaskRun<'_>, form: &Entries<Field>) -> Result<TypedBody> {
    let boundary = format!("taxi-{}", Uuid::now_v7().simple());
    let mut body = Vec::new();
    for (name, field) in &form.0 {
        let (file_name, content) = match field {
            Field::Text(value) => (None, run.fill(value)?.into_bytes()),
            Field::File(file) => {
                let path = stored_files::local(run, &file.content)?;
                let content = std::fs::read(&path).map_err(|cause| Error::file("read", &path, cause))?;
                let name = run.fill_optional(file.name.as_ref())?;
                (Some(name.unwrap_or_else(|| name_of(&path))), content)
            }
        };
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", escaped(name));
        if let Some(file_name) = file_name {
            let file_name = escaped(&file_name);
            head.push_str(&format!("; filename=\"{file_name}\"\r\nContent-Type: application/octet-stream"));
        }
        head.push_str("\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((Bytes::from(body), Some(format!("multipart/form-data; boundary={boundary}"))))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A name between quotation marks in the head of a part.
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
