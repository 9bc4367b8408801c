//! Triggers: when a flow runs, and with which inputs.

use std::time::Duration;

use croner::Cron;
use jiff::Zoned;
use jiff::tz::TimeZone;

use super::aliases;
use super::conditions::{self, Condition, note_older_name, written_type};
use crate::flow::expression::Template;
use crate::flow::model::inputs::DefaultValue;
use crate::flow::model::labels::Labels;
use crate::flow::yaml::decode::{Decode, Decoder, Entries, Id, Properties as _, choices, properties};
use crate::flow::yaml::document::{Diagnostic, Node, Position};

/// How many dates that its conditions exclude a trigger passes over: more than the minutes of a year.
const EXCLUDED_LIMIT: usize = 600_000;

properties! {
    /// Runs the flow at the times of a cron expression.
    pub(crate) struct Schedule as "a trigger" {
        /// Id of the trigger.
        "id" => id: Id,
        /// Type of the trigger.
        "type" => kind: String,
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// Cron expression: minute, hour, day of the month, month and day of the week; with `withSeconds`, seconds come first.
        "cron" => written: Written,
        /// Whether the cron expression begins with the seconds.
        "withSeconds" => with_seconds: bool = false,
        /// Time zone of the cron expression, like Europe/Paris. The default is the time zone of the machine.
        "timezone" => zone: Option<Zone> = None,
        /// Input values of the runs.
        "inputs" => inputs: Entries<DefaultValue> = Entries::default(),
        /// Labels of the runs.
        "labels" => labels: Labels = Labels::default(),
        /// Conditions on the dates; all of them must be true.
        "conditions" | "scheduleConditions" => conditions: Vec<Condition> = Vec::new(),
        /// Condition on the dates, as an expression.
        "when" => when: Option<Template> = None,
        /// Whether the trigger is disabled. A disabled trigger starts no runs.
        "disabled" => disabled: bool = false,
        /// What happens to dates that were missed.
        "recoverMissedSchedules" => _recover: Option<Recover> = None => "'taxi backfill' runs missed dates",
        /// Whether a run may begin before the one before has ended.
        "allowConcurrent" => _allow_concurrent: bool = false => "the `concurrency` of the flow limits its runs",
        /// States of a run after which the trigger is disabled.
        "stopAfter" => _stop_after: Vec<String> = Vec::new() => "taxi is not a scheduler and disables no trigger",
        /// The range of dates to run first.
        "backfill" => _backfill: Option<Node> = None => "'taxi backfill' runs a range of dates",
        /// How late a run may begin.
        "lateMaximumDelay" => _late: Option<Duration> = None => "taxi is not a scheduler: the one that you use decides when a run begins",
        /// The worker group that evaluates the trigger.
        "workerGroup" => _worker_group: Option<Node> = None => "this machine runs all tasks",
        /// The level of the log of the trigger.
        "logLevel" => _log_level: Option<String> = None => "triggers have no log",
        /// Whether to store the log in a file.
        "logToFile" => _log_to_file: bool = false => "triggers have no log",
        /// Whether a run fails if the trigger cannot be evaluated.
        "failOnTriggerError" => _fail: bool = false => "'taxi run' says which trigger cannot be evaluated",
    }
}

choices! {
    /// What happens to dates that were missed.
    pub(crate) enum Recover {
        /// All of them run.
        All = "ALL",
        /// The last of them runs.
        Last = "LAST",
        /// None of them runs.
        None = "NONE",
    }
}

/// A trigger of a flow.
#[derive(Clone, Debug)]
pub(crate) enum Trigger {
    /// Starts the flow at the times of a cron expression.
    Schedule(Box<ScheduleTrigger>),
    /// Starts the flow after an event, such as the end of another flow. Taxi listens to no events.
    Event(EventTrigger),
}

/// A schedule and its cron expression.
#[derive(Clone, Debug)]
pub(crate) struct ScheduleTrigger {
    declaration: Schedule,
    cron: Cron,
}

impl std::ops::Deref for ScheduleTrigger {
    type Target = Schedule;

    fn deref(&self) -> &Schedule {
        &self.declaration
    }
}

/// A trigger that waits for an event.
#[derive(Clone, Debug)]
pub(crate) struct EventTrigger {
    /// Id of the trigger.
    pub(crate) id: Id,
    /// Type of the trigger, as written.
    pub(crate) kind: String,
    /// Whether the trigger is disabled.
    pub(crate) disabled: bool,
}

properties! {
    /// The properties of a trigger that waits for an event; its other properties are not checked.
    pub(crate) struct Event as "a trigger" {
        /// Id of the trigger.
        "id" => id: Id,
        /// Type of the trigger.
        "type" => kind: String,
        /// Whether the trigger is disabled.
        "disabled" => disabled: bool = false,
    }
}

