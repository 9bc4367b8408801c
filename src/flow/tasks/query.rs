//! SQL statements on PostgreSQL.

use std::io::Write as _;

use futures_util::TryStreamExt as _;
use serde_json::{Map, Number, Value as Json, json};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::database::failure;
use crate::database::script;
use crate::error::{Error, Kind, Result};
use crate::flow::context::connection::Connection;
use crate::flow::context::storage::Storage;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Entries, choices, properties};

/// Maximum number of rows in memory; `STORE` has no limit.
const FETCH_LIMIT_ROWS: usize = 100_000;

/// Maximum length of a `numeric` that a JSON number represents exactly. Longer values are returned as text.
const EXACT_DIGITS: usize = 15;

choices! {
    /// What to do with a query's rows.
    pub(crate) enum FetchType {
        /// Return all rows as the output `rows`.
        Fetch = "FETCH",
        /// Return the first row as the output `row`.
        FetchOne = "FETCH_ONE",
        /// Store the rows in a file, one JSON object per line, and return its path as the output `uri`.
        Store = "STORE",
        /// Discard the rows.
        None = "NONE",
    }
}

properties! {
    /// Runs one SQL statement.
    pub(crate) struct Query as "a Query task" {
        /// The statement.
        "sql" => sql: Template,
        /// Values for `:name` parameters in the statement, always treated as data, never as SQL.
        "parameters" => parameters: Entries<Template> = Entries::default(),
        /// What to do with the statement's rows.
        "fetchType" => fetch_type: FetchType = FetchType::None,
        with {
            /// The database to connect to.
            connection: Connection,
        }
    }
}

impl Query {
    /// Runs the statement.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let sql = run.fill(&self.sql)?;
        let sql = script::bind(&sql, &values(run, &self.parameters)?);
        let [statement] = script::statements(&sql)[..] else {
            let text =
                "a Query task takes exactly one SQL statement; use a Queries task for several statements";
            return Err(run.fault(self.sql.position, text.to_owned()));
        };
        let session = run.session(Some(&self.connection)).await?;
        let storage = &run.context.storage;
        let outputs =
            session.guard(&run.interrupt, execute(&session.client, statement, self.fetch_type, storage));
        let outputs = outputs.await?;
        session.release().await;
        Ok(outputs)
    }
}

properties! {
    /// Runs SQL statements one after another.
    pub(crate) struct Queries as "a Queries task" {
        /// The statements, separated by semicolons.
        "sql" => sql: Template,
        /// Values for `:name` parameters in the statements, always treated as data, never as SQL.
        "parameters" => parameters: Entries<Template> = Entries::default(),
        /// What to do with the statements' rows.
        "fetchType" => fetch_type: FetchType = FetchType::None,
        /// Whether to run the statements in one transaction: all or nothing.
        "transaction" => transaction: bool = true,
        with {
            /// The database to connect to.
            connection: Connection,
        }
    }
}

impl Queries {
    /// Runs the statements.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let sql = run.fill(&self.sql)?;
        let sql = script::bind(&sql, &values(run, &self.parameters)?);
        let statements = script::statements(&sql);
        let session = run.session(Some(&self.connection)).await?;
        let storage = &run.context.storage;
        let work = async {
            let client = &session.client;
            // a single statement is its own transaction, and some statements refuse to run in a transaction block
            let transaction = self.transaction && statements.len() > 1;
            if transaction {
                control(client, "BEGIN").await?;
            }
            let mut outputs = Vec::with_capacity(statements.len());
            for (index, statement) in statements.iter().enumerate() {
                let outcome = execute(client, statement, self.fetch_type, storage).await;
                let outcome = outcome.map_err(|error| {
                    let message = format!("statement {} of {} failed", index + 1, statements.len());
                    Error::new(error.kind(), message).because(error)
                })?;
                // a statement that returns no rows has no outputs
                outputs.extend((!outcome.is_empty()).then_some(Json::Object(outcome)));
            }
            if transaction {
                control(client, "COMMIT").await?;
            }
            Ok(outputs)
        };
        let outputs = session.guard(&run.interrupt, work).await?;
        session.release().await;
        Ok(Outputs::from_iter([("outputs".to_owned(), Json::Array(outputs))]))
    }
}

