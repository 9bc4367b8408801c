//! Loads a lookup table, such as that of the taxi zones: makes the rows of a small table those of a CSV file.
//!
//! In: the candidates of the file, the table and its columns. Out: the summary, and a row in the ledger. Everything
//! happens in one transaction, and rows that do not change are not touched. Refused: a file with other columns, or one
//! that is too large to be a lookup table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use csv_async::{AsyncReaderBuilder, ByteRecord};
use serde_json::{Map, Value};
use sha2::Digest as _;
use tokio_postgres::GenericClient;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::candidates::{self, Candidate};
use super::options::Options;
use super::sessions::Sessions;
use crate::database::failure as database_failure;
use crate::database::identifier::{TableName, quote};
use crate::database::locks::{self, Lock};
use crate::database::session;
use crate::database::statement::{render, sql};
use crate::error::{Error, Kind, Result};
use crate::extract::csv::dialect::{BlankLines, Dialect};
use crate::extract::format::{BYTE_ORDER_MARK, Format};
use crate::extract::source::Body;
use crate::interrupt::Interrupt;
use crate::ledger::history;
use crate::ledger::run::Run;
use crate::load::tables;
use crate::report::Report;
use crate::report::failure::Failure;
use crate::report::load_counts::LoadCounts;
use crate::report::log::{Log, RunReport};
use crate::report::phase::{Phase, seconds};
use crate::report::summary::{FileSummary, Outcome};
use crate::report::timeline::Timeline;

/// Maximum length of the file. That of the zones has 12 KB.
const LENGTH_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// Time limit for recording a failed run: the server may no longer answer.
const RECORD_TIMEOUT: Duration = Duration::from_secs(4);

/// A lookup table that has not been loaded yet.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    /// The pipeline's name, including its namespace.
    pub(crate) pipeline: String,
    /// The input values.
    pub(crate) inputs: Vec<(String, String)>,
    /// The SQL file that creates the table if it is missing.
    pub(crate) table_sql: Option<String>,
    /// The table.
    pub(crate) table: TableName,
    /// The columns that the file must have, in any order.
    pub(crate) columns: Vec<String>,
    /// The file to load: the first of these that exists.
    pub(crate) files: Vec<Candidate>,
    /// What to do if none of the files exists.
    pub(crate) if_missing: Option<String>,
}

/// A load in progress.
struct LookupRun<'a> {
    lookup: &'a Lookup,
    options: &'a Options,
    run: Run,
    report: Arc<dyn Report>,
}

impl Lookup {
    /// Loads the file on `sessions`, unless there is nothing to do. Returns the summary, and the error if the load
    /// failed. `prepare` sets what a flow records with its runs.
    pub(crate) async fn load(
        &self,
        mut sessions: Sessions,
        options: &Options,
        interrupt: &Interrupt,
        report: Arc<dyn Report>,
        prepare: impl FnOnce(&mut Run),
    ) -> (FileSummary, Option<Error>) {
        let began = Instant::now();
        let log = Log::default();
        let report: Arc<dyn Report> = Arc::new(RunReport { outer: report, file: None, log: log.clone() });
        let mut run = Run::begin(self.pipeline.clone(), self.inputs.clone(), log);
        run.forced = options.force;
        run.table = Some(self.table.clone());
        prepare(&mut run);
        let mut lookup_run = LookupRun { lookup: self, options, run, report };
        let settings = sessions.settings().clone();
        let loading = session::while_answering(&settings, lookup_run.run(&mut sessions));
        let outcome = interrupt.or(loading).await;
        let LookupRun { run, report, .. } = lookup_run;
        let mut summary = self.summary();
        let error = match outcome {
            Ok(Ok(counts)) => {
                (summary.status, summary.run_id, summary.rows) = (Outcome::Loaded, Some(run.id), counts);
                None
            }
            Ok(Err(previous)) => {
                (summary.status, summary.run_id) = (Outcome::Skipped, Some(previous));
                None
            }
            Err(error) => {
                summary.status = Outcome::of(&error);
                if summary.status != Outcome::NotPublished {
                    summary.run_id = Some(run.id);
                    // the session of the transaction may be the one that failed, or hold the transaction
                    let recording = run.record_failure(&sessions.control, &error);
                    let recorded = tokio::time::timeout(RECORD_TIMEOUT, recording).await;
                    if !matches!(recorded, Ok(Ok(_))) {
                        report.notice("cannot record the end of the run in the ledger");
                    }
                }
                summary.error = Some(Failure::of(&error));
                Some(error)
            }
        };
        (summary.phases, summary.seconds) = (run.phases, seconds(began.elapsed()));
        (summary, error)
    }

