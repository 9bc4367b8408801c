//! COPY: batches of rows in, straight into the target where they cannot have a match, else into a chunk, which is merged.
//!
//! Binary COPY of all columns, the key included, takes about half the time of the text form (1.75 s against 3.1 to 4.2 s
//! for 1.37 million rows), and spares the UPDATE that would compute the key in the server (7.2 s). Straight into the target
//! it takes the server 2.5 s of CPU, where a staging table and an INSERT from it took 4.4 s.
//!
//! A chunk is a table of this transaction's own: nobody else ever sees it, and it goes with the transaction, however that
//! ends. It is not logged, and a temporary one was slower (3.6 to 4.8 s against 3.3 to 3.9 s, with its MERGE).

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio::sync::mpsc;
use tokio_postgres::{CopyInSink, Statement, Transaction};
use uuid::Uuid;

use super::locks;
use super::time_index::TimeIndex;
use super::turn::Turn;
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::transform::batch::Batch;
use crate::transform::times::Times;

/// Rows after which a COPY into the target ends and the next begins, so that the index over the times learns of them, and
/// no statement takes as long as the download.
const ROWS_AT_ONCE: u64 = 64 * 1024;
/// Signature, flags and the length of an extension that is not there.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A tuple of -1 fields.
const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Rows of the file that are to be merged, in a table.
pub struct Chunk {
    /// The table's name, quoted.
    pub table: String,
    /// Where they lie in time.
    pub times: Times,
}

/// Where all rows of a file have gone.
#[derive(Default)]
pub struct Copied {
    /// How many they were.
    pub rows: u64,
    /// How many of them are in the target.
    pub rows_inserted: u64,
    /// The others.
    pub chunks: Vec<Chunk>,
}

/// The tables to copy into.
pub struct Copy<'a> {
    /// The load's.
    pub transaction: &'a Transaction<'a>,
    /// The target.
    pub table: &'a TableName,
    /// What chunks are shaped like.
    pub staging_table: &'a TableName,
    /// What chunks are named after.
    pub run: Uuid,
    /// The names of the tables and their columns.
    pub identifiers: &'a minijinja::Value,
    /// When to write into the target, where rows of the file's period cannot have a match there.
    pub straight: Option<&'a Turn>,
}

impl Copy<'_> {
    /// Copies all `batches`; `index` learns of the rows.
    pub async fn run(
        &self,
        mut batches: mpsc::Receiver<Result<Batch>>,
        index: &mut TimeIndex<'_>,
    ) -> Result<Copied> {
        let mut copied = Copied::default();
        let mut unknown_rows = 0;
        let mut next = None;
        let straight = match self.straight {
            Some(turn) => Some((turn, self.prepare().await?)),
            None => None,
        };
        loop {
            let first = match next.take() {
                Some(batch) => batch,
                None => match batches.recv().await.transpose()? {
                    Some(batch) => batch,
                    None => return Ok(copied),
                },
            };
            let sent = match straight.as_ref().filter(|_| matches!(first.times, Times::Inside(_))) {
                Some((turn, statement)) => {
                    let copy = self.copy_to_target(statement, first, &mut batches, turn);
                    let (sent, taken) = if unknown_rows < ROWS_AT_ONCE {
                        copy.await?
                    } else {
                        unknown_rows = 0;
                        // beside it: it takes the server a tenth of the COPY's time
                        tokio::try_join!(copy, index.summarize())?.0
                    };
                    unknown_rows += taken;
                    copied.rows_inserted += taken;
                    sent
                }
                None => {
                    let (sent, table) = self.copy_to_chunk(copied.chunks.len(), first, &mut batches).await?;
                    copied.chunks.push(Chunk { table, times: sent.times.clone() });
                    sent
                }
            };
            copied.rows += sent.rows;
            next = sent.next;
        }
    }

    async fn prepare(&self) -> Result<Statement> {
        let copy = statement::render("copy_into_target.sql", self.identifiers)?;
        self.transaction.prepare(&copy).await.map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: tokio_postgres::Error) -> Error {
        failure::statement(format!("copy into target table {} failed", self.table), cause)
    }

    /// Returns what was sent and how many rows the target took: a trigger of its own may leave some out.
    async fn copy_to_target(
        &self,
        statement: &Statement,
        first: Batch,
        batches: &mut mpsc::Receiver<Result<Batch>>,
        turn: &Turn,
    ) -> Result<(Sent, u64)> {
        let failed = |cause| self.failed(cause);
        // the statement begins before the turn, so that the server does not wait for it in between
        let mut sink = std::pin::pin!(self.transaction.copy_in(statement).await.map_err(failed)?);
        let _writing = turn.take().await;
        let sent = send(first, batches, Some(turn), sink.as_mut()).await?;
        let taken = sink.as_mut().finish().await.map_err(failed)?;
        Ok((sent, taken))
    }

    /// Returns what was sent and the name of the chunk's table.
    async fn copy_to_chunk(
        &self,
        number: usize,
        first: Batch,
        batches: &mut mpsc::Receiver<Result<Batch>>,
    ) -> Result<(Sent, String)> {
        let what = format!("copy into staging table {} failed", self.staging_table);
        let failed = |cause| failure::statement(what.clone(), cause);
        let name = format!("taxi_etl.staging_{}_{number}", locks::of_run(self.run));
        let chunk = TableName::parse(&name)?.quoted();
        let identifiers = minijinja::context! { chunk => chunk.clone(), ..self.identifiers.clone() };
        let create = statement::render("create_chunk.sql", &identifiers)?;
        self.transaction.batch_execute(&create).await.map_err(failed)?;
        let copy = statement::render("copy_into_chunk.sql", &identifiers)?;
        let mut sink = std::pin::pin!(self.transaction.copy_in(&copy).await.map_err(failed)?);
        // one chunk of all that is merged: each of several would read much of what the target holds
        let sent = send(first, batches, None, sink.as_mut()).await?;
        let taken = sink.as_mut().finish().await.map_err(failed)?;
        if taken != sent.rows {
            let text = format!("{} rows were sent to {chunk}, and it took {taken}", sent.rows);
            return Err(Error::new(Kind::Internal, text));
        }
        Ok((sent, chunk))
    }
}

/// What a COPY was given.
struct Sent {
    rows: u64,
    /// Where the rows lie in time.
    times: Times,
    /// The batch that comes next, where it is here already.
    next: Option<Batch>,
}

/// Sends the `first` batch and those behind it that are of its sort; where they take a `turn`, as many as that is for.
async fn send(
    first: Batch,
    batches: &mut mpsc::Receiver<Result<Batch>>,
    turn: Option<&Turn>,
    mut sink: std::pin::Pin<&mut CopyInSink<Bytes>>,
) -> Result<Sent> {
    let (mut rows, mut times) = (0, first.times.clone());
    // a failed send means that the server has ended the COPY: it says why when asked to finish
    let mut open = sink.send(Bytes::from_static(HEADER)).await.is_ok();
    let mut next = Some(first);
    while let Some(batch) = next.take_if(|batch| open && batch.times.is_like(&times)) {
        rows += batch.rows;
        times.join(batch.times);
        open = sink.send(batch.tuples.into()).await.is_ok();
        next = match turn {
            None => batches.recv().await,
            Some(_) if rows >= ROWS_AT_ONCE => break,
            // nobody waits for a load that itself waits for its source
            Some(turn) => tokio::select! {
                biased;
                batch = batches.recv() => batch,
                () = turn.wanted() => break,
            },
        }
        .transpose()?;
    }
    let _ = sink.send(Bytes::from_static(TRAILER)).await;
    Ok(Sent { rows, times, next })
}
