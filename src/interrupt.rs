//! SIGINT and SIGTERM: the first ends what is under way in good order, the second at once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};

/// Tells when a signal has come. Clones are of the same signal.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<Option<Kind>>);

impl Interrupt {
    /// Takes the two signals over from now on.
    pub fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|cause| Error::new(Kind::Io, "cannot listen for signals").because(cause))
        };
        let (mut interrupts, mut terminations) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let first = next(&mut interrupts, &mut terminations).await;
            sender.send_replace(Some(first));
            let second = next(&mut interrupts, &mut terminations).await;
            std::process::exit(second.exit_code().into());
        });
        Ok(Self(receiver))
    }

    /// Waits until a signal has come, for good if none does.
    pub async fn wait(&self) -> Error {
        let mut receiver = self.0.clone();
        match receiver.wait_for(Option::is_some).await.map(|kind| *kind) {
            Ok(Some(kind)) => Error::new(kind, format!("{}, before the work was done", kind.meaning())),
            // the listener lives as long as the runtime
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// What `work` comes to, or the signal that came first; then the work is dropped.
    pub async fn or<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.wait() => Err(error),
            result = work => result,
        }
    }

    /// Whether a signal has come.
    pub fn is_raised(&self) -> bool {
        self.0.borrow().is_some()
    }
}

async fn next(interrupts: &mut Signal, terminations: &mut Signal) -> Kind {
    tokio::select! {
        _ = interrupts.recv() => Kind::Interrupted,
        _ = terminations.recv() => Kind::Terminated,
    }
}
