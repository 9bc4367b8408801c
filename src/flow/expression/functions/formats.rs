//! Functions, filters and tests on documents: JSON, YAML, Ion and jq.

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data};
use jaq_json::Val;
use minijinja::Value as Data;
use minijinja::value::Serde;
use serde_json::Value as Json;

use super::{Call, Result, refuse, yaml_text};
use crate::flow::expression;
use crate::flow::yaml::document::Document;

/// Maximum number of results of a jq program, which may be endless.
const JQ_LIMIT: usize = 10_000;

pub(crate) fn from_json(call: &Call<'_, '_, '_>) -> Result {
    if call.value(0).is_none() {
        return Ok(Data::from(()));
    }
    parse(&call.text(0)?)
}

fn parse(text: &str) -> Result {
    let value: Json = serde_json::from_str(text)
        .map_err(|cause| refuse(format!("cannot parse the argument of fromJson() as JSON: {cause}")))?;
    Ok(Data::from(Serde(&value)))
}

/// taxi stores rows as JSON, which is Ion too. Like Kestra, reads the first of several documents.
pub(crate) fn from_ion(call: &Call<'_, '_, '_>) -> Result {
    let text = call.text(0)?;
    let first = serde_json::Deserializer::from_str(&text).into_iter::<Json>().next();
    match first {
        Some(Ok(value)) => Ok(Data::from(Serde(&value))),
        Some(Err(cause)) => Err(refuse(format!("cannot parse the argument of fromIon() as JSON: {cause}"))),
        None => Ok(Data::from(())),
    }
}

pub(crate) fn to_json(call: &Call<'_, '_, '_>) -> Result {
    json_text(&call.value(0)).map(Data::from)
}

/// The value as JSON.
pub(crate) fn json_text(value: &Data) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| refuse(format!("cannot convert the value to JSON: {cause}")))
}

pub(crate) fn is_json(call: &Call<'_, '_, '_>) -> Result {
    let value = call.value(0);
    Ok(value.as_str().is_some_and(|text| serde_json::from_str::<Json>(text).is_ok()).into())
}

pub(crate) fn from_yaml(call: &Call<'_, '_, '_>) -> Result {
    let document = Document::parse("the argument of yaml()", &call.text(0)?);
    document.map(|document| expression::data(&document.root)).map_err(|faults| refuse(faults.to_string()))
}

pub(crate) fn to_yaml(call: &Call<'_, '_, '_>) -> Result {
    let value = serde_json::to_value(call.value(0))
        .map_err(|cause| refuse(format!("cannot convert the value to YAML: {cause}")))?;
    Ok(yaml_text::of(&value).into())
}

/// All results of a jq program. A text is read as JSON.
pub(crate) fn jq(call: &Call<'_, '_, '_>) -> Result {
    let (value, program) = (call.value(0), call.text(1)?);
    let text = value.as_str().map_or_else(|| json_text(&value), |text| Ok(text.to_owned()))?;
    let input = jaq_json::read::parse_single(text.as_bytes())
        .map_err(|cause| refuse(format!("jq cannot parse the value as JSON: {cause}")))?;
    let invalid = || refuse(format!("invalid jq program {program:?}"));
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    // the environment holds secrets that the flow did not ask for
    let functions = functions.filter(|(name, ..)| *name != "env");
    let arena = Arena::default();
    let modules = Loader::new(definitions).load(&arena, File { code: program.as_str(), path: () });
    let filter = Compiler::default()
        .with_funs(functions)
        .compile(modules.map_err(|_| invalid())?)
        .map_err(|_| invalid())?;
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let mut results = Vec::new();
    for result in filter.id.run((context, input)) {
        let result = result.map_err(|cause| match cause.get_err() {
            Ok(cause) => refuse(format!("the jq program {program:?} failed: {cause}")),
            Err(_) => refuse(format!("the jq program {program:?} stopped itself")),
        })?;
        if results.len() == JQ_LIMIT {
            return Err(refuse(format!("the jq program {program:?} has more than {JQ_LIMIT} results")));
        }
        results.push(parse(&result.to_string())?);
    }
    Ok(results.into())
}

#[cfg(test)]
mod tests {
    use crate::flow::expression::tests::value_of;

    #[test]
    fn documents_are_read_and_written() {
        for (expression, expected) in [
            ("{'a': {'b': [1, 2]}} | jq('.a.b | add') | first", "3"),
            ("'[{\"n\": \"x\"}, {\"n\": \"y\"}]' | jq('.[].n')", "[\"x\",\"y\"]"),
            ("{'a': 1} | jq('.missing') | first", ""),
            ("[3, 1] | jq('sort | map(tostring) | join(\"-\")') | first", "1-3"),
            ("yaml('a:\n  - b: 03\n    c: yes')", "{\"a\":[{\"b\":3.0,\"c\":\"yes\"}]}"),
            (
                "{'a': 'x: y', 'b': null, 'c': 'two\nlines'} | yaml",
                "a: \"x: y\"\nb: null\nc: |-\n  two\n  lines\n",
            ),
            ("[] | yaml", "[]\n"),
            ("fromIon('{\"a\": 1}\n{\"a\": 2}').a", "1"),
            ("'[1]' is json", "true"),
            ("fromJson(null)", ""),
        ] {
            assert_eq!(value_of(expression).as_deref(), Ok(expected), "{expression}");
        }
        assert!(value_of("1 | jq('.[')").unwrap_err().contains("invalid jq program"));
        assert!(value_of("1 | jq('.a')").unwrap_err().contains("failed"));
        assert!(value_of("1 | jq('repeat(.)')").unwrap_err().contains("more than"));
        for expression in ["1 | jq('halt')", "1 | jq('env')", "1 | jq('$ENV')", "yaml('a: [')"] {
            assert!(value_of(expression).is_err(), "{expression}");
        }
    }
}
