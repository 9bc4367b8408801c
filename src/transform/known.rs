//! The keys that the target holds of a file's own period, where the file was loaded before: nearly all of its rows are among
//! them, and need not be sent to the server to be compared there.
//!
//! 1.37 million keys take 27 MB; more than [`KEYS_LIMIT`] are not listed, and the server compares.

use super::row_key::RowKey;

/// No more keys than these are held in memory.
pub const KEYS_LIMIT: u64 = 1_700_000;

/// The keys, and which of them the file's rows have met.
pub struct KnownKeys {
    /// In order.
    keys: Vec<RowKey>,
    met: Vec<bool>,
    /// Where the keys begin whose first two bytes are the index: a search stays in a cache line or two.
    starts: Vec<u32>,
}

impl KnownKeys {
    /// Those of the target's rows, in any order.
    pub fn new(mut keys: Vec<RowKey>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let mut starts = vec![0; (1 << 16) + 1];
        keys.iter().for_each(|key| starts[prefix(*key) + 1] += 1);
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        Self { met: vec![false; keys.len()], keys, starts }
    }

    /// Whether the key is known, and if so, whether a row has met it before.
    pub fn meet(&mut self, key: RowKey) -> Option<bool> {
        let (from, to) = (self.starts[prefix(key)] as usize, self.starts[prefix(key) + 1] as usize);
        let at = from + self.keys[from..to].binary_search(&key).ok()?;
        Some(std::mem::replace(&mut self.met[at], true))
    }
}

fn prefix(key: RowKey) -> usize {
    usize::from(u16::from_be_bytes([key.0[0], key.0[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_met_once_then_again_and_others_never() {
        let key = |number: u32| RowKey::of([&number.to_le_bytes()[..]].into_iter());
        let mut known = KnownKeys::new((0..10_000).chain(0..10).map(key).collect());
        for number in 0..10_000 {
            assert_eq!(known.meet(key(number)), Some(false));
        }
        assert_eq!(known.meet(key(7)), Some(true));
        assert!((10_000..20_000).all(|number| known.meet(key(number)).is_none()));
        for edge in [[0; 16], [0xff; 16]] {
            assert_eq!(known.meet(RowKey(edge)), None);
            assert_eq!(KnownKeys::new(vec![RowKey(edge)]).meet(RowKey(edge)), Some(false));
        }
    }
}
