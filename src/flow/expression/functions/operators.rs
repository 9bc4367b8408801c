//! The operators of Pebble that the template engine does not have. The parser writes them as calls.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Value as Data};

use super::text::whole_match;
use super::{Result, integer, refuse, required_text, to_text};

/// Registers the operators.
pub(crate) fn add_to(environment: &mut Environment<'static>) {
    environment.add_function("concat", |left: Data, right: Data| -> Result<String> {
        Ok(to_text(&left)? + &to_text(&right)?)
    });
    environment.add_function("plus", plus);
    environment.add_function("divide", divide);
    environment.add_function("matches", |text: Data, pattern: Data| {
        whole_match(&required_text(&text)?, &required_text(&pattern)?)
    });
    environment.add_function("iterate", iterate);
    environment.add_function("find", find);
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

/// Follows a path of keys; undefined if any part of it is missing.
fn find(path: Rest<Data>) -> Data {
    let mut path = path.iter();
    let root = path.next().cloned().unwrap_or_default();
    path.fold(root, |value, key| match value.kind() {
        ValueKind::Undefined | ValueKind::None => Data::UNDEFINED,
        _ => value.get_item(key).unwrap_or_default(),
    })
}
