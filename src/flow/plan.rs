//! Creates the plan of a load from the built-in flow: every expression is evaluated before the first byte moves.
//! Creating a plan has no side effects.

use minijinja::context;

use super::expression::{Scope, data};
use super::model::flow::Flow;
use super::model::input_values::Inputs;
use super::model::task::TaskType;
use super::yaml::document::Diagnostic;
use crate::error::{Error, Kind, Result};
use crate::http::SourceUrl;
use crate::month::calendar::Month;
use crate::month::lookup::Lookup;
use crate::month::plan::Plan;
use crate::secrets::Secrets;

/// The built-in flow that loads one month.
pub(crate) const PIPELINE: &str = "postgres_taxi";

/// The built-in flow that loads the zones.
pub(crate) const ZONES: &str = "taxi_zones";

/// The load of a lookup table. `source` replaces the source of the flow.
pub(crate) fn of_lookup(flow: &Flow, source: Option<&SourceUrl>) -> Result<Lookup> {
    let given: Vec<_> =
        source.iter().map(|source| ("source".to_owned(), source.expose().to_owned())).collect();
    let scope = Scope::new(&Secrets::default());
    let inputs = Inputs::resolve(&flow.inputs, &given, &scope)?;
    let scope = scope.with("inputs", inputs.data());
    let pairs = inputs.into_pairs();
    let fault = |diagnostic| flow.faults(vec![diagnostic]);
    let (mut table_sql, mut lookup) = (None, None);
    for task in &flow.tasks {
        match &task.kind {
            TaskType::CreateTables(task) => table_sql = Some(task.resolve(&scope).map_err(fault)?.0),
            TaskType::LoadLookup(task) => {
                lookup = Some(task.lookup(&scope, flow.name(), pairs.clone()).map_err(fault)?);
            }
            _ => {}
        }
    }
    let lookup = lookup.ok_or_else(|| {
        Error::new(Kind::Internal, format!("the flow {} has no task that loads a lookup table", flow.name()))
    })?;
    Ok(Lookup { table_sql, ..lookup })
}

/// The plan for a month of a taxi type. `source` replaces the source of the flow.
pub(crate) fn of_month(
    flow: &Flow,
    taxi: &str,
    month: Month,
    source: Option<&SourceUrl>,
    max_rejects: u32,
) -> Result<Plan> {
    let mut inputs = vec![
        ("taxi".to_owned(), taxi.to_owned()),
        ("year".to_owned(), month.year()),
        ("month".to_owned(), month.month()),
        ("max_rejects".to_owned(), max_rejects.to_string()),
    ];
    inputs.extend(source.map(|base| ("source".to_owned(), base.expose().to_owned())));
    plan(flow, &inputs)
}

/// Checks the `given` inputs and evaluates the expressions of every task of the flow.
fn plan(flow: &Flow, given: &[(String, String)]) -> Result<Plan> {
    let vars = flow.variables.as_ref().map_or_else(|| context! {}, data);
    let scope = Scope::new(&Secrets::default()).with("vars", vars);
    let inputs = Inputs::resolve(&flow.inputs, given, &scope)?;
    let scope = scope.with("inputs", inputs.data());
    let (mut table_sql, mut job) = (None, None);
    let mut diagnostics = Vec::new();
    for task in &flow.tasks {
        let filled = match &task.kind {
            TaskType::CreateTables(task) => task.resolve(&scope).map(|(sql, _)| table_sql = Some(sql)),
            TaskType::Load(task) => task.job(&scope).map(|filled| job = Some(filled)),
            other => Err(Diagnostic {
                position: task.position,
                message: format!("only 'taxi run' can run a task of type {}", other.name()),
            }),
        };
        if let Err(mut diagnostic) = filled {
            diagnostic.message = format!("task {}: {}", task.id(), diagnostic.message);
            diagnostics.push(diagnostic);
        }
    }
    match job {
        _ if !diagnostics.is_empty() => Err(flow.faults(diagnostics)),
        None => {
            let text = format!("the flow {} has no task of type taxi.postgresql.Load", flow.name());
            Err(Error::new(Kind::Configuration, text))
        }
        Some(job) => Ok(Plan {
            pipeline: flow.name(),
            taxi: inputs.get("taxi").unwrap_or_default().to_owned(),
            inputs: inputs.into_pairs(),
            table_sql,
            job,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::source::Source;
    use crate::transform::times::Period;

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn plan_holds_the_evaluated_properties_of_the_load() {
        let flow = Flow::builtin("postgres_taxi").unwrap();
        let inputs = given(&[("taxi", "green"), ("year", "2020"), ("month", "03"), ("source", "/data")]);
        let plan = plan(&flow, &inputs).unwrap();
        assert_eq!(plan.table_sql.as_deref(), Some("green_tripdata.sql"));
        let job = &plan.job;
        assert_eq!(job.source, Source::File("/data/green/green_tripdata_2020-03.csv.gz".into()));
        assert_eq!(job.filename, "green_tripdata_2020-03.csv");
        assert_eq!(job.published_rows, Some(223_406));
        assert_eq!(job.table.quoted(), r#""public"."green_tripdata""#);
        assert_eq!(job.period.range, Period::of_month("lpep_pickup_datetime", "2020-03").unwrap().range);
        assert_eq!(job.period.time_zone.as_ref().and_then(|zone| zone.iana_name()), Some("America/New_York"));
        assert_eq!(job.computed.key_of[1], "lpep_pickup_datetime");
    }

    #[test]
    fn inputs_are_checked_before_anything_runs() {
        let flow = Flow::builtin("postgres_taxi").unwrap();
        let refusal = |pairs: &[(&str, &str)]| plan(&flow, &given(pairs)).unwrap_err().to_string();
        assert_eq!(
            refusal(&[("taxi", "blue")]),
            "invalid value \"blue\" for the input \"taxi\": expected one of yellow, green, fhv, fhvhv"
        );
        assert!(refusal(&[("yaer", "2020")]).starts_with("no input with the id \"yaer\""));
    }

    #[test]
    fn a_variable_that_renders_itself_is_a_fault_with_a_position() {
        let text = "id: a\nnamespace: b\nvariables: {x: '{{ render(vars.x) }}'}\ntasks:\n  - id: t\n    type: \
                    taxi.postgresql.CreateTables\n    sql: '{{ render(vars.x) }}'\n    table: a\n";
        let error = plan(&Flow::parse("a.yaml", text).unwrap(), &[]).unwrap_err().to_string();
        assert!(error.starts_with("a.yaml:7:10: task t: cannot evaluate"), "{error}");
        assert!(error.contains("check whether a variable renders itself"), "{error}");
    }

    #[test]
    fn an_undefined_variable_is_a_fault() {
        let text = "id: a\nnamespace: b\nvariables: {x: {}}\ntasks:\n  - id: t\n    type: \
                    taxi.postgresql.CreateTables\n    sql: '{{ vars.x.nothing }}'\n    table: a\n";
        let error = plan(&Flow::parse("a.yaml", text).unwrap(), &[]).unwrap_err().to_string();
        assert!(error.contains("a.yaml:7:10: task t: cannot evaluate \"{{ vars.x.nothing }}\""), "{error}");
    }
}
