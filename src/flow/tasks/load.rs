//! taxi's own task types: creating the target table, and the streaming load.

use jiff::tz::TimeZone;
use serde_json::Value as Json;

use crate::database::identifier::TableName;
use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::{Scope, Template};
use crate::flow::model::pairs::Pairs;
use crate::flow::model::values::Values;
use crate::flow::sources::{self, Declared, SourceList};
use crate::flow::yaml::decode::{Entries, properties};
use crate::flow::yaml::document::{Diagnostic, Position};
use crate::load::new_columns::LaterColumn;
use crate::load::tables;
use crate::month::candidates::Candidate;
use crate::month::job::Job;
use crate::month::options::Options;
use crate::month::plan::Plan;
use crate::month::run::MonthRun;
use crate::month::sessions::Sessions;
use crate::transform::reject;
use crate::transform::row::Computed;
use crate::transform::times::Period;
use crate::transform::value::ColumnType;

properties! {
    /// Creates the target table if it does not exist, from a SQL file built into taxi.
    pub(crate) struct CreateTables as "a CreateTables task" {
        /// The name of the SQL file.
        "sql" => sql: Template,
        /// The target table.
        "table" => table: Template,
    }
}

impl CreateTables {
    /// The name of the SQL file and the table, with all values filled in.
    pub(crate) fn resolve(&self, scope: &Scope) -> Result<(String, TableName), Diagnostic> {
        Ok((scope.fill(&self.sql)?, table(scope, &self.table)?))
    }

    /// Creates the table if it does not exist.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let (sql, table) = self.resolve(&run.scope).map_err(|diagnostic| run.diagnostic(diagnostic))?;
        let mut session =
            run.context.databases.own_session(&run.interrupt, run.context.report.as_ref()).await?;
        let guardian = session.guardian();
        let created = tables::create(&mut session.client, &table, &sql);
        guardian.guard(&run.interrupt, created).await?;
        Ok(Outputs::new())
    }
}

properties! {
    /// Streams a CSV or Parquet file into the target table: download, row keys, COPY, ATTACH or MERGE, in one transaction
    /// with the ledger entry.
    pub(crate) struct Load as "a Load task" {
        /// The file's URL or path. With layouts: the sources of the file, separated by commas.
        "from" => from: Template,
        /// The sources that have a name, each with the address of the file: {taxi}, {year} and {month} stand for the inputs.
        "sources" => sources: Entries<String> = Entries::default(),
        /// The paths that the file can have in a directory; a base address has the first. The first file that exists is loaded.
        "layouts" => layouts: Vec<String> = Vec::new(),
        /// The target table.
        "table" => table: Template,
        /// The column that holds a row's timestamp.
        "timeColumn" => time_column: Template,
        /// The time zone of the file's times, like America/New_York; needed only for columns of the type timestamptz.
        "timeZone" => time_zone: Option<Template> = None,
        /// The file's month, like 2021-01. Almost all rows should have a time in this month.
        "period" => period: Template,
        /// The published number of rows of the file; empty if unknown.
        "publishedRows" => published_rows: Option<Template> = None,
        /// The file's SHA-256 in hex; empty if unknown.
        "sha256" => sha256: Option<Template> = None,
        /// Maximum number of rejected rows; 0 if not set.
        "maxRejects" => max_rejects: Option<Template> = None,
        /// The file name to store with each row.
        "filename" => filename: Template,
        /// The column for the file name.
        "filenameColumn" => filename_column: Template,
        /// The column for the row key.
        "rowKeyColumn" => row_key_column: Template,
        /// The columns that make up the row key, in order: a list, or an expression that yields a JSON array.
        "rowKey" => row_key: Values,
        /// Names of columns in some files, and the names of these columns in the table: a mapping, or an expression that
        /// yields a JSON object. Upper and lower case do not differ.
        "columns" => columns: Pairs = Pairs::default(),
        /// The columns that files have had since some month, and their types: a mapping, or an expression that yields a
        /// JSON object. A load adds them to a table that taxi made.
        "laterColumns" => later_columns: Pairs = Pairs::default(),
    }
}

impl Load {
    /// The job with all values filled in.
    pub(crate) fn job(&self, scope: &Scope) -> Result<Job, Diagnostic> {
        let time_column = scope.fill(&self.time_column)?;
        let (candidates, if_missing) = self.candidates(scope)?;
        let mut candidates = candidates.into_iter();
        let file = candidates.next().ok_or_else(|| Diagnostic {
            position: self.from.position,
            message: "no source is named".to_owned(),
        })?;
        Ok(Job {
            file,
            other_files: candidates.collect(),
            if_missing,
            period: Period {
                time_zone: time_zone(scope, self.time_zone.as_ref())?,
                ..Period::of_month(&time_column, &scope.fill(&self.period)?)
                    .map_err(at(self.period.position))?
            },
            sha256: digest(scope, self.sha256.as_ref())?,
            max_rejects: rejects(scope, self.max_rejects.as_ref())?,
            table: table(scope, &self.table)?,
            computed: Computed {
                key_column: scope.fill(&self.row_key_column)?,
                key_of: self.row_key.resolve(scope)?,
                filename_column: scope.fill(&self.filename_column)?,
            },
            column_names: self.columns.resolve(scope)?,
            later_columns: later_columns(self.later_columns.resolve(scope)?, &self.later_columns)?,
        })
    }

