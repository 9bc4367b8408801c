//! CSV and JSON files to and from files with one JSON value in each line. Such files stand for Kestra's Ion files.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;

use csv_async::{AsyncReaderBuilder, AsyncWriterBuilder, StringRecord};
use serde_json::{Map, Value as Json, json};

use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::tasks::stored_files;
use crate::flow::yaml::decode::{choices, properties};

choices! {
    /// An encoding.
    pub(crate) enum Charset {
        /// UTF-8.
        Utf8 = "UTF-8",
        /// UTF-8, as Java writes it.
        JavaUtf8 = "UTF_8",
    }
}

properties! {
    /// Converts a CSV file to a file with one JSON object in each line.
    pub(crate) struct CsvToIon as "a CsvToIon task" {
        /// The path of the file.
        "from" => from: Template,
        /// Whether the first line holds the names of the columns.
        "header" => header: bool = true,
        /// The character between the values.
        "fieldSeparator" => field_separator: String = ",".to_owned(),
        /// The quote character.
        "textDelimiter" => text_delimiter: String = "\"".to_owned(),
        /// Number of lines to leave out, after the header.
        "skipRows" => skip_rows: u32 = 0,
        /// Whether to leave out empty lines; they are always left out.
        "skipEmptyRows" => _skip_empty_rows: bool = true,
        /// Whether a line with another number of values is an error.
        "errorOnDifferentFieldCount" => strict: bool = false,
        /// The encoding of the file.
        "charset" => _charset: Charset = Charset::Utf8,
    }
}

impl CsvToIon {
    /// Converts the file, and returns the path of the new file and its number of lines.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let from = stored_files::local(run, &self.from)?;
        let file = tokio::fs::File::open(&from).await.map_err(|cause| Error::file("read", &from, cause))?;
        let invalid = |cause: csv_async::Error| {
            Error::new(Kind::Data, format!("{} is not valid CSV", from.display())).because(cause)
        };
        let mut reader = AsyncReaderBuilder::new()
            .has_headers(self.header)
            .flexible(!self.strict)
            .delimiter(character(run, &self.from, "fieldSeparator", &self.field_separator)?)
            .quote(character(run, &self.from, "textDelimiter", &self.text_delimiter)?)
            .create_reader(file);
        let (path, mut out) = run.context.storage.new_writer("rows.jsonl")?;
        let work = async {
            let header = if self.header {
                reader.headers().await.map_err(invalid)?.clone()
            } else {
                StringRecord::new()
            };
            let (mut record, mut rows, mut skipped) = (StringRecord::new(), 0_u64, 0);
            while reader.read_record(&mut record).await.map_err(invalid)? {
                if skipped < self.skip_rows {
                    skipped += 1;
                    continue;
                }
                writeln!(out, "{}", row(&header, &record))
                    .map_err(|cause| Error::file("write", &path, cause))?;
                rows += 1;
            }
            out.flush().map_err(|cause| Error::file("write", &path, cause))?;
            Ok(rows)
        };
        let rows = run.interrupt.or(work).await?;
        Ok(stored(&path, rows))
    }
}

