//! Which keys of a file may stand in it more than once, in bounded memory whatever the file's size.
//!
//! To know for sure takes all keys at once: a sort in the server, 0.7 to 1.4 s for 1.37 million rows. A Bloom filter
//! never misses a repetition and rarely suspects a key that has none (about one in a million here, one in 500 for ten
//! million rows), so the server needs to look for the suspects only, and for nothing where there are none, as in
//! nearly every real file.

use super::row::Encoded;
use super::row_key::RowKey;

/// Bits that one key may set: a cache line, so that a key costs one access to memory.
const BLOCK_WORDS: usize = 8;
const BLOCKS: usize = 1 << 18; // 16 MiB
const BITS_OF_KEY: usize = 6;
/// More suspects are not listed: a file that repeats itself is counted in full.
const SUSPECTS_LIMIT: usize = 20_000;

/// The keys seen so far, and those that may have been seen twice.
pub struct Repeats {
    blocks: Vec<[u64; BLOCK_WORDS]>,
    suspects: Vec<Encoded>,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { blocks: vec![[0; BLOCK_WORDS]; BLOCKS], suspects: Vec::new() }
    }
}

impl Repeats {
    /// Notes some rows. Many at a time: each key costs an access to memory, and side by side they take a
    /// fourth of the time that they take one by one between rows.
    pub fn note_all(&mut self, rows: &[Encoded]) {
        for row in rows {
            if self.has_perhaps(row.key) && self.suspects.len() < SUSPECTS_LIMIT {
                self.suspects.push(*row);
            }
        }
    }

    /// Notes the key; whether it may have been before.
    fn has_perhaps(&mut self, key: RowKey) -> bool {
        // a key is a digest: any bits of it are as good as a hash
        let number = u128::from_le_bytes(key.0);
        let block = &mut self.blocks[number as usize % BLOCKS];
        let mut seen = true;
        for nth in 0..BITS_OF_KEY {
            let bit = (number >> (64 + 9 * nth)) as usize % (64 * BLOCK_WORDS);
            let mask = 1 << (bit % 64);
            seen &= block[bit / 64] & mask != 0;
            block[bit / 64] |= mask;
        }
        seen
    }

    /// Rows with all the keys that may stand in the file more than once; `None` where those are too many to list.
    pub fn suspects(self) -> Option<Vec<Encoded>> {
        (self.suspects.len() < SUSPECTS_LIMIT).then_some(self.suspects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32) -> Encoded {
        Encoded { key: RowKey::of([&number.to_le_bytes()[..]].into_iter()), time: None }
    }

    fn note(repeats: &mut Repeats, numbers: impl IntoIterator<Item = u32>) {
        let rows: Vec<Encoded> = numbers.into_iter().map(row).collect();
        repeats.note_all(&rows);
    }

    #[test]
    fn every_repetition_is_suspected_and_little_else() {
        let mut repeats = Repeats::default();
        note(&mut repeats, 0..200_000);
        note(&mut repeats, [7, 199_999, 7]);
        let suspects = repeats.suspects().unwrap();
        assert!([7, 199_999].iter().all(|number| suspects.contains(&row(*number))));
        assert!(suspects.len() < 3 + 20, "{} suspects", suspects.len());
    }

    #[test]
    fn a_file_that_repeats_itself_has_no_list() {
        let mut repeats = Repeats::default();
        (0..2).for_each(|_| note(&mut repeats, 0..SUSPECTS_LIMIT as u32));
        assert_eq!(repeats.suspects(), None);
    }
}