    /// The summary before the load.
    pub(crate) fn summary(&self) -> FileSummary {
        FileSummary {
            status: Outcome::NotBegun,
            run_id: None,
            taxi: String::new(),
            filename: self.files.first().map(|file| file.filename.clone()).unwrap_or_default(),
            table: self.table.to_string(),
            rows: LoadCounts::default(),
            phases: Timeline::default(),
            seconds: 0.0,
            error: None,
        }
    }

    fn names(&self) -> minijinja::Value {
        let list = |prefix: &str| {
            let columns = self.columns.iter().map(|name| format!("{prefix}{}", quote(&name.to_lowercase())));
            columns.collect::<Vec<_>>().join(", ")
        };
        minijinja::context! {
            table => self.table.quoted(),
            columns => list(""),
            listed_columns => list("listed."),
            held_columns => list("held."),
        }
    }

    async fn count_rows(&self, client: &impl GenericClient) -> Result<u64> {
        let count = client.query_one(&render!("lookup/count_rows.sql", &self.names())?, &[]).await;
        let what = format!("cannot count the rows of {}", self.table);
        Ok(count.map_err(|cause| database_failure::statement(what, cause))?.get::<_, i64>(0).unsigned_abs())
    }
}

impl LookupRun<'_> {
    /// Loads the file, and returns the counts. The inner error is the run that has already loaded it.
    async fn run(&mut self, sessions: &mut Sessions) -> Result<Result<LoadCounts, Uuid>> {
        let Self { lookup, options, .. } = *self;
        let table = &lookup.table;
        if let Some(file) = &lookup.table_sql {
            let phase = self.report.begin(Phase::CreateTables, None);
            tables::create(&mut sessions.load, table, file).await?;
            self.run.phases.end(phase, "done");
        }
        let phase = self.report.begin(Phase::Prepare, None);
        locks::set_timeout(&sessions.control, options.lock_timeout, false).await?;
        let failed = |cause| database_failure::statement(format!("cannot load the rows of {table}"), cause);
        let transaction = sessions.load.transaction().await.map_err(failed)?;
        transaction.batch_execute(sql!("session.sql")).await.map_err(failed)?;
        transaction.execute(sql!("mark_run.sql"), &[&locks::of_run(self.run.id)]).await.map_err(failed)?;
        let lock = Lock::of_lookup(table, options.lock_timeout);
        locks::take(&transaction, &sessions.control, &lock, self.report.as_ref()).await?;
        let (body, file) = match self.open(&transaction).await? {
            Ok(opened) => opened,
            Err(previous) => {
                self.run.phases.end(phase, "nothing to do");
                return Ok(Err(previous));
            }
        };
        self.run.filename = Some(file.filename.clone());
        self.run.server_pid = Some(sessions.server_pids[0]);
        self.run.source = Some((file.source.address(), body.description.clone()));
        self.run.record_start(&sessions.control).await?;
        self.run.phases.end(phase, "done");

        let phase = self.report.begin(Phase::Load, None);
        let (rows, mut counts) = read(body, &lookup.columns).await?;
        let rows = Json(Value::Array(rows));
        counts.rows_deleted = transaction
            .execute(&render!("lookup/delete_others.sql", &lookup.names())?, &[&rows])
            .await
            .map_err(failed)?;
        counts.rows_inserted = transaction
            .execute(&render!("lookup/insert_missing.sql", &lookup.names())?, &[&rows])
            .await
            .map_err(failed)?;
        counts.rows_matched = counts.rows_read - counts.rows_inserted;
        counts.rows_in_period = lookup.count_rows(&transaction).await?;
        self.run.phases.end(phase, &format!("{} rows inserted", counts.rows_inserted));
        if counts.rows_in_period != counts.rows_read {
            let text = format!(
                "{table} holds {} rows after the load, and the file has {}: a row repeats, or a trigger keeps rows away",
                counts.rows_in_period, counts.rows_read
            );
            return Err(Error::new(Kind::Data, text));
        }
        self.run.record_success(&transaction, &counts).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(Ok(counts))
    }

    /// Opens the file. The inner error is the run that has loaded it, if the source still has the same file and the table
    /// still has its rows.
    async fn open(&self, ledger: &impl GenericClient) -> Result<Result<(Body, Candidate), Uuid>> {
        let Self { lookup, options, report, .. } = self;
        let found = candidates::first_existing(&lookup.files, options.retry_policy, report).await?;
        let Some(file) = lookup.files.get(found.unwrap_or_default()) else {
            return Err(Error::new(Kind::Usage, "no source is named"));
        };
        let previous = match history::previous_load(ledger, &lookup.table, &file.filename).await? {
            Some(previous) if !options.force && previous.address == file.source.address() => {
                let is_held = previous.rows_in_period == Some(lookup.count_rows(ledger).await?);
                is_held.then_some(previous)
            }
            _ => None,
        };
        let opened = match &previous {
            Some(known) => file.source.open_unless(&known.description, options.retry_policy, report).await,
            None => file.source.open(options.retry_policy, report).await.map(Some),
        };
        match (opened, previous) {
            (Ok(None), Some(previous)) => Ok(Err(previous.run_id)),
            (Ok(Some(body)), _) => Ok(Ok((body, file.clone()))),
            (Ok(None), None) => {
                Err(Error::new(Kind::Internal, "a file that was never loaded has not changed"))
            }
            (Err(error), _) => Err(match &lookup.if_missing {
                Some(advice) if error.kind() == Kind::NotPublished => error.hint(advice),
                _ => error,
            }),
        }
    }
}

