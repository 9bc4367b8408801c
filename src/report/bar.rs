//! The text of a progress bar, fitted to the width of the terminal: label and figures are shortened, and the bar
//! takes the columns that are left.

use indicatif::{HumanBytes, HumanCount, HumanDuration};
use std::time::Duration;

/// The smallest useful bar, in columns.
const MIN_BAR: usize = 5;

/// What a bar or a spinner shows the progress of.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    /// The file or the task, if the command has several.
    pub(crate) file: Option<String>,
    /// The phase, if it is one of a load.
    pub(crate) phase: Option<&'static str>,
}

impl Label {
    /// The label in at most `width` columns. The phase is left out if there is no room for it.
    pub(crate) fn text(&self, width: usize) -> String {
        let file = self.file.as_deref().unwrap_or_default();
        let whole = match self.phase {
            Some(phase) if file.is_empty() => phase.to_owned(),
            Some(phase) => format!("{file} {phase}"),
            None => file.to_owned(),
        };
        let text = if columns(&whole) <= width || file.is_empty() { &whole } else { file };
        shorten(text, width)
    }

    fn columns(&self) -> usize {
        columns(&self.text(usize::MAX))
    }

    fn file_columns(&self) -> usize {
        columns(self.file.as_deref().or(self.phase).unwrap_or_default())
    }
}

/// The figures of a phase that streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// The bytes received.
    pub(crate) bytes: u64,
    /// All bytes, if the source announces their number.
    pub(crate) total_bytes: Option<u64>,
    /// The rows sent.
    pub(crate) rows: u64,
    /// The bytes received in a second.
    pub(crate) bytes_per_second: f64,
    /// The estimated time left.
    pub(crate) left: Duration,
}

/// How much of the figures is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Share,
    Rows,
    All,
}

impl Detail {
    /// The columns of the longest usual text.
    const fn columns(self) -> usize {
        match self {
            Self::Share => "100.00 MiB".len(),
            Self::Rows => "100%  10,000,000 rows  100s left".len(),
            Self::All => "100.00 MiB/100.00 MiB  10,000,000 rows  100.00 MiB/s  100s left".len(),
        }
    }

    /// The most that fits beside the label and a bar. It does not depend on the figures: they change while the bar
    /// is drawn.
    fn for_width(label: &Label, width: usize) -> Self {
        let fits = |detail: &Self| label.columns() + MIN_BAR + 2 + detail.columns() <= width;
        [Self::All, Self::Rows].into_iter().find(fits).unwrap_or(Self::Share)
    }
}

impl Figures {
    /// The figures that fit beside the label in a terminal of this width.
    pub(crate) fn text(&self, label: &Label, width: usize) -> String {
        let rows = format!("{} rows", HumanCount(self.rows));
        let share = match self.total_bytes {
            Some(total) => format!("{:>3}%", (self.bytes * 100).checked_div(total).unwrap_or(100)),
            None => HumanBytes(self.bytes).to_string(),
        };
        let left = match self.total_bytes {
            Some(_) => format!("  {:#} left", HumanDuration(self.left)),
            None => String::new(),
        };
        match Detail::for_width(label, width) {
            Detail::Share => share,
            Detail::Rows => format!("{share}  {rows}{left}"),
            Detail::All => {
                let bytes = HumanBytes(self.bytes);
                let of = self.total_bytes.map(|total| format!("/{}", HumanBytes(total))).unwrap_or_default();
                let rate = HumanBytes(self.bytes_per_second as u64);
                format!("{bytes}{of}  {rows}  {rate}/s{left}")
            }
        }
    }

    /// The label beside the figures and a bar.
    pub(crate) fn label(label: &Label, width: usize) -> String {
        let beside = Detail::for_width(label, width).columns() + MIN_BAR + 2;
        // the bar gets shorter before the name of the file does
        let least = label.file_columns().min(width.saturating_sub(Detail::Share.columns() + 2));
        label.text(width.saturating_sub(beside).max(least))
    }
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Cuts a text that is too long, and replaces control characters, which would move the cursor.
fn shorten(text: &str, width: usize) -> String {
    let clean = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    if columns(text) <= width {
        return clean.collect();
    }
    clean.take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures = Figures {
        bytes: 12_345_678,
        total_bytes: Some(24_000_000),
        rows: 1_234_567,
        bytes_per_second: 12_345_678.0,
        left: Duration::from_secs(12),
    };

    fn label(file: &str) -> Label {
        Label { file: Some(file.to_owned()), phase: Some("load") }
    }

    /// The label and the figures, between which the bar stands.
    fn parts(label: &Label, width: usize) -> (String, String) {
        (Figures::label(label, width), FIGURES.text(label, width))
    }

    #[test]
    fn the_parts_of_a_bar_fit_every_width() {
        let long_name = "a_flow_of_a_user > a_task_with_a_very_long_name[2021-01-01T00:00:00Z]";
        for file in ["yellow_tripdata_2021-01.csv", long_name] {
            for width in 10..200 {
                let (label, figures) = parts(&label(file), width);
                assert!(columns(&label) + columns(&figures) + 2 <= width, "{width}: {label} {figures}");
            }
        }
    }

    #[test]
    fn narrow_terminals_show_the_file_and_the_share_and_wide_ones_all_figures() {
        let label = label("yellow_tripdata_2021-01.csv");
        let of = |width| parts(&label, width);
        assert_eq!(of(40), ("yellow_tripdata_2021-01.csv".to_owned(), " 51%".to_owned()));
        let (name, figures) = of(80);
        assert_eq!(
            (&*name, &*figures),
            ("yellow_tripdata_2021-01.csv load", " 51%  1,234,567 rows  12s left")
        );
        assert_eq!(of(120).1, "11.77 MiB/22.89 MiB  1,234,567 rows  11.77 MiB/s  12s left");
    }

    #[test]
    fn control_characters_in_a_label_are_replaced() {
        let label = Label { file: Some("task[a\nb\u{1b}[2J]".to_owned()), phase: None };
        assert_eq!(label.text(80), "task[a b [2J]");
        assert_eq!(label.text(7), "task[a…");
    }
}
