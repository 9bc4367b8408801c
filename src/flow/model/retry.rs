//! The retry policy of tasks.

use std::time::{Duration, Instant};

use crate::flow::yaml::decode::{choices, properties};

choices! {
    /// How the delay between attempts changes.
    pub(crate) enum Growth {
        /// Every delay is the same.
        Constant = "constant",
        /// Each delay is the previous delay multiplied by a factor.
        Exponential = "exponential",
        /// Each delay is a random one between two limits.
        Random = "random",
    }
}

choices! {
    /// What is retried after a failure.
    pub(crate) enum RetryBehavior {
        /// Only the failed task.
        RetryFailedTask = "RETRY_FAILED_TASK",
    }
}

properties! {
    /// Retry policy for failed tasks.
    pub(crate) struct Retry as "a retry policy" {
        /// How the delay between attempts changes.
        "type" => growth: Growth = Growth::Constant,
        /// Delay before the second attempt. Required unless the delays are random.
        "interval" => interval: Option<Duration> = None,
        /// Minimum random delay.
        "minInterval" => min_interval: Option<Duration> = None,
        /// Maximum delay between two attempts.
        "maxInterval" => max_interval: Option<Duration> = None,
        /// Factor by which an exponential delay is multiplied after each attempt.
        "delayFactor" => delay_factor: f64 = 2.0,
        /// Maximum number of attempts, including the first.
        "maxAttempts" | "maxAttempt" => max_attempts: Option<u32> = None,
        /// Maximum total time since the first attempt started. No attempt starts later.
        "maxDuration" => max_duration: Option<Duration> = None,
        /// Whether the task ends with a warning if it needed more than one attempt.
        "warningOnRetry" => warning_on_retry: bool = false,
        /// What is retried.
        "behavior" => _behavior: RetryBehavior = RetryBehavior::RetryFailedTask,
    }
}

impl Retry {
    /// What is wrong with the policy.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match (self.growth, self.interval, self.min_interval, self.max_interval) {
            _ if self.delay_factor <= 0.0 => Some("`delayFactor` must be greater than 0"),
            (Growth::Random, _, Some(min), Some(max)) if min <= max => None,
            (Growth::Random, ..) => Some("a random retry needs `minInterval` and a greater `maxInterval`"),
            (_, None, ..) => Some("missing property `interval` in a retry policy"),
            _ => None,
        }
    }

    /// The delay before the next attempt, after `attempts` failed attempts. The first attempt started at `started`.
    /// `None` if there is no next attempt.
    pub(crate) fn wait(&self, attempts: u32, started: Instant) -> Option<Duration> {
        if self.max_attempts.is_some_and(|max| attempts >= max) {
            return None;
        }
        let interval = self.interval.unwrap_or_default().as_secs_f64();
        let seconds = match self.growth {
            Growth::Constant => interval,
            Growth::Exponential => {
                let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
                interval * self.delay_factor.powi(exponent)
            }
            Growth::Random => {
                let min = self.min_interval.unwrap_or_default().as_secs_f64();
                let max = self.max_interval.unwrap_or_default().as_secs_f64();
                min + (max - min) * random_fraction()
            }
        };
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let wait = wait.min(self.max_interval.unwrap_or(Duration::MAX));
        let is_too_late = self.max_duration.is_some_and(|max| started.elapsed().saturating_add(wait) > max);
        (!is_too_late).then_some(wait)
    }
}

/// A random number from 0 to 1. Without a source of random numbers, it is the middle.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::yaml::decode::{Decode as _, Decoder};
    use crate::flow::yaml::document::Document;

    fn delays(text: &str) -> Vec<Option<u64>> {
        let document = Document::parse("a.yaml", text).unwrap();
        let retry = Retry::decode(&document.root, &mut Decoder::default()).unwrap();
        (1..=4).map(|attempts| retry.wait(attempts, Instant::now()).map(|wait| wait.as_secs())).collect()
    }

    #[test]
    fn delays_follow_the_retry_policy() {
        assert_eq!(delays("{interval: PT5S, maxAttempts: 3}"), [Some(5), Some(5), None, None]);
        let growing = "{type: exponential, interval: PT5S, delayFactor: 3, maxInterval: PT1M}";
        assert_eq!(delays(growing), [Some(5), Some(15), Some(45), Some(60)]);
        assert_eq!(delays("{interval: PT5S, maxAttempt: 2}"), [Some(5), None, None, None]);
        let random = delays("{type: random, minInterval: PT2S, maxInterval: PT4S}");
        assert!(random.iter().flatten().all(|seconds| (2..=4).contains(seconds)), "{random:?}");
        assert_eq!(
            delays("{type: exponential, interval: PT5S, maxDuration: PT12S}"),
            [Some(5), Some(10), None, None]
        );
    }
}
