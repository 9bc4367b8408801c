//! Tasks that run other flows: once, or once for each part of a file.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::flow::context::task_run::TaskRun;
use crate::flow::expression::Template;
use crate::flow::model::labels::Labels;
use crate::flow::tasks::stored_files;
use crate::flow::yaml::decode::{Decode, Decoder, Entries, properties};
use crate::flow::yaml::document::Node;

properties! {
    /// Which flow to run, and with what.
    pub(crate) struct Call as "a call of a flow" {
        /// The flow's namespace.
        "namespace" => namespace: Template,
        /// The flow's id.
        "flowId" => flow_id: Template,
        /// The flow's inputs.
        "inputs" => inputs: Entries<Template> = Entries::default(),
        /// Labels of the flow's run.
        "labels" => labels: Labels = Labels::default(),
        /// Whether the flow's run also has the labels of this run.
        "inheritLabels" => inherit_labels: bool = false,
        /// Whether the task waits for the flow to end; only true is supported.
        "wait" => _wait: Always = Always,
        /// Whether the task fails if the flow fails.
        "transmitFailed" => transmit_failed: bool = true,
        /// The revision of the flow.
        "revision" => _revision: Option<u32> = None => "the flow is the one in the file",
    }
}

properties! {
    /// Runs another flow: a file in the same folder as this flow, or a built-in flow.
    pub(crate) struct Subflow as "a Subflow task" {
        with {
            /// The flow to run.
            call: Call,
        }
    }
}

properties! {
    /// Runs another flow once for each batch of the lines of a file, one batch after another.
    pub(crate) struct ForEachItem as "a ForEachItem task" {
        /// The path of the file.
        "items" => items: Template,
        /// The size of the batches.
        "batch" => batch: Batches = Batches { rows: 1 },
        with {
            /// The flow to run.
            call: Call,
        }
    }
}

properties! {
    /// The size of the batches of a file.
    pub(crate) struct Batches as "a batch" {
        /// Number of lines of a batch.
        "rows" => rows: u32 = 1,
    }
}

impl ForEachItem {
    /// Writes each batch of lines to a file of its own, and returns the paths.
    pub(crate) fn batches(&self, run: &TaskRun<'_>) -> Result<Vec<PathBuf>> {
        let from = stored_files::local(run, &self.items)?;
        let read_error = |cause| Error::file("read", &from, cause);
        let mut reader = BufReader::new(std::fs::File::open(&from).map_err(read_error)?);
        let (mut batches, mut line) = (Vec::new(), Vec::new());
        loop {
            let mut open = None;
            for _ in 0..self.batch.rows.max(1) {
                line.clear();
                if reader.read_until(b'\n', &mut line).map_err(read_error)? == 0 {
                    break;
                }
                let (path, file) = match &mut open {
                    Some(open) => open,
                    None => open.insert(run.context.storage.new_writer("items.jsonl")?),
                };
                file.write_all(&line).map_err(|cause| Error::file("write", path, cause))?;
            }
            let Some((path, mut file)) = open else { return Ok(batches) };
            file.flush().map_err(|cause| Error::file("write", &path, cause))?;
            batches.push(path);
            if let Some(signal) = run.interrupt.raised() {
                return Err(signal);
            }
        }
    }
}

/// A property that must be `true`: no subflow outlives the flow that started it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Always;

impl Decode for Always {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match bool::decode(node, decoder)? {
            true => Some(Self),
            false => {
                decoder.refuse(node.position, "unsupported value false: a flow always waits for its subflows")
            }
        }
    }

    fn schema() -> Json {
        json!({ "const": true })
    }
}
