//! COPY between a file and a table.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::database::failure;
use crate::database::identifier::{TableName, column};
use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::flow::context::connection::Connection;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{choices, properties};

/// Number of bytes sent in one message.
const CHUNK_BYTES: usize = 64 * 1024;

choices! {
    /// A file format of COPY.
    pub(crate) enum Format {
        /// PostgreSQL's text format, separated by tabs by default.
        Text = "TEXT",
        /// CSV, separated by commas by default.
        Csv = "CSV",
        /// PostgreSQL's binary format.
        Binary = "BINARY",
    }
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Binary => "binary",
        }
    }
}

properties! {
    /// The format of a file for COPY.
    pub(crate) struct FileFormat as "a file format" {
        /// The file format.
        "format" => format: Format = Format::Text,
        /// Whether the first line holds the column names.
        "header" => header: Option<bool> = None,
        /// The separator between values.
        "delimiter" => delimiter: Option<Template> = None,
        /// The text that represents NULL.
        "nullString" => null_string: Option<Template> = None,
        /// The quote character of CSV.
        "quote" => quote: Option<Template> = None,
        /// The escape character before a quote inside a quoted value.
        "escape" => escape: Option<Template> = None,
        /// The file's encoding.
        "encoding" => encoding: Option<Template> = None,
        /// Columns whose quoted empty values are NULL too, for CopyIn.
        "forceNull" => force_null: Vec<Template> = Vec::new(),
        /// Columns whose values are never NULL, for CopyIn.
        "forceNotNull" => force_not_null: Vec<Template> = Vec::new(),
        /// Columns whose values are always quoted, for CopyOut.
        "forceQuote" => force_quote: Vec<Template> = Vec::new(),
        /// Whether to freeze the rows of a table that the same transaction has created or truncated, for CopyIn.
        "freeze" => freeze: bool = false,
    }
}

impl FileFormat {
    /// The options of the COPY statement.
    fn options(&self, run: &TaskRun<'_>) -> Result<String> {
        let mut options = format!("FORMAT {}", self.format.name());
        if let Some(header) = self.header {
            let _ = write!(options, ", HEADER {header}");
        }
        let texts = [
            ("DELIMITER", &self.delimiter),
            ("NULL", &self.null_string),
            ("QUOTE", &self.quote),
            ("ESCAPE", &self.escape),
            ("ENCODING", &self.encoding),
        ];
        for (name, template) in texts {
            if let Some(template) = template {
                let _ = write!(options, ", {name} {}", literal(&run.fill(template)?));
            }
        }
        let lists = [
            ("FORCE_NULL", &self.force_null),
            ("FORCE_NOT_NULL", &self.force_not_null),
            ("FORCE_QUOTE", &self.force_quote),
        ];
        for (name, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            let _ = write!(options, ", {name}{}", columns(run, names)?);
        }
        if self.freeze {
            options.push_str(", FREEZE true");
        }
        Ok(options)
    }
}

properties! {
    /// Copies a file into a table.
    pub(crate) struct CopyIn as "a CopyIn task" {
        /// The path of the file.
        "from" => from: Template,
        /// The target table.
        "table" => table: Template,
        /// The columns, in the order of the file. Default: all columns.
        "columns" => columns: Vec<Template> = Vec::new(),
        with {
            /// The file format.
            format: FileFormat,
            /// The database to connect to.
            connection: Connection,
        }
    }
}

properties! {
    /// Copies a table, or the rows of a query, into a file in the run's storage.
    pub(crate) struct CopyOut as "a CopyOut task" {
        /// The query to copy. A task has either `sql` or `table`, not both.
        "sql" => sql: Option<Template> = None,
        /// The table to copy. A task has either `sql` or `table`, not both.
        "table" => table: Option<Template> = None,
        /// The table's columns. Default: all columns.
        "columns" => columns: Vec<Template> = Vec::new(),
        with {
            /// The file format.
            format: FileFormat,
            /// The database to connect to.
            connection: Connection,
        }
    }
}

