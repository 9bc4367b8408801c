//! Checks the database: the network, the login, the role's rights, the ledger and the target tables.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpStream, lookup_host};
use tokio_postgres::{Client, Row};

use super::{Findings, disk};
use crate::database::settings::{ServerAddress, Settings};
use crate::database::statement::sql;
use crate::database::{failure, session};
use crate::error::{Detail, Error, Kind, Result};
use crate::ledger::schema::{self, SchemaState};
use crate::load::target::{self, MergeReason, Route};
use crate::load::{columns, tables};
use crate::month::job::Job;

const REACH_TIMEOUT: Duration = Duration::from_secs(10);
/// A larger difference between the clocks is a warning.
const CLOCK_TOLERANCE_SECONDS: f64 = 5.0;

/// Checks the database that the `jobs` would load into.
pub(crate) async fn check(settings: &Settings, jobs: &[&Job], findings: &mut Findings) {
    if !reach(settings, findings).await {
        return;
    }
    let client = match session::connect(settings).await {
        Ok(client) => client,
        Err(error) => {
            let fix = "put right what it says in --database-url, the PG* variables or the server's settings";
            return findings.fail(stage(&error), &error, fix);
        }
    };
    let looked = session::while_answering(settings, look(&client, settings, jobs, findings)).await;
    if let Err(error) = looked {
        let fix = "let the role read the catalog and use the tables' schema: docs/configuration.md has the least rights as SQL";
        findings.fail(
            if error.detail() == Some(Detail::ServerLost) { "session" } else { "rights" },
            &error,
            fix,
        );
    }
}

/// The name of the check that failed while the session was opened.
fn stage(error: &Error) -> &'static str {
    match (error.kind(), error.detail()) {
        (_, Some(Detail::Tls)) => "tls",
        (_, Some(Detail::Encoding)) => "encoding",
        (Kind::Authentication, _) => "authentication",
        (Kind::ServerTooOld, _) => "version",
        _ => "session",
    }
}

/// Whether at least one of the hosts can be reached.
async fn reach(settings: &Settings, findings: &mut Findings) -> bool {
    let mut failed = Vec::new();
    let mut some_reached = false;
    for place in settings.addresses() {
        match reach_address(&place, findings).await {
            Ok(()) => some_reached = true,
            Err(failure) => failed.push(failure),
        }
    }
    for (name, error, fix) in failed {
        match some_reached {
            true => findings.warn(name, crate::report::failure::line(&error), fix),
            false => findings.fail(name, &error, fix),
        }
    }
    some_reached
}

async fn reach_address(
    place: &ServerAddress,
    findings: &mut Findings,
) -> Result<(), (&'static str, Error, &'static str)> {
    let unreachable = |what: String| Error::new(Kind::Unreachable, what);
    let (host, port) = match place {
        ServerAddress::Socket(path) => {
            let exists = path.exists();
            let error = unreachable(format!("there is no socket {}", path.display()));
            return match exists {
                true => {
                    findings.ok("socket", path.display().to_string());
                    Ok(())
                }
                false => {
                    Err(("socket", error, "check that the server runs, and its unix_socket_directories"))
                }
            };
        }
        ServerAddress::Tcp(host, port) => (host.as_str(), *port),
    };
    let found = tokio::time::timeout(REACH_TIMEOUT, lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(cause)) => {
            let error = unreachable(format!("the name {host} cannot be resolved")).because(cause);
            return Err(("name resolution", error, "check the host's name and this machine's DNS"));
        }
        Err(_elapsed) => {
            let error = unreachable(format!("the name {host} is not resolved in time"));
            return Err(("name resolution", error, "check this machine's DNS"));
        }
    };
    let texts: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    findings.ok("name resolution", format!("{host} is {}", texts.join(", ")));
    let connected = tokio::time::timeout(REACH_TIMEOUT, TcpStream::connect(addresses.as_slice())).await;
    let cause: Box<dyn std::error::Error + Send + Sync> = match connected {
        Ok(Ok(_)) => {
            findings.ok("port", format!("{host}:{port} is open"));
            return Ok(());
        }
        Ok(Err(cause)) => cause.into(),
        Err(_elapsed) => "the connection timed out".into(),
    };
    let error = unreachable(format!("{host}:{port} cannot be reached")).because(cause);
    Err(("port", error, "check the port, that the server runs and listens there, and firewalls on the way"))
}

