//! The conditions of a trigger: which of the dates of its cron expression start a run.
//!
//! A condition is true, false or unknown. Unknown are conditions on executions and on public holidays, which taxi
//! cannot evaluate: they exclude no date.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use minijinja::context;
use serde_json::{Value as Json, json};

use super::aliases;
use crate::flow::expression::{Scope, Template, dates};
use crate::flow::yaml::decode::{Decode, Decoder, Properties as _, choices, properties};
use crate::flow::yaml::document::{Diagnostic, Node, Position, YamlValue};
use crate::secrets::Secrets;

choices! {
    /// A day of the week.
    pub(crate) enum Day {
        /// Monday.
        Monday = "MONDAY",
        /// Tuesday.
        Tuesday = "TUESDAY",
        /// Wednesday.
        Wednesday = "WEDNESDAY",
        /// Thursday.
        Thursday = "THURSDAY",
        /// Friday.
        Friday = "FRIDAY",
        /// Saturday.
        Saturday = "SATURDAY",
        /// Sunday.
        Sunday = "SUNDAY",
    }
}

impl From<Day> for Weekday {
    fn from(day: Day) -> Self {
        match day {
            Day::Monday => Self::Monday,
            Day::Tuesday => Self::Tuesday,
            Day::Wednesday => Self::Wednesday,
            Day::Thursday => Self::Thursday,
            Day::Friday => Self::Friday,
            Day::Saturday => Self::Saturday,
            Day::Sunday => Self::Sunday,
        }
    }
}

choices! {
    /// Which of the days of the week in a month.
    pub(crate) enum Nth {
        /// The first.
        First = "FIRST",
        /// The second.
        Second = "SECOND",
        /// The third.
        Third = "THIRD",
        /// The fourth.
        Fourth = "FOURTH",
        /// The last.
        Last = "LAST",
    }
}

properties! {
    /// Which condition it is, and on which date.
    pub(crate) struct Dated as "a condition" {
        /// Type of the condition.
        "type" => _condition_type: String,
        /// The date. Default: the date of the trigger.
        "date" => date: Option<Template> = None,
    }
}

properties! {
    /// A day of the week.
    pub(crate) struct DayWeek as "a DayWeek condition" {
        /// The day.
        "dayOfWeek" => day: Day,
        with {
            /// The date.
            on: Dated,
        }
    }
}

properties! {
    /// A day of the week in a month, such as the first Monday.
    pub(crate) struct DayWeekInMonth as "a DayWeekInMonth condition" {
        /// The day.
        "dayOfWeek" => day: Day,
        /// Which of these days in the month.
        "dayInMonth" => nth: Nth,
        with {
            /// The date.
            on: Dated,
        }
    }
}

properties! {
    /// A range of times or dates.
    pub(crate) struct Between as "a condition" {
        /// The date is after this one.
        "after" => after: Option<Template> = None,
        /// The date is before this one.
        "before" => before: Option<Template> = None,
        with {
            /// The date.
            on: Dated,
        }
    }
}

properties! {
    /// Conditions of which all, or at least one, must be true.
    pub(crate) struct Several as "a condition" {
        /// The conditions.
        "conditions" => conditions: Vec<Condition>,
        /// Type of the condition.
        "type" => _condition_type: String,
        /// The date; each of the conditions has its own.
        "date" => _date: Option<Template> = None,
    }
}

properties! {
    /// An expression.
    pub(crate) struct Expression as "an Expression condition" {
        /// The expression.
        "expression" => expression: Template,
        /// Type of the condition.
        "type" => _condition_type: String,
    }
}

/// A condition of a trigger.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Saturday or Sunday.
    Weekend(Dated),
    /// A day of the week.
    DayWeek(DayWeek),
    /// A day of the week in a month.
    DayWeekInMonth(DayWeekInMonth),
    /// A range of times of the day.
    TimeBetween(Between),
    /// A range of dates.
    DateTimeBetween(Between),
    /// Not all of the conditions.
    Not(Several),
    /// At least one of the conditions.
    Or(Several),
    /// All of the conditions.
    And(Several),
    /// An expression.
    Expression(Expression),
    /// A condition that taxi cannot evaluate.
    Unknown,
}

impl Decode for Condition {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let mut fields = decoder.fields(node, Dated::NAME)?;
        let (name, position) = written_type(node).unwrap_or(("", node.position));
        let Some(short) = aliases::condition(name).or_else(|| name.is_empty().then_some("")) else {
            return decoder.refuse(position, format!("unsupported condition type {name:?}"));
        };
        note_older_name(name, position, decoder);
        fields.rename(&format!("a condition of type {name}"));
        let condition = match short {
            "Weekend" | "" => Dated::take(&mut fields, decoder).map(Self::Weekend),
            "DayWeek" => DayWeek::take(&mut fields, decoder).map(Self::DayWeek),
            "DayWeekInMonth" => DayWeekInMonth::take(&mut fields, decoder).map(Self::DayWeekInMonth),
            "TimeBetween" => Between::take(&mut fields, decoder).map(Self::TimeBetween),
            "DateTimeBetween" | "DateBetween" => {
                Between::take(&mut fields, decoder).map(Self::DateTimeBetween)
            }
            "Not" => Several::take(&mut fields, decoder).map(Self::Not),
            "Or" => Several::take(&mut fields, decoder).map(Self::Or),
            "And" => Several::take(&mut fields, decoder).map(Self::And),
            "Expression" | "VariableExpression" => {
                Expression::take(&mut fields, decoder).map(Self::Expression)
            }
            _ => {
                decoder.note(position, unknown(short));
                return Some(Self::Unknown);
            }
        };
        decoder.end(fields);
        condition
    }

    fn schema() -> Json {
        json!({ "type": "object", "properties": { "type": { "type": "string" } }, "required": ["type"] })
    }
}