/// A record as a JSON object, or as a list if there is no header.
fn row(header: &StringRecord, record: &StringRecord) -> Json {
    if header.is_empty() {
        return record.iter().map(|value| json!(value)).collect();
    }
    let entries = header.iter().zip(record.iter());
    Json::Object(entries.map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

fn character(run: &TaskRun<'_>, near: &Template, name: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [character] => Ok(*character),
        _ => Err(run.fault(near.position, format!("`{name}` takes one ASCII character"))),
    }
}

properties! {
    /// Converts a file with one JSON object in each line to a CSV file.
    pub(crate) struct IonToCsv as "an IonToCsv task" {
        /// The path of the file.
        "from" => from: Template,
        /// Whether to write the names of the columns in the first line.
        "header" => header: bool = true,
        /// The character between the values.
        "fieldSeparator" => field_separator: String = ",".to_owned(),
        /// The quote character.
        "textDelimiter" => text_delimiter: String = "\"".to_owned(),
        /// The line end.
        "lineDelimiter" => line_delimiter: LineEnd = LineEnd::Lf,
        /// Whether to quote every value.
        "alwaysDelimitText" => always_delimit_text: bool = false,
        /// The encoding of the file.
        "charset" => _charset: Charset = Charset::Utf8,
    }
}

choices! {
    /// A line end.
    pub(crate) enum LineEnd {
        /// LF.
        Lf = "\n",
        /// CR LF.
        CrLf = "\r\n",
    }
}

impl IonToCsv {
    /// Converts the file, and returns the path of the new file and its number of rows. The columns are those of the
    /// first line. Null is an empty value.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let from = stored_files::local(run, &self.from)?;
        let path = run.context.storage.new_file("rows.csv")?;
        let write_error = |cause| Error::file("write", &path, cause);
        let file = tokio::fs::File::create(&path).await.map_err(write_error)?;
        let failed = |cause: csv_async::Error| {
            Error::new(Kind::Io, format!("cannot write {}", path.display())).because(cause)
        };
        let mut writer = AsyncWriterBuilder::new()
            .has_headers(false)
            .delimiter(character(run, &self.from, "fieldSeparator", &self.field_separator)?)
            .quote(character(run, &self.from, "textDelimiter", &self.text_delimiter)?)
            .quote_style(match self.always_delimit_text {
                true => csv_async::QuoteStyle::Always,
                false => csv_async::QuoteStyle::Necessary,
            })
            .terminator(match self.line_delimiter {
                LineEnd::Lf => csv_async::Terminator::Any(b'\n'),
                LineEnd::CrLf => csv_async::Terminator::CRLF,
            })
            .create_writer(file);
        let mut values = Values::open(from)?;
        let work = async {
            let (mut columns, mut rows) = (None, 0_u64);
            while let Some(value) = values.read()? {
                let columns: &Vec<String> = match &columns {
                    Some(columns) => columns,
                    None => {
                        let names = names(&value);
                        if self.header && !names.is_empty() {
                            writer.write_record(&names).await.map_err(failed)?;
                        }
                        columns.insert(names)
                    }
                };
                writer.write_record(cells(value, columns)).await.map_err(failed)?;
                rows += 1;
            }
            writer.flush().await.map_err(write_error)?;
            Ok(rows)
        };
        let rows = run.interrupt.or(work).await?;
        Ok(stored(&path, rows))
    }
}

/// The keys of an object; empty for a list.
fn names(value: &Json) -> Vec<String> {
    value.as_object().map(|row| row.keys().cloned().collect()).unwrap_or_default()
}

/// The cells of a row, in the order of the columns.
fn cells(value: Json, columns: &[String]) -> Vec<String> {
    let text = |value: Json| match value {
        Json::Null => String::new(),
        Json::String(text) => text,
        other => other.to_string(),
    };
    match value {
        Json::Object(mut row) => {
            columns.iter().map(|name| text(row.remove(name).unwrap_or(Json::Null))).collect()
        }
        Json::Array(row) => row.into_iter().map(text).collect(),
        other => vec![text(other)],
    }
}

properties! {
    /// Converts a JSON file to a file with one JSON value in each line.
    pub(crate) struct JsonToIon as "a JsonToIon task" {
        /// The path of the file.
        "from" => from: Template,
        /// Whether each line is a value. Otherwise the file is one list or one object.
        "newLine" => new_line: bool = true,
        /// The encoding of the file.
        "charset" => _charset: Charset = Charset::Utf8,
    }
}

impl JsonToIon {
    /// Converts the file, and returns the path of the new file and its number of lines.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let from = stored_files::local(run, &self.from)?;
        let (path, mut out) = run.context.storage.new_writer("rows.jsonl")?;
        let mut rows = 0_u64;
        let mut write = |value: &Json| {
            rows += 1;
            writeln!(out, "{value}").map_err(|cause| Error::file("write", &path, cause))
        };
        if self.new_line {
            let mut values = Values::open(from)?;
            while let Some(value) = values.read()? {
                write(&value)?;
                run.interrupt.raised().map_or(Ok(()), Err)?;
            }
        } else {
            match whole(&from)? {
                Json::Array(items) => items.iter().try_for_each(write)?,
                value => write(&value)?,
            }
        }
        out.flush().map_err(|cause| Error::file("write", &path, cause))?;
        Ok(stored(&path, rows))
    }
}

