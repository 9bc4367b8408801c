//! Whether and when a failed task is tried again.

use std::time::{Duration, Instant};

use super::decode::{choices, properties};

choices! {
    /// How the waits between attempts go.
    pub enum Growth {
        /// All alike.
        Constant = "constant",
        /// Each longer than the one before.
        Exponential = "exponential",
    }
}

choices! {
    /// What is done again.
    pub enum Behavior {
        /// The task that has failed.
        RetryFailedTask = "RETRY_FAILED_TASK",
    }
}

properties! {
    /// Whether and when a failed task is tried again.
    pub struct Retry as "a retry" {
        /// How the waits between attempts go.
        "type" => growth: Growth = Growth::Constant,
        /// The wait before the second attempt.
        "interval" => interval: Duration,
        /// The longest wait between two attempts.
        "maxInterval" => max_interval: Option<Duration> = None,
        /// By how much each wait is longer than the one before, where they grow.
        "delayFactor" => delay_factor: f64 = 2.0,
        /// How many attempts there are in all.
        "maxAttempts" => max_attempts: Option<u32> = None,
        /// How long it is tried in all.
        "maxDuration" => max_duration: Option<Duration> = None,
        /// Whether the task ends with a warning where it took more than one attempt.
        "warningOnRetry" => warning_on_retry: bool = false,
        /// What is done again.
        "behavior" => behavior: Behavior = Behavior::RetryFailedTask,
    }
}

impl Retry {
    /// How long to wait after so many failed attempts, the first of which `began`; `None` where it was the last.
    pub fn wait(&self, attempts: u32, began: Instant) -> Option<Duration> {
        if self.max_attempts.is_some_and(|most| attempts >= most) {
            return None;
        }
        let seconds = match self.growth {
            Growth::Constant => self.interval.as_secs_f64(),
            Growth::Exponential => {
                let doublings = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
                self.interval.as_secs_f64() * self.delay_factor.powi(doublings)
            }
        };
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let wait = wait.min(self.max_interval.unwrap_or(Duration::MAX));
        let over = self.max_duration.is_some_and(|most| began.elapsed().saturating_add(wait) > most);
        (!over).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::decode::{Decode as _, Decoder};
    use crate::pipeline::document::Document;

    fn waits(text: &str) -> Vec<Option<u64>> {
        let document = Document::parse("a.yaml", text).unwrap();
        let retry = Retry::decode(&document.root, &mut Decoder::default()).unwrap();
        (1..=4).map(|attempts| retry.wait(attempts, Instant::now()).map(|wait| wait.as_secs())).collect()
    }

    #[test]
    fn waits_follow_the_declaration() {
        assert_eq!(waits("{interval: PT5S, maxAttempts: 3}"), [Some(5), Some(5), None, None]);
        let growing = "{type: exponential, interval: PT5S, delayFactor: 3, maxInterval: PT1M}";
        assert_eq!(waits(growing), [Some(5), Some(15), Some(45), Some(60)]);
        assert_eq!(
            waits("{type: exponential, interval: PT5S, maxDuration: PT12S}"),
            [Some(5), Some(10), None, None]
        );
    }
}
