//! The task types for a single command of dbt, which older flows use instead of `DbtCLI`.

use super::{Dbt, IMAGE, Project};
use crate::error::Result;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::tasks::script::{ScriptOptions, fill_all};
use crate::flow::yaml::decode::properties;

properties! {
    /// Runs one command of dbt.
    pub(crate) struct Command as "a dbt task" {
        /// The path of dbt. Default: dbt on the PATH.
        "dbtPath" => dbt_path: Option<Template> = None,
        /// The number of threads.
        "thread" => threads: Option<Template> = None,
        /// Whether dbt builds incremental models anew.
        "fullRefresh" => full_refresh: bool = false,
        /// The target of the profile.
        "target" => target: Option<Template> = None,
        /// The selector of selectors.yml.
        "selector" => selector: Option<Template> = None,
        /// The nodes to include.
        "select" => select: Vec<Template> = Vec::new(),
        /// The nodes to leave out.
        "exclude" => exclude: Vec<Template> = Vec::new(),
        /// Whether a warning of dbt is an error.
        "warnError" => warn_error: bool = false,
        /// Whether dbt writes more to its log.
        "debug" => debug: bool = false,
        with {
            /// The project.
            project: Project,
            /// The properties of every task with commands.
            options: ScriptOptions,
        }
    }
}

properties! {
    /// Builds and tests the nodes of a dbt project.
    pub(crate) struct Build as "a Build task" {
        with {
            /// The command.
            command: Command,
        }
    }
}

impl Build {
    /// Runs `dbt build`.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        self.command.run(run, "build").await
    }
}

properties! {
    /// Builds the models of a dbt project.
    pub(crate) struct Run as "a Run task" {
        with {
            /// The command.
            command: Command,
        }
    }
}

impl Run {
    /// Runs `dbt run`.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        self.command.run(run, "run").await
    }
}

properties! {
    /// Runs the tests of a dbt project.
    pub(crate) struct Test as "a Test task" {
        with {
            /// The command.
            command: Command,
        }
    }
}

impl Test {
    /// Runs `dbt test`.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        self.command.run(run, "test").await
    }
}

impl Command {
    /// Runs `dbt <name>`.
    async fn run(&self, run: &TaskRun<'_>, name: &str) -> Result<Outputs> {
        let place = self.options.place(run, IMAGE).await?;
        let dbt = Dbt::open(run, &self.options, &self.project)?;
        let command = self.text(&dbt.workspace.names(run), name)?;
        dbt.run(run, place, &self.options, &self.project, vec![command]).await
    }

    fn text(&self, run: &TaskRun<'_>, name: &str) -> Result<String> {
        let program = run.fill_optional(self.dbt_path.as_ref())?.unwrap_or_else(|| "dbt".to_owned());
        let mut words = vec![program];
        let flags = [
            ("--debug", self.debug),
            ("--fail-fast", self.options.fail_fast == Some(true)),
            ("--warn-error", self.warn_error),
        ];
        words.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag.to_owned()));
        words.push(name.to_owned());
        words.extend(self.full_refresh.then(|| "--full-refresh".to_owned()));
        let single =
            [("--threads", &self.threads), ("--target", &self.target), ("--selector", &self.selector)];
        for (option, template) in single {
            let value = run.fill_optional(template.as_ref())?;
            words.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
        }
        for (option, templates) in [("--select", &self.select), ("--exclude", &self.exclude)] {
            let values = fill_all(run, templates)?;
            words.extend((!values.is_empty()).then(|| option.to_owned()));
            words.extend(values);
        }
        Ok(words.join(" "))
    }
}
