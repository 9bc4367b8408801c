//! What a load would do, found out without doing it.

use std::sync::Arc;

use serde::Serialize;
use tokio_postgres::Client;

use super::job::Job;
use super::{IfLoaded, Options, tables};
use crate::error::{Kind, Result};
use crate::ledger::history;
use crate::ledger::schema::{self, Standing};
use crate::report::Report;

/// What a load would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Load a file that the ledger does not know.
    Load,
    /// Load a file again: the source has another by now, its rows are gone, or it was asked for.
    LoadAgain,
    /// Nothing: it is loaded.
    Skip,
    /// Nothing: the source does not have it.
    NotPublished,
}

/// What a load would do, and with how much.
#[derive(Clone, Debug, Serialize)]
pub struct Outlook {
    /// What it would do.
    pub action: Action,
    /// The file's length, where the source says so.
    pub length_bytes: Option<u64>,
}

impl Job {
    /// Looks at the ledger, the target and the source; without a `client` there is neither ledger nor target yet.
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
