//! Tasks that share one working directory.

use std::time::Duration;

use tempfile::TempDir;

use super::files::{self, InputFiles, NamespaceFiles};
use super::flowable::flowable;
use super::script::{fill_all, paths};
use crate::error::Result;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::model::task::Task;
use crate::flow::yaml::decode::properties;

properties! {
    /// A cache of files between runs.
    pub(crate) struct Cache as "a cache" {
        /// Glob patterns of the files.
        "patterns" => _patterns: Vec<Template>,
        /// How long the files stay in the cache.
        "ttl" => _ttl: Option<Duration> = None,
    }
}

properties! {
    /// Runs tasks one after another in the same working directory.
    pub(crate) struct WorkingDirectory as "a WorkingDirectory task" {
        /// The tasks.
        "tasks" => tasks: Vec<Task>,
        /// Files to create in the directory before the first task, by name. Each value is the content of the file, or
        /// the URI of a file that this run has stored.
        "inputFiles" => input_files: InputFiles = InputFiles::default(),
        /// Glob patterns of the files to store after the last task. The output `outputFiles` lists the stored files.
        "outputFiles" => output_files: Vec<Template> = Vec::new(),
        /// Files of the namespace to put into the directory.
        "namespaceFiles" => namespace_files: Option<NamespaceFiles> = None,
        /// Files to keep for the next run.
        "cache" => _cache: Option<Cache> = None => "every run begins with an empty working directory",
        /// Tasks that run after one of this task's children has failed.
        "errors" => errors: Vec<Task> = Vec::new(),
        /// Tasks that run at the end, after success and after failure.
        "finally" => finally: Vec<Task> = Vec::new(),
    }
}

flowable!(WorkingDirectory, |task| vec![("tasks".to_owned(), task.tasks.as_slice())]);

impl WorkingDirectory {
    /// Creates the directory with its files. It is deleted on drop.
    pub(crate) fn open(&self, run: &TaskRun<'_>) -> Result<TempDir> {
        let storage = &run.context.storage;
        let folder = storage.working_dir()?;
        if let Some(namespace_files) = &self.namespace_files {
            namespace_files.put(run, folder.path())?;
        }
        for (name, content) in self.input_files.fill(run)? {
            files::create(storage, folder.path(), &name, &content)?;
        }
        Ok(folder)
    }

    /// Stores the output files of the directory.
    pub(crate) fn outputs(&self, run: &TaskRun<'_>, folder: &TempDir) -> Result<Outputs> {
        let patterns = fill_all(run, &self.output_files)?;
        let files = run.context.storage.keep(folder.path(), &patterns, true)?;
        Ok(Outputs::from_iter([("outputFiles".to_owned(), paths(files))]))
    }
}
