//! The download: sends a body's bytes into a channel, counts and hashes them, and checks their number against the
//! announced length.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::Digest as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::description::Received;
use super::source::Body;
use super::{CHANNEL_DEPTH, Chunk};
use crate::error::{Error, Kind};

/// The totals of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Downloaded {
    /// Number of bytes received, before decompression.
    pub(crate) length_bytes: u64,
    /// The file's SHA-256 in lower-case hex.
    pub(crate) sha256: String,
}

/// Starts a task that sends the bytes of `body` into the returned channel and counts them in `progress_bytes`.
///
/// The task ends at the end of the body, at the first error, or when the receiver is dropped.
pub(crate) fn start(
    mut body: Body,
    progress_bytes: Arc<AtomicU64>,
) -> (JoinHandle<Downloaded>, mpsc::Receiver<Chunk>) {
    let (sender, receiver) = mpsc::channel(CHANNEL_DEPTH);
    let finished = tokio::spawn(async move {
        loop {
            let chunk = match body.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    break;
                }
            };
            progress_bytes.store(body.received.length_bytes, Ordering::Relaxed);
            if sender.send(Ok(chunk)).await.is_err() {
                break; // a later stage failed and reports its own error
            }
        }
        let Received { length_bytes, sha256 } = body.received;
        if let Some(announced) = body.description.length_bytes.filter(|announced| *announced != length_bytes)
        {
            let text = format!("expected {announced} bytes from {}, received {length_bytes}", body.address);
            let _ = sender.send(Err(Error::new(Kind::Unreachable, text))).await;
        }
        Downloaded { length_bytes, sha256: hex::encode(sha256.finalize()) }
    });
    (finished, receiver)
}
