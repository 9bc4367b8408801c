//! Text tables for people. On a terminal they fit its width; elsewhere nothing is wrapped.

use std::io::IsTerminal as _;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};

/// The narrowest column in which wrapped words can be read.
const MIN_LAST_COLUMN: u16 = 10;

/// Formats a table. The columns with the indexes in `right` hold numbers and are right-aligned. Cells are wrapped if
/// the table is wider than the terminal.
pub(crate) fn text<const N: usize>(
    header: Option<[&str; N]>,
    rows: impl IntoIterator<Item = [String; N]>,
    right: &[usize],
) -> String {
    let mut table = table(header, rows, right);
    if let Some(width) = width() {
        fit(&mut table, width);
    }
    lines(&table)
}

/// Wraps the cells of the last column, or those of every column if that leaves the last one too narrow.
fn fit(table: &mut Table, width: u16) {
    let widths = table.column_max_content_widths();
    let padding = 2;
    let others: u16 = widths.iter().rev().skip(1).map(|width| width + padding).sum();
    if others + padding + MIN_LAST_COLUMN <= width {
        for index in 0..widths.len().saturating_sub(1) {
            if let Some(column) = table.column_mut(index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
}

/// Like [`text`], but `None` if cells had to be wrapped.
pub(crate) fn text_if_it_fits<const N: usize>(
    header: Option<[&str; N]>,
    rows: impl IntoIterator<Item = [String; N]>,
    right: &[usize],
) -> Option<String> {
    let text = lines(&table(header, rows, right));
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    width().is_none_or(|width| widest <= usize::from(width)).then_some(text)
}

/// Formats names and values whose values are never wrapped, so that they can be copied from a terminal.
pub(crate) fn unwrapped(rows: impl IntoIterator<Item = [String; 2]>) -> String {
    lines(&table(None, rows, &[]))
}

fn table<const N: usize>(
    header: Option<[&str; N]>,
    rows: impl IntoIterator<Item = [String; N]>,
    right: &[usize],
) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if let Some(header) = header {
        table.set_header(header);
    }
    table.add_rows(rows);
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The width of the terminal that shows the result; `None` if stdout is not a terminal.
fn width() -> Option<u16> {
    let stdout = std::io::stdout();
    let size = stdout.is_terminal().then(|| terminal_size::terminal_size_of(stdout)).flatten();
    size.map(|(width, _)| width.0).filter(|width| *width > 0)
}
