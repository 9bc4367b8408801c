//! One statement for each line of a file, such as the rows that a query has stored.

use std::error::Error as StdError;
use std::io::{BufRead as _, BufReader};

use bytes::BytesMut;
use futures_util::future::try_join_all;
use serde_json::{Value as Json, json};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use crate::database::identifier::{TableName, column};
use crate::database::{failure, script};
use crate::error::{Error, Kind, Result};
use crate::flow::context::connection::Connection;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::tasks::stored_files;
use crate::flow::yaml::decode::properties;

properties! {
    /// Runs one statement for each line of a file, all in one transaction.
    pub(crate) struct Batch as "a Batch task" {
        /// The path of the file: one JSON object or list in each line.
        "from" => from: Template,
        /// The statement, with a `?` for each value. Default: an INSERT into `table`.
        "sql" => sql: Option<Template> = None,
        /// The table to insert into, if there is no `sql`.
        "table" => table: Option<Template> = None,
        /// The keys of the values, in the order of the placeholders. Default: the values of the line in their order.
        "columns" => columns: Vec<Template> = Vec::new(),
        /// Number of lines that are sent together.
        "chunk" => chunk: u32 = 1000,
        with {
            /// The database to connect to.
            connection: Connection,
        }
    }
}

impl Batch {
    /// Runs the statement for each line; the outputs are the numbers of lines and of changed rows.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let from = stored_files::local(run, &self.from)?;
        let columns: Vec<String> =
            self.columns.iter().map(|column| run.fill(column)).collect::<Result<_>>()?;
        let read_error = |cause| Error::file("read", &from, cause);
        let mut lines = BufReader::new(std::fs::File::open(&from).map_err(read_error)?).lines();
        let mut line = 0_u64;
        let mut next_chunk = || {
            let mut rows = Vec::new();
            for text in lines.by_ref().take(self.chunk.max(1) as usize) {
                line += 1;
                let row = values(&text.map_err(read_error)?, &columns).map_err(|reason| {
                    Error::new(Kind::Data, format!("{}, line {line}: {reason}", from.display()))
                })?;
                rows.push(row);
            }
            Ok::<_, Error>(rows)
        };
        let mut rows = next_chunk()?;
        let sql = self.statement(run, &columns, rows.first().map_or(0, Vec::len))?;
        let session = run.session(Some(&self.connection)).await?;
        let work = async {
            let client = &session.client;
            let failed = |cause| failure::statement("the statement of the batch failed", cause);
            client.batch_execute("BEGIN").await.map_err(failed)?;
            let statement = client.prepare(&sql).await.map_err(failed)?;
            let (mut count, mut updated) = (0, 0);
            while !rows.is_empty() {
                count += rows.len() as u64;
                updated += execute(client, &statement, &rows, count).await?;
                rows = next_chunk()?;
            }
            client.batch_execute("COMMIT").await.map_err(failed)?;
            Ok((count, updated))
        };
        let (count, updated) = session.guard(&run.interrupt, work).await?;
        session.release().await;
        let outputs = [("rowCount", json!(count)), ("updatedCount", json!(updated))];
        Ok(outputs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
    }

    /// The statement, with numbered placeholders.
    fn statement(&self, run: &TaskRun<'_>, columns: &[String], values: usize) -> Result<String> {
        if let Some(template) = &self.sql {
            let sql = run.fill(template)?;
            let [statement] = script::statements(&sql)[..] else {
                let text = "a Batch task takes exactly one SQL statement".to_owned();
                return Err(run.fault(template.position, text));
            };
            return Ok(script::number_placeholders(statement).0);
        }
        let Some(template) = &self.table else {
            return Err(run.fault(self.from.position, "a Batch task needs `sql` or `table`".to_owned()));
        };
        let fault = |error: Error| run.fault(template.position, error.to_string());
        let table = TableName::parse(&run.fill(template)?).map_err(fault)?;
        let names: Vec<String> =
            columns.iter().map(|name| column(name)).collect::<Result<_>>().map_err(fault)?;
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        let placeholders: Vec<String> = (1..=values).map(|number| format!("${number}")).collect();
        Ok(format!("INSERT INTO {}{names} VALUES ({})", table.quoted(), placeholders.join(", ")))
    }
}

/// The values of a line: those of the columns, or all of them.
fn values(line: &str, columns: &[String]) -> Result<Vec<Text>, String> {
    match serde_json::from_str(line) {
        Ok(Json::Object(row)) if columns.is_empty() => {
            Ok(row.into_iter().map(|(_, value)| Text::of(value)).collect())
        }
        Ok(Json::Object(mut row)) => {
            Ok(columns.iter().map(|name| Text::of(row.remove(name).unwrap_or(Json::Null))).collect())
        }
        Ok(Json::Array(row)) => Ok(row.into_iter().map(Text::of).collect()),
        Ok(_) => Err("expected a JSON object or a list".to_owned()),
        Err(cause) => Err(format!("expected a JSON object or a list: {cause}")),
    }
}

/// Runs the statement for each row without waiting for the one before, and returns the number of changed rows.
async fn execute(client: &Client, statement: &Statement, rows: &[Vec<Text>], last: u64) -> Result<u64> {
    let expected = statement.params().len();
    let runs = rows.iter().enumerate().map(|(index, row)| async move {
        let line = last - (rows.len() - index) as u64 + 1;
        if row.len() != expected {
            let text = format!("line {line} has {} values, but the statement takes {expected}", row.len());
            return Err(Error::new(Kind::Data, text));
        }
        let values = row.iter().map(|value| value as &(dyn ToSql + Sync));
        let values: Vec<_> = values.collect();
        let result = client.execute(statement, &values).await;
        result.map_err(|cause| failure::statement(format!("the statement failed for line {line}"), cause))
    });
    Ok(try_join_all(runs).await?.into_iter().sum())
}

/// A value that the server reads from text, whatever the type of its column.
#[derive(Debug)]
struct Text(Option<String>);

impl Text {
    fn of(value: Json) -> Self {
        Self(match value {
            Json::Null => None,
            Json::String(text) => Some(text),
            other => Some(other.to_string()),
        })
    }
}

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        Ok(match &self.0 {
            None => IsNull::Yes,
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