    /// The sources and layouts that the task declares.
    pub(crate) fn declared(&self) -> Declared<'_> {
        Declared { names: &self.sources.0, layouts: &self.layouts }
    }

    /// The files that can hold the month, and what to do if none of them exists.
    fn candidates(&self, scope: &Scope) -> Result<(Vec<Candidate>, Option<String>), Diagnostic> {
        let from = scope.fill(&self.from)?;
        let filename = scope.fill(&self.filename)?;
        let published_rows = rows(scope, self.published_rows.as_ref())?;
        if self.layouts.is_empty() {
            let source = Source::parse(&from).map_err(at(self.from.position))?;
            return Ok((vec![Candidate { source, filename, published_rows }], None));
        }
        let list = SourceList::parse(&from, self.declared());
        let candidate = |address: String| {
            let name = sources::filename_at(&address, &filename);
            // the counts are those of the CSV files
            let published_rows = published_rows.filter(|_| name == filename);
            Ok(Candidate { source: Source::parse(&address)?, filename: name, published_rows })
        };
        let addresses = list.addresses(scope).map_err(at(self.from.position))?;
        let candidates = addresses.into_iter().map(candidate).collect::<Result<_>>();
        Ok((candidates.map_err(at(self.from.position))?, list.advice()))
    }

    /// Loads the file as a separate run that is part of the flow's run.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let context = run.context;
        let plan = Plan {
            pipeline: context.flow.clone(),
            taxi: context.input("taxi").unwrap_or_default().to_owned(),
            inputs: context.inputs.clone(),
            table_sql: None,
            job: self.job(&run.scope).map_err(|diagnostic| run.diagnostic(diagnostic))?,
        };
        let (lock_timeout, retry_policy) = (context.lock_timeout, context.retry_policy);
        let options = Options { lock_timeout, retry_policy, ..Options::default() };
        let load = MonthRun::new(plan, options, true, run.reports())
            .within_flow_run(context.run_id, context.secrets.clone());
        let sessions =
            run.interrupt.or(Sessions::open(context.databases.main()?, context.report.as_ref())).await?;
        let (summary, error, _) = load.finish(sessions, &run.interrupt).await;
        context.add_loads([summary.clone()]);
        if let Some(error) = error {
            return Err(error);
        }
        match serde_json::to_value(&summary) {
            Ok(Json::Object(outputs)) => Ok(outputs),
            _ => Err(Error::new(Kind::Internal, "the summary of a load is not a JSON object")),
        }
    }
}

fn later_columns(pairs: Vec<(String, String)>, property: &Pairs) -> Result<Vec<LaterColumn>, Diagnostic> {
    let later = |(name, type_name): (String, String)| {
        let column_type = ColumnType::named(&type_name).ok_or_else(|| Diagnostic {
            position: property.position(),
            message: format!("unsupported type {type_name:?} of the column {name}"),
        })?;
        Ok(LaterColumn { name: name.to_lowercase(), column_type })
    };
    pairs.into_iter().map(later).collect()
}

fn time_zone(scope: &Scope, template: Option<&Template>) -> Result<Option<TimeZone>, Diagnostic> {
    let Some(template) = template else { return Ok(None) };
    match scope.fill(template)?.as_str() {
        "" => Ok(None),
        name => TimeZone::get(name).map(Some).map_err(|cause| Diagnostic {
            position: template.position,
            message: format!("invalid time zone {name:?}: {cause}"),
        }),
    }
}

fn rows(scope: &Scope, template: Option<&Template>) -> Result<Option<u64>, Diagnostic> {
    let Some(template) = template else { return Ok(None) };
    match scope.fill(template)?.as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Diagnostic {
            position: template.position,
            message: format!("invalid number of rows {text:?}: expected a whole number"),
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
            message: format!("invalid SHA-256 {text:?}: expected 64 hexadecimal digits"),
        }),
    }
}

fn rejects(scope: &Scope, template: Option<&Template>) -> Result<u32, Diagnostic> {
    let Some(template) = template else { return Ok(0) };
    match scope.fill(template)?.as_str() {
        "" => Ok(0),
        text => text.parse().ok().filter(|count| *count <= reject::MAX_REJECTS).ok_or_else(|| Diagnostic {
            position: template.position,
            message: format!(
                "invalid number of rows {text:?}: expected a whole number up to {}",
                reject::MAX_REJECTS
            ),
        }),
    }
}

fn table(scope: &Scope, template: &Template) -> Result<TableName, Diagnostic> {
    TableName::parse(&scope.fill(template)?).map(TableName::in_schema).map_err(at(template.position))
}

fn at(position: Position) -> impl Fn(Error) -> Diagnostic {
    move |error| Diagnostic { position, message: error.to_string() }
}
