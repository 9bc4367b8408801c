//! The stage between the parser and COPY: records in, batches of encoded rows out, as a task of its own.
//!
//! Rows are routed on the way: those of the file's month go on as they come; the few outside of it are kept back and follow at
//! the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv_async::ByteRecord;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::duplicates::{Candidates, DuplicateFilter};
use super::reject::Reject;
use super::row::{RowEncoder, RowError};
use super::times::{Period, TimesOutside};
use crate::error::{Error, Kind, Result};
use crate::extract::records::Records;

/// The connection passes on what it is given at once: smaller pieces cost a message each.
const BATCH_SIZE_BYTES: usize = 64 * 1024;
/// What is kept back of a file whose rows lie anywhere.
const KEPT_BACK_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// Batches that may wait for the server.
const CHANNEL_DEPTH: usize = 32;
/// See [`DuplicateFilter::note_all`].
const KEYS_AT_ONCE: usize = 256;

/// Some rows, one after the other, all inside or all outside of the file's month.
#[derive(Debug)]
pub struct Batch {
    /// The tuples of binary COPY.
    pub tuples: Vec<u8>,
    /// How many they are.
    pub rows: u64,
    /// Whether they lie in the file's month.
    pub in_period: bool,
}

impl Batch {
    const fn empty(in_period: bool) -> Self {
        Self { tuples: Vec::new(), rows: 0, in_period }
    }
}

/// What is known of the rows once all have passed.
pub struct Transformed {
    /// Which keys may stand more than once among them.
    pub duplicates: Candidates,
    /// How many of them lie in the file's month.
    pub rows_in_period: u64,
    /// The times of the others.
    pub outside: TimesOutside,
    /// The bytes of CSV that they were.
    pub csv_bytes: u64,
    /// The records that were left out.
    pub rejects: Vec<Reject>,
}

/// Starts to encode `records`, of which no more than `max_rejects` may be no rows; `progress` counts the rows. The task ends
/// when they do, or when nobody takes its batches any more.
pub fn start(
    records: Records,
    encoder: RowEncoder,
    period: Period,
    max_rejects: u32,
    progress: Arc<AtomicU64>,
) -> (JoinHandle<Transformed>, mpsc::Receiver<Result<Batch>>) {
    let (sender, receiver) = mpsc::channel(CHANNEL_DEPTH);
    let finished = tokio::spawn(async move {
        let mut stage = Stage {
            records,
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
        if let Err(error) = stage.run().await {
            let _ = stage.batches.send(Err(error)).await;
        }
        Transformed {
            duplicates: stage.duplicates.into_candidates(),
            rows_in_period: stage.rows_in_period,
            outside: stage.outside,
            csv_bytes: stage.records.bytes_read(),
            rejects: stage.rejects,
        }
    });
    (finished, receiver)
}

struct Stage {
    records: Records,
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

impl Stage {
    async fn run(&mut self) -> Result<()> {
        let mut record = ByteRecord::new();
        let (mut inside, mut outside) = (Batch::empty(true), Batch::empty(false));
        let mut keys = Vec::with_capacity(KEYS_AT_ONCE);
        while self.records.read(&mut record).await? {
            let start = inside.tuples.len();
            let row = match self.encoder.encode(&record, &mut inside.tuples) {
                Ok(row) => row,
                Err(error) => {
                    inside.tuples.truncate(start);
                    self.reject(&record, error)?;
                    continue;
                }
            };
            self.progress.fetch_add(1, Ordering::Relaxed);
            if self.period.contains(row.time) {
                self.rows_in_period += 1;
                inside.rows += 1;
            } else {
                outside.tuples.extend(inside.tuples.drain(start..));
                outside.rows += 1;
                self.outside.note(row.time);
            }
            keys.push(row.key);
            if keys.len() == KEYS_AT_ONCE {
                self.duplicates.note_all(&keys);
                keys.clear();
            }
            if inside.tuples.len() >= BATCH_SIZE_BYTES && !self.send(&mut inside).await
                || outside.tuples.len() >= KEPT_BACK_LIMIT_BYTES && !self.send(&mut outside).await
            {
                return Ok(());
            }
        }
        self.duplicates.note_all(&keys);
        for mut batch in [inside, outside] {
            if batch.rows > 0 {
                self.send(&mut batch).await;
            }
        }
        Ok(())
    }

    /// Leaves the record out, if one more may be.
    fn reject(&mut self, record: &ByteRecord, error: RowError) -> Result<()> {
        let line = self.records.line_of(record);
        if self.rejects.len() < self.max_rejects {
            self.rejects.push(Reject::new(line, record, error));
            return Ok(());
        }
        let error = Error::new(Kind::Data, format!("{}, line {line}: {error}", self.records.address()));
        Err(match self.max_rejects {
            0 => error,
            most => {
                error.hint(format!("{most} rows were rejected before it, as many as --max-rejects allows"))
            }
        })
    }

    /// Sends the batch and begins another; `false` where nobody takes it any more.
    async fn send(&mut self, batch: &mut Batch) -> bool {
        let mut next = Batch::empty(batch.in_period);
        next.tuples.reserve(BATCH_SIZE_BYTES + BATCH_SIZE_BYTES / 16);
        self.batches.send(Ok(std::mem::replace(batch, next))).await.is_ok()
    }
}