fn unknown(short: &str) -> String {
    match short {
        "PublicHoliday" => {
            "the condition excludes no date: taxi has no calendar of public holidays".to_owned()
        }
        _ => format!("the condition {short} excludes no date: taxi evaluates only conditions on dates"),
    }
}

/// Notes that a condition or a trigger has an older name.
pub(crate) fn note_older_name(name: &str, position: Position, decoder: &mut Decoder) {
    if let Some(today) = aliases::of_trigger(name) {
        decoder.note(position, format!("{name} is an older name of {today}"));
    }
}

/// The text of the property `type`, and its position.
pub(crate) fn written_type(node: &Node) -> Option<(&str, Position)> {
    let YamlValue::Map(entries) = &node.value else { return None };
    let (_, value) = entries.iter().find(|(key, _)| key.value.text() == Some("type"))?;
    Some((value.value.text()?, value.position))
}

impl Condition {
    /// Checks the dates and times that the condition names.
    pub(crate) fn check(&self) -> Result<(), Diagnostic> {
        self.is_true(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)).map(drop)
    }

    /// Whether the condition is true on the date of the trigger. `None` if it is unknown.
    fn is_true(&self, date: &Zoned) -> Result<Option<bool>, Diagnostic> {
        Ok(Some(match self {
            Self::Weekend(on) => {
                matches!(on.resolve(date)?.weekday(), Weekday::Saturday | Weekday::Sunday)
            }
            Self::DayWeek(of) => of.on.resolve(date)?.weekday() == of.day.into(),
            Self::DayWeekInMonth(of) => of.contains(&of.on.resolve(date)?),
            Self::TimeBetween(range) => range.contains_time(date)?,
            Self::DateTimeBetween(range) => range.contains_date(date)?,
            Self::Expression(of) => {
                return Ok(scope(date).is_true(&of.expression).ok());
            }
            Self::Not(of) => return Ok(all(&of.conditions, date)?.map(|all| !all)),
            Self::And(of) => return all(&of.conditions, date),
            Self::Or(of) => return any(&of.conditions, date),
            Self::Unknown => return Ok(None),
        }))
    }
}

/// Whether all conditions are true. Unknown if none is false, but one is unknown.
pub(crate) fn all(conditions: &[Condition], date: &Zoned) -> Result<Option<bool>, Diagnostic> {
    let values = conditions.iter().map(|condition| condition.is_true(date));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    Ok(match values.contains(&Some(false)) {
        true => Some(false),
        false => values.iter().all(Option::is_some).then_some(true),
    })
}

/// Whether one of the conditions is true. Unknown if none is true, but one is unknown.
fn any(conditions: &[Condition], date: &Zoned) -> Result<Option<bool>, Diagnostic> {
    let values = conditions.iter().map(|condition| condition.is_true(date));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    Ok(match values.contains(&Some(true)) {
        true => Some(true),
        false => values.iter().all(Option::is_some).then_some(false),
    })
}

/// The variables of a trigger's expressions.
pub(crate) fn scope(date: &Zoned) -> Scope {
    Scope::new(&Secrets::default()).with("trigger", context! { date => dates::text(date) })
}

impl Dated {
    /// The date of the condition.
    fn resolve(&self, date: &Zoned) -> Result<Zoned, Diagnostic> {
        match &self.date {
            None => Ok(date.clone()),
            Some(template) => read(template, date),
        }
    }
}

fn read(template: &Template, date: &Zoned) -> Result<Zoned, Diagnostic> {
    let text = scope(date).fill(template)?;
    dates::read_in(&text, date.time_zone())
        .map_err(|message| Diagnostic { position: template.position, message })
}

impl DayWeekInMonth {
    fn contains(&self, date: &Zoned) -> bool {
        let nth = (date.day() - 1) / 7;
        date.weekday() == self.day.into()
            && match self.nth {
                Nth::First => nth == 0,
                Nth::Second => nth == 1,
                Nth::Third => nth == 2,
                Nth::Fourth => nth == 3,
                Nth::Last => date.day() + 7 > date.days_in_month(),
            }
    }
}

