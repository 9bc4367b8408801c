//! Variables whose values only a run has. They notice that an expression reads them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::Value as Data;
use minijinja::value::{Enumerator, Object};

/// Whether an expression has read an unknown value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<AtomicBool>);

impl Watch {
    /// Forgets what was read before.
    pub(crate) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether an unknown value was read since the last reset.
    pub(crate) fn was_read(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn read(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A mapping of which only some values are known.
#[derive(Debug)]
pub(crate) struct Unknown {
    watch: Watch,
    known: BTreeMap<&'static str, Data>,
}

impl Unknown {
    /// A mapping of which no value is known.
    pub(crate) fn data(watch: &Watch) -> Data {
        Self::data_with(watch, [])
    }

    /// A mapping of which only these values are known.
    pub(crate) fn data_with(watch: &Watch, known: impl IntoIterator<Item = (&'static str, Data)>) -> Data {
        Data::from_object(Self { watch: watch.clone(), known: known.into_iter().collect() })
    }
}

impl Object for Unknown {
    fn get_value(self: &Arc<Self>, key: &Data) -> Option<Data> {
        let known = key.as_str().and_then(|key| self.known.get(key)).cloned();
        if known.is_none() {
            self.watch.read();
        }
        known
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.watch.read();
        Enumerator::Empty
    }
}
