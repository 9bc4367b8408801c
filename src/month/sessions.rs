//! Opens the two sessions of a load, and ends them when the load is cancelled.

use tokio_postgres::Client;

use crate::database::locks;
use crate::database::session;
use crate::database::settings::Settings;
use crate::error::Result;
use crate::report::Report;

/// The two connections of a load.
pub(crate) struct Sessions {
    /// The connection of the load's transaction.
    pub(crate) load: Client,
    /// The control connection: for statements that must not be part of the transaction, or cannot wait for it.
    pub(crate) control: Client,
    settings: Settings,
    /// The server's process IDs of the two sessions.
    pub(crate) server_pids: [i32; 2],
}

impl Sessions {
    /// Opens both connections.
    pub(crate) async fn open(settings: &Settings, report: &dyn Report) -> Result<Self> {
        let [load, control] = session::connect_two(settings, report).await?;
        let server_pids = [load.server_pid, control.server_pid];
        Ok(Self { load: load.client, control: control.client, settings: settings.clone(), server_pids })
    }

    /// The connection settings of both sessions.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the server or the network has closed one of the connections.
    pub(crate) fn is_closed(&self) -> bool {
        self.load.is_closed() || self.control.is_closed()
    }

    /// Cancels the statements of `run` and ends both sessions. Returns a new connection once the server has ended
    /// the run's transaction.
    pub(crate) async fn cancel(self, run: uuid::Uuid) -> Result<Client> {
        let tokens = [self.load.cancel_token(), self.control.cancel_token()];
        let client = session::terminate(&self.settings, &tokens, &self.server_pids).await?;
        locks::wait_for_end(&client, run).await?;
        Ok(client)
    }
}
