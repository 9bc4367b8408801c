//! A plan: a flow with the values of one run, every expression filled in. Making one touches nothing.

use super::document::{Diagnostic, Position};
use super::expression::{Scope, Template};
use super::flow::Flow;
use super::inputs::Inputs;
use super::task::TaskType;
use crate::database::identifier::TableName;
use crate::error::{Error, Result};
use crate::extract::source::Source;
use crate::load::job::Job;
use crate::report::loaded::Loaded;
use crate::report::phase::Phases;
use crate::report::summary::{Outcome, Summary};
use crate::transform::row::Computed;
use crate::transform::times::Period;

/// What a run will do, in order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pipeline's name, with its namespace.
    pub pipeline: String,
    /// The values of this run.
    pub inputs: Inputs,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A task with its values.
#[derive(Clone, Debug)]
pub enum Step {
    /// Create the tables that are missing.
    CreateTables {
        /// The file of `sql/`.
        sql: String,
        /// The target table.
        table: TableName,
        /// The staging table.
        staging_table: TableName,
    },
    /// Load a file.
    LoadCsv(Box<Job>),
}

impl Plan {
    /// Checks the `given` inputs and fills in every task.
    pub fn new(flow: &Flow, given: &[(String, String)]) -> Result<Self> {
        let inputs = Inputs::resolve(&flow.inputs, given)?;
        let filler = Filler { scope: Scope::new(&inputs, flow.variables.as_ref()) };
        let mut steps = Vec::new();
        let mut diagnostics = Vec::new();
        for task in &flow.tasks {
            match filler.step(&task.task_type) {
                Ok(step) => steps.push(step),
                Err(mut diagnostic) => {
                    diagnostic.message = format!("task {}: {}", task.id, diagnostic.message);
                    diagnostics.push(diagnostic);
                }
            }
        }
        if !diagnostics.is_empty() {
            return Err(flow.faults(diagnostics));
        }
        Ok(Self { pipeline: flow.name(), inputs, steps })
    }

    /// The load of the plan.
    pub fn job(&self) -> Option<&Job> {
        self.steps.iter().find_map(|step| match step {
            Step::LoadCsv(job) => Some(&**job),
            Step::CreateTables { .. } => None,
        })
    }

    /// The summary of a run of it that has not begun.
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

struct Filler {
    scope: Scope,
}

impl Filler {
    fn step(&self, task_type: &TaskType) -> Result<Step, Diagnostic> {
        match task_type {
            TaskType::CreateTables { sql, table, staging_table } => Ok(Step::CreateTables {
                sql: self.scope.fill(sql)?,
                table: self.table(table)?,
                staging_table: self.table(staging_table)?,
            }),
            TaskType::LoadCsv(load) => Ok(Step::LoadCsv(Box::new(Job {
                source: Source::parse(&self.scope.fill(&load.from)?).map_err(at(load.from.position))?,
                period: Period::of_month(
                    &self.scope.fill(&load.time_column)?,
                    &self.scope.fill(&load.period)?,
                )
                .map_err(at(load.period.position))?,
                published_rows: self.rows(load.published_rows.as_ref())?,
                filename: self.scope.fill(&load.filename)?,
                table: self.table(&load.table)?,
                staging_table: self.table(&load.staging_table)?,
                computed: Computed {
                    key_column: self.scope.fill(&load.row_key_column)?,
                    key_of: load
                        .row_key
                        .iter()
                        .map(|part| self.scope.fill(part))
                        .collect::<Result<_, _>>()?,
                    filename_column: self.scope.fill(&load.filename_column)?,
                },
            }))),
        }
    }

    fn rows(&self, template: Option<&Template>) -> Result<Option<u64>, Diagnostic> {
        let Some(template) = template else { return Ok(None) };
        match self.scope.fill(template)?.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Diagnostic {
                position: template.position,
                message: format!("{text:?} is not a number of rows"),
            }),
        }
    }

    fn table(&self, template: &Template) -> Result<TableName, Diagnostic> {
        TableName::parse(&self.scope.fill(template)?).map_err(at(template.position))
    }
}

fn at(position: Position) -> impl Fn(Error) -> Diagnostic {
    move |error| Diagnostic { position, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(job.staging_table.quoted(), r#""public"."green_tripdata_staging""#);
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
                    taxi.postgresql.CreateTables\n    sql: '{{ render(vars.x) }}'\n    table: a\n    stagingTable: b\n";
        let error = Plan::new(&Flow::parse("a.yaml", text).unwrap(), &[]).unwrap_err().to_string();
        assert!(error.starts_with("a.yaml:7:10: task t: cannot fill in"), "{error}");
        assert!(error.contains("does a variable render itself?"), "{error}");
    }

    #[test]
    fn a_name_that_is_not_defined_is_a_fault() {
        let text = "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: taxi.postgresql.CreateTables\n    \
                    sql: '{{ inputs.nothing }}'\n    table: a\n    stagingTable: b\n";
        let error = Plan::new(&Flow::parse("a.yaml", text).unwrap(), &[]).unwrap_err().to_string();
        assert!(error.contains("a.yaml:6:10: task t: cannot fill in \"{{ inputs.nothing }}\""), "{error}");
    }
}