async fn look(client: &Client, settings: &Settings, jobs: &[&Job], findings: &mut Findings) -> Result<()> {
    let row = query(client, sql!("doctor/session.sql"), &[]).await?;
    look_at_session(&row, settings, findings);
    let directory: Option<String> = row.get("data_directory");
    match directory.as_deref().map(Path::new).filter(|path| settings.is_local() && path.exists()) {
        Some(directory) => disk::check(directory, findings),
        None => findings.ok("disk", "the room on the server's disk cannot be known from here"),
    }
    look_at_ledger(client, findings).await?;
    for job in jobs {
        look_at_table(client, job, findings).await?;
    }
    Ok(())
}

fn look_at_session(row: &Row, settings: &Settings, findings: &mut Findings) {
    let (user, database): (String, String) = (row.get("user_name"), row.get("database_name"));
    let (encrypted, protocol): (Option<bool>, Option<String>) = (row.get("encrypted"), row.get("protocol"));
    let mode = settings.ssl_mode();
    let protocol = protocol.unwrap_or_default();
    match (encrypted.unwrap_or(false), mode) {
        (false, _) if settings.is_local() => findings.ok("tls", "none, and none needed on this machine"),
        (false, _) => findings.warn(
            "tls",
            "the connection is not encrypted: everybody on the way can read it, the password's proof included",
            "let the server speak TLS, and set sslmode=verify-full",
        ),
        (true, "verify-full" | "verify-ca") => findings.ok("tls", format!("{protocol}, sslmode={mode}")),
        (true, _) => findings.warn(
            "tls",
            format!("{protocol}, but sslmode={mode} does not verify the server's certificate"),
            "set sslmode=verify-full, with sslrootcert where the CA is not a public one",
        ),
    }
    findings.ok("authentication", format!("{user} may use the database {database}"));
    findings.ok("version", format!("PostgreSQL {}", row.get::<_, String>("version")));
    if row.get("read_only") {
        let text = "the database takes no writes: it is a standby, or read-only by its settings";
        let fix = "name the primary; target_session_attrs=read-write picks it among several hosts";
        findings.fail("writes", &Error::new(Kind::Configuration, text), fix);
    }
    let ahead = row.get::<_, f64>("clock") - Timestamp::now().as_duration().as_secs_f64();
    let said = format!(
        "the server's clock is {:.1} s {}",
        ahead.abs(),
        if ahead < 0.0 { "behind" } else { "ahead" }
    );
    match ahead.abs() > CLOCK_TOLERANCE_SECONDS {
        true => findings.warn(
            "clock",
            said,
            "let both machines keep time (NTP): certificates and 'previous' depend on it",
        ),
        false => findings.ok("clock", said),
    }
}

async fn look_at_ledger(client: &Client, findings: &mut Findings) -> Result<()> {
    const NAME: &str = "ledger";
    let row = query(client, sql!("doctor/ledger.sql"), &[]).await?;
    if !row.get::<_, bool>("schema_exists") {
        match row.get("may_create_schema") {
            true => findings.ok(NAME, "not there yet: the first load creates the schema taxi_etl"),
            false => missing_right(NAME, "CREATE on the database, for the schema taxi_etl", findings),
        }
        return Ok(());
    }
    for (column, right) in [
        ("may_use_schema", "USAGE on the schema taxi_etl"),
        ("may_create_staging", "CREATE on the schema taxi_etl"),
        ("may_write_runs", "SELECT, INSERT and UPDATE on taxi_etl.runs"),
        ("may_read_version", "SELECT on taxi_etl.ledger_version"),
    ] {
        // NULL if the table does not exist
        if row.get::<_, Option<bool>>(column) == Some(false) {
            missing_right(NAME, right, findings);
            return Ok(());
        }
    }
    let without_rejects = match row.get::<_, Option<bool>>("may_write_rejects") {
        Some(false) => "; not to taxi_etl.rejects, as --max-rejects needs",
        _ => "",
    };
    let may_upgrade = row.get::<_, Option<bool>>("may_upgrade") == Some(true);
    match (schema::state(client).await?, may_upgrade) {
        (SchemaState::Absent, _) => findings.ok(NAME, "not there yet: the first load creates its tables"),
        (SchemaState::Current, _) => {
            findings.ok(NAME, format!("of this version, and the role may write to it{without_rejects}"));
        }
        (SchemaState::Older, true) => findings.ok(NAME, "of an older version: the next load upgrades it"),
        (SchemaState::Older, false) => {
            let error =
                Error::new(Kind::Authentication, "of an older version, and the role may not upgrade it");
            findings.fail(NAME, &error, "let the owner of the schema taxi_etl run this taxi once");
        }
        (SchemaState::Newer, _) => {
            let error = Error::new(Kind::Configuration, "of a newer version than this taxi knows");
            findings.fail(NAME, &error, "use the taxi that has upgraded it");
        }
    }
    Ok(())
}

