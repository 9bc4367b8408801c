//! The task that loads a lookup table.

use serde_json::Value as Json;

use crate::database::identifier::TableName;
use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::{Scope, Template};
use crate::flow::model::values::Values;
use crate::flow::sources::{Declared, SourceList};
use crate::flow::yaml::decode::{Entries, properties};
use crate::flow::yaml::document::{Diagnostic, Position};
use crate::month::candidates::Candidate;
use crate::month::lookup::Lookup;
use crate::month::options::Options;
use crate::month::sessions::Sessions;

properties! {
    /// Makes the rows of a small table those of a CSV file, in one transaction with the ledger entry.
    pub(crate) struct LoadLookup as "a LoadLookup task" {
        /// The sources of the file, separated by commas.
        "from" => from: Template,
        /// The sources that have a name, each with the address of the file.
        "sources" => sources: Entries<String> = Entries::default(),
        /// The paths that the file can have in a directory; a base address has the first. The first file that exists is loaded.
        "layouts" => layouts: Vec<String>,
        /// The table.
        "table" => table: Template,
        /// The file's name in the ledger.
        "filename" => filename: Template,
        /// The columns that the file must have, in any order.
        "columns" => columns: Values,
    }
}

impl LoadLookup {
    /// The sources and layouts that the task declares.
    pub(crate) fn declared(&self) -> Declared<'_> {
        Declared { names: &self.sources.0, layouts: &self.layouts }
    }

    /// The load with all values filled in, without the SQL that creates the table.
    pub(crate) fn lookup(
        &self,
        scope: &Scope,
        pipeline: String,
        inputs: Vec<(String, String)>,
    ) -> Result<Lookup, Diagnostic> {
        let at = |position: Position| move |error: Error| Diagnostic { position, message: error.to_string() };
        let filename = scope.fill(&self.filename)?;
        let list = SourceList::parse(&scope.fill(&self.from)?, self.declared());
        let addresses = list.addresses(scope).map_err(at(self.from.position))?;
        let candidate = |address: String| {
            Ok(Candidate {
                source: Source::parse(&address)?,
                filename: filename.clone(),
                published_rows: None,
            })
        };
        let files: Result<Vec<Candidate>> = addresses.into_iter().map(candidate).collect();
        let table = TableName::parse(&scope.fill(&self.table)?).map(TableName::in_schema);
        Ok(Lookup {
            pipeline,
            inputs,
            table_sql: None,
            table: table.map_err(at(self.table.position))?,
            columns: self.columns.resolve(scope)?,
            files: files.map_err(at(self.from.position))?,
            if_missing: list.advice(),
        })
    }

    /// Loads the file as a separate run that is part of the flow's run.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let context = run.context;
        let lookup = self.lookup(&run.scope, context.flow.clone(), context.inputs.clone());
        let lookup = lookup.map_err(|diagnostic| run.diagnostic(diagnostic))?;
        let options = Options {
            lock_timeout: context.lock_timeout,
            retry_policy: context.retry_policy,
            ..Options::default()
        };
        let sessions =
            run.interrupt.or(Sessions::open(context.databases.main()?, context.report.as_ref())).await?;
        let part_of_flow = |of: &mut crate::ledger::run::Run| {
            (of.part_of, of.secrets) = (Some(context.run_id), context.secrets.clone());
        };
        let (summary, error) =
            lookup.load(sessions, &options, &run.interrupt, run.reports(), part_of_flow).await;
        context.add_loads([summary.clone()]);
        match (error, serde_json::to_value(&summary)) {
            (Some(error), _) => Err(error),
            (None, Ok(Json::Object(outputs))) => Ok(outputs),
            (None, _) => Err(Error::new(Kind::Internal, "the summary of a load is not a JSON object")),
        }
    }
}
