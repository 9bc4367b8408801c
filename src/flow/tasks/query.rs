//! SQL statements on PostgreSQL.

use std::io::Write as _;

use futures_util::TryStreamExt as _;
use serde_json::{Map, Number, Value as Json, json};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::database::failure;
use crate::database::script;
use crate::error::{Detail, Error, Kind, Result};
use crate::flow::context::connection::Connection;
use crate::flow::context::storage::Storage;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Entries, choices, properties};
use crate::report::event::Level;

/// How often the statements run if other sessions create the same objects at the same time.
const CREATION_ATTEMPTS: u32 = 5;

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
    /// What a task does with the rows of its statements, and how it runs them.
    pub(crate) struct Fetch as "a query" {
        /// What to do with the rows.
        "fetchType" => fetch_type: Option<FetchType> = None,
        /// Whether to return all rows; the older way to write `fetchType: FETCH`.
        "fetch" => fetch: bool = false,
        /// Whether to return the first row; the older way to write `fetchType: FETCH_ONE`.
        "fetchOne" => fetch_one: bool = false,
        /// Whether to store the rows in a file; the older way to write `fetchType: STORE`.
        "store" => store: bool = false,
        /// Number of rows that the server sends at a time.
        "fetchSize" => _fetch_size: Option<u32> = None => "the server sends the rows one after another",
        /// The time zone of the session.
        "timeZoneId" => time_zone: Option<Template> = None,
    }
}

impl Fetch {
    fn fetch_type(&self) -> FetchType {
        self.fetch_type.unwrap_or(match (self.fetch, self.fetch_one, self.store) {
            (_, _, true) => FetchType::Store,
            (_, true, _) => FetchType::FetchOne,
            (true, ..) => FetchType::Fetch,
            _ => FetchType::None,
        })
    }

    /// The statement that sets the session's time zone, if the task has one.
    fn set_time_zone(&self, run: &TaskRun<'_>) -> Result<Option<String>> {
        let zone = run.fill_optional(self.time_zone.as_ref())?;
        Ok(zone.map(|zone| format!("SET TIME ZONE '{}'", zone.replace('\'', "''"))))
    }
}

properties! {
    /// Runs SQL.
    pub(crate) struct Query as "a Query task" {
        /// The statement. Several statements are one transaction, and the rows are those of the first.
        "sql" => sql: Template,
        /// A statement that runs after it, in the same transaction.
        "afterSQL" => after_sql: Option<Template> = None,
        /// Values for `:name` parameters in the statement, always treated as data, never as SQL.
        "parameters" => parameters: Entries<Template> = Entries::default(),
        /// Whether each statement is a transaction of its own.
        "autoCommit" => _auto_commit: bool = true => "the statements of a task are one transaction",
        with {
            /// What to do with the rows.
            fetch: Fetch,
            /// The database to connect to.
            connection: Connection,
        }
    }
}

impl Query {
    /// Runs the statement.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let values = values(run, &self.parameters)?;
        let sql = script::bind(&run.fill(&self.sql)?, &values);
        let after = script::bind(&run.fill_optional(self.after_sql.as_ref())?.unwrap_or_default(), &values);
        let mut statements: Vec<(&str, FetchType)> =
            script::statements(&sql).into_iter().map(|statement| (statement, FetchType::None)).collect();
        let Some((_, fetch_type)) = statements.first_mut() else {
            return Err(run.fault(self.sql.position, "a Query task takes an SQL statement".to_owned()));
        };
        *fetch_type = self.fetch.fetch_type();
        statements.extend(script::statements(&after).into_iter().map(|after| (after, FetchType::None)));
        let outputs = run_statements(run, &self.connection, &self.fetch, &statements, true).await?;
        Ok(outputs.into_iter().next().unwrap_or_default())
    }
}

