//! One session: connected, of a server new enough, ready for statements.

use tokio_postgres::{Client, NoTls};

use super::failure;
use super::settings::Settings;
use super::statement;
use crate::error::{Error, Kind, Result};

/// The oldest major version with MERGE.
pub const OLDEST_MAJOR: u32 = 15;

/// Connects and refuses a server that is too old, before any statement is sent.
pub async fn connect(settings: &Settings) -> Result<Client> {
    let connecting = settings.config().connect(NoTls);
    let (client, connection) = match tokio::time::timeout(settings.answer_timeout(), connecting).await {
        Ok(connected) => connected.map_err(|cause| failure::connecting(&settings.address(), cause))?,
        Err(_elapsed) => {
            let text =
                format!("the database at {} accepts the connection and does not answer", settings.address());
            return Err(Error::new(Kind::Unreachable, text));
        }
    };
    let version = connection.parameter("server_version").unwrap_or_default().to_owned();
    check_version(&version, &settings.address())?;
    check_encoding(connection.parameter("server_encoding").unwrap_or("UTF8"), &settings.address())?;
    // Its end shows in the statement under way: nothing is lost with the handle.
    tokio::spawn(connection);
    prepare(&client).await.map_err(|cause| failure::connecting(&settings.address(), cause))?;
    Ok(client)
}

/// Sets a new session up.
pub async fn prepare(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(CONNECTION).await
}

const CONNECTION: &str = include_str!("../../sql/connection.sql");

/// Ends what the `clients` do, and their sessions, which the server knows by these numbers; returns a new one.
///
/// To cancel is not enough: a request may come between two statements, and hit none or the wrong one.
pub async fn terminate(settings: &Settings, clients: &[&Client], numbers: &[i32]) -> Result<Client> {
    for client in clients {
        // where the server cannot be reached, connecting will say so
        let _ = client.cancel_token().cancel_query(NoTls).await;
    }
    let client = connect(settings).await?;
    let end = statement::render("end_sessions.sql", &minijinja::context! {})?;
    let ended = client.execute(&end, &[&numbers]).await;
    ended.map_err(|cause| failure::statement("cannot end the sessions", cause))?;
    Ok(client)
}

/// The number by which others see the session.
pub async fn number(client: &Client) -> Result<i32> {
    let query = statement::render("session_number.sql", &minijinja::context! {})?;
    let row = client.query_one(&query, &[]).await;
    Ok(row.map_err(|cause| failure::statement("cannot ask for the session's number", cause))?.get(0))
}

/// Row keys are of the server's bytes: only where those are the file's are they the same.
fn check_encoding(encoding: &str, address: &str) -> Result<()> {
    match encoding {
        "UTF8" | "SQL_ASCII" => Ok(()),
        _ => Err(Error::new(
            Kind::Configuration,
            format!("the database at {address} has the encoding {encoding}; taxi needs UTF8"),
        )
        .hint("create one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0")),
    }
}

fn check_version(version: &str, address: &str) -> Result<()> {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(major) if major >= OLDEST_MAJOR => Ok(()),
        _ => Err(Error::new(
            Kind::ServerTooOld,
            format!("the server at {address} is PostgreSQL {version}; taxi needs {OLDEST_MAJOR} or later"),
        )
        .hint("MERGE came with PostgreSQL 15: upgrade the server, or leave --database-url away to use taxi's own")),
    }
}
