//! The statements of `sql/`, embedded in the binary. Names become quoted identifiers; values become parameters.

use include_dir::{Dir, include_dir};
use minijinja::{Environment, UndefinedBehavior, Value};

use crate::error::{Error, Kind, Result};

static SQL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sql");

/// The text of `sql/<name>`, with its placeholders filled from `identifiers`, which are quoted already.
pub fn render(name: &str, identifiers: &Value) -> Result<String> {
    let text = SQL
        .get_file(name)
        .and_then(|file| file.contents_utf8())
        .ok_or_else(|| Error::new(Kind::Configuration, format!("there is no statement sql/{name}")))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .render_str(text, identifiers)
        .map_err(|cause| Error::new(Kind::Configuration, format!("cannot fill in sql/{name}")).because(cause))
}