properties! {
    /// Runs SQL statements one after another.
    pub(crate) struct Queries as "a Queries task" {
        /// The statements, separated by semicolons.
        "sql" => sql: Template,
        /// Statements that run after them, in the same transaction.
        "afterSQL" => after_sql: Option<Template> = None,
        /// Values for `:name` parameters in the statements, always treated as data, never as SQL.
        "parameters" => parameters: Entries<Template> = Entries::default(),
        /// Whether to run the statements in one transaction: all or nothing.
        "transaction" => transaction: bool = true,
        with {
            /// What to do with the rows.
            fetch: Fetch,
            /// The database to connect to.
            connection: Connection,
        }
    }
}

impl Queries {
    /// Runs the statements. A statement that returns no rows has no outputs.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let values = values(run, &self.parameters)?;
        let sql = script::bind(&run.fill(&self.sql)?, &values);
        let after = script::bind(&run.fill_optional(self.after_sql.as_ref())?.unwrap_or_default(), &values);
        let fetch_type = self.fetch.fetch_type();
        let mut statements: Vec<(&str, FetchType)> =
            script::statements(&sql).into_iter().map(|statement| (statement, fetch_type)).collect();
        statements.extend(script::statements(&after).into_iter().map(|after| (after, FetchType::None)));
        let outputs =
            run_statements(run, &self.connection, &self.fetch, &statements, self.transaction).await?;
        let outputs = outputs.into_iter().filter(|outputs| !outputs.is_empty()).map(Json::Object);
        Ok(Outputs::from_iter([("outputs".to_owned(), outputs.collect())]))
    }
}

fn values(run: &TaskRun<'_>, parameters: &Entries<Template>) -> Result<Vec<(String, String)>> {
    parameters.0.iter().map(|(name, value)| Ok((name.clone(), run.fill(value)?))).collect()
}

/// Runs the statements on one session, and returns the outputs of each. If another session has created an object of
/// the same name at the same time, the statements run again, because nothing of them has been committed.
async fn run_statements(
    run: &TaskRun<'_>,
    connection: &Connection,
    fetch: &Fetch,
    statements: &[(&str, FetchType)],
    transaction: bool,
) -> Result<Vec<Outputs>> {
    // a single statement is its own transaction, and some statements refuse to run in a transaction block
    let in_block = transaction && statements.len() > 1;
    let is_atomic = in_block || statements.len() == 1;
    let set_time_zone = fetch.set_time_zone(run)?;
    let session = run.session(Some(connection)).await?;
    let work = async {
        let client = &session.client;
        if let Some(statement) = &set_time_zone {
            control(client, statement).await?;
        }
        let mut attempts = 1;
        loop {
            match attempt(client, statements, in_block, &run.context.storage).await {
                Err(error)
                    if is_atomic
                        && attempts < CREATION_ATTEMPTS
                        && error.detail() == Some(Detail::ConcurrentCreation) =>
                {
                    run.log(
                        Level::Info,
                        "another session has created the same object: running the statements again",
                    );
                    if in_block {
                        control(client, "ROLLBACK").await?;
                    }
                    attempts += 1;
                }
                result => return result,
            }
        }
    };
    let outputs = session.guard(&run.interrupt, work).await?;
    session.release().await;
    Ok(outputs)
}

async fn attempt(
    client: &Client,
    statements: &[(&str, FetchType)],
    in_block: bool,
    storage: &Storage,
) -> Result<Vec<Outputs>> {
    if in_block {
        control(client, "BEGIN").await?;
    }
    let mut outputs = Vec::with_capacity(statements.len());
    for (index, (statement, fetch_type)) in statements.iter().enumerate() {
        let outcome = execute(client, statement, *fetch_type, storage).await;
        outputs.push(match outcome {
            Err(error) if statements.len() > 1 => {
                let message = format!("statement {} of {} failed", index + 1, statements.len());
                let detail = error.detail();
                let error = Error::new(error.kind(), message).because(error);
                return Err(detail.into_iter().fold(error, Error::with_detail));
            }
            outcome => outcome?,
        });
    }
    if in_block {
        control(client, "COMMIT").await?;
    }
    Ok(outputs)
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