impl Decode for Trigger {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let mut fields = decoder.fields(node, Schedule::NAME)?;
        let (written, position) = written_type(node).unwrap_or(("", node.position));
        note_older_name(written, position, decoder);
        if written.is_empty() || aliases::trigger(written) == Some("Schedule") {
            let declaration = Schedule::take(&mut fields, decoder);
            decoder.end(fields);
            return ScheduleTrigger::new(declaration?, decoder).map(Box::new).map(Self::Schedule);
        }
        if !waits_for_event(written) {
            let text =
                format!("unsupported trigger type {written:?}; 'taxi schema' lists the supported types");
            return decoder.refuse(position, text);
        }
        let Event { id, kind, disabled } = Event::take(&mut fields, decoder)?;
        if !disabled {
            let text = format!(
                "nothing listens to the events of the trigger {}: only 'taxi run' starts the flow",
                id.0
            );
            decoder.note(position, text);
        }
        Some(Self::Event(EventTrigger { id, kind, disabled }))
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [Schedule::schema(), {
            "type": "object",
            "properties": { "id": Id::schema(), "type": { "type": "string", "not": { "pattern": "Schedule$" } } },
            "required": ["id", "type"],
        }] })
    }
}

/// Whether a trigger of this type starts a flow after an event: another flow's end, a request, a row, a file.
fn waits_for_event(name: &str) -> bool {
    let is_of_kestra = matches!(aliases::trigger(name), Some("Flow" | "Webhook"));
    let last = name.rsplit('.').next().unwrap_or_default();
    is_of_kestra || name.starts_with("io.kestra.plugin.") && matches!(last, "Trigger" | "RealtimeTrigger")
}

impl Trigger {
    /// Id of the trigger.
    pub(crate) const fn id(&self) -> &Id {
        match self {
            Self::Schedule(trigger) => &trigger.declaration.id,
            Self::Event(trigger) => &trigger.id,
        }
    }

    /// The trigger, if it is a schedule.
    pub(crate) fn schedule(&self) -> Option<&ScheduleTrigger> {
        match self {
            Self::Schedule(trigger) => Some(trigger),
            Self::Event(_) => None,
        }
    }
}

impl ScheduleTrigger {
    /// Parses the cron expression, and checks the conditions.
    fn new(declaration: Schedule, decoder: &mut Decoder) -> Option<Self> {
        let Written { text, position } = &declaration.written;
        let fields = text.split_whitespace().count();
        let expected = if declaration.with_seconds { 6 } else { 5 };
        if fields != expected && !text.starts_with('@') {
            let names = "minute, hour, day of the month, month, day of the week";
            let names = if declaration.with_seconds { format!("second, {names}") } else { names.to_owned() };
            let hint =
                if (fields, expected) == (6, 5) { "; set `withSeconds: true` for seconds" } else { "" };
            let text = format!(
                "invalid cron expression {text:?}: expected {expected} fields ({names}), found {fields}{hint}"
            );
            return decoder.refuse(*position, text);
        }
        let cron = match with_ranges(text, declaration.with_seconds).parse() {
            Ok(cron) => cron,
            Err(cause) => {
                return decoder.refuse(*position, format!("invalid cron expression {text:?}: {cause}"));
            }
        };
        for condition in &declaration.conditions {
            if let Err(Diagnostic { position, message }) = condition.check() {
                return decoder.refuse(position, message);
            }
        }
        Some(Self { declaration, cron })
    }

    /// The time zone of the cron expression.
    pub(crate) fn zone(&self) -> TimeZone {
        self.zone.as_ref().map_or_else(TimeZone::system, |zone| zone.zone.clone())
    }

    /// The labels of the run for a date.
    pub(crate) fn labels_for(&self, date: &Zoned) -> Vec<(String, String)> {
        let fill = |value: &Template| conditions::scope(date).fill(value).ok();
        let labels = self.labels.0.iter();
        labels
            .map(|(name, value)| (name.clone(), fill(value).unwrap_or_else(|| value.text.clone())))
            .collect()
    }

    /// Whether the conditions include the date. A condition that cannot be evaluated excludes no date.
    fn includes(&self, date: &Zoned) -> bool {
        let when = self.when.as_ref().and_then(|when| conditions::scope(date).is_true(when).ok());
        when != Some(false) && !matches!(conditions::all(&self.conditions, date), Ok(Some(false)))
    }

