//! The terminal that bars are drawn on: stderr.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;
use terminal_size::{Height, Width};

/// The size of a terminal that does not tell its size: columns and rows.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// Collects what belongs to one frame, and writes it at once.
///
/// After a frame, the cursor goes back to the start of the line. The last line is full: behind it, a key that the
/// terminal echoes, such as Ctrl-C, would start a line that the next frame does not know.
#[derive(Debug, Default)]
pub(crate) struct Screen(Mutex<String>);

/// The width of the terminal in columns, which may change at any time.
pub(crate) fn width() -> u16 {
    size().0
}

fn size() -> (u16, u16) {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.map_or(DEFAULT_SIZE, |(Width(width), Height(height))| (width, height))
}

impl Screen {
    fn push(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn move_cursor(&self, count: usize, direction: char) -> io::Result<()> {
        if count > 0 { self.push(&format!("\u{1b}[{count}{direction}")) } else { Ok(()) }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        width()
    }

    fn height(&self) -> u16 {
        size().1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.push(&format!("{s}\r\n"))
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.push(s)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\u{1b}[G\u{1b}[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let mut frame = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if frame.is_empty() {
            return Ok(());
        }
        frame.push('\r');
        io::stderr().lock().write_all(frame.as_bytes())
    }
}
