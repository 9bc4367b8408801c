//! Opens a file by its format, matches its columns with those of the target table, and starts the stages that turn the
//! file into batches of rows.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::job::Job;
use super::options::Options;
use crate::database::locks::{self, Lock};
use crate::error::{Error, Kind, Result};
use crate::extract::csv::gunzip;
use crate::extract::csv::records::Records;
use crate::extract::download::{self, Downloaded};
use crate::extract::format::Format;
use crate::extract::parquet;
use crate::extract::rows::{FileColumn, Place, Rows};
use crate::extract::source::Body;
use crate::load::columns::{Filled, TableColumns};
use crate::load::new_columns::{self, Action, NewColumn};
use crate::load::transaction::Load;
use crate::report::phase::Progress;
use crate::transform::batch::{self, Batch, Transformed};
use crate::transform::row::{Column, HeaderError, Layout, RowEncoder};
use crate::transform::value::ColumnType;

/// The running stages of a file.
pub(super) struct Stages {
    /// The task that downloads the file.
    pub(super) download: JoinHandle<Downloaded>,
    /// The task that encodes the rows.
    pub(super) transform: JoinHandle<Transformed>,
    /// The encoded rows.
    pub(super) batches: mpsc::Receiver<Result<Batch>>,
}

/// What the stages need to know about the load.
pub(super) struct Opening<'a, 'b> {
    pub(super) job: &'a Job,
    pub(super) options: &'a Options,
    pub(super) load: &'a mut Load<'b>,
    pub(super) progress: &'a Progress,
    /// Receives the columns of the file that the table did not have.
    pub(super) new_columns: &'a mut Vec<NewColumn>,
}

impl Opening<'_, '_> {
    /// Starts the stages for the file in `body`, and sets the columns that the statements of the load fill. Adds new
    /// columns to the table if the options say so.
    pub(super) async fn start(self, mut body: Body) -> Result<Stages> {
        match Format::of(body.start().await?) {
            Some(Format::Parquet) => self.start_parquet(body).await,
            // refuses everything else
            _ => self.start_csv(body).await,
        }
    }

    async fn start_csv(mut self, body: Body) -> Result<Stages> {
        let address = body.address.clone();
        let has_length = body.description.length_bytes.is_some();
        let (download, compressed) = download::start(body, Arc::clone(&self.progress.bytes));
        let csv = gunzip::start(compressed, address.clone(), self.options.csv_form());
        let mut records = Records::new(csv, address.clone());
        let columns = records.header().await?;
        if records.is_uncompressed() && !has_length {
            let text = format!("{address} is not compressed, and the source does not announce its length");
            return Err(Error::new(Kind::Data, text)
                .hint("compress the file with gzip: otherwise, a truncated download cannot be recognized"));
        }
        if records.is_uncompressed() {
            self.load.report.notice(&format!("{address} is not compressed"));
        }
        let encoder = self.encoder(columns, &format!("{address}, line 1")).await?;
        Ok(self.encode(download, records, encoder))
    }

    async fn start_parquet(mut self, body: Body) -> Result<Stages> {
        let address = body.address.clone();
        let (file, download) = parquet::open(body, Arc::clone(&self.progress.bytes)).await?;
        self.load.place = Place::Row;
        let encoder = self.encoder(file.columns(), &address).await?;
        let rows = file.rows(&encoder.positions())?;
        Ok(self.encode(download, rows, encoder))
    }

    fn encode(self, download: JoinHandle<Downloaded>, rows: impl Rows, encoder: RowEncoder) -> Stages {
        let Self { job, progress, .. } = self;
        let (transform, batches) =
            batch::start(rows, encoder, job.period.clone(), job.max_rejects, Arc::clone(&progress.rows));
        Stages { download, transform, batches }
    }

    /// Matches the columns of the file with those of the table. Errors name the file, or the line of its header, by
    /// `place`.
    async fn encoder(&mut self, mut file: Vec<FileColumn>, place: &str) -> Result<RowEncoder> {
        let job = self.job;
        job.rename(&mut file);
        let table = self.match_columns(&file, place).await?;
        let filled =
            table.filled_from(&file, &job.computed, &job.period, !self.load.target.triggers.is_empty())?;
        if !filled.without_value.is_empty() {
            let names = filled.without_value.join(", ");
            self.load.report.notice(&format!(
                "the file does not have the columns {names} of {}: they are NULL",
                job.table
            ));
        }
        self.load.names = job.names_with_columns(&filled.columns);
        self.row_encoder(filled, &file).map_err(|error| refuse(&error, format!("{place}: {error}")))
    }