    /// The times of the trigger from `start` on, without those that its conditions exclude. `start` is included.
    pub(crate) fn dates_from<'a>(&'a self, start: &Zoned) -> impl Iterator<Item = Zoned> + use<'a> {
        let mut next = Some((start.with_time_zone(self.zone()), true));
        std::iter::from_fn(move || {
            for _ in 0..EXCLUDED_LIMIT {
                let (from, inclusive) = next.take()?;
                let date = self.cron.find_next_occurrence(&from, inclusive).ok()?;
                next = Some((date.clone(), false));
                if self.includes(&date) {
                    return Some(date);
                }
            }
            None
        })
    }

    /// The last time of the trigger up to `end`, of those that its conditions include. `end` is included.
    pub(crate) fn date_before(&self, end: &Zoned) -> Option<Zoned> {
        let (mut from, mut inclusive) = (end.with_time_zone(self.zone()), true);
        for _ in 0..EXCLUDED_LIMIT {
            let date = self.cron.find_previous_occurrence(&from, inclusive).ok()?;
            if self.includes(&date) {
                return Some(date);
            }
            (from, inclusive) = (date, false);
        }
        None
    }
}

/// The largest number of each field of a cron expression, seconds first.
const LARGEST: [u32; 6] = [59, 59, 23, 31, 12, 7];

/// The cron expression, in which a step from a single number goes on to the end of the field: `5/20` is `5-59/20`.
fn with_ranges(text: &str, with_seconds: bool) -> String {
    let largest = &LARGEST[usize::from(!with_seconds)..];
    let part = |part: &str, largest: u32| match part.split_once('/') {
        Some((first, step)) if first.bytes().all(|byte| byte.is_ascii_digit()) && !first.is_empty() => {
            format!("{first}-{largest}/{step}")
        }
        _ => part.to_owned(),
    };
    let fields = text.split_whitespace().enumerate().map(|(index, field)| {
        let largest = largest.get(index).copied().unwrap_or_default();
        field.split(',').map(|item| part(item, largest)).collect::<Vec<_>>().join(",")
    });
    fields.collect::<Vec<_>>().join(" ")
}

/// A cron expression as written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// The expression.
    pub(crate) text: String,
    position: Position,
}

impl Decode for Written {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        Some(Self { text: decoder.text(node)?, position: node.position })
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }
}

/// A time zone.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    /// The name as written.
    pub(crate) name: String,
    zone: TimeZone,
}

impl Decode for Zone {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let name = decoder.text(node)?;
        match TimeZone::get(&name) {
            Ok(zone) => Some(Self { name, zone }),
            Err(_) => decoder.refuse(node.position, format!("unknown time zone {name:?}")),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::yaml::document::Document;

    fn schedule(properties: &str) -> ScheduleTrigger {
        let text = format!(
            "{{id: a, type: io.kestra.core.models.triggers.types.Schedule, timezone: UTC, {properties}}}"
        );
        let mut decoder = Decoder::default();
        let trigger = Trigger::decode(&Document::parse("a.yaml", &text).unwrap().root, &mut decoder);
        assert!(decoder.diagnostics.is_empty(), "{:?}", decoder.diagnostics);
        let Some(Trigger::Schedule(trigger)) = trigger else { panic!("not a schedule: {text}") };
        *trigger
    }

    #[test]
    fn excluded_dates_are_passed_over_in_both_directions() {
        let weekend = "conditions: [{type: io.kestra.plugin.core.condition.Weekend}]";
        let trigger = schedule(&format!("cron: 0 9 * * *, {weekend}"));
        // a Monday
        let start: Zoned = "2024-06-03T12:00:00[UTC]".parse().unwrap();
        let days: Vec<i8> = trigger.dates_from(&start).take(3).map(|date| date.day()).collect();
        assert_eq!(days, [8, 9, 15]);
        assert_eq!(trigger.date_before(&start).unwrap().day(), 2);
        let never = schedule(&format!("cron: 0 9 * * MON, {weekend}"));
        assert_eq!(never.dates_from(&start).take_while(|date| date.year() < 2025).count(), 0);
    }

    #[test]
    fn seconds_and_expressions_select_dates() {
        let start: Zoned = "2024-06-03T12:00:00[UTC]".parse().unwrap();
        let seconds = schedule("cron: '30 0 9 * * *', withSeconds: true");
        assert_eq!(seconds.dates_from(&start).next().unwrap().second(), 30);
        let step = schedule("cron: '5/20 1/12 * * *'");
        let minutes: Vec<_> =
            step.dates_from(&start).take(4).map(|date| (date.hour(), date.minute())).collect();
        assert_eq!(minutes, [(13, 5), (13, 25), (13, 45), (1, 5)]);
        let when = schedule("cron: 0 9 * * *, when: \"{{ trigger.date | date('d') == '10' }}\"");
        assert_eq!(when.dates_from(&start).next().unwrap().day(), 10);
    }
}
