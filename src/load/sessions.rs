//! The two sessions of a load, and how they are ended when it is cancelled.

use tokio_postgres::{Client, NoTls};

use super::locks;
use crate::database::failure;
use crate::database::settings::Settings;
use crate::database::{session, statement};
use crate::error::Result;

/// The two connections of a load.
pub struct Sessions {
    /// The one of the load's transaction.
    pub load: Client,
    /// The one that stages.
    pub staging: Client,
    settings: Settings,
    /// What the server calls the two.
    pub(super) numbers: [i32; 2],
}

impl Sessions {
    /// Connects both.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let (load, staging) = (session::connect(settings).await?, session::connect(settings).await?);
        let numbers = [session::number(&load).await?, session::number(&staging).await?];
        Ok(Self { load, staging, settings: settings.clone(), numbers })
    }

    /// Whether the server or the network has ended one of them.
    pub fn is_closed(&self) -> bool {
        self.load.is_closed() || self.staging.is_closed()
    }

    /// Ends the statements of `run` and both sessions; returns a new one once the server has let go of the old.
    ///
    /// To cancel is not enough: a request may come between two statements, and hit none or the wrong one.
    pub async fn cancel(self, run: uuid::Uuid) -> Result<Client> {
        let Self { load, staging, settings, numbers } = self;
        for client in [load, staging] {
            // where the server cannot be reached, connecting will say so
            let _ = client.cancel_token().cancel_query(NoTls).await;
        }
        let client = session::connect(&settings).await?;
        let end = statement::render("end_sessions.sql", &minijinja::context! {})?;
        let ended = client.execute(&end, &[&&numbers[..]]).await;
        ended.map_err(|cause| failure::statement("cannot end the sessions of the load", cause))?;
        locks::wait_for_end(&client, run).await?;
        Ok(client)
    }
}