async fn look_at_table(client: &Client, job: &Job, findings: &mut Findings) -> Result<()> {
    let (name, quoted, schema) = (format!("table {}", job.table), job.table.quoted(), job.table.schema());
    let row = query(client, sql!("doctor/tables.sql"), &[&quoted, &schema]).await?;
    if !tables::exists(client, &job.table).await? {
        match (row.get("may_create_tables"), row.get("may_create_partitions")) {
            (false, _) => missing_right(&name, &format!("CREATE on the schema {schema}"), findings),
            (true, false) => {
                let right = format!("CREATE on the database, for the schema {schema}_partitions");
                missing_right(&name, &right, findings);
            }
            (true, true) => {
                findings.ok(name, "not there yet: the first load creates it, partitioned by month")
            }
        }
        return Ok(());
    }
    if row.get::<_, Option<bool>>("may_load") == Some(false) {
        missing_right(&name, &format!("SELECT and INSERT on {}", job.table), findings);
        return Ok(());
    }
    let columns = columns::columns_to_fill(client, &job.table, &job.computed, &job.period.time_column).await;
    let columns = match columns {
        Ok(columns) => columns,
        Err(error) => {
            findings.fail(name, &error, "rename the table and let the load make a new one");
            return Ok(());
        }
    };
    let target = match target::inspect(client, &job.table, &job.period).await {
        Ok(target) => target,
        Err(error) => {
            findings.fail(name, &error, "do what it says and load again");
            return Ok(());
        }
    };
    let no_replace = match row.get("may_replace") {
        Some(false) => "; without DELETE no file can be replaced",
        _ => "",
    };
    let takes = format!("its {} columns take the rows{no_replace}", columns.len());
    let time_column = job.period.time_column.to_lowercase();
    match target.new_months {
        Route::Attach(_) => findings.ok(name, format!("{takes}; a new month becomes a partition")),
        Route::Merge(MergeReason::NotPartitioned)
            if !query(client, sql!("doctor/time_index.sql"), &[&quoted, &time_column])
                .await?
                .get::<_, bool>(0) =>
        {
            findings.warn(
                name,
                format!("{takes}; every load is merged and reads all of the table, which has no index on its times"),
                &format!(
                    "CREATE INDEX ON {} USING brin ({time_column}) WITH (pages_per_range = 32), or let the load make a \
                     new table, partitioned by month",
                    job.table
                ),
            );
        }
        Route::Merge(reason) => {
            findings
                .ok(name, format!("{takes}; a new month is merged, not attached as a partition: {reason}"));
        }
    }
    Ok(())
}

fn missing_right(name: &str, right: &str, findings: &mut Findings) {
    let error = Error::new(Kind::Authentication, format!("the role lacks {right}"));
    findings.fail(name, &error, "let the owner grant it: docs/configuration.md has the least rights as SQL");
}

async fn query(
    client: &Client,
    statement: &str,
    values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Row> {
    let row = client.query_one(statement, values).await;
    row.map_err(|cause| failure::statement("cannot look at the database", cause))
}
