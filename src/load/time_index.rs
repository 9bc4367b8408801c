//! The target's index over its times, which knows of new rows once it is told.

use tokio_postgres::Client;

use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::Result;

/// The index, if the target has one.
pub struct TimeIndex<'a> {
    client: &'a Client,
    table: &'a TableName,
    /// Whether somebody else looks after the target, which can take long.
    table_is_maintained: bool,
}

impl<'a> TimeIndex<'a> {
    /// That of `table`; `client` is not the session of the load's transaction, which would keep others from it until its end.
    pub const fn new(client: &'a Client, table: &'a TableName) -> Self {
        Self { client, table, table_is_maintained: false }
    }

    /// Lets it know the rows that have been added, committed or not: every look at the target reads all of what it does
    /// not know, of this load and of others.
    pub async fn summarize(&mut self) -> Result<()> {
        if self.table_is_maintained {
            return Ok(());
        }
        let summarize = statement::render("summarize_times.sql", &minijinja::context! {})?;
        match self.client.query(&summarize, &[&self.table.quoted()]).await {
            Err(cause) if failure::is_lock_timeout(&cause) => self.table_is_maintained = true,
            summarized => {
                _ = summarized.map_err(|cause| {
                    failure::statement(format!("cannot bring the index of {} up to date", self.table), cause)
                })?
            }
        }
        Ok(())
    }
}
