//! A plan: a flow with the values of one run, every expression rendered. Creating a plan has no side effects.

use super::document::Diagnostic;
use super::expression::{Scope, data};
use super::flow::Flow;
use super::inputs::Inputs;
use super::task::TaskType;
use crate::database::identifier::TableName;
use crate::error::Result;
use crate::load::job::Job;
use crate::report::loaded::Loaded;
use crate::report::phase::Phases;
use crate::report::summary::{Outcome, Summary};
use crate::secrets::Secrets;

/// The steps of a run, in order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pipeline's name, including its namespace.
    pub pipeline: String,
    /// The input values of this run.
    pub inputs: Inputs,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A task with its rendered values.
#[derive(Clone, Debug)]
pub enum Step {
    /// Create the table if it is missing.
    CreateTables {
        /// The file name in `sql/`.
        sql: String,
        /// The target table.
        table: TableName,
    },
    /// Load a file.
    LoadCsv(Box<Job>),
}

impl Plan {
    /// Checks the `given` inputs and renders every task.
    pub fn new(flow: &Flow, given: &[(String, String)]) -> Result<Self> {
        let inputs = Inputs::resolve(&flow.inputs, given)?;
        let vars = flow.variables.as_ref().map_or_else(|| minijinja::context! {}, data);
        let scope = Scope::new(&Secrets::default()).with("inputs", inputs.data()).with("vars", vars);
        let mut steps = Vec::new();
        let mut diagnostics = Vec::new();
        for task in &flow.tasks {
            let step = match &task.kind {
                TaskType::CreateTables(task) => task.step(&scope),
                TaskType::LoadCsv(task) => task.job(&scope).map(|job| Step::LoadCsv(Box::new(job))),
                other => Err(Diagnostic {
                    position: task.position,
                    message: format!("a task of type {} is for 'taxi run'", other.name()),
                }),
            };
            match step {
                Ok(step) => steps.push(step),
                Err(mut diagnostic) => {
                    diagnostic.message = format!("task {}: {}", task.id(), diagnostic.message);
                    diagnostics.push(diagnostic);
                }
            }
        }
        if !diagnostics.is_empty() {
            return Err(flow.faults(diagnostics));
        }
        Ok(Self { pipeline: flow.name(), inputs, steps })
    }

    /// The load of this plan, if it has one.
    pub fn job(&self) -> Option<&Job> {
        self.steps.iter().find_map(|step| match step {
            Step::LoadCsv(job) => Some(&**job),
            Step::CreateTables { .. } => None,
        })
    }

    /// The summary of this plan before it is run.
    pub fn summary(&self) -> Summary {
        Summary {
            status: Outcome::NotBegun,
            run_id: None,
            taxi: self.inputs.get("taxi").unwrap_or_default().to_owned(),
            filename: self.job().map(|job| job.filename.clone()).unwrap_or_default(),
            table: self.job().map(|job| job.table.to_string()).unwrap_or_default(),
            rows: Loaded::default(),
            phases: Phases::default(),
            seconds: 0.0,
            error: None,
        }
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
    fn the_load_is_planned_as_the_reference_flow_would_run_it() {
        let flow = Flow::builtin("postgres_taxi").unwrap();
        let inputs = given(&[("taxi", "green"), ("year", "2020"), ("month", "03"), ("source", "/data")]);
        let plan = Plan::new(&flow, &inputs).unwrap();
        let [Step::CreateTables { sql, .. }, Step::LoadCsv(job)] = &plan.steps[..] else {
            panic!("{plan:?}")
        };
        assert_eq!(sql, "green_tripdata.sql");
        assert_eq!(job.source, Source::File("/data/green/green_tripdata_2020-03.csv.gz".into()));
        assert_eq!(job.filename, "green_tripdata_2020-03.csv");
        assert_eq!(job.published_rows, Some(223_406));
        assert_eq!(job.table.quoted(), r#""public"."green_tripdata""#);
        assert_eq!(job.period, Period::of_month("lpep_pickup_datetime", "2020-03").unwrap());
        assert_eq!(job.computed.key_of[1], "lpep_pickup_datetime");
    }

    #[test]
    fn inputs_are_checked_before_anything_runs() {
        let flow = Flow::builtin("postgres_taxi").unwrap();
        let refusal = |pairs: &[(&str, &str)]| Plan::new(&flow, &given(pairs)).unwrap_err().to_string();
        assert_eq!(refusal(&[("taxi", "blue")]), "the input taxi: \"blue\" is not one of yellow, green");
        assert!(refusal(&[("yaer", "2020")]).starts_with("there is no input \"yaer\""));
    }

    #[test]
    fn a_variable_that_renders_itself_is_a_fault_at_its_place() {
        let text = "id: a\nnamespace: b\nvariables: {x: '{{ render(vars.x) }}'}\ntasks:\n  - id: t\n    type: \
                    taxi.postgresql.CreateTables\n    sql: '{{ render(vars.x) }}'\n    table: a\n";
        let error = Plan::new(&Flow::parse("a.yaml", text).unwrap(), &[]).unwrap_err().to_string();
        assert!(error.starts_with("a.yaml:7:10: task t: cannot fill in"), "{error}");
        assert!(error.contains("does a variable render itself?"), "{error}");
    }

    #[test]
    fn a_name_that_is_not_defined_is_a_fault() {
        let text = "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: taxi.postgresql.CreateTables\n    \
                    sql: '{{ inputs.nothing }}'\n    table: a\n";
        let error = Plan::new(&Flow::parse("a.yaml", text).unwrap(), &[]).unwrap_err().to_string();
        assert!(error.contains("a.yaml:6:10: task t: cannot fill in \"{{ inputs.nothing }}\""), "{error}");
    }
}
