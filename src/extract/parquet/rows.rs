//! The rows of a file: a blocking thread decodes batches of rows, and sends them through a bounded channel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::columns::{Decoder, Values};
use super::footer::{self, Footer, damaged};
use super::kind::Kind;
use super::pages::Budget;
use super::source::ReadAt;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::extract::rows::{Cell, FileColumn, Place, Row, Rows};

/// Number of cells in a batch. Smaller batches are slower, and larger ones take more memory.
const BATCH_CELLS: usize = 64 * 1024;
/// Maximum number of rows in a batch.
const BATCH_ROWS: usize = 4096;
/// Maximum size of the texts in a batch. Those of real files have 100 KB.
const BATCH_TEXT_BYTES: usize = 8 * 1024 * 1024;
/// Number of batches that can queue.
const CHANNEL_DEPTH: usize = 2;

/// A batch of rows, and the one of them that is read.
pub struct BatchRow {
    /// The values of each column of the file; `None` for a column that is not decoded.
    columns: Vec<Option<Values>>,
    rows: usize,
    current: usize,
}

impl Row for BatchRow {
    fn width(&self) -> usize {
        self.columns.len()
    }

    #[inline]
    fn cell(&self, position: usize) -> Cell<'_> {
        match &self.columns[position] {
            Some(values) => values.cell(self.current),
            None => Cell::Null,
        }
    }
}

/// The rows of a Parquet file.
pub struct ParquetRows {
    batches: mpsc::Receiver<Result<BatchRow>>,
    batch: BatchRow,
    position: u64,
    address: String,
    check: JoinSet<Result<()>>,
}

impl ParquetRows {
    /// Starts to decode the columns at these positions. `check` holds tasks that must have succeeded when the rows end.
    pub(super) fn start(
        source: Arc<dyn ReadAt>,
        footer: Footer,
        address: String,
        positions: &[usize],
        check: JoinSet<Result<()>>,
    ) -> Result<Self> {
        for column in positions.iter().filter_map(|position| footer.columns.get(*position)) {
            if column.kind == Kind::Unsupported || column.leaf.is_none() {
                let text =
                    format!("{address}: the column {:?} has a type that loads do not support", column.name);
                return Err(Error::new(ErrorKind::Data, text)
                    .hint("rewrite the column as text, a number, a date or a timestamp"));
            }
        }
        let (sender, batches) = mpsc::channel(CHANNEL_DEPTH);
        let empty = BatchRow { columns: footer.columns.iter().map(|_| None).collect(), rows: 0, current: 0 };
        let mut wanted = positions.to_vec();
        wanted.sort_unstable();
        let file = Decoding { source, footer, address: address.clone(), wanted };
        tokio::task::spawn_blocking(move || {
            let decoded = catch_unwind(AssertUnwindSafe(|| file.decode(&sender)));
            let failed = match decoded {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                // a bug in the crate, which only damaged files are known to reach
                Err(_panic) => damaged(&file.address, "its decoder panicked"),
            };
            let _ = sender.blocking_send(Err(failed));
        });
        Ok(Self { batches, batch: empty, position: 0, address, check })
    }

    /// The columns of a file in memory, and all its rows. Errors name the file by `address`.
    pub fn of_bytes(file: Bytes, address: &str) -> Result<(Vec<FileColumn>, Self)> {
        let footer = footer::read_blocking(&file, address)?;
        let columns = footer.file_columns();
        let is_supported = |position: &usize| footer.columns[*position].kind != Kind::Unsupported;
        let positions: Vec<usize> = (0..columns.len()).filter(is_supported).collect();
        let rows = Self::start(Arc::new(file), footer, address.to_owned(), &positions, JoinSet::new())?;
        Ok((columns, rows))
    }

    /// Reads the next row. Returns `false` at the end.
    pub async fn next(&mut self) -> Result<bool> {
        self.read().await
    }

    /// The row that was read last.
    pub fn current(&self) -> &BatchRow {
        &self.batch
    }

    /// Receives the next batch. Returns `false` at the end.
    async fn next_batch(&mut self) -> Result<bool> {
        match self.batches.recv().await.transpose()? {
            Some(batch) => {
                self.batch = batch;
                Ok(true)
            }
            None => {
                while let Some(checked) = self.check.join_next().await {
                    let failed = |cause| Error::new(ErrorKind::Internal, "a task failed").because(cause);
                    checked.map_err(failed)??;
                }
                Ok(false)
            }
        }
    }
}

impl Rows for ParquetRows {
    type Row = BatchRow;

    async fn read(&mut self) -> Result<bool> {
        self.batch.current += 1;
        if self.batch.current >= self.batch.rows && !self.next_batch().await? {
            return Ok(false);
        }
        self.position += 1;
        Ok(true)
    }

    fn row(&self) -> &BatchRow {
        &self.batch
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn csv_bytes(&self) -> u64 {
        0
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn place(&self) -> Place {
        Place::Row
    }
}

/// What the decoding thread needs.
struct Decoding {
    source: Arc<dyn ReadAt>,
    footer: Footer,
    address: String,
    /// The positions of the columns to decode, in order.
    wanted: Vec<usize>,
}

impl Decoding {
    /// Decodes all row groups. Ends early if the receiver of the batches was dropped.
    fn decode(&self, sender: &mpsc::Sender<Result<BatchRow>>) -> Result<()> {
        let rows_at_once = (BATCH_CELLS / self.wanted.len().max(1)).clamp(1, BATCH_ROWS);
        for (index, group) in self.footer.metadata.row_groups().iter().enumerate() {
            let budget = Arc::<Budget>::default();
            let mut remaining = usize::try_from(group.num_rows()).unwrap_or_default();
            let mut decoders = Vec::new();
            for position in self.wanted.iter().filter(|_| remaining > 0) {
                let column = &self.footer.columns[*position];
                let Some(leaf) = column.leaf else { continue };
                let decoder = Decoder::new(&self.source, group.column(leaf), column.kind, &budget)
                    .map_err(|cause| self.failed(index, *position, cause))?;
                decoders.push((*position, decoder));
            }
            while remaining > 0 {
                let rows = rows_at_once.min(remaining);
                let mut text_bytes = 0;
                let mut columns: Vec<Option<Values>> = self.footer.columns.iter().map(|_| None).collect();
                for (position, decoder) in &mut decoders {
                    let values = decoder
                        .read(rows, BATCH_TEXT_BYTES - text_bytes)
                        .map_err(|cause| self.failed(index, *position, cause))?;
                    text_bytes += values.text_bytes();
                    columns[*position] = Some(values);
                }
                remaining -= rows;
                if sender.blocking_send(Ok(BatchRow { columns, rows, current: 0 })).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The error for a column that cannot be decoded.
    fn failed(&self, group: usize, position: usize, cause: ParquetError) -> Error {
        let name = &self.footer.columns[position].name;
        let text = format!("{}: cannot decode column {name:?} of row group {}", self.address, group + 1);
        Error::new(ErrorKind::Data, text).because(cause)
    }
}
