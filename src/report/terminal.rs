//! The report on a terminal: a bar while bytes stream, a spinner while the server works.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use tokio::task::AbortHandle;

use super::phase::{Phase, Progress};
use super::{Event, Report};

const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Draws on stderr.
#[derive(Default)]
pub struct Terminal {
    current: Mutex<Option<Drawn>>,
}

struct Drawn {
    bar: ProgressBar,
    updates: Option<AbortHandle>,
}

impl Drop for Drawn {
    fn drop(&mut self) {
        if let Some(updates) = &self.updates {
            updates.abort();
        }
        self.bar.finish_and_clear();
    }
}

impl Report for Terminal {
    fn emit(&self, event: Event<'_>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Notice(text) => match current.as_ref() {
                Some(drawn) => drawn.bar.suspend(|| super::lines::Lines.emit(event)),
                None => super::lines::Lines.emit(Event::Notice(text)),
            },
            Event::Began(phase, Some(progress)) => *current = Some(stream_bar(phase, progress)),
            Event::Began(phase, None) => *current = Some(spinner(phase)),
            Event::Ended(..) => {
                *current = None;
                super::lines::Lines.emit(event);
            }
            Event::Failed(_) => *current = None,
        }
    }
}

fn spinner(phase: Phase) -> Drawn {
    let bar = ProgressBar::new_spinner().with_message(phase.name());
    bar.set_style(style("{spinner} {msg} {elapsed}"));
    bar.enable_steady_tick(REDRAW_INTERVAL);
    Drawn { bar, updates: None }
}

fn stream_bar(phase: Phase, progress: &Progress) -> Drawn {
    let bar = match progress.total_bytes {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::no_length(),
    };
    let rows = Arc::clone(&progress.rows);
    let template = "{msg} {bar:30} {bytes}/{total_bytes}  {rows} rows  {bytes_per_sec}  {eta} left";
    bar.set_style(style(template).with_key(
        "rows",
        move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{}", HumanCount(rows.load(Ordering::Relaxed)));
        },
    ));
    bar.set_message(phase.name());
    let bytes = Arc::clone(&progress.bytes);
    let updates = tokio::spawn(follow(bar.clone(), bytes)).abort_handle();
    Drawn { bar, updates: Some(updates) }
}

async fn follow(bar: ProgressBar, bytes: Arc<AtomicU64>) {
    let mut redraw = tokio::time::interval(REDRAW_INTERVAL);
    loop {
        redraw.tick().await;
        bar.set_position(bytes.load(Ordering::Relaxed));
    }
}

fn style(template: &str) -> ProgressStyle {
    // the templates above are constants that a test draws
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
