//! Decides whether a month has to be loaded. A load and its dry run call the same function, and then query the
//! source: the load with one conditional request, the dry run without reading the file.

use std::sync::Arc;

use serde::Serialize;
use tokio_postgres::{Client, GenericClient};

use super::job::Job;
use super::options::{IfLoaded, Options};
use crate::error::{Kind, Result};
use crate::ledger::history::{self, PreviousLoad};
use crate::ledger::schema::{self, SchemaState};
use crate::load::tables;
use crate::load::transaction::count_held;
use crate::report::Report;

/// What the ledger and the target say about a file.
pub(crate) enum Decision {
    /// The file has to be loaded. `again` if the ledger has a previous load of it.
    Load { again: bool },
    /// The file has to be loaded only if the source no longer has the file of the previous load. The `rows_in_period`
    /// are those that the target holds now.
    LoadIfChanged(PreviousLoad),
    /// The file is already loaded, and the source is not queried. The `rows_in_period` are those that the target
    /// holds now.
    Skip(PreviousLoad),
}

impl Job {
    /// Decides whether the file has to be loaded. A load reads the `ledger` in its transaction, so that an upgrade of the
    /// ledger waits for the load. It reads the target with another `client`, because other loads need an exclusive
    /// lock on the default partition.
    pub(crate) async fn decide(
        &self,
        ledger: &impl GenericClient,
        client: &Client,
        options: &Options,
    ) -> Result<Decision> {
        let Some(previous) = history::previous_load(ledger, &self.table, &self.filename).await? else {
            self.check_other_form(ledger, client, options).await?;
            return Ok(Decision::Load { again: false });
        };
        let held = if options.force { None } else { self.rows_still_held(client, &previous).await? };
        if held.is_none() {
            return Ok(Decision::Load { again: true });
        }
        let previous = PreviousLoad { rows_in_period: held, ..previous };
        Ok(match options.if_loaded {
            IfLoaded::Skip => Decision::Skip(previous),
            // the description of a file at another address says nothing about this one
            _ if previous.address != self.source.address() => Decision::Load { again: true },
            IfLoaded::Merge | IfLoaded::Replace => Decision::LoadIfChanged(previous),
        })
    }

    /// The number of rows of the file in its month that the target holds. `None` if it holds fewer than after the
    /// previous load.
    async fn rows_still_held(&self, client: &Client, previous: &PreviousLoad) -> Result<Option<u64>> {
        let Some(rows) = previous.rows_in_period else { return Ok(None) };
        if !tables::exists(client, &self.table).await? {
            return Ok(None);
        }
        let held = count_held(client, &self.table, &self.filename, &self.period, &self.names()).await?;
        Ok(Some(held).filter(|held| *held >= rows))
    }
}

/// The planned action of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Load a file that has no previous load in the ledger.
    Load,
    /// Load a file again: it has changed at the source, its rows are gone from the target, or `--force` was given.
    LoadAgain,
    /// Do nothing: the file is already loaded.
    Skip,
    /// Do nothing: the source does not have the file.
    NotPublished,
}

/// Result of a dry run: the planned action and the size of the file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Preview {
    /// The planned action.
    pub(crate) action: Action,
    /// The file's length, if the source announces it.
    pub(crate) length_bytes: Option<u64>,
}

impl Job {
    /// Dry run of the load: decides, queries the source, and changes nothing. Without a `client`, the ledger and
    /// the target do not exist yet.
    pub(crate) async fn preview(
        &mut self,
        client: Option<&Client>,
        options: &Options,
        report: &Arc<dyn Report>,
    ) -> Result<Preview> {
        self.find_file(client, options, report).await?;
        let decision = match client {
            Some(client) if schema::state(client).await? == SchemaState::Current => {
                self.decide(client, client, options).await?
            }
            _ => Decision::Load { again: false },
        };
        if let Decision::Skip(_) = decision {
            return Ok(Preview { action: Action::Skip, length_bytes: None });
        }
        let description = match self.source.describe(options.retry_policy, report).await {
            Ok(description) => description,
            Err(error) if error.kind() == Kind::NotPublished => {
                return Ok(Preview { action: Action::NotPublished, length_bytes: None });
            }
            Err(error) => return Err(error),
        };
        let action = match decision {
            Decision::Load { again: false } => Action::Load,
            Decision::LoadIfChanged(previous) if previous.description.is_of_same_file(&description) => {
                Action::Skip
            }
            Decision::Load { .. } | Decision::LoadIfChanged(_) | Decision::Skip(_) => Action::LoadAgain,
        };
        Ok(Preview { action, length_bytes: description.length_bytes })
    }
}
