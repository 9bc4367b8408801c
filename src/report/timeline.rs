//! The timeline of a run: the phases that have ended, with their durations.

use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::event::{Event, Report};
use super::phase::{Phase, Progress, seconds};

impl dyn Report + '_ {
    /// Begins a phase. [`Timeline::end`] takes the returned value and ends the phase.
    pub(crate) fn begin(&self, phase: Phase, progress: Option<&Progress>) -> RunningPhase<'_> {
        self.emit(None, Event::Began(phase, progress));
        RunningPhase { report: self, phase, began: Instant::now(), has_ended: false }
    }
}

/// A running phase. [`Timeline::end`] ends the phase. If the value is dropped without that, the phase has
/// failed.
pub(crate) struct RunningPhase<'a> {
    report: &'a dyn Report,
    phase: Phase,
    began: Instant,
    has_ended: bool,
}

impl Drop for RunningPhase<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.report.emit(None, Event::Failed(self.phase));
        }
    }
}

/// The phases that have ended, in order, with their durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline(Vec<(Phase, Duration)>);

impl Timeline {
    /// Ends a phase. `detail` describes the result of the phase.
    pub(crate) fn end(&mut self, mut running: RunningPhase<'_>, detail: &str) {
        let took = running.began.elapsed();
        running.has_ended = true;
        running.report.emit(None, Event::Ended(running.phase, took, detail));
        self.0.push((running.phase, took));
    }

    /// The phases and their durations, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> {
        self.0.iter().copied()
    }
}

impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (phase, took) in self.iter() {
            map.serialize_entry(phase.name(), &seconds(took))?;
        }
        map.end()
    }
}
