//! Scripts and commands for Node.js.

use super::script::{Job, Place, ScriptOptions, Workspace, fill_all, find_program};
use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::properties;

/// The image in which Kestra runs the commands by default.
pub(crate) const IMAGE: &str = "node";

properties! {
    /// Runs shell commands that use Node.js.
    pub(crate) struct Commands as "a Commands task" {
        /// The commands, like `node main.js`.
        "commands" => commands: Vec<Template>,
        with {
            /// The properties of every task with commands.
            options: ScriptOptions,
        }
    }
}

properties! {
    /// Runs a script with Node.js.
    pub(crate) struct Script as "a Script task" {
        /// The script.
        "script" => script: Template,
        with {
            /// The properties of every task with commands.
            options: ScriptOptions,
        }
    }
}

impl Commands {
    /// Runs the commands.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let place = self.options.place(run, IMAGE).await?;
        check(&place)?;
        let workspace = Workspace::open(run, &self.options)?;
        let commands = fill_all(&workspace.names(run), &self.commands)?;
        Job::new(run, &self.options, &workspace, commands)?.run(run, &place).await
    }
}

impl Script {
    /// Runs the script.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let place = self.options.place(run, IMAGE).await?;
        check(&place)?;
        let workspace = Workspace::open(run, &self.options)?;
        let script = workspace.script(&workspace.names(run).fill(&self.script)?, ".js")?;
        let command = format!("node '{}'", script.path().display());
        Job::new(run, &self.options, &workspace, vec![command])?.run(run, &place).await
    }
}

fn check(place: &Place<'_>) -> Result<()> {
    if matches!(place, Place::Process) && find_program("node").is_none() {
        return Err(Error::new(Kind::Configuration, "cannot find `node` on the PATH")
            .hint("install Node.js, or give the task a `containerImage` like node:22"));
    }
    Ok(())
}
