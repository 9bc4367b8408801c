//! Shell commands.

use crate::error::Result;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::tasks::script::{Job, ScriptOptions, Workspace, fill_all};
use crate::flow::yaml::decode::properties;

/// The image in which Kestra runs the commands by default.
pub(crate) const IMAGE: &str = "ubuntu";

properties! {
    /// Runs shell commands in a temporary working directory.
    pub(crate) struct Commands as "a Commands task" {
        /// The commands.
        "commands" => commands: Vec<Template>,
        with {
            /// The properties of every task with commands.
            options: ScriptOptions,
        }
    }
}

impl Commands {
    /// Runs the commands.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        run_commands(run, &self.options, &self.commands).await
    }
}

properties! {
    /// Runs a shell script in a temporary working directory.
    pub(crate) struct Script as "a Script task" {
        /// The script.
        "script" => script: Template,
        with {
            /// The properties of every task with commands.
            options: ScriptOptions,
        }
    }
}

impl Script {
    /// Runs the script.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        run_commands(run, &self.options, std::slice::from_ref(&self.script)).await
    }
}

async fn run_commands(run: &TaskRun<'_>, options: &ScriptOptions, commands: &[Template]) -> Result<Outputs> {
    let place = options.place(run, IMAGE).await?;
    let workspace = Workspace::open(run, options)?;
    let commands = fill_all(&workspace.names(run), commands)?;
    Job::new(run, options, &workspace, commands)?.run(run, &place).await
}
