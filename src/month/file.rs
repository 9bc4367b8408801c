//! Matches a file with the target table by its header, and starts the stages that turn the file into batches of rows.

use std::sync::Arc;

use csv_async::ByteRecord;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::job::Job;
use super::options::Options;
use crate::database::locks::{self, Lock};
use crate::error::{Error, Kind, Result};
use crate::extract::download::{self, Downloaded};
use crate::extract::gunzip;
use crate::extract::records::Records;
use crate::extract::source::Body;
use crate::load::columns::{Filled, TableColumns};
use crate::load::new_columns::{self, NewColumns};
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

/// Starts the stages for the file in `body`, and sets the columns that the statements of `load` fill. Adds new columns
/// to the table if the options say so.
pub(super) async fn start(
    job: &Job,
    options: &Options,
    load: &mut Load<'_>,
    body: Body,
    progress: &Progress,
) -> Result<Stages> {
    let address = body.address.clone();
    let has_length = body.description.length_bytes.is_some();
    let (download, compressed) = download::start(body, Arc::clone(&progress.bytes));
    let csv = gunzip::start(compressed, address.clone(), options.blank_lines);
    let mut records = Records::new(csv, address.clone());
    let header = records.header().await?;
    if records.is_uncompressed() && !has_length {
        let text = format!("{address} is not compressed, and the source does not announce its length");
        return Err(Error::new(Kind::Data, text)
            .hint("compress the file with gzip: otherwise, a truncated download cannot be recognized"));
    }
    if records.is_uncompressed() {
        load.report.notice(&format!("{address} is not compressed"));
    }
    let table = match_columns(job, options, load, &header).await?;
    let filled = table.filled_from(&header, &job.computed, &job.period, !load.target.triggers.is_empty())?;
    if !filled.without_value.is_empty() {
        let names = filled.without_value.join(", ");
        load.report
            .notice(&format!("the file does not have the columns {names} of {}: they are NULL", job.table));
    }
    load.names = job.names_with_columns(&filled.columns);
    let encoder = encoder(job, options, filled, &header)
        .map_err(|error| refuse_header(&error, format!("{address}, line 1: {error}")))?;
    let (transform, batches) =
        batch::start(records, encoder, job.period.clone(), job.max_rejects, Arc::clone(&progress.rows));
    Ok(Stages { download, transform, batches })
}

/// Reads the columns of the table, and does with new columns of the file what the options say. Afterwards, no other load
/// can add columns.
async fn match_columns(
    job: &Job,
    options: &Options,
    load: &Load<'_>,
    header: &ByteRecord,
) -> Result<TableColumns> {
    let read = || TableColumns::read(load.control, &job.table, &job.computed, &job.period);
    let table = read().await?;
    let new = table.unknown(header);
    let names = new.join(", ");
    match options.new_columns {
        _ if new.is_empty() => {}
        NewColumns::Refuse => {}
        NewColumns::Ignore => {
            let table = &job.table;
            load.report.notice(&format!("left out columns of the file that {table} does not have: {names}"));
        }
        NewColumns::Add => {
            check_before_adding(job, options, load, &table, header, &new)?;
            new_columns::add(load.control, &job.table, &new, options.lock_timeout).await?;
            load.report.notice(&format!("added columns to {}: {names}", job.table));
        }
    }
    let lock = Lock::of_columns(&job.table, options.lock_timeout);
    locks::take(load.transaction, load.control, &lock, load.report).await?;
    read().await
}

/// Refuses what the load of the file would refuse after the columns were added: they stay in the table.
fn check_before_adding(
    job: &Job,
    options: &Options,
    load: &Load<'_>,
    table: &TableColumns,
    header: &ByteRecord,
    new: &[String],
) -> Result<()> {
    let mut filled =
        table.filled_from(header, &job.computed, &job.period, !load.target.triggers.is_empty())?;
    let added =
        |name: &String| Column { name: name.to_lowercase(), column_type: ColumnType::Text, not_null: false };
    filled.columns.extend(new.iter().map(added));
    let address = job.source.address();
    encoder(job, options, filled, header)
        .map(drop)
        .map_err(|error| Error::new(Kind::Data, format!("{address}, line 1: {error}")))
}

fn encoder(
    job: &Job,
    options: &Options,
    filled: Filled,
    header: &ByteRecord,
) -> Result<RowEncoder, HeaderError> {
    let layout = Layout {
        time_zone: job.period.time_zone.clone().unwrap_or(TimeZone::UTC),
        ignores_unknown: options.new_columns == NewColumns::Ignore,
        ..Layout::new(filled.columns, job.computed.clone(), &job.period.time_column)
    };
    RowEncoder::new(&layout, header)
}

fn refuse_header(error: &HeaderError, text: String) -> Error {
    let refused = Error::new(Kind::Data, text);
    match error {
        HeaderError::Unknown { .. } => refused.hint(
            "use --new-columns ignore to leave such columns out, or --new-columns add to add them to the table",
        ),
        HeaderError::Computed { .. } | HeaderError::Repeated { .. } | HeaderError::NoSuchKeyColumn(_) => refused,
    }
}
