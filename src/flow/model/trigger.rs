//! Triggers: when a flow runs, and with which inputs.

use croner::Cron;
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::flow::model::inputs::Given;
use crate::flow::yaml::decode::{Decode, Decoder, Entries, Id, choices, properties};
use crate::flow::yaml::document::Node;

choices! {
    /// The types of trigger.
    pub(crate) enum TriggerType {
        /// Starts the flow at the times of a cron expression.
        Schedule = "io.kestra.plugin.core.trigger.Schedule",
    }
}

properties! {
    /// Runs the flow at the times of a cron expression.
    pub(crate) struct Trigger as "a trigger" {
        /// Id of the trigger.
        "id" => id: Id,
        /// Type of the trigger.
        "type" => _trigger_type: TriggerType,
        /// Free-text description.
        "description" => _description: Option<String> = None,
        /// Cron expression: minute, hour, day of the month, month and day of the week.
        "cron" => cron: Schedule,
        /// Time zone of the cron expression, like Europe/Paris. The default is the time zone of the machine.
        "timezone" => zone: Option<Zone> = None,
        /// Input values of the runs.
        "inputs" => inputs: Entries<Given> = Entries::default(),
        /// Whether the trigger is disabled. A disabled trigger starts no runs.
        "disabled" => disabled: bool = false,
    }
}

impl Trigger {
    /// The time zone of the cron expression.
    pub(crate) fn zone(&self) -> TimeZone {
        self.zone.as_ref().map_or_else(TimeZone::system, |zone| zone.zone.clone())
    }

    /// The times of the trigger from `start` on. `start` is included.
    pub(crate) fn dates_from(&self, start: &Zoned) -> impl Iterator<Item = Zoned> {
        let mut next = Some((start.with_time_zone(self.zone()), true));
        std::iter::from_fn(move || {
            let (from, inclusive) = next.take()?;
            let date = self.cron.cron.find_next_occurrence(&from, inclusive).ok()?;
            next = Some((date.clone(), false));
            Some(date)
        })
    }

    /// The last time of the trigger up to `end`. `end` is included.
    pub(crate) fn date_before(&self, end: &Zoned) -> Option<Zoned> {
        self.cron.cron.find_previous_occurrence(&end.with_time_zone(self.zone()), true).ok()
    }
}

/// A cron expression.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The expression as written.
    pub(crate) text: String,
    cron: Cron,
}

impl Decode for Schedule {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = decoder.text(node)?;
        let fields = text.split_whitespace().count();
        if fields != 5 && !text.starts_with('@') {
            let expected = "expected 5 fields (minute, hour, day of the month, month, day of the week)";
            let text = format!("invalid cron expression {text:?}: {expected}, found {fields}");
            return decoder.refuse(node.position, text);
        }
        match text.parse() {
            Ok(cron) => Some(Self { text, cron }),
            Err(cause) => decoder.refuse(node.position, format!("invalid cron expression {text:?}: {cause}")),
        }
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
