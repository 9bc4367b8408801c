//! Functions, filters and tests on lists and mappings.

use minijinja::Value as Data;
use minijinja::value::ValueKind;

use super::{Call, Result, integer, is_null, items, refuse, shown, to_text};

/// Maximum length of a range. A longer range is almost certainly a mistake.
const RANGE_LIMIT: i64 = 100_000;

pub(crate) fn first(call: &Call<'_, '_, '_>) -> Result {
    Ok(items(&call.value(0))?.first().cloned().unwrap_or_else(null))
}

pub(crate) fn last(call: &Call<'_, '_, '_>) -> Result {
    Ok(items(&call.value(0))?.last().cloned().unwrap_or_else(null))
}

pub(crate) fn reverse(call: &Call<'_, '_, '_>) -> Result {
    Ok(items(&call.value(0))?.into_iter().rev().collect::<Vec<_>>().into())
}

pub(crate) fn sort(call: &Call<'_, '_, '_>) -> Result {
    let mut items = items(&call.value(0))?;
    items.sort();
    Ok(items.into())
}

pub(crate) fn rsort(call: &Call<'_, '_, '_>) -> Result {
    let mut items = items(&call.value(0))?;
    items.sort_by(|left, right| right.cmp(left));
    Ok(items.into())
}

pub(crate) fn length(call: &Call<'_, '_, '_>) -> Result {
    let value = call.value(0);
    match value.is_none() {
        true => Ok(0.into()),
        false => Ok(items(&value)?.len().into()),
    }
}

pub(crate) fn join(call: &Call<'_, '_, '_>) -> Result {
    let separator = call.optional_text(1)?.unwrap_or_default();
    let texts: Vec<String> = items(&call.value(0))?.iter().map(to_text).collect::<Result<_>>()?;
    Ok(texts.join(&separator).into())
}

pub(crate) fn default(call: &Call<'_, '_, '_>) -> Result {
    let value = call.value(0);
    Ok(if is_empty(&value) { call.value(1) } else { value })
}

/// The keys of a mapping, or the indexes of a list.
pub(crate) fn keys(call: &Call<'_, '_, '_>) -> Result {
    let value = call.value(0);
    match value.kind() {
        ValueKind::Map => Ok(value.try_iter()?.collect::<Vec<_>>().into()),
        ValueKind::Seq => Ok((0..value.len().unwrap_or_default()).collect::<Vec<_>>().into()),
        _ => Err(refuse(format!("keys expects a mapping or a list, found {}", shown(&value)))),
    }
}

pub(crate) fn values(call: &Call<'_, '_, '_>) -> Result {
    let value = mapping("values", call.value(0))?;
    let values: Vec<Data> = value.try_iter()?.map(|key| value.get_item(&key)).collect::<Result<_>>()?;
    Ok(values.into())
}

pub(crate) fn flatten(call: &Call<'_, '_, '_>) -> Result {
    let mut flat = Vec::new();
    for item in list("flatten", &call.value(0))? {
        match item.kind() {
            ValueKind::Seq => flat.extend(items(&item)?),
            _ => flat.push(item),
        }
    }
    Ok(flat.into())
}

pub(crate) fn chunk(call: &Call<'_, '_, '_>) -> Result {
    let size = call.optional_count(1)?.filter(|size| *size > 0);
    let size = size.ok_or_else(|| refuse("chunk expects a size of at least 1"))?;
    let items = list("chunk", &call.value(0))?;
    Ok(items.chunks(size).map(|chunk| Data::from(chunk.to_vec())).collect::<Vec<_>>().into())
}

