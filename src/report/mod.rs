//! The output for the user. The stages emit typed events; the renderers in this module only render them.
//!
//! stdout is the result; stderr is progress, notices and errors.

pub(crate) mod bar;
pub(crate) mod event;
pub mod failure;
pub(crate) mod forward;
pub(crate) mod json_lines;
pub(crate) mod lines;
pub(crate) mod load_counts;
pub(crate) mod log;
pub mod output;
pub(crate) mod phase;
pub(crate) mod screen;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod timeline;

use std::io::IsTerminal as _;

pub(crate) use event::{Event, Report};

/// Format of the log on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Progress bars on a terminal, plain lines elsewhere.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// How much a log for people shows if the command loads several files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogDetail {
    /// One line per file.
    Files,
    /// One line per phase of each file.
    Phases,
}

/// The renderer for stderr in this format.
pub(crate) fn for_stderr(format: LogFormat, detail: LogDetail) -> Box<dyn Report> {
    match format {
        LogFormat::Json => Box::new(json_lines::JsonLines),
        LogFormat::Text if can_draw() => Box::new(terminal::Terminal::new(detail)),
        LogFormat::Text => Box::new(lines::PlainLines(detail)),
    }
}

/// Whether stderr is a terminal that can move its cursor.
fn can_draw() -> bool {
    let terminal = std::env::var_os("TERM").filter(|name| !name.is_empty() && name != "dumb");
    terminal.is_some() && std::io::stderr().is_terminal()
}