/// Reads the rows of the file as JSON objects, by the names of the `columns` in lower case. An empty cell is null.
async fn read(mut body: Body, columns: &[String]) -> Result<(Vec<Value>, LoadCounts)> {
    let address = body.address.clone();
    let refuse = |text: String| Error::new(Kind::Data, format!("{address}{text}"));
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LENGTH_LIMIT_BYTES {
            return Err(refuse(" is larger than 4 MiB, which no lookup table is".to_owned()));
        }
    }
    if let Some(announced) = body.description.length_bytes.filter(|length| *length != bytes.len() as u64) {
        let text = format!("expected {announced} bytes from {address}, received {}", bytes.len());
        return Err(Error::new(Kind::Unreachable, text));
    }
    if let Some(refusal) = Format::of(&bytes).filter(|format| *format != Format::Csv) {
        return Err(refuse(format!(" is not CSV: it looks like {}", refusal.words())));
    }
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
    let mut dialect = Dialect::new(BlankLines::Refuse);
    dialect.check(text).and_then(|()| dialect.finish()).map_err(|error| error.in_file(&address))?;
    let mut reader = AsyncReaderBuilder::new().has_headers(false).flexible(true).create_reader(text);
    let mut record = ByteRecord::new();
    let (mut names, mut rows) = (Vec::new(), Vec::new());
    loop {
        let read = reader.read_byte_record(&mut record).await;
        if !read.map_err(|cause| refuse(" is not valid CSV".to_owned()).because(cause))? {
            break;
        }
        // the parser counts the line feed of CR LF with the next record
        let start = record.position().map_or(0, |position| position.byte() as usize + 1);
        let line = memchr::memchr_iter(b'\n', text.get(..start).unwrap_or_default()).count() + 1;
        let cells: Option<Vec<String>> =
            record.iter().map(|cell| Some(std::str::from_utf8(cell).ok()?.to_owned())).collect();
        let cells = cells.ok_or_else(|| refuse(format!(", line {line}: the text is not UTF-8")))?;
        if names.is_empty() {
            names = header(&cells, columns).map_err(|(text, hint)| {
                let error = refuse(format!(", line 1: {text}"));
                if hint.is_empty() { error } else { error.hint(hint) }
            })?;
            continue;
        }
        if cells.len() != names.len() {
            let text = format!(", line {line}: found {} cells; expected {}", cells.len(), names.len());
            return Err(refuse(text));
        }
        let value = |cell: String| if cell.is_empty() { Value::Null } else { Value::String(cell) };
        let row: Map<String, Value> =
            std::iter::zip(names.iter().cloned(), cells.into_iter().map(value)).collect();
        rows.push(Value::Object(row));
    }
    if rows.is_empty() {
        return Err(refuse(" has no rows".to_owned()));
    }
    let count = rows.len() as u64;
    let counts = LoadCounts {
        rows_read: count,
        rows_staged: count,
        csv_bytes: text.len() as u64,
        downloaded_bytes: body.received.length_bytes,
        sha256: hex::encode(body.received.sha256.finalize()),
        ..LoadCounts::default()
    };
    Ok((rows, counts))
}

/// The names of the header in lower case, if they are those of the `columns` in any order; otherwise what is wrong, and
/// a hint.
fn header(cells: &[String], columns: &[String]) -> Result<Vec<String>, (String, &'static str)> {
    let names: Vec<String> = cells.iter().map(|cell| cell.trim().to_lowercase()).collect();
    let sorted = |names: &mut dyn Iterator<Item = String>| {
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    if sorted(&mut names.iter().cloned()) == sorted(&mut columns.iter().map(|name| name.to_lowercase())) {
        return Ok(names);
    }
    let hint = match cells.iter().any(|cell| cell.contains(';')) {
        true => "a spreadsheet has written the file with semicolons: download it again",
        false => "",
    };
    Err((format!("expected the columns {}; found {}", columns.join(", "), cells.join(", ")), hint))
}
