//! The report on a terminal: a progress bar while bytes stream, and a spinner while the server works. If the command
//! loads several files, each file has its own bar, and a bar above them counts the files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tokio::task::AbortHandle;

use super::event::{Event, Report};
use super::lines::PlainLines;
use super::phase::Progress;

const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Draws bars and spinners on stderr.
#[derive(Default)]
pub(crate) struct Terminal {
    screen: MultiProgress,
    /// The bar or spinner of each file or task.
    bars: Mutex<HashMap<Option<String>, ActiveBar>>,
    /// The bar that counts the files.
    range: Mutex<Option<ProgressBar>>,
}

/// A bar or a spinner on the screen.
struct ActiveBar {
    bar: ProgressBar,
    /// The task that updates the bar.
    updater: Option<AbortHandle>,
}

impl Drop for ActiveBar {
    fn drop(&mut self) {
        if let Some(updater) = &self.updater {
            updater.abort();
        }
        self.bar.finish_and_clear();
    }
}

impl Report for Terminal {
    fn emit(&self, file: Option<&str>, event: Event<'_>) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let mut range = self.range.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Began(phase, progress) => {
                let label = file.map(|file| format!("{file} ")).unwrap_or_default() + phase.name();
                // remove the old bar before the new one is added, so that the other bars keep their lines
                bars.remove(&file.map(str::to_owned));
                bars.insert(file.map(str::to_owned), self.draw(label, progress));
            }
            Event::Ended(..) | Event::Failed(_) => _ = bars.remove(&file.map(str::to_owned)),
            Event::RangeBegan(files) => {
                let bar = self.screen.insert(0, ProgressBar::new(files as u64));
                bar.set_style(style("{bar:30} {pos}/{len} files  {elapsed}"));
                bar.enable_steady_tick(REDRAW_INTERVAL);
                *range = Some(bar);
            }
            Event::MonthEnded(_) => {
                if let Some(bar) = range.take() {
                    bar.inc(1);
                    if bar.length().is_some_and(|files| bar.position() < files) {
                        *range = Some(bar);
                    } else {
                        bar.finish_and_clear();
                    }
                }
            }
            Event::TaskBegan { task, .. } => {
                bars.insert(Some(task.to_owned()), self.draw(task.to_owned(), None));
            }
            Event::TaskEnded { task, .. } => _ = bars.remove(&Some(task.to_owned())),
            Event::Notice(_) | Event::TaskLogged { .. } => {}
        }
        if !matches!(event, Event::Began(..) | Event::Failed(_)) {
            self.screen.suspend(|| PlainLines.emit(file, event));
        }
    }
}

impl Terminal {
    fn draw(&self, label: String, progress: Option<&Progress>) -> ActiveBar {
        match progress {
            Some(progress) => self.stream_bar(label, progress),
            None => self.spinner(label),
        }
    }

    fn spinner(&self, label: String) -> ActiveBar {
        let bar = self.screen.add(ProgressBar::new_spinner().with_message(label));
        bar.set_style(style("{spinner} {msg} {elapsed}"));
        bar.enable_steady_tick(REDRAW_INTERVAL);
        ActiveBar { bar, updater: None }
    }

    fn stream_bar(&self, label: String, progress: &Progress) -> ActiveBar {
        let bar = self.screen.add(match progress.total_bytes {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        });
        let rows = Arc::clone(&progress.rows);
        let template = "{msg} {bar:30} {bytes}/{total_bytes}  {rows} rows  {bytes_per_sec}  {eta} left";
        bar.set_style(style(template).with_key(
            "rows",
            move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", HumanCount(rows.load(Ordering::Relaxed)));
            },
        ));
        bar.set_message(label);
        let bytes = Arc::clone(&progress.bytes);
        let updater = tokio::spawn(update(bar.clone(), bytes)).abort_handle();
        ActiveBar { bar, updater: Some(updater) }
    }
}

/// Moves the bar as `bytes` grows, until the task is aborted.
async fn update(bar: ProgressBar, bytes: Arc<AtomicU64>) {
    let mut redraw = tokio::time::interval(REDRAW_INTERVAL);
    loop {
        redraw.tick().await;
        bar.set_position(bytes.load(Ordering::Relaxed));
    }
}

fn style(template: &str) -> ProgressStyle {
    // cannot fail: the templates are constants, and a test draws them
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
