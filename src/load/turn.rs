//! Turns: of the loads that a backfill runs side by side, two write into the target at a time.
//!
//! Rows that are written at the same time share stretches of the table, and the index over the times, which knows the span
//! of each stretch, then sends every look at one month through all of them: the more writers, the longer the looks. But a
//! single one is no faster than one core of the server: with four loads, two cores were idle for a fifth of the time.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// How many write at a time.
const WRITERS: usize = 2;

/// The right to write, which loads pass on to each other in the order in which they ask.
#[derive(Clone, Debug)]
pub struct Turn(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    writing: Semaphore,
    /// How many loads wait.
    waiting: watch::Sender<usize>,
}

impl Default for Turn {
    /// One that no other load knows of, until it is cloned.
    fn default() -> Self {
        Self(Arc::new(Shared { writing: Semaphore::new(WRITERS), waiting: watch::Sender::new(0) }))
    }
}

impl Turn {
    /// Waits for it; it is over when what is returned is dropped.
    pub async fn take(&self) -> Option<SemaphorePermit<'_>> {
        let _waits = Waits::begin(&self.0.waiting);
        // an error would mean that it has been closed, which nobody does
        self.0.writing.acquire().await.ok()
    }

    /// Returns once another load waits for it.
    pub async fn wanted(&self) {
        // an error would mean that the sender is gone, which is here
        let _ = self.0.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// A load that waits, also if it gives up.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}
