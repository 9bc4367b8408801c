//! The stage between the parser and COPY: records in, batches of encoded rows out, as a task of its own.
//!
//! Rows are sorted on the way: those that the target is known to hold go no further, nearly all others go on as they come;
//! the few whose matches may lie anywhere in the target are kept back and follow at the end.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv_async::ByteRecord;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::known::KnownKeys;
use super::reject::Reject;
use super::repeats::Repeats;
use super::row::{RowEncoder, RowError};
use super::times::Times;
use super::timestamp::Timestamp;
use crate::error::{Error, Kind, Result};
use crate::extract::records::Records;

/// The connection passes on what it is given at once: smaller pieces cost a message each.
const BATCH_SIZE_BYTES: usize = 64 * 1024;
/// What is kept back of a file whose rows lie anywhere.
const KEPT_BACK_LIMIT_BYTES: usize = 2 * 1024 * 1024;
/// Batches that may wait for the server.
const CHANNEL_DEPTH: usize = 32;
/// See [`Repeats::note_all`].
const ROWS_AT_ONCE: usize = 256;

/// Which rows go on as they come: those of the file's period, but for some times.
pub struct Sorting {
    /// The file's period.
    pub period: Range<Timestamp>,
    /// The times whose rows are kept back.
    pub except: BTreeSet<Timestamp>,
    /// What the target holds of the period, where rows are to be compared here.
    pub known: Option<KnownKeys>,
}

impl Sorting {
    fn is_in_period(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| self.period.contains(&time))
    }

    fn is_kept_back(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| self.except.contains(&time))
    }
}

/// Some rows, one after the other, of one sort.
#[derive(Debug)]
pub struct Batch {
    /// The tuples of binary COPY.
    pub tuples: Vec<u8>,
    /// How many they are.
    pub rows: u64,
    /// Where they lie in time.
    pub times: Times,
}

impl Batch {
    fn empty(times: Times) -> Self {
        Self { tuples: Vec::new(), rows: 0, times }
    }
}

/// What is known of the rows once all have passed.
pub struct Transformed {
    /// Which keys may stand more than once among those that went on.
    pub repeats: Repeats,
    /// How many rows the target was known to hold.
    pub rows_known: u64,
    /// Of those, how many repeat a key.
    pub known_again: u64,
    /// How many of all rows lie in the file's period.
    pub rows_in_period: u64,
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
    sorting: Sorting,
    max_rejects: u32,
    progress: Arc<AtomicU64>,
) -> (JoinHandle<Transformed>, mpsc::Receiver<Result<Batch>>) {
    let (sender, receiver) = mpsc::channel(CHANNEL_DEPTH);
    let finished = tokio::spawn(async move {
        let mut stage = Stage {
            records,
            encoder,
            sorting,
            repeats: Repeats::default(),
            rows_known: 0,
            known_again: 0,
            rows_in_period: 0,
            progress,
            max_rejects: max_rejects as usize,
            rejects: Vec::new(),
            batches: sender,
        };
        if let Err(error) = stage.run().await {
            let _ = stage.batches.send(Err(error)).await;
        }
        Transformed {
            repeats: stage.repeats,
            rows_known: stage.rows_known,
            known_again: stage.known_again,
            rows_in_period: stage.rows_in_period,
            csv_bytes: stage.records.bytes_read(),
            rejects: stage.rejects,
        }
    });
    (finished, receiver)
}

struct Stage {
    records: Records,
    encoder: RowEncoder,
    sorting: Sorting,
    repeats: Repeats,
    rows_known: u64,
    known_again: u64,
    rows_in_period: u64,
    progress: Arc<AtomicU64>,
    max_rejects: usize,
    rejects: Vec<Reject>,
    batches: mpsc::Sender<Result<Batch>>,
}

impl Stage {
    async fn run(&mut self) -> Result<()> {
        let mut record = ByteRecord::new();
        let mut inside = Batch::empty(Times::inside());
        let mut anywhere = Batch::empty(Times::anywhere());
        let mut noted = Vec::with_capacity(ROWS_AT_ONCE);
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
            let in_period = self.sorting.is_in_period(row.time);
            self.rows_in_period += u64::from(in_period);
            let known = self.sorting.known.as_mut().filter(|_| in_period);
            if let Some(again) = known.and_then(|known| known.meet(row.key)) {
                inside.tuples.truncate(start);
                self.rows_known += 1;
                self.known_again += u64::from(again);
                continue;
            }
            noted.push(row);
            let batch = if in_period && !self.sorting.is_kept_back(row.time) {
                &mut inside
            } else {
                anywhere.tuples.extend(inside.tuples.drain(start..));
                &mut anywhere
            };
            batch.times.note(row.time);
            batch.rows += 1;
            if noted.len() == ROWS_AT_ONCE {
                self.repeats.note_all(&noted);
                noted.clear();
            }
            if inside.tuples.len() >= BATCH_SIZE_BYTES && !self.send(&mut inside, Times::inside()).await
                || anywhere.tuples.len() >= KEPT_BACK_LIMIT_BYTES
                    && !self.send(&mut anywhere, Times::anywhere()).await
            {
                return Ok(());
            }
        }
        self.repeats.note_all(&noted);
        if inside.rows > 0 {
            self.send(&mut inside, Times::inside()).await;
        }
        if anywhere.rows > 0 {
            self.send(&mut anywhere, Times::anywhere()).await;
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
    async fn send(&mut self, batch: &mut Batch, times: Times) -> bool {
        let mut next = Batch::empty(times);
        next.tuples.reserve(BATCH_SIZE_BYTES + BATCH_SIZE_BYTES / 16);
        self.batches.send(Ok(std::mem::replace(batch, next))).await.is_ok()
    }
}