fn values(run: &TaskRun<'_>, parameters: &Entries<Template>) -> Result<Vec<(String, String)>> {
    parameters.0.iter().map(|(name, value)| Ok((name.clone(), run.fill(value)?))).collect()
}

async fn control(client: &Client, statement: &str) -> Result<()> {
    client.batch_execute(statement).await.map_err(|cause| failed(statement, cause))
}

/// Runs one statement; the outputs are `size` and, depending on the fetch type, `rows`, `row` or `uri`.
async fn execute(
    client: &Client,
    statement: &str,
    fetch_type: FetchType,
    storage: &Storage,
) -> Result<Outputs> {
    if fetch_type == FetchType::None {
        control(client, statement).await?;
        return Ok(Outputs::new());
    }
    let failed = |cause| failed(statement, cause);
    // the simple protocol returns values as text; only the extended protocol reports their types
    let types: Vec<Type> = client
        .prepare(statement)
        .await
        .map_err(failed)?
        .columns()
        .iter()
        .map(|column| column.type_().clone())
        .collect();
    if types.is_empty() {
        control(client, statement).await?;
        return Ok(Outputs::new());
    }
    let messages = client.simple_query_raw(statement).await.map_err(failed)?;
    let mut messages = std::pin::pin!(messages);
    let mut rows = Vec::new();
    let mut size = 0_u64;
    let mut file = match fetch_type {
        FetchType::Store => Some(storage.new_writer("rows.jsonl")?),
        _ => None,
    };
    while let Some(message) = messages.try_next().await.map_err(failed)? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        size += 1;
        match (fetch_type, &mut file) {
            (FetchType::FetchOne, _) if size > 1 => {}
            (_, Some((path, file))) => {
                writeln!(file, "{}", object(&row, &types))
                    .map_err(|cause| Error::file("write", path, cause))?;
            }
            _ if rows.len() == FETCH_LIMIT_ROWS => {
                let text = format!("the query returned more than {FETCH_LIMIT_ROWS} rows");
                return Err(Error::new(Kind::Configuration, text)
                    .hint("set `fetchType: STORE` to write the rows to a file"));
            }
            _ => rows.push(object(&row, &types)),
        }
    }
    let mut outputs = Outputs::from_iter([("size".to_owned(), json!(size))]);
    match (fetch_type, file) {
        (_, Some((path, mut file))) => {
            file.flush().map_err(|cause| Error::file("write", &path, cause))?;
            outputs.insert("uri".to_owned(), json!(path.display().to_string()));
        }
        (FetchType::FetchOne, None) => {
            outputs.insert("row".to_owned(), rows.into_iter().next().unwrap_or_else(|| json!({})));
        }
        (_, None) => _ = outputs.insert("rows".to_owned(), Json::Array(rows)),
    }
    Ok(outputs)
}

fn failed(statement: &str, cause: tokio_postgres::Error) -> Error {
    const SHOWN_CHARS: usize = 60;
    let first_line = statement.lines().next().unwrap_or_default();
    let short: String = first_line.chars().take(SHOWN_CHARS).collect();
    let ellipsis = if short.len() < statement.len() { " …" } else { "" };
    failure::statement(format!("the statement {short}{ellipsis} failed"), cause)
}

/// A row as JSON: numbers, booleans and JSON values as such, everything else as the server's text.
fn object(row: &SimpleQueryRow, types: &[Type]) -> Json {
    let value = |index: usize| {
        let Some(text) = row.get(index) else { return Json::Null };
        match types.get(index) {
            Some(&Type::BOOL) => json!(text == "t"),
            Some(
                &(Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::NUMERIC
                | Type::OID),
            ) if text.len() <= EXACT_DIGITS || types[index] != Type::NUMERIC => {
                text.parse::<Number>().map_or_else(|_| json!(text), Json::Number)
            }
            Some(&(Type::JSON | Type::JSONB)) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            _ => json!(text),
        }
    };
    let values =
        row.columns().iter().enumerate().map(|(index, column)| (column.name().to_owned(), value(index)));
    Json::Object(values.collect::<Map<_, _>>())
}
