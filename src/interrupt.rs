//! SIGINT, SIGTERM and SIGHUP: the first signal cancels the current work cleanly. A second SIGINT or SIGTERM ends the
//! process immediately.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};
use crate::report::Report;

/// How long a process that must end immediately still waits for its terminal.
const BEFORE_EXIT_TIMEOUT: Duration = Duration::from_millis(100);

/// Reports when a signal has arrived. Clones report the same signal.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<Option<Kind>>);

impl Interrupt {
    /// Installs the handlers. SIGHUP counts as SIGTERM, unless the process ignores it, as under `nohup`. Before a
    /// second signal ends the process, `before_exit` is called.
    pub(crate) fn listen(before_exit: impl FnOnce() + Send + 'static) -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|cause| Error::new(Kind::Io, "cannot listen for signals").because(cause))
        };
        let mut signals = Signals {
            interrupts: listen(SignalKind::interrupt())?,
            terminations: listen(SignalKind::terminate())?,
            hangups: if ignores_hangups() { None } else { Some(listen(SignalKind::hangup())?) },
        };
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let first = signals.next().await;
            sender.send_replace(Some(first));
            // a closed terminal can send SIGHUP twice
            signals.hangups = None;
            let second = signals.next().await;
            let (done, is_done) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                before_exit();
                let _ = done.send(());
            });
            // not longer: a terminal can be stopped, as after Ctrl-S
            let _ = is_done.recv_timeout(BEFORE_EXIT_TIMEOUT);
            exit_immediately(second);
        });
        Ok(Self(receiver))
    }

    /// Returns an interrupt that is also raised after `limit`.
    #[must_use]
    pub(crate) fn limited(&self, limit: Duration) -> Self {
        let (sender, receiver) = watch::channel(None);
        let outer = self.clone();
        tokio::spawn(async move {
            let kind = tokio::select! {
                signal = outer.wait() => signal.kind(),
                () = tokio::time::sleep(limit) => Kind::TimedOut,
                // all receivers were dropped
                () = sender.closed() => return,
            };
            sender.send_replace(Some(kind));
        });
        Self(receiver)
    }

    /// Tells the user when a signal arrives, once, and never returns.
    pub(crate) async fn announce(&self, report: &dyn Report) -> Infallible {
        let signal = self.wait().await;
        report.notice(&format!(
            "{}: rolling back; send a second signal to exit immediately",
            signal.kind().meaning()
        ));
        std::future::pending().await
    }

    /// Waits until a signal arrives. Never returns if no signal arrives.
    pub(crate) async fn wait(&self) -> Error {
        let mut receiver = self.0.clone();
        // cannot fail here: this receiver keeps the sender alive until it has sent
        let _ = receiver.wait_for(Option::is_some).await;
        match self.raised() {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Returns the result of `work`. If a signal arrives first, drops `work` and returns the signal's error.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.wait() => Err(error),
            // a signal also reaches child processes: if the work fails because of that, report the signal
            result = work => result.map_err(|error| self.raised().unwrap_or(error)),
        }
    }

    /// Sleeps for `wait`. Returns an error if a signal arrives first.
    pub(crate) async fn sleep(&self, wait: Duration) -> Result<()> {
        let asleep = async {
            tokio::time::sleep(wait).await;
            Ok(())
        };
        self.or(asleep).await
    }

    /// The error for the signal that has arrived, if any.
    pub(crate) fn raised(&self) -> Option<Error> {
        let kind = (*self.0.borrow())?;
        Some(Error::new(kind, format!("{}; the work is incomplete", kind.meaning())))
    }
}

#[expect(clippy::disallowed_methods, reason = "the second signal ends the process immediately")]
fn exit_immediately(kind: Kind) -> ! {
    std::process::exit(kind.exit_code().into())
}

struct Signals {
    interrupts: Signal,
    terminations: Signal,
    hangups: Option<Signal>,
}

impl Signals {
    async fn next(&mut self) -> Kind {
        let hangup = async {
            match &mut self.hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupts.recv() => Kind::Interrupted,
            _ = self.terminations.recv() => Kind::Terminated,
            _ = hangup => Kind::Terminated,
        }
    }
}

/// Whether the process was started with SIGHUP ignored. Only Linux tells; elsewhere SIGHUP keeps its default.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 == 1)
}
