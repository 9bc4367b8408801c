//! The task types, one file per family: their properties and what they do.

pub mod copy;
pub mod core;
pub mod dbt;
pub mod flowable;
pub mod http;
pub mod load;
pub mod process;
pub mod query;
pub mod shell;

use super::execution::task_run::{Outputs, TaskRun};
use super::task::TaskType;
use crate::error::{Error, Kind, Result};

impl TaskType {
    /// Runs the task. Expressions see the outputs under the task's id.
    pub async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        match self {
            Self::Log(task) => task.run(run),
            Self::Return(task) => task.run(run),
            Self::Labels(task) => task.run(run),
            Self::Fail(task) => task.run(run),
            Self::Sleep(task) => task.run(run).await,
            Self::PurgeFiles(_) => core::purge(run),
            Self::Download(task) => task.run(run).await,
            Self::Shell(task) => task.run(run).await,
            Self::Dbt(task) => task.run(run).await,
            Self::Query(task) => task.run(run).await,
            Self::Queries(task) => task.run(run).await,
            Self::CopyIn(task) => task.run(run).await,
            Self::CopyOut(task) => task.run(run).await,
            Self::CreateTables(task) => task.run(run).await,
            Self::LoadCsv(task) => task.run(run).await,
            Self::Subflow(task) => task.run(run).await,
            Self::If(_) | Self::Switch(_) | Self::Sequential(_) | Self::Parallel(_) | Self::ForEach(_) => {
                Err(Error::new(Kind::Internal, "a task that runs others was run as one that works"))
            }
        }
    }
}