/// Maximum size of a JSON file that is not read line by line: it is kept in memory.
const WHOLE_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// The file as one JSON value.
fn whole(path: &PathBuf) -> Result<Json> {
    let read_error = |cause| Error::file("read", path, cause);
    let file = std::fs::File::open(path).map_err(read_error)?;
    if file.metadata().map_err(read_error)?.len() > WHOLE_LIMIT_BYTES {
        let text = format!("{} has more than {WHOLE_LIMIT_BYTES} bytes", path.display());
        return Err(Error::new(Kind::Data, text).hint("use a file with one JSON value in each line"));
    }
    serde_json::from_reader(BufReader::new(file.take(WHOLE_LIMIT_BYTES))).map_err(|cause| {
        Error::new(Kind::Data, format!("{} is not valid JSON", path.display())).because(cause)
    })
}

properties! {
    /// Converts a file with one JSON value in each line to a JSON file.
    pub(crate) struct IonToJson as "an IonToJson task" {
        /// The path of the file.
        "from" => from: Template,
        /// Whether to write each value in a line. Otherwise the file is one list.
        "newLine" => new_line: bool = true,
        /// Whether to keep Ion's annotations.
        "shouldKeepAnnotations" => _annotations: bool = false => "files of taxi have no annotations",
        /// The encoding of the file.
        "charset" => _charset: Charset = Charset::Utf8,
    }
}

impl IonToJson {
    /// Converts the file, and returns the path of the new file and its number of values.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let mut values = Values::open(stored_files::local(run, &self.from)?)?;
        let (path, mut out) =
            run.context.storage.new_writer(if self.new_line { "rows.jsonl" } else { "rows.json" })?;
        let write_error = |cause| Error::file("write", &path, cause);
        let mut rows = 0_u64;
        while let Some(value) = values.read()? {
            let before = match (self.new_line, rows) {
                (true, _) => "",
                (false, 0) => "[",
                (false, _) => ",",
            };
            let after = if self.new_line { "\n" } else { "" };
            write!(out, "{before}{value}{after}").map_err(write_error)?;
            rows += 1;
            run.interrupt.raised().map_or(Ok(()), Err)?;
        }
        if !self.new_line {
            out.write_all(if rows == 0 { b"[]" } else { b"]" }).map_err(write_error)?;
        }
        out.flush().map_err(write_error)?;
        Ok(stored(&path, rows))
    }
}

/// The values of a file with one JSON value in each line.
struct Values {
    path: PathBuf,
    reader: BufReader<std::fs::File>,
    line: u64,
    text: String,
}

impl Values {
    fn open(path: PathBuf) -> Result<Self> {
        let file = std::fs::File::open(&path).map_err(|cause| Error::file("read", &path, cause))?;
        Ok(Self { path, reader: BufReader::new(file), line: 0, text: String::new() })
    }

    /// The value of the next line that is not empty.
    fn read(&mut self) -> Result<Option<Json>> {
        loop {
            self.text.clear();
            self.line += 1;
            let read = self.reader.read_line(&mut self.text);
            if read.map_err(|cause| Error::file("read", &self.path, cause))? == 0 {
                return Ok(None);
            }
            if !self.text.trim().is_empty() {
                let invalid = |cause| {
                    let text = format!("{}, line {} is not valid JSON", self.path.display(), self.line);
                    Error::new(Kind::Data, text).because(cause)
                };
                return serde_json::from_str(&self.text).map(Some).map_err(invalid);
            }
        }
    }
}

fn stored(path: &std::path::Path, rows: u64) -> Outputs {
    let outputs: [(&str, Json); 2] = [("uri", json!(path.display().to_string())), ("size", json!(rows))];
    outputs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Map<_, _>>()
}
