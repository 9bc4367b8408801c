//! Dry run: determines what a load would do, without changing anything.

use std::sync::Arc;

use serde::Serialize;
use tokio_postgres::Client;

use super::job::Job;
use super::{IfLoaded, Options, tables};
use crate::error::{Kind, Result};
use crate::ledger::history;
use crate::ledger::schema::{self, Standing};
use crate::report::Report;

/// The planned action of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
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
pub struct Outlook {
    /// The planned action.
    pub action: Action,
    /// The file's length, if the source announces it.
    pub length_bytes: Option<u64>,
}

impl Job {
    /// Plans the load: checks the ledger, the target and the source. Without a `client`, there is no ledger and no
    /// target yet.
    pub async fn look(
        &self,
        client: Option<&Client>,
        options: &Options,
        report: &Arc<dyn Report>,
    ) -> Result<Outlook> {
        let earlier = match client {
            Some(client) if schema::standing(client).await? == Standing::Current => {
                history::latest_success(client, &self.table, &self.filename).await?
            }
            _ => None,
        };
        let held = match (&earlier, client) {
            (Some(earlier), Some(client)) if tables::exists(client, &self.table).await? => {
                self.still_holds(client, earlier, &self.identifiers(&[])).await?
            }
            _ => false,
        };
        if held && options.if_loaded == IfLoaded::Skip {
            return Ok(Outlook { action: Action::Skip, length_bytes: None });
        }
        let description = match self.source.look(options.patience, report).await {
            Ok(description) => description,
            Err(error) if error.kind() == Kind::NotPublished => {
                return Ok(Outlook { action: Action::NotPublished, length_bytes: None });
            }
            Err(error) => return Err(error),
        };
        let action = match earlier {
            None => Action::Load,
            Some(earlier) => {
                let same = earlier.address == self.source.address()
                    && earlier.description.is_of_same_file(&description);
                if same && held && !options.force { Action::Skip } else { Action::LoadAgain }
            }
        };
        Ok(Outlook { action, length_bytes: description.length_bytes })
    }
}