impl CopyIn {
    /// Copies the file into the table.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let table = table(run, &self.table)?;
        let columns = columns(run, &self.columns)?;
        let copy =
            format!("COPY {}{columns} FROM STDIN WITH ({})", table.quoted(), self.format.options(run)?);
        let from = run.fill(&self.from)?;
        let Source::File(path) = Source::parse(&from)? else {
            let text = format!(
                "{from} is not a local file; download it first with io.kestra.plugin.core.http.Download"
            );
            return Err(run.fault(self.from.position, text));
        };
        let session = run.session(Some(&self.connection)).await?;
        let failed =
            |cause| failure::statement(format!("cannot copy {} into {table}", path.display()), cause);
        let work = async {
            let mut file =
                tokio::fs::File::open(&path).await.map_err(|cause| Error::file("read", &path, cause))?;
            let mut sink = std::pin::pin!(session.client.copy_in(&copy).await.map_err(failed)?);
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                let limit = CHUNK_BYTES as u64;
                let read = (&mut file).take(limit).read_to_end(&mut chunk).await;
                if read.map_err(|cause| Error::file("read", &path, cause))? == 0 {
                    break;
                }
                // the server's error comes from `finish` below
                if sink.send(Bytes::from(chunk)).await.is_err() {
                    break;
                }
            }
            sink.as_mut().finish().await.map_err(failed)
        };
        let rows = session.guard(&run.interrupt, work).await?;
        session.release().await;
        Ok(Outputs::from_iter([("rowCount".to_owned(), json!(rows))]))
    }
}

impl CopyOut {
    /// Copies the rows into a new file.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let source = match (&self.sql, &self.table) {
            (Some(sql), None) => format!("({})", run.fill(sql)?.trim().trim_end_matches(';')),
            (None, Some(name)) => {
                format!("{}{}", table(run, name)?.quoted(), columns(run, &self.columns)?)
            }
            _ => {
                return Err(Error::new(
                    Kind::Configuration,
                    "a CopyOut task needs either `sql` or `table`, not both",
                ));
            }
        };
        let copy = format!("COPY {source} TO STDOUT WITH ({})", self.format.options(run)?);
        let path = run.context.storage.new_file("copy")?;
        let session = run.session(Some(&self.connection)).await?;
        let failed = |cause| failure::statement("cannot copy the rows to a file", cause);
        let write_error = |cause| Error::file("write", &path, cause);
        let work = async {
            let mut file = tokio::fs::File::create(&path).await.map_err(write_error)?;
            let mut stream = std::pin::pin!(session.client.copy_out(&copy).await.map_err(failed)?);
            let mut rows = 0_u64;
            while let Some(row) = stream.next().await {
                file.write_all(&row.map_err(failed)?).await.map_err(write_error)?;
                rows += 1;
            }
            file.flush().await.map_err(write_error)?;
            // a header line, or the trailer of the binary format, arrives as an extra row
            let has_extra_row =
                self.format.header.unwrap_or_default() || self.format.format == Format::Binary;
            Ok(rows.saturating_sub(has_extra_row.into()))
        };
        let rows = session.guard(&run.interrupt, work).await?;
        session.release().await;
        let outputs = [("uri", json!(path.display().to_string())), ("rowCount", json!(rows))];
        Ok(outputs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
    }
}

fn table(run: &TaskRun<'_>, template: &Template) -> Result<TableName> {
    TableName::parse(&run.fill(template)?).map_err(|error| run.fault(template.position, error.to_string()))
}

fn columns(run: &TaskRun<'_>, templates: &[Template]) -> Result<String> {
    let name = |template: &Template| {
        column(&run.fill(template)?).map_err(|error| run.fault(template.position, error.to_string()))
    };
    let names: Vec<String> = templates.iter().map(name).collect::<Result<_>>()?;
    Ok(if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) })
}

/// Quotes a text as a SQL string literal.
fn literal(text: &str) -> String {
    let (prefix, text) =
        if text.contains('\\') { ("E", text.replace('\\', "\\\\")) } else { ("", text.to_owned()) };
    format!("{prefix}'{}'", text.replace('\'', "''"))
}