    /// Reads the columns of the table, and does with new columns of the file what the options say. Afterwards, no other
    /// load can add columns.
    async fn match_columns(&mut self, file: &[FileColumn], place: &str) -> Result<TableColumns> {
        let (job, options) = (self.job, self.options);
        let control = self.load.control;
        let read = || TableColumns::read(control, &job.table, &job.computed, &job.period);
        let table = read().await?;
        let unknown = table.unknown(file);
        let made_by_taxi = self.load.target.is_made_by_taxi;
        let new = new_columns::decide(&unknown, &job.later_columns, options.new_columns, made_by_taxi);
        *self.new_columns = new;
        let added: Vec<NewColumn> = self.with_action(Action::Added).cloned().collect();
        // a file that is refused adds nothing
        if !added.is_empty() && self.new_columns.len() == unknown.len() {
            self.check_before_adding(&table, file, place)?;
            new_columns::add(control, &job.table, &added, options.lock_timeout).await?;
        }
        self.announce();
        let lock = Lock::of_columns(&job.table, options.lock_timeout);
        locks::take(self.load.transaction, control, &lock, self.load.report).await?;
        read().await
    }

    fn with_action(&self, action: Action) -> impl Iterator<Item = &NewColumn> {
        self.new_columns.iter().filter(move |column| column.action == action)
    }

    /// Says what was done with new columns.
    fn announce(&self) {
        let (table, report) = (&self.job.table, self.load.report);
        let names = |columns: &[&NewColumn]| {
            columns.iter().map(|column| column.spelling.as_str()).collect::<Vec<_>>().join(", ")
        };
        let added: Vec<&NewColumn> = self.with_action(Action::Added).collect();
        if !added.is_empty() {
            report.notice(&format!("added columns to {table}: {}", names(&added)));
        }
        for reason in [None, Some("it has no values"), Some("the table is not one that taxi made")] {
            let left_out: Vec<&NewColumn> =
                self.with_action(Action::LeftOut).filter(|column| column.reason == reason).collect();
            if !left_out.is_empty() {
                let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                report.notice(&format!(
                    "left out columns of the file that {table} does not have: {}{why}",
                    names(&left_out)
                ));
            }
        }
    }

    /// Refuses what the load of the file would refuse after the columns were added: they stay in the table.
    fn check_before_adding(&self, table: &TableColumns, file: &[FileColumn], place: &str) -> Result<()> {
        let job = self.job;
        let mut filled =
            table.filled_from(file, &job.computed, &job.period, !self.load.target.triggers.is_empty())?;
        let added = self.with_action(Action::Added).map(|column| Column {
            name: column.name.clone(),
            column_type: column.column_type.unwrap_or(ColumnType::Text),
            not_null: false,
        });
        filled.columns.extend(added);
        self.row_encoder(filled, file)
            .map(drop)
            .map_err(|error| Error::new(Kind::Data, format!("{place}: {error}")))
    }

    fn row_encoder(&self, filled: Filled, file: &[FileColumn]) -> Result<RowEncoder, HeaderError> {
        let job = self.job;
        let layout = Layout {
            time_zone: job.period.time_zone.clone().unwrap_or(TimeZone::UTC),
            ignored: self.with_action(Action::LeftOut).map(|column| column.name.clone()).collect(),
            ..Layout::new(filled.columns, job.computed.clone(), &job.period.time_column)
        };
        RowEncoder::new(&layout, file)
    }
}

fn refuse(error: &HeaderError, text: String) -> Error {
    let refused = Error::new(Kind::Data, text);
    match error {
        HeaderError::Unknown { .. } => refused.hint(
            "use --new-columns ignore to leave such columns out, or --new-columns add to add them to the table",
        ),
        HeaderError::Computed { .. } | HeaderError::Repeated { .. } | HeaderError::NoSuchKeyColumn(_) => refused,
    }
}
