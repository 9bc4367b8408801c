//! Our own tasks: creating the target, and the streaming load.

use serde_json::Value as Json;

use crate::database::identifier::TableName;
use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::load::job::Job;
use crate::load::{Options, tables};
use crate::pipeline::decode::properties;
use crate::pipeline::document::{Diagnostic, Position};
use crate::pipeline::execution::task_run::{Outputs, TaskRun};
use crate::pipeline::expression::{Scope, Template};
use crate::pipeline::plan::{Plan, Step};
use crate::pipeline::run::Load;
use crate::transform::reject;
use crate::transform::row::Computed;
use crate::transform::times::Period;

properties! {
    /// Creates the target table by a file of taxi's sql/, unless it exists.
    pub struct CreateTables as "a task that creates a table" {
        /// The file's name.
        "sql" => sql: Template,
        /// The target table.
        "table" => table: Template,
    }
}

impl CreateTables {
    /// The step, its values filled in.
    pub fn step(&self, scope: &Scope) -> Result<Step, Diagnostic> {
        Ok(Step::CreateTables { sql: scope.fill(&self.sql)?, table: table(scope, &self.table)? })
    }

    /// Creates the table if it is missing.
    pub async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let step = self.step(&run.scope).map_err(|diagnostic| run.diagnostic(diagnostic))?;
        let Step::CreateTables { sql, table } = step else { return Ok(Outputs::new()) };
        let mut session = run.execution.databases.session(run, None).await?;
        let guardian = session.guardian();
        let created = tables::create(&mut session.client, &table, &sql);
        guardian.guard(&run.interrupt, created).await?;
        session.give_back().await;
        Ok(Outputs::new())
    }
}

properties! {
    /// Streams a gzipped CSV into the target: download, row keys, COPY, ATTACH or MERGE, in one transaction with the ledger's row.
    pub struct LoadCsv as "a load" {
        /// The file's address or path.
        "from" => from: Template,
        /// The target table.
        "table" => table: Template,
        /// The column that holds a row's time.
        "timeColumn" => time_column: Template,
        /// The month, 2021-01, in which nearly all rows of the file lie.
        "period" => period: Template,
        /// How many rows the file had when it was published; empty where that is not known.
        "publishedRows" => published_rows: Option<Template> = None,
        /// The file's SHA-256 in hex; empty where it is not known.
        "sha256" => sha256: Option<Template> = None,
        /// How many of its rows may be left out; none where nothing is said.
        "maxRejects" => max_rejects: Option<Template> = None,
        /// The name that the rows carry.
        "filename" => filename: Template,
        /// The column that takes it.
        "filenameColumn" => filename_column: Template,
        /// The column that takes the row key.
        "rowKeyColumn" => row_key_column: Template,
        /// The columns that make the key, in order.
        "rowKey" => row_key: Vec<Template>,
    }
}

impl LoadCsv {
    /// The job, its values filled in.
    pub fn job(&self, scope: &Scope) -> Result<Job, Diagnostic> {
        let time_column = scope.fill(&self.time_column)?;
        Ok(Job {
            source: Source::parse(&scope.fill(&self.from)?).map_err(at(self.from.position))?,
            period: Period::of_month(&time_column, &scope.fill(&self.period)?)
                .map_err(at(self.period.position))?,
            published_rows: rows(scope, self.published_rows.as_ref())?,
            sha256: digest(scope, self.sha256.as_ref())?,
            max_rejects: rejects(scope, self.max_rejects.as_ref())?,
            filename: scope.fill(&self.filename)?,
            table: table(scope, &self.table)?,
            computed: Computed {
                key_column: scope.fill(&self.row_key_column)?,
                key_of: self.row_key.iter().map(|part| scope.fill(part)).collect::<Result<_, _>>()?,
                filename_column: scope.fill(&self.filename_column)?,
            },
        })
    }

    /// Loads the file, as a run of its own that is part of the flow's.
    pub async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let job = self.job(&run.scope).map_err(|diagnostic| run.diagnostic(diagnostic))?;
        let execution = run.execution;
        let plan = Plan {
            pipeline: execution.flow.name(),
            inputs: execution.inputs.clone(),
            steps: vec![Step::LoadCsv(Box::new(job))],
        };
        let (lock_timeout, patience) = (execution.lock_timeout, execution.patience);
        let options = Options { lock_timeout, patience, ..Options::default() };
        let load =
            Load::new(plan, options, true, run.reports()).as_part_of(execution.run_id, execution.secrets());
        let sessions = execution.databases.sessions(run).await?;
        let (summary, error, _) = load.finish(sessions, &run.interrupt).await;
        execution.loaded([summary.clone()]);
        if let Some(error) = error {
            return Err(error);
        }
        match serde_json::to_value(&summary) {
            Ok(Json::Object(outputs)) => Ok(outputs),
            _ => Err(Error::new(Kind::Internal, "a summary is no mapping")),
        }
    }
}

fn rows(scope: &Scope, template: Option<&Template>) -> Result<Option<u64>, Diagnostic> {
    let Some(template) = template else { return Ok(None) };
    match scope.fill(template)?.as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Diagnostic {
            position: template.position,
            message: format!("{text:?} is not a number of rows"),
        }),
    }
}

fn digest(scope: &Scope, template: Option<&Template>) -> Result<Option<String>, Diagnostic> {
    let Some(template) = template else { return Ok(None) };
    let text = scope.fill(template)?.to_lowercase();
    match hex::decode(&text) {
        Ok(bytes) if bytes.is_empty() => Ok(None),
        Ok(bytes) if bytes.len() == 32 => Ok(Some(text)),
        _ => Err(Diagnostic {
            position: template.position,
            message: format!("{text:?} is not a SHA-256: 64 hexadecimal digits"),
        }),
    }
}

fn rejects(scope: &Scope, template: Option<&Template>) -> Result<u32, Diagnostic> {
    let Some(template) = template else { return Ok(0) };
    match scope.fill(template)?.as_str() {
        "" => Ok(0),
        text => text.parse().ok().filter(|count| *count <= reject::MOST).ok_or_else(|| Diagnostic {
            position: template.position,
            message: format!("{text:?} is not a number of rows up to {}", reject::MOST),
        }),
    }
}

fn table(scope: &Scope, template: &Template) -> Result<TableName, Diagnostic> {
    TableName::parse(&scope.fill(template)?).map_err(at(template.position))
}

fn at(position: Position) -> impl Fn(Error) -> Diagnostic {
    move |error| Diagnostic { position, message: error.to_string() }
}
