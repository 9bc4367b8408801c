//! Columns of a file that the target does not have.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use tokio_postgres::Client;

use crate::database::failure;
use crate::database::identifier::{NAME_LIMIT_BYTES, TableName, literal, quote};
use crate::database::locks::{self, Lock};
use crate::database::statement::render;
use crate::error::{Error, Kind, Result};
use crate::extract::rows::FileColumn;
use crate::transform::value::ColumnType;

/// What to do with a column of the file that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum NewColumns {
    /// Refuse the file.
    Refuse,
    /// Leave the column out.
    Ignore,
    /// Add the column to the table: as text, unless the pipeline knows its type.
    Add,
}

/// A column that a data set has had since some month, with the type that it has in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaterColumn {
    /// The name, in lower case.
    pub(crate) name: String,
    /// The type.
    pub(crate) column_type: ColumnType,
}

/// What a load has done with a new column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Added it to the table.
    Added,
    /// Left it out.
    LeftOut,
}

/// A column of a file that the table did not have.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NewColumn {
    /// The name as the file spells it.
    #[serde(rename = "column")]
    pub(crate) spelling: String,
    /// The name in a table.
    #[serde(skip)]
    pub(crate) name: String,
    /// What the load has done with it.
    pub(crate) action: Action,
    /// The type with which it was added.
    #[serde(rename = "type", serialize_with = "as_name", skip_serializing_if = "Option::is_none")]
    pub(crate) column_type: Option<ColumnType>,
    /// Why it was left out, if `--new-columns` did not say so.
    pub(crate) reason: Option<&'static str>,
}

fn as_name<S: Serializer>(column_type: &Option<ColumnType>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&column_type.map(|column_type| column_type.to_string()))
}

/// Decides what to do with the columns `unknown` to the table. Returns no entry for a column for which the file is
/// refused. Without `--new-columns`, the file is refused for a column that the pipeline does not know.
///
/// A table `made_by_taxi` gets the columns that the agency has added since. Somebody else's table stays as it is.
pub(crate) fn decide(
    unknown: &[FileColumn],
    later: &[LaterColumn],
    asked: Option<NewColumns>,
    made_by_taxi: bool,
) -> Vec<NewColumn> {
    let decide = |column: &FileColumn| {
        let known = later.iter().find(|later| later.name == column.name).map(|later| later.column_type);
        let (action, reason) = match asked {
            Some(NewColumns::Refuse) => return None,
            Some(NewColumns::Ignore) => (Action::LeftOut, None),
            Some(NewColumns::Add) => (Action::Added, None),
            None if column.has_no_values => (Action::LeftOut, Some("it has no values")),
            None if known.is_none() => return None,
            None if made_by_taxi => (Action::Added, None),
            None => (Action::LeftOut, Some("the table is not one that taxi made")),
        };
        let column_type = (action == Action::Added).then(|| known.unwrap_or(ColumnType::Text));
        let (spelling, name) = (column.spelling.clone(), column.name.clone());
        Some(NewColumn { spelling, name, action, column_type, reason })
    };
    unknown.iter().filter_map(decide).collect()
}

/// How long one attempt waits for the exclusive lock on the table, and so the longest time that queries wait behind it.
const ATTEMPT_LOCK_TIMEOUT: &str = "1500ms";
const PAUSE: Duration = Duration::from_secs(1);

/// Adds the columns to the table. Waits for the other loads into the table to end, and
/// requests the exclusive lock on the table for short times only, so that other queries can pass, until `lock_timeout`
/// has passed.
///
/// The columns stay if the load fails later: they are empty then, and the next load fills them.
pub(crate) async fn add(
    client: &Client,
    table: &TableName,
    columns: &[NewColumn],
    lock_timeout: Duration,
) -> Result<()> {
    let is_invalid = |name: &str| name.is_empty() || name.len() > NAME_LIMIT_BYTES || name.contains('\0');
    if let Some(column) = columns.iter().find(|column| is_invalid(&column.name)) {
        let text = format!("cannot add a column with the name {:?} to table {table}", column.spelling);
        return Err(Error::new(Kind::Data, text).hint("use --new-columns ignore to leave the column out"));
    }
    let (began, lock) = (Instant::now(), Lock::of_columns(table, lock_timeout));
    for NewColumn { name, column_type, .. } in columns {
        let column = quote(name);
        let names = minijinja::context! {
            table => table.quoted(),
            column => &column,
            column_type => column_type.unwrap_or(ColumnType::Text).to_string(),
            lock => literal(lock.name()),
            lock_timeout => ATTEMPT_LOCK_TIMEOUT,
        };
        let add = render!("add_column.sql", &names)?;
        loop {
            let remaining = lock_timeout.saturating_sub(began.elapsed());
            locks::set_timeout(client, remaining, false).await?;
            match client.batch_execute(&add).await {
                Ok(()) => break,
                Err(cause) if failure::is_lock_timeout(&cause) && PAUSE < remaining => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(cause) => {
                    let what = format!("cannot add column {column} to table {table}");
                    return Err(failure::statement(what, cause));
                }
            }
        }
    }
    locks::set_timeout(client, lock_timeout, false).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_adds_known_columns_to_tables_of_taxi_only() {
        let column = |name, has_no_values| FileColumn { has_no_values, ..FileColumn::new(name) };
        let fee = LaterColumn { name: "fee".to_owned(), column_type: ColumnType::Double };
        let decided = |asked, made_by_taxi| {
            let unknown = [column("Fee", false), column("empty", true), column("index", false)];
            let decided = decide(&unknown, std::slice::from_ref(&fee), asked, made_by_taxi);
            decided.into_iter().map(|new| (new.name, new.column_type)).collect::<Vec<_>>()
        };
        let expected = |columns: &[(&str, Option<ColumnType>)]| {
            columns.iter().map(|(name, added)| ((*name).to_owned(), *added)).collect::<Vec<_>>()
        };
        let (double, text) = (Some(ColumnType::Double), Some(ColumnType::Text));
        assert_eq!(decided(None, true), expected(&[("fee", double), ("empty", None)]));
        assert_eq!(decided(None, false), expected(&[("fee", None), ("empty", None)]));
        assert_eq!(decided(Some(NewColumns::Refuse), true), expected(&[]));
        let ignored = expected(&[("fee", None), ("empty", None), ("index", None)]);
        assert_eq!(decided(Some(NewColumns::Ignore), true), ignored);
        let added = expected(&[("fee", double), ("empty", text), ("index", text)]);
        assert_eq!(decided(Some(NewColumns::Add), false), added);
    }
}