impl Between {
    /// Whether the date is in the range. The ends are excluded.
    fn contains_date(&self, date: &Zoned) -> Result<bool, Diagnostic> {
        let on = self.on.resolve(date)?;
        let end = |template: Option<&Template>| template.map(|template| read(template, date)).transpose();
        let (after, before) = (end(self.after.as_ref())?, end(self.before.as_ref())?);
        Ok(after.is_none_or(|after| on > after) && before.is_none_or(|before| on < before))
    }

    /// Whether the time of the date is in the range. The ends are excluded. As in Kestra, times with different offsets
    /// are compared as times of the same day.
    fn contains_time(&self, date: &Zoned) -> Result<bool, Diagnostic> {
        let on = self.on.resolve(date)?;
        let end = |template: Option<&Template>| template.map(|template| time(template, date)).transpose();
        let (after, before) = (end(self.after.as_ref())?, end(self.before.as_ref())?);
        let day = jiff::civil::date(1970, 1, 1).to_datetime(on.time());
        let Ok(instant) = day.to_zoned(TimeZone::fixed(on.offset())).map(|time| time.timestamp()) else {
            return Ok(false);
        };
        Ok(after.is_none_or(|after| instant > after) && before.is_none_or(|before| instant < before))
    }
}

/// A time such as `09:00:00+02:00`; without an offset, it has that of the date.
fn time(template: &Template, date: &Zoned) -> Result<Timestamp, Diagnostic> {
    let text = scope(date).fill(template)?;
    let zone = TimeZone::fixed(date.offset());
    match dates::read_in(&format!("1970-01-01T{}", text.trim()), &zone) {
        Ok(time) => Ok(time.timestamp()),
        Err(_) => Err(Diagnostic {
            position: template.position,
            message: format!("expected a time like 09:00:00 or 09:00:00+02:00, found {text:?}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::yaml::document::Document;

    /// Whether the condition includes the date.
    fn includes(condition: &str, date: &str) -> Option<bool> {
        let condition = condition.replace("type: ", "type: io.kestra.plugin.core.condition.");
        let document = Document::parse("a.yaml", &condition).unwrap();
        let mut decoder = Decoder::default();
        let condition = Condition::decode(&document.root, &mut decoder);
        assert!(decoder.diagnostics.is_empty(), "{:?}", decoder.diagnostics);
        condition.unwrap().is_true(&dates::read(date).unwrap()).unwrap()
    }

    #[test]
    fn conditions_select_dates() {
        // 2024-06-01 is a Saturday
        for (condition, date, expected) in [
            ("{type: Weekend}", "2024-06-01T09:00:00Z", Some(true)),
            ("{type: WeekendCondition}", "2024-06-03T09:00:00Z", Some(false)),
            ("{type: Weekend, date: '2024-06-02'}", "2024-06-03T09:00:00Z", Some(true)),
            ("{type: DayWeek, dayOfWeek: MONDAY}", "2024-06-03T09:00:00Z", Some(true)),
            (
                "{type: DayWeekInMonth, dayOfWeek: MONDAY, dayInMonth: FIRST}",
                "2024-06-03T09:00:00Z",
                Some(true),
            ),
            (
                "{type: DayWeekInMonth, dayOfWeek: MONDAY, dayInMonth: LAST}",
                "2024-06-17T09:00:00Z",
                Some(false),
            ),
            (
                "{type: DayWeekInMonth, dayOfWeek: MONDAY, dayInMonth: LAST}",
                "2024-06-24T09:00:00Z",
                Some(true),
            ),
            ("{type: TimeBetween, after: '08:00:00Z'}", "2024-06-03T09:00:00Z", Some(true)),
            ("{type: TimeBetween, after: '09:00:00Z'}", "2024-06-03T09:00:00Z", Some(false)),
            ("{type: TimeBetween, before: '08:00:00Z'}", "2024-06-03T09:00:00+02:00", Some(true)),
            ("{type: TimeBetween, before: '08:00:00'}", "2024-06-03T09:00:00+02:00", Some(false)),
            (
                "{type: DateTimeBetween, after: '2024-06-01T00:00:00Z', before: '2024-07-01T00:00:00Z'}",
                "2024-06-03T09:00:00Z",
                Some(true),
            ),
            ("{type: Not, conditions: [{type: Weekend}]}", "2024-06-03T09:00:00Z", Some(true)),
            (
                "{type: Or, conditions: [{type: Weekend}, {type: DayWeek, dayOfWeek: MONDAY}]}",
                "2024-06-03T09:00:00Z",
                Some(true),
            ),
            (
                "{type: And, conditions: [{type: Weekend}, {type: PublicHoliday}]}",
                "2024-06-03T09:00:00Z",
                Some(false),
            ),
            ("{type: Not, conditions: [{type: PublicHoliday, country: FR}]}", "2024-06-03T09:00:00Z", None),
            (
                "{type: Expression, expression: \"{{ trigger.date | date('dd') == '03' }}\"}",
                "2024-06-03T09:00:00Z",
                Some(true),
            ),
            ("{type: ExecutionStatus, in: [SUCCESS]}", "2024-06-03T09:00:00Z", None),
        ] {
            assert_eq!(includes(condition, date), expected, "{condition} on {date}");
        }
    }
}
