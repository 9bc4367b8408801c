//! Functions on the run: rendering, secrets, loops, errors, and random values.

use std::net::{Ipv4Addr, TcpListener};

use minijinja::Value as Data;

use super::{Call, Result, refuse, to_text};
use crate::flow::expression::names::VARIABLES;
use crate::flow::expression::pebble;

/// Maximum nesting of `render`, so that a variable that renders itself is an error and not a stack overflow.
const RENDER_LIMIT: u32 = 16;
/// The digits and letters of identifiers.
const ALPHANUMERIC: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Length of an identifier: 62^22 is more than 2^128.
const ID_LENGTH: usize = 22;
/// Default length of a NanoID.
const NANO_ID_LENGTH: usize = 21;

/// Kestra's `render`: evaluates the expressions in a string, then those in the result, until none is left. With
/// `recursive` false, evaluates them once.
pub(crate) fn render(call: &Call<'_, '_, '_>) -> Result {
    evaluate(call, call.given(1).is_none_or(Data::is_true))
}

pub(crate) fn render_once(call: &Call<'_, '_, '_>) -> Result {
    evaluate(call, false)
}

fn evaluate(call: &Call<'_, '_, '_>, is_recursive: bool) -> Result {
    let state = call.state;
    let depth = u32::try_from(state.lookup("render_depth").unwrap_or_default()).unwrap_or_default();
    if depth >= RENDER_LIMIT {
        return Err(refuse(format!(
            "render() is nested more than {RENDER_LIMIT} levels deep; check whether a variable renders itself"
        )));
    }
    let names = VARIABLES.iter().filter_map(|name| Some((*name, state.lookup(name)?)));
    let names = Data::from_pairs(names.chain([("render_depth", Data::from(depth + 1))]));
    let mut text = to_text(&call.value(0))?;
    for _ in 0..RENDER_LIMIT {
        if pebble::is_plain(&text) {
            return Ok(text.into());
        }
        let program = pebble::translate(&text).map_err(|fault| refuse(fault.message))?.program;
        text = state.env().render_str(&program, names.clone())?;
        if !is_recursive {
            return Ok(text.into());
        }
    }
    Err(refuse(format!("the result of render() still contains an expression after {RENDER_LIMIT} passes")))
}

pub(crate) fn secret(call: &Call<'_, '_, '_>) -> Result {
    call.library.secrets.read(&call.text(0)?).map(Data::from).map_err(refuse)
}

/// Follows the values of the enclosing loops, the outermost first, then that of the task itself.
pub(crate) fn current_each_output(call: &Call<'_, '_, '_>) -> Result {
    let lookup = |name: &str| call.state.lookup(name).unwrap_or_default();
    let parents: Vec<Data> = lookup("parents").try_iter().map(Iterator::collect).unwrap_or_default();
    let outer = parents.iter().rev().filter_map(|parent| parent.get_attr("taskrun").ok());
    let values = outer.chain([lookup("taskrun")]).filter_map(|taskrun| taskrun.get_attr("value").ok());
    let mut outputs = call.value(0);
    let mut is_found = false;
    for value in values.filter(|value| !super::is_null(value)) {
        // a task in an If has the value of the loop itself, and so has its parent
        if let Some(found) = outputs.get_item(&value).ok().filter(|found| !found.is_undefined()) {
            outputs = found;
            is_found = true;
        }
    }
    is_found
        .then_some(outputs)
        .ok_or_else(|| refuse("currentEachOutput() found no outputs of this iteration"))
}

pub(crate) fn error_logs(call: &Call<'_, '_, '_>) -> Result {
    Ok(call.library.errors().into())
}

pub(crate) fn print_context(call: &Call<'_, '_, '_>) -> Result {
    Ok(Data::from_pairs(VARIABLES.iter().filter_map(|name| Some((*name, call.state.lookup(name)?)))))
}

pub(crate) fn uuid(_: &Call<'_, '_, '_>) -> Result {
    let bytes = random::<16>()?;
    Ok(::uuid::Builder::from_random_bytes(bytes).into_uuid().to_string().into())
}

pub(crate) fn id(_: &Call<'_, '_, '_>) -> Result {
    random_text(ALPHANUMERIC, ID_LENGTH)
}

pub(crate) fn nano_id(call: &Call<'_, '_, '_>) -> Result {
    let length = call.optional_count(0)?.unwrap_or(NANO_ID_LENGTH);
    let alphabet = call.optional_text(1)?.unwrap_or_else(|| format!("{ALPHANUMERIC}-_"));
    if length > 1000 {
        return Err(refuse("nanoId expects a length of at most 1000"));
    }
    random_text(&alphabet, length)
}

pub(crate) fn random_int(call: &Call<'_, '_, '_>) -> Result {
    let (lower, upper) = (call.integer(0)?, call.integer(1)?);
    if upper < lower {
        return Err(refuse(format!("randomInt expects upper ({upper}) to be at least lower ({lower})")));
    }
    let width = i128::from(upper) - i128::from(lower);
    let number = i128::from(lower) + below(u64::try_from(width.max(1)).unwrap_or(u64::MAX))? as i128;
    Ok(i64::try_from(number).unwrap_or(lower).into())
}

pub(crate) fn random_port(_: &Call<'_, '_, '_>) -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port().into()).map_err(|cause| refuse(format!("no free port: {cause}")))
}

fn random_text(alphabet: &str, length: usize) -> Result {
    let letters: Vec<char> = alphabet.chars().collect();
    if letters.is_empty() {
        return Err(refuse("expected an alphabet of at least one letter"));
    }
    let letter = |_| Ok(letters[below(letters.len() as u64)? as usize]);
    Ok((0..length).map(letter).collect::<Result<String>>()?.into())
}

/// A random number from 0 up to `limit`, which is not included.
fn below(limit: u64) -> Result<u64> {
    // 64 more bits than needed make the bias too small to matter
    Ok((u128::from_le_bytes(random::<16>()?) % u128::from(limit)) as u64)
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| refuse(format!("no random numbers: {cause}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use crate::flow::expression::tests::value_of;

    #[test]
    fn random_values_have_their_form() {
        for (expression, pattern) in [
            ("uuid()", "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
            ("id()", "[0-9A-Za-z]{22}"),
            ("nanoId()", "[0-9A-Za-z_-]{21}"),
            ("nanoId(4, 'ab')", "[ab]{4}"),
            ("randomInt(-2, 3)", "-[12]|[012]"),
            ("randomPort()", "[1-9][0-9]+"),
        ] {
            let found = value_of(&format!("({expression} ~ '') matches '{pattern}'"));
            assert_eq!(found.as_deref(), Ok("true"), "{expression}");
        }
        assert!(value_of("randomInt(2, 1)").is_err());
    }
}
