//! Maps the rows of a staging table to their lines in the file, for errors that the server reports about a row.
//!
//! Nearly always, the next row is on the next line, so the map holds only the rows where that is not so.

/// Maximum number of entries. A file in which rows and lines diverge more often gives errors without lines.
const ENTRIES_LIMIT: usize = 100_000;

/// The lines of consecutive rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// Row and line where a run of consecutive lines begins.
    runs: Vec<(u64, u64)>,
    rows: u64,
}

impl Lines {
    /// Adds the line of the next row.
    pub(crate) fn push(&mut self, line: u64) {
        let is_next = self.runs.last().is_some_and(|(row, first)| line == first + (self.rows - row));
        if !is_next && self.runs.len() < ENTRIES_LIMIT {
            self.runs.push((self.rows, line));
        }
        self.rows += 1;
    }

    /// Adds the rows of `other` after these.
    pub(crate) fn append(&mut self, other: &Self) {
        let rows = self.rows;
        for (row, line) in &other.runs {
            self.rows = rows + row;
            self.push(*line);
        }
        self.rows = rows + other.rows;
    }

    /// The line of a row; the first row is row 0. `None` if the row is unknown, or the map was too long to keep.
    pub(crate) fn of(&self, row: u64) -> Option<u64> {
        if row >= self.rows || self.runs.len() >= ENTRIES_LIMIT {
            return None;
        }
        let after = self.runs.partition_point(|(first, _)| *first <= row);
        let (first, line) = self.runs.get(after.checked_sub(1)?)?;
        Some(line + (row - first))
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    fn lines(lines: &[u64]) -> Lines {
        let mut map = Lines::default();
        lines.iter().for_each(|line| map.push(*line));
        map
    }

    #[test]
    fn every_row_keeps_its_line() {
        let all = [2, 3, 4, 7, 8, 20, 5];
        for split in 0..=all.len() {
            let mut map = lines(&all[..split]);
            map.append(&lines(&all[split..]));
            let found: Vec<_> = (0..=all.len() as u64).map(|row| map.of(row)).collect();
            let expected: Vec<_> = all.iter().copied().map(Some).chain([None]).collect();
            assert_eq!(found, expected, "split at {split}");
            assert_eq!(map.runs.len(), 4, "consecutive lines take one entry");
        }
    }
}
