//! The functions, filters and tests of expressions. Filters and tests are called as functions whose first argument
//! is the value they apply to, see [`super::parse`].

use jiff::Zoned;
use minijinja::value::{Kwargs, Rest, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value as Data};

use super::names::VARIABLES;
use super::{dates, pebble};
use crate::secrets::Secrets;

/// Maximum nesting of `render`, so that a variable that renders itself is an error and not a stack overflow.
const RENDER_LIMIT: u32 = 16;
/// Maximum length of a range. A longer range is almost certainly a mistake.
const RANGE_LIMIT: i64 = 100_000;

type Result<T = Data> = std::result::Result<T, Error>;

/// Registers all functions, filters and tests, and the formatter.
pub(crate) fn add_to(environment: &mut Environment<'static>, secrets: Secrets) {
    environment.add_function("render", render);
    let reading = secrets.clone();
    environment.add_function("secret", move |name: &str| reading.read(name).map_err(refuse));
    environment.add_function("now", now);
    environment.add_function("fromJson", from_json);
    environment.add_function("range", range);
    // operators
    environment.add_function("concat", |left: Data, right: Data| -> Result<String> {
        Ok(to_text(&left)? + &to_text(&right)?)
    });
    environment.add_function("plus", plus);
    environment.add_function("divide", divide);
    environment.add_function("iterate", iterate);
    environment.add_function("find", find);
    // filters
    environment.add_function("date", date);
    environment.add_function("dateAdd", date_add);
    environment.add_function(
        "default",
        |value: Data, default: Data| {
            if is_empty(&value) { default } else { value }
        },
    );
    environment.add_function("lower", |text: Data| required_text(&text).map(|text| text.to_lowercase()));
    environment.add_function("upper", |text: Data| required_text(&text).map(|text| text.to_uppercase()));
    environment.add_function("trim", |text: Data| required_text(&text).map(|text| text.trim().to_owned()));
    // what they make of a secret is a secret too
    let replacing = secrets.clone();
    environment.add_function("replace", move |text: Data, replacements: Data| {
        let text = required_text(&text)?;
        let result = replace(&text, &replacements)?;
        replacing.keep_derived(&text, &result);
        Ok::<_, Error>(result)
    });
    environment.add_function("split", move |text: Data, separator: &str| {
        let text = required_text(&text)?;
        let parts = split(&text, separator)?;
        secrets.keep_parts(&text, &parts);
        Ok::<_, Error>(parts)
    });
    environment.add_function("join", join);
    environment.add_function("first", |list: Data| items(&list).map(|items| items.first().cloned()));
    environment.add_function("last", |list: Data| items(&list).map(|items| items.last().cloned()));
    environment.add_function("reverse", |list: Data| {
        items(&list).map(|items| items.into_iter().rev().collect::<Vec<_>>())
    });
    environment.add_function("sort", |list: Data| {
        items(&list).map(|mut items| {
            items.sort();
            items
        })
    });
    environment.add_function("length", |list: Data| items(&list).map(|items| items.len()));
    environment.add_function("abs", |number: Data| match i64::try_from(number.clone()) {
        Ok(number) => Ok(Data::from(number.saturating_abs())),
        Err(_) => f64::try_from(number).map(|number| Data::from(number.abs())),
    });
    environment.add_function("json", |value: Data| to_json(&value));
    environment.add_function("toJson", |value: Data| to_json(&value));
    // tests
    environment.add_function("is_null", |value: Data| is_null(&value));
    environment.add_function("is_empty", |value: Data| is_empty(&value));
    environment.add_function("is_defined", |value: Data| !value.is_undefined());
    environment.add_function("is_iterable", |value: Data| value.kind() == ValueKind::Seq);
    environment.add_function("is_map", |value: Data| value.kind() == ValueKind::Map);
    environment.set_formatter(|out, _, value| {
        let text = to_text(value)?;
        out.write_str(&text).map_err(Error::from)
    });
}

