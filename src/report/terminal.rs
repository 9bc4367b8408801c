//! The report on a terminal: a progress bar while bytes stream, and a spinner while the server works. If the command
//! loads several files, each file has its own bar, and a bar above them counts the files.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::task::AbortHandle;

use super::LogDetail;
use super::bar::{Figures, Label};
use super::event::{Event, Report};
use super::lines::PlainLines;
use super::phase::Progress;
use super::screen::{self, Screen};

const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
const FRAMES_PER_SECOND: u8 = 20;
/// The columns of a spinner and of the elapsed time beside a label.
const SPINNER_COLUMNS: usize = "⠋  1000s".len();

/// Draws bars and spinners on stderr.
pub(crate) struct Terminal {
    detail: LogDetail,
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
        let key = file.map(str::to_owned);
        match event {
            Event::Began(phase, progress) => {
                let label = Label { file: key.clone(), phase: Some(phase.name()) };
                // remove the old bar before the new one is added, so that the other bars keep their lines
                bars.remove(&key);
                bars.insert(key, self.draw(label, progress));
            }
            Event::Ended(..) | Event::Failed(_) => _ = bars.remove(&key),
            Event::RangeBegan(files) => *range = Some(self.range_bar(files)),
            Event::MonthEnded(_) | Event::MonthCancelled => {
                if let Some(bar) = range.as_ref() {
                    bar.inc(1);
                }
            }
            Event::TaskBegan { task, .. } => {
                let label = Label { file: Some(task.to_owned()), phase: None };
                bars.insert(Some(task.to_owned()), self.draw(label, None));
            }
            Event::TaskEnded { task, .. } => _ = bars.remove(&Some(task.to_owned())),
            Event::Notice(_) | Event::TaskLogged { .. } => {}
        }
        if !matches!(event, Event::Began(..) | Event::Failed(_)) {
            self.screen.suspend(|| PlainLines(self.detail).emit(file, event));
        }
    }

    fn clear(&self) {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(bar) = self.range.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Terminal {
    /// A screen without bars, on which log lines have this `detail`.
    pub(crate) fn new(detail: LogDetail) -> Self {
        let stderr = ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), FRAMES_PER_SECOND);
        let screen = MultiProgress::with_draw_target(stderr);
        Self { detail, screen, bars: Mutex::default(), range: Mutex::default() }
    }

    fn draw(&self, label: Label, progress: Option<&Progress>) -> ActiveBar {
        match progress {
            Some(progress) => self.stream_bar(label, progress),
            None => self.spinner(label),
        }
    }

    fn range_bar(&self, files: usize) -> ProgressBar {
        let bar = self.screen.insert(0, ProgressBar::new(files as u64));
        bar.set_style(style("{wide_bar} {pos}/{len} files  {elapsed}"));
        bar.enable_steady_tick(REDRAW_INTERVAL);
        bar
    }

    fn spinner(&self, label: Label) -> ActiveBar {
        let bar = self.screen.add(ProgressBar::new_spinner());
        let text = move |_: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str(&label.text(width().saturating_sub(SPINNER_COLUMNS)));
        };
        bar.set_style(style("{spinner} {label} {elapsed}").with_key("label", text));
        bar.enable_steady_tick(REDRAW_INTERVAL);
        ActiveBar { bar, updater: None }
    }

    fn stream_bar(&self, label: Label, progress: &Progress) -> ActiveBar {
        let (bar, template) = match progress.total_bytes {
            Some(total) => (ProgressBar::new(total), "{label} {wide_bar} {figures}"),
            None => (ProgressBar::no_length(), "{spinner} {label} {figures}"),
        };
        let bar = self.screen.add(bar);
        let (total_bytes, rows) = (progress.total_bytes, Arc::clone(&progress.rows));
        let name = label.clone();
        let figures = move |state: &ProgressState, out: &mut dyn Write| {
            let figures = Figures {
                bytes: state.pos(),
                total_bytes,
                rows: rows.load(Ordering::Relaxed),
                bytes_per_second: state.per_sec(),
                left: state.eta(),
            };
            let _ = out.write_str(&figures.text(&label, width()));
        };
        let name = move |_: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str(&Figures::label(&name, width()));
        };
        bar.set_style(style(template).with_key("label", name).with_key("figures", figures));
        let bytes = Arc::clone(&progress.bytes);
        let updater = tokio::spawn(update(bar.clone(), bytes)).abort_handle();
        ActiveBar { bar, updater: Some(updater) }
    }
}

fn width() -> usize {
    screen::width().into()
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