pub(crate) fn distinct(call: &Call<'_, '_, '_>) -> Result {
    let mut kept: Vec<Data> = Vec::new();
    for item in list("distinct", &call.value(0))? {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    Ok(kept.into())
}

/// The type of the first value decides the type of the result.
pub(crate) fn merge(call: &Call<'_, '_, '_>) -> Result {
    let (own, other) = (call.value(0), call.value(1));
    match (own.kind(), other.kind()) {
        _ if own.is_none() => Ok(other),
        _ if is_null(&other) => Ok(own),
        (ValueKind::Seq, ValueKind::Seq) => Ok([items(&own)?, items(&other)?].concat().into()),
        (ValueKind::Map, ValueKind::Map) => {
            let mut entries: Vec<(Data, Data)> = Vec::new();
            for map in [&own, &other] {
                for key in map.try_iter()? {
                    let value = map.get_item(&key)?;
                    match entries.iter_mut().find(|(known, _)| *known == key) {
                        Some((_, known)) => *known = value,
                        None => entries.push((key, value)),
                    }
                }
            }
            Ok(Data::from_pairs(entries))
        }
        _ => Err(refuse("merge expects two lists or two mappings")),
    }
}

/// The indexes are those of Java's `substring` and `subList`: they must be in the value.
pub(crate) fn slice(call: &Call<'_, '_, '_>) -> Result {
    let value = call.value(0);
    let items = items(&value)?;
    let from = call.optional_count(1)?.unwrap_or_default();
    let to = call.optional_count(2)?;
    let is_in_order = to.is_none_or(|to| from < to);
    let range = items.get(from..to.unwrap_or(items.len())).filter(|_| is_in_order);
    let part = range.ok_or_else(|| {
        let to = to.map_or_else(|| "its end".to_owned(), |to| to.to_string());
        refuse(format!("cannot slice from {from} to {to}: the value has {} items", items.len()))
    })?;
    match value.as_str() {
        Some(_) => Ok(part.iter().map(ToString::to_string).collect::<String>().into()),
        None => Ok(part.to_vec().into()),
    }
}

/// A list of numbers, or of characters.
pub(crate) fn range(call: &Call<'_, '_, '_>) -> Result {
    let step = call.optional_integer(2)?.unwrap_or(1);
    let (start, end) = (call.value(0), call.value(1));
    if let (Some(start), Some(end)) = (integer(&start), integer(&end)) {
        return Ok(steps(start, end, step)?.into());
    }
    let letter = |value: &Data| {
        let mut letters = value.as_str()?.chars();
        letters.next().filter(|_| letters.next().is_none()).map(|letter| i64::from(u32::from(letter)))
    };
    let (Some(start), Some(end)) = (letter(&start), letter(&end)) else {
        return Err(refuse("range expects two whole numbers, or two texts of one character"));
    };
    let letters = steps(start, end, step)?.into_iter();
    let letters = letters.filter_map(|code| char::from_u32(u32::try_from(code).ok()?));
    Ok(letters.map(|letter| Data::from(letter.to_string())).collect::<Vec<_>>().into())
}

fn steps(start: i64, end: i64, step: i64) -> Result<Vec<i64>> {
    let too_long = || refuse(format!("the range is too long: expected at most {RANGE_LIMIT} items"));
    let distance = end.checked_sub(start).ok_or_else(too_long)?;
    let count = distance.checked_div(step).ok_or_else(|| refuse("the increment of range must not be 0"))?;
    match count {
        _ if distance.signum() * step.signum() < 0 => Ok(Vec::new()),
        count if count > RANGE_LIMIT => Err(too_long()),
        count => Ok((0..=count).map(|index| start + index * step).collect()),
    }
}

pub(crate) fn is_defined(call: &Call<'_, '_, '_>) -> Result {
    Ok((!call.value(0).is_undefined()).into())
}

pub(crate) fn is_null_value(call: &Call<'_, '_, '_>) -> Result {
    Ok(is_null(&call.value(0)).into())
}

pub(crate) fn is_empty_value(call: &Call<'_, '_, '_>) -> Result {
    Ok(is_empty(&call.value(0)).into())
}

pub(crate) fn is_iterable(call: &Call<'_, '_, '_>) -> Result {
    Ok((call.value(0).kind() == ValueKind::Seq).into())
}

pub(crate) fn is_map(call: &Call<'_, '_, '_>) -> Result {
    Ok((call.value(0).kind() == ValueKind::Map).into())
}

/// Pebble's emptiness: a text of spaces is empty too.
fn is_empty(value: &Data) -> bool {
    match value.as_str() {
        Some(text) => text.trim().is_empty(),
        None => is_null(value) || value.len() == Some(0),
    }
}

fn list(filter: &str, value: &Data) -> Result<Vec<Data>> {
    match value.kind() {
        ValueKind::Seq => items(value),
        _ => Err(refuse(format!("{filter} expects a list, found {}", shown(value)))),
    }
}

fn mapping(filter: &str, value: Data) -> Result {
    match value.kind() {
        ValueKind::Map => Ok(value),
        _ => Err(refuse(format!("{filter} expects a mapping, found {}", shown(&value)))),
    }
}

fn null() -> Data {
    Data::from(())
}

#[cfg(test)]
mod tests {
    use crate::flow::expression::tests::value_of;

    #[test]
    fn lists_and_mappings_follow_pebble() {
        for (expression, expected) in [
            ("[] | first", ""),
            ("'taxi' | first ~ '!'", "t!"),
            ("null | length", "0"),
            ("[1, 'a'] | keys", "[0,1]"),
            ("[1, [2, [3]]] | flatten", "[1,2,[3]]"),
            ("'green' | slice(1)", "reen"),
            ("[1, 2, 3] | slice(0, 2)", "[1,2]"),
            ("{'a': 1} | merge({'a': 2, 'b': 3})", "{\"a\":2,\"b\":3}"),
            ("range('a', 'e', 2)", "[\"a\",\"c\",\"e\"]"),
            ("range(3, 1, -1)", "[3,2,1]"),
            ("range(3, 1)", "[]"),
            ("[1, 2] contains 2", "true"),
            ("3 in [1, 2]", "false"),
            ("('a' | upper) isIn ['A']", "true"),
            ("'x' not in ['a']", "true"),
            ("['b', 'a'] | sort | join", "ab"),
            ("'  ' | default('none')", "none"),
        ] {
            assert_eq!(value_of(expression).as_deref(), Ok(expected), "{expression}");
        }
        for expression in ["'abc' | slice(2, 9)", "'abc' | chunk(1)", "1 | keys", "range(0, 1, 0)"] {
            assert!(value_of(expression).is_err(), "{expression}");
        }
    }
}