/// Converts a value to text: null to an empty string, lists and mappings to JSON. Undefined is an error.
fn to_text(value: &Data) -> Result<String> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Ok(String::new()),
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => to_json(value),
        _ => Ok(value.to_string()),
    }
}

/// Kestra's `render`: evaluates the expressions in a string, then those in the result, until none is left. With
/// `recursive` false, evaluates them once.
fn render(state: &State<'_, '_>, template: Data, recursive: Option<bool>, options: Kwargs) -> Result<String> {
    let named: Option<bool> = options.get("recursive")?;
    options.assert_all_used()?;
    let is_recursive = recursive.or(named).unwrap_or(true);
    let depth = u32::try_from(state.lookup("render_depth").unwrap_or_default()).unwrap_or_default();
    if depth >= RENDER_LIMIT {
        return Err(refuse(format!(
            "render() is nested more than {RENDER_LIMIT} levels deep; check whether a variable renders itself"
        )));
    }
    let names = VARIABLES.iter().filter_map(|name| Some((*name, state.lookup(name)?)));
    let names = Data::from_pairs(names.chain([("render_depth", Data::from(depth + 1))]));
    let mut text = to_text(&template)?;
    for _ in 0..RENDER_LIMIT {
        if pebble::is_plain(&text) {
            return Ok(text);
        }
        let program = pebble::translate(&text).map_err(refuse)?;
        text = state.env().render_str(&program, names.clone())?;
        if !is_recursive {
            return Ok(text);
        }
    }
    Err(refuse(format!("the result of render() still contains an expression after {RENDER_LIMIT} passes")))
}

/// Adds numbers; concatenates everything else as text.
fn plus(left: Data, right: Data) -> Result {
    match (integer(&left), integer(&right)) {
        _ if left.kind() != ValueKind::Number || right.kind() != ValueKind::Number => {
            Ok(Data::from(to_text(&left)? + &to_text(&right)?))
        }
        (Some(left), Some(right)) => left
            .checked_add(right)
            .map(Data::from)
            .ok_or_else(|| refuse(format!("the sum of {left} and {right} is out of range"))),
        _ => Ok(Data::from(f64::try_from(left)? + f64::try_from(right)?)),
    }
}

fn integer(value: &Data) -> Option<i64> {
    i64::try_from(value.clone()).ok().filter(|_| value.is_integer())
}

/// Divides; integers give an integer.
fn divide(left: Data, right: Data) -> Result {
    match (integer(&left), integer(&right)) {
        (Some(left), Some(right)) => left
            .checked_div(right)
            .map(Data::from)
            .ok_or_else(|| refuse(format!("cannot divide {left} by {right}"))),
        _ => Ok(Data::from(f64::try_from(left)? / f64::try_from(right)?)),
    }
}

/// The items of a `for` loop: for a mapping, its entries as `key` and `value`.
fn iterate(value: Data) -> Result {
    if value.kind() != ValueKind::Map {
        return Ok(value);
    }
    let entry = |key: Data| {
        let value = value.get_item(&key)?;
        Ok(Data::from_pairs([("key", key), ("value", value)]))
    };
    value.try_iter()?.map(entry).collect::<Result<Vec<_>>>().map(Data::from)
}

fn now(options: Kwargs) -> Result<String> {
    let zone: Option<&str> = options.get("timeZone")?;
    options.assert_all_used()?;
    let now = Zoned::now();
    Ok(dates::text(&match zone {
        Some(zone) => dates::in_zone(&now, zone).map_err(refuse)?,
        None => now,
    }))
}

fn date(value: Data, format: Option<&str>, options: Kwargs) -> Result<String> {
    let date = in_zone(&value, &options)?;
    let named: Option<&str> = options.get("format")?;
    options.assert_all_used()?;
    match format.or(named) {
        Some(pattern) => dates::format(&date, pattern).map_err(refuse),
        None => Ok(dates::text(&date)),
    }
}

