//! The statements of `sql/`, embedded at compile time: a missing file is a compile error. Names become quoted
//! identifiers; values become parameters.

use include_dir::{Dir, include_dir};
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::identifier::TableName;
use crate::error::{Error, Kind, Result};

static TABLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/sql/tables");

/// The text of a statement without placeholders.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sql/", $name))
    };
}

/// The text of a statement, with its placeholders filled from identifiers that are already quoted.
macro_rules! render {
    ($name:literal, $identifiers:expr $(,)?) => {
        $crate::database::statement::fill($name, $crate::database::statement::sql!($name), $identifiers)
    };
}

pub(crate) use {render, sql};

/// Fills the placeholders of the statement `sql/<name>`. See [`render!`].
pub(crate) fn fill(name: &str, text: &str, identifiers: &Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
        .render_str(text, identifiers)
        .map_err(|cause| Error::new(Kind::Configuration, format!("cannot render sql/{name}")).because(cause))
}

/// The statement that creates `table`, from `sql/tables/<name>`. A pipeline names the file, so this function
/// checks at run time whether the file exists.
pub(crate) fn create_table(name: &str, table: &TableName) -> Result<String> {
    let text = TABLES.get_file(name).and_then(|file| file.contents_utf8()).ok_or_else(|| {
        let known: Vec<String> = TABLES.files().map(|file| file.path().display().to_string()).collect();
        let text = format!("no SQL file {name:?} that creates a table");
        Error::new(Kind::Configuration, text).hint(format!("known SQL files: {}", known.join(", ")))
    })?;
    fill(name, text, &context! { table => table.quoted() })
}
