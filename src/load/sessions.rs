//! The two sessions of a load, and how they are ended when it is cancelled.

use tokio_postgres::Client;

use super::locks;
use crate::database::session;
use crate::database::settings::Settings;
use crate::error::Result;

/// The two connections of a load.
pub struct Sessions {
    /// The one of the load's transaction.
    pub load: Client,
    /// The one for what must not be part of that transaction, or cannot wait for it.
    pub control: Client,
    settings: Settings,
    /// What the server calls the two.
    pub(super) numbers: [i32; 2],
}

impl Sessions {
    /// Connects both.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let (load, control) = (session::connect(settings).await?, session::connect(settings).await?);
        let numbers = async { Ok([session::number(&load).await?, session::number(&control).await?]) };
        let numbers = session::attended(settings, numbers).await?;
        Ok(Self { load, control, settings: settings.clone(), numbers })
    }

    /// Where they lead to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the server or the network has ended one of them.
    pub fn is_closed(&self) -> bool {
        self.load.is_closed() || self.control.is_closed()
    }

    /// Ends the statements of `run` and both sessions; returns a new one once the server has let go of the old.
    pub async fn cancel(self, run: uuid::Uuid) -> Result<Client> {
        let tokens = [self.load.cancel_token(), self.control.cancel_token()];
        let client = session::terminate(&self.settings, &tokens, &self.numbers).await?;
        locks::wait_for_end(&client, run).await?;
        Ok(client)
    }
}