fn date_add(value: Data, amount: i64, unit: &str, options: Kwargs) -> Result<String> {
    let date = in_zone(&value, &options)?;
    options.assert_all_used()?;
    dates::add(&date, amount, unit).map(|date| dates::text(&date)).map_err(refuse)
}

fn in_zone(value: &Data, options: &Kwargs) -> Result<Zoned> {
    let date = dates::read(&required_text(value)?).map_err(refuse)?;
    match options.get::<Option<&str>>("timeZone")? {
        Some(zone) => dates::in_zone(&date, zone).map_err(refuse),
        None => Ok(date),
    }
}

/// Follows a path of keys; undefined if any part of it is missing.
fn find(path: Rest<Data>) -> Data {
    let mut path = path.iter();
    let root = path.next().cloned().unwrap_or_default();
    path.fold(root, |value, key| match value.kind() {
        ValueKind::Undefined | ValueKind::None => Data::UNDEFINED,
        _ => value.get_item(key).unwrap_or_default(),
    })
}

/// Replaces each key of the mapping in the text by its value.
fn replace(text: &str, replacements: &Data) -> Result<String> {
    let mut text = text.to_owned();
    if replacements.kind() != ValueKind::Map {
        return Err(refuse("expected a mapping as the argument of replace, like replace({'a': 'b'})"));
    }
    for key in replacements.try_iter()? {
        text = text.replace(&to_text(&key)?, &to_text(&replacements.get_item(&key)?)?);
    }
    Ok(text)
}

/// Splits at a literal separator. Kestra takes a regular expression; here only plain and escaped characters are
/// supported.
fn split(text: &str, separator: &str) -> Result<Vec<String>> {
    let mut plain = String::new();
    let mut characters = separator.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next().filter(|escaped| !escaped.is_alphanumeric())),
            '.' | '|' | '[' | ']' | '(' | ')' | '{' | '}' | '+' | '*' | '?' | '^' | '$'
                if separator.len() > 1 =>
            {
                return Err(refuse(format!("split does not support the regular expression {separator:?}")));
            }
            character => plain.push(character),
        }
    }
    if plain.is_empty() {
        return Err(refuse(format!("split does not support the separator {separator:?}")));
    }
    let mut parts: Vec<String> = text.split(&plain).map(str::to_owned).collect();
    // Java's split drops trailing empty strings
    while parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    Ok(parts)
}

fn join(list: Data, separator: Option<&str>) -> Result<String> {
    let items: Vec<String> = items(&list)?.iter().map(to_text).collect::<Result<_>>()?;
    Ok(items.join(separator.unwrap_or_default()))
}

/// The items of a list, or the characters of a string.
fn items(value: &Data) -> Result<Vec<Data>> {
    match value.as_str() {
        Some(text) => Ok(text.chars().map(Data::from).collect()),
        None => Ok(value.try_iter()?.collect()),
    }
}

fn from_json(text: &str) -> Result {
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|cause| refuse(format!("cannot parse the argument of fromJson() as JSON: {cause}")))?;
    Ok(Data::from(Serde(&value)))
}

fn to_json(value: &Data) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| refuse(format!("cannot convert the value to JSON: {cause}")))
}

fn range(first: i64, last: i64) -> Result<Vec<i64>> {
    match last.checked_sub(first).is_some_and(|length| length <= RANGE_LIMIT) {
        true => Ok((first..=last).collect()),
        false => Err(refuse(format!("the range is too long: expected at most {RANGE_LIMIT} items"))),
    }
}

/// Converts a value to text. Null is an error, too.
fn required_text(value: &Data) -> Result<String> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Err(Error::from(ErrorKind::UndefinedError)),
        _ => to_text(value),
    }
}

fn is_null(value: &Data) -> bool {
    value.is_undefined() || value.is_none()
}

fn is_empty(value: &Data) -> bool {
    is_null(value) || value.len() == Some(0)
}

fn refuse(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}
