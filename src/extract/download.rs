//! The download: a body's bytes into a channel, counted, digested and held against the announced length.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::Digest as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::description::Received;
use super::source::Body;
use super::{CHANNEL_DEPTH, Chunk};
use crate::error::{Error, Kind};

/// What was downloaded in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// The bytes of the file as it came.
    pub length_bytes: u64,
    /// The file's SHA-256 in lower-case hex.
    pub sha256: String,
}

/// Starts to read `body` into the channel it returns, counting its bytes in `progress_bytes`.
///
/// The task ends when the body does, or when nobody takes its bytes any more.
pub fn start(
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
                break; // the stages behind have failed and say why
            }
        }
        let Received { length_bytes, sha256 } = body.received;
        if let Some(announced) = body.description.length_bytes.filter(|announced| *announced != length_bytes)
        {
            let text = format!("{} announced {announced} bytes and gave {length_bytes}", body.address);
            let _ = sender.send(Err(Error::new(Kind::Unreachable, text))).await;
        }
        Downloaded { length_bytes, sha256: hex::encode(sha256.finalize()) }
    });
    (finished, receiver)
}
