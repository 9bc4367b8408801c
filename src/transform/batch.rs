//! The stage between the file and COPY: a task that turns rows of a file into batches of encoded rows.
//!
//! The stage also routes the rows. It sends the rows inside the file's month as they arrive. It holds the few
//! out-of-period rows back and sends them at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::duplicates::{Candidates, DuplicateFilter};
use super::lines::Lines;
use super::reject::Reject;
use super::row::{RowEncoder, RowError};
use super::times::{Period, TimesOutside};
use crate::error::{Error, Kind, Result};
use crate::extract::rows::{Rows, TEXT_LIMIT_BYTES};

/// Size from which a batch is sent. Each batch becomes a message of its own, so smaller batches mean more messages.
const BATCH_SIZE_BYTES: usize = 64 * 1024;
/// Size from which a batch of out-of-period rows is sent before the end of the file. Only a file with many such rows
/// reaches it.
const OUT_OF_PERIOD_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// Maximum length of an encoded row. A line of CSV is limited to the same length; its fields have lengths in addition.
const ROW_LIMIT_BYTES: usize = 2 * TEXT_LIMIT_BYTES;
/// Number of batches that can queue for the server.
const CHANNEL_DEPTH: usize = 32;
/// Number of keys that are added to the filter at a time, see [`DuplicateFilter::add_all`].
const KEYS_AT_ONCE: usize = 256;

/// A batch of encoded rows. Either all of them are inside the file's month, or all are out-of-period rows.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The rows as tuples of binary COPY.
    pub(crate) tuples: Vec<u8>,
    /// Number of rows in the batch.
    pub(crate) rows: u64,
    /// The lines of the rows.
    pub(crate) lines: Lines,
    /// Whether the rows are inside the file's month.
    pub(crate) in_period: bool,
}

impl Batch {
    fn empty(in_period: bool) -> Self {
        Self { tuples: Vec::new(), rows: 0, lines: Lines::default(), in_period }
    }
}

/// Totals over all rows, available after the last row.
pub(crate) struct Transformed {
    /// Row keys that may occur more than once in the file.
    pub(crate) duplicates: Candidates,
    /// Number of rows inside the file's month.
    pub(crate) rows_in_period: u64,
    /// Times of the out-of-period rows.
    pub(crate) outside: TimesOutside,
    /// Number of CSV bytes read.
    pub(crate) csv_bytes: u64,
    /// The records that were rejected.
    pub(crate) rejects: Vec<Reject>,
    /// Number of rows with empty cells after the header's last column.
    pub(crate) rows_with_extra_cells: u64,
}

/// Starts a task that encodes `rows` into batches. At most `max_rejects` records may be rejected; the next
/// invalid record is an error. `progress` counts the rows. The task ends after the last record, at the first
/// error, or when the receiver is dropped.
pub(crate) fn start<R: Rows>(
    rows: R,
    encoder: RowEncoder,
    period: Period,
    max_rejects: u32,
    progress: Arc<AtomicU64>,
) -> (JoinHandle<Transformed>, mpsc::Receiver<Result<Batch>>) {
    let (sender, receiver) = mpsc::channel(CHANNEL_DEPTH);
    let task = tokio::spawn(async move {
        let mut transformer = Transformer {
            rows,
            encoder,
            period,
            duplicates: DuplicateFilter::default(),
            rows_in_period: 0,
            outside: TimesOutside::default(),
            progress,
            max_rejects: max_rejects as usize,
            rejects: Vec::new(),
            batches: sender,
        };
        if let Err(error) = transformer.run().await {
            let _ = transformer.batches.send(Err(error)).await;
        }
        Transformed {
            duplicates: transformer.duplicates.into_candidates(),
            rows_in_period: transformer.rows_in_period,
            outside: transformer.outside,
            csv_bytes: transformer.rows.csv_bytes(),
            rejects: transformer.rejects,
            rows_with_extra_cells: transformer.encoder.rows_with_extra_cells(),
        }
    });
    (task, receiver)
}

/// The state of the stage.
struct Transformer<R> {
    rows: R,
    encoder: RowEncoder,
    period: Period,
    duplicates: DuplicateFilter,
    rows_in_period: u64,
    outside: TimesOutside,
    progress: Arc<AtomicU64>,
    max_rejects: usize,
    rejects: Vec<Reject>,
    batches: mpsc::Sender<Result<Batch>>,
}

impl<R: Rows> Transformer<R> {
    async fn run(&mut self) -> Result<()> {
        let (mut inside, mut outside) = (Batch::empty(true), Batch::empty(false));
        let mut keys = Vec::with_capacity(KEYS_AT_ONCE);
        while self.rows.read().await? {
            let start = inside.tuples.len();
            let row = match self.encoder.encode(self.rows.row(), &mut inside.tuples) {
                Ok(row) if inside.tuples.len() - start <= ROW_LIMIT_BYTES => row,
                refused => {
                    inside.tuples.truncate(start);
                    self.reject(refused.err().unwrap_or(RowError::Long))?;
                    continue;
                }
            };
            self.progress.fetch_add(1, Ordering::Relaxed);
            let line = self.rows.position();
            if self.period.contains(row.time) {
                self.rows_in_period += 1;
                inside.rows += 1;
                inside.lines.push(line);
            } else {
                outside.tuples.extend(inside.tuples.drain(start..));
                outside.rows += 1;
                outside.lines.push(line);
                self.outside.note(row.time);
            }
            keys.push(row.key);
            if keys.len() == KEYS_AT_ONCE {
                self.duplicates.add_all(&keys);
                keys.clear();
            }
            if inside.tuples.len() >= BATCH_SIZE_BYTES && !self.send(&mut inside).await
                || outside.tuples.len() >= OUT_OF_PERIOD_LIMIT_BYTES && !self.send(&mut outside).await
            {
                return Ok(());
            }
        }
        self.duplicates.add_all(&keys);
        for mut batch in [inside, outside] {
            if batch.rows > 0 {
                self.send(&mut batch).await;
            }
        }
        Ok(())
    }

    /// Rejects the record, or returns an error if `max_rejects` records have already been rejected.
    fn reject(&mut self, error: RowError) -> Result<()> {
        let line = self.rows.position();
        if self.rejects.len() < self.max_rejects {
            self.rejects.push(Reject::new(line, self.rows.row(), error));
            return Ok(());
        }
        let error = Error::new(
            Kind::Data,
            format!("{}, {} {line}: {error}", self.rows.address(), self.rows.place().word()),
        );
        Err(match self.max_rejects {
            0 => error,
            max => error
                .hint(format!("{max} rows were already rejected, which is the maximum set by --max-rejects")),
        })
    }

    /// Sends the batch and replaces it with an empty one. Returns `false` if the receiver was dropped.
    async fn send(&mut self, batch: &mut Batch) -> bool {
        let mut next = Batch::empty(batch.in_period);
        next.tuples.reserve(BATCH_SIZE_BYTES + BATCH_SIZE_BYTES / 16);
        self.batches.send(Ok(std::mem::replace(batch, next))).await.is_ok()
    }
}
