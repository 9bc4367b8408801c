//! What a server holds: the row counts of all tables in all databases. In: a running server. Out: the counts, which
//! have to be the same before and after an upgrade.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::database::settings::Settings;
use crate::database::statement::{render, sql};
use crate::database::url::DatabaseUrl;
use crate::database::{failure, session};
use crate::error::{Error, Kind, Result};
use crate::provision::connection::Credentials;

/// How many tables an error names.
const NAMED_TABLES: usize = 5;
/// The first version whose `initdb` enables data checksums unless it is told not to.
const CHECKSUMS_BY_DEFAULT: u32 = 18;

/// The number of rows of each table, by its database and name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents(BTreeMap<(String, String), i64>);

impl Contents {
    /// Counts the rows of all tables.
    pub(super) async fn read(server: &Credentials) -> Result<Self> {
        let mut counts = BTreeMap::new();
        for database in databases(server).await? {
            let client = connect(&server.url_of(&database)).await?;
            for table in names(&client, sql!("upgrade/tables.sql")).await? {
                let count = render!("upgrade/count_rows.sql", &minijinja::context! { table => &table })?;
                let row = client.query_one(&count, &[]).await;
                let row = row.map_err(|cause| failure::statement(format!("cannot count {table}"), cause))?;
                counts.insert((database.clone(), table), row.get(0));
            }
        }
        Ok(Self(counts))
    }

    /// Refuses other contents `after` the upgrade.
    pub(super) fn compare(&self, after: &Self) -> Result<()> {
        let count = |contents: &Self, table| match contents.0.get(table) {
            Some(rows) => format!("{rows} rows"),
            None => "no table".to_owned(),
        };
        let tables = self.0.keys().chain(after.0.keys().filter(|table| !self.0.contains_key(table)));
        let differing = tables.filter(|table| self.0.get(table) != after.0.get(table)).map(|table| {
            let (database, name) = table;
            format!("{name} in {database}: {}, then {}", count(self, table), count(after, table))
        });
        let differing: Vec<String> = differing.take(NAMED_TABLES).collect();
        match differing.is_empty() {
            true => Ok(()),
            false => {
                Err(Error::new(Kind::Mismatch, "the upgraded tables do not have the same number of rows")
                    .because(differing.join("\n  ")))
            }
        }
    }

    /// The number of tables.
    pub(super) fn tables(&self) -> usize {
        self.0.len()
    }

    /// The number of rows of all tables.
    pub(super) fn rows(&self) -> u64 {
        self.0.values().map(|rows| rows.unsigned_abs()).sum()
    }
}

/// Collects the planner's statistics in all databases.
pub(super) async fn analyze(server: &Credentials) -> Result<()> {
    for database in databases(server).await? {
        let client = connect(&server.url_of(&database)).await?;
        let analyzed = client.batch_execute(sql!("upgrade/analyze.sql")).await;
        analyzed.map_err(|cause| failure::statement(format!("cannot analyze {database}"), cause))?;
    }
    Ok(())
}

/// The arguments with which `initdb` of version `major` creates a data directory like the server's. `pg_upgrade`
/// itself takes over encoding and locale.
pub(super) async fn initdb_settings(server: &Credentials, major: u32) -> Result<Vec<String>> {
    let client = connect(&server.url_of("postgres")).await?;
    let row = client.query_one(sql!("upgrade/settings.sql"), &[]).await;
    let row = row.map_err(|cause| failure::statement("cannot read the server's settings", cause))?;
    let segment_megabytes = row.get::<_, i64>("wal_segment_bytes") >> 20;
    let mut settings = vec![format!("--wal-segsize={segment_megabytes}")];
    if row.get("data_checksums") {
        settings.push("--data-checksums".to_owned());
    } else if major >= CHECKSUMS_BY_DEFAULT {
        settings.push("--no-data-checksums".to_owned());
    }
    Ok(settings)
}

async fn databases(server: &Credentials) -> Result<Vec<String>> {
    names(&connect(&server.url_of("postgres")).await?, sql!("upgrade/databases.sql")).await
}

async fn names(client: &Client, query: &str) -> Result<Vec<String>> {
    let rows = client.query(query, &[]).await;
    let rows = rows.map_err(|cause| failure::statement("cannot list the server's tables", cause))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn connect(url: &DatabaseUrl) -> Result<Client> {
    session::connect_again(&Settings::parse(&format!("{}?sslmode=disable", url.expose()))?).await
}
