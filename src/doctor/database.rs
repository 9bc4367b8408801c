//! Checks the database: the network, the login, the role's privileges, the ledger and the target tables.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::{TcpStream, lookup_host};
use tokio_postgres::{Client, Row};

use super::{Findings, disk};
use crate::database::settings::{ServerAddress, Settings};
use crate::database::statement::sql;
use crate::database::{failure, session};
use crate::error::{Detail, Error, Kind, Result};
use crate::ledger::schema::{self, SchemaState};
use crate::load::columns::TableColumns;
use crate::load::tables;
use crate::load::target::{self, MergeReason, Route};
use crate::month::job::Job;
use crate::report::forward::Quiet;

const REACH_TIMEOUT: Duration = Duration::from_secs(10);
/// A larger difference between the clocks is a warning.
const CLOCK_TOLERANCE_SECONDS: f64 = 5.0;
/// A server process that is older than the connection by more than this belongs to a pooler.
const POOLER_TOLERANCE_SECONDS: f64 = 2.0;

/// Checks the database that the `jobs` load into.
pub(crate) async fn check(settings: &Settings, jobs: &[&Job], findings: &mut Findings) {
    if !check_addresses(settings, findings).await {
        return;
    }
    let began = Instant::now();
    let client = match session::connect(settings, &Quiet).await {
        Ok(client) => client,
        Err(error) => {
            let fix = "fix the problem in --database-url, in the PG* variables or in the server's settings";
            return findings.fail(stage(&error), &error, fix);
        }
    };
    let result =
        session::while_answering(settings, check_all(&client, began, settings, jobs, findings)).await;
    if let Err(error) = result {
        let fix = "allow the role to read the catalog and to use the schema of the tables: docs/configuration.md lists the privileges that it needs, as SQL";
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
        (_, Some(Detail::Pooler | Detail::PoolExhausted)) => "pooler",
        (Kind::Authentication, _) => "authentication",
        (Kind::ServerTooOld, _) => "version",
        _ => "session",
    }
}

/// Checks the addresses. Returns whether at least one of them is reachable.
async fn check_addresses(settings: &Settings, findings: &mut Findings) -> bool {
    let mut failed = Vec::new();
    let mut any_reachable = false;
    for address in settings.addresses() {
        match check_address(&address, findings).await {
            Ok(()) => any_reachable = true,
            Err(failure) => failed.push(failure),
        }
    }
    for (name, error, fix) in failed {
        match any_reachable {
            true => findings.warn(name, crate::report::failure::line(&error), fix),
            false => findings.fail(name, &error, fix),
        }
    }
    any_reachable
}

async fn check_address(
    address: &ServerAddress,
    findings: &mut Findings,
) -> Result<(), (&'static str, Error, &'static str)> {
    let unreachable = |what: String| Error::new(Kind::Unreachable, what);
    let (host, port) = match address {
        ServerAddress::Socket(path) => {
            let exists = path.exists();
            let error = unreachable(format!("the socket {} does not exist", path.display()));
            return match exists {
                true => {
                    findings.ok("socket", path.display().to_string());
                    Ok(())
                }
                false => {
                    let fix =
                        "check that the server is running, and check its setting unix_socket_directories";
                    Err(("socket", error, fix))
                }
            };
        }
        ServerAddress::Tcp(host, port) => (host.as_str(), *port),
    };
    let cannot_resolve = || unreachable(format!("cannot resolve the host name {host}"));
    let resolved = tokio::time::timeout(REACH_TIMEOUT, lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = match resolved {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(cause)) => {
            let error = cannot_resolve().because(cause);
            let fix = "check the host name and the DNS settings of this machine";
            return Err(("name resolution", error, fix));
        }
        Err(_elapsed) => {
            let error = cannot_resolve().because(format!("no response within {REACH_TIMEOUT:?}"));
            return Err(("name resolution", error, "check the DNS settings of this machine"));
        }
    };
    let ips: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    findings.ok("name resolution", format!("{host} resolves to {}", ips.join(", ")));
    let connected = tokio::time::timeout(REACH_TIMEOUT, TcpStream::connect(addresses.as_slice())).await;
    let cause: Box<dyn std::error::Error + Send + Sync> = match connected {
        Ok(Ok(_)) => {
            findings.ok("port", format!("{host}:{port} is open"));
            return Ok(());
        }
        Ok(Err(cause)) => cause.into(),
        Err(_elapsed) => "the connection timed out".into(),
    };
    let error = unreachable(format!("cannot reach {host}:{port}")).because(cause);
    let fix = "check the port, check that the server is running and listens on it, and check the firewalls";
    Err(("port", error, fix))
}

/// Checks everything that needs a session.
async fn check_all(
    client: &Client,
    began: Instant,
    settings: &Settings,
    jobs: &[&Job],
    findings: &mut Findings,
) -> Result<()> {
    let row = query(client, sql!("doctor/session.sql"), &[]).await?;
    check_session(&row, settings, findings);
    check_pooler(row.get("age"), began.elapsed(), findings);
    check_timeouts(row.get("timeouts"), findings);
    let directory: Option<String> = row.get("data_directory");
    match directory.as_deref().map(Path::new).filter(|path| settings.is_local() && path.exists()) {
        Some(directory) => disk::check(directory, findings),
        None => findings.ok("disk", "not checked: taxi cannot query the free disk space of another machine"),
    }
    check_ledger(client, findings).await?;
    for job in jobs {
        check_table(client, job, findings).await?;
    }
    Ok(())
}

fn check_session(row: &Row, settings: &Settings, findings: &mut Findings) {
    let (user, database): (String, String) = (row.get("user_name"), row.get("database_name"));
    let (encrypted, protocol): (Option<bool>, Option<String>) = (row.get("encrypted"), row.get("protocol"));
    let mode = settings.ssl_mode();
    let protocol = protocol.unwrap_or_default();
    match (encrypted.unwrap_or(false), mode) {
        (false, _) if settings.is_local() => findings.ok("tls", "not used: the server is on this machine"),
        (false, _) => findings.warn(
            "tls",
            "the connection is not encrypted: others on the network can read it, including the password exchange",
            "enable TLS on the server, and set sslmode=verify-full",
        ),
        (true, "verify-full" | "verify-ca") => findings.ok("tls", format!("{protocol}, sslmode={mode}")),
        (true, _) => findings.warn(
            "tls",
            format!("{protocol}, but sslmode={mode} does not verify the server's certificate"),
            "set sslmode=verify-full; if the CA is not a public one, set sslrootcert too",
        ),
    }
    findings.ok("authentication", format!("{user} can connect to the database {database}"));
    findings.ok("version", format!("PostgreSQL {}", row.get::<_, String>("version")));
    if row.get("read_only") {
        let text = "the database is read-only: it is a standby server, or a setting makes it read-only";
        let fix =
            "connect to the primary server; target_session_attrs=read-write selects it among several hosts";
        findings.fail("writes", &Error::new(Kind::Configuration, text), fix);
    }
    let offset_seconds = row.get::<_, f64>("clock") - Timestamp::now().as_duration().as_secs_f64();
    let message = format!(
        "the server's clock is {:.1} s {}",
        offset_seconds.abs(),
        if offset_seconds < 0.0 { "behind" } else { "ahead" }
    );
    match offset_seconds.abs() > CLOCK_TOLERANCE_SECONDS {
        true => findings.warn(
            "clock",
            message,
            "synchronize the clocks of both machines (NTP): certificates and '--month previous' depend on them",
        ),
        false => findings.ok("clock", message),
    }
}

/// Reports a pooler in session mode: its server processes are older than our connection. Other poolers are refused
/// when taxi connects.
fn check_pooler(age_seconds: f64, connected_for: Duration, findings: &mut Findings) {
    if age_seconds > connected_for.as_secs_f64() + POOLER_TOLERANCE_SECONDS {
        findings.warn(
            "pooler",
            format!(
                "the session uses a server process that is {age_seconds:.0} s old: the address is that of a connection pooler, in session mode"
            ),
            "make the pool large enough: each load takes two connections, and each further month of --jobs two more",
        );
    }
}

/// Reports timeouts that still apply to taxi's sessions, for example because PGOPTIONS sets them.
fn check_timeouts(timeouts: Option<String>, findings: &mut Findings) {
    if let Some(timeouts) = timeouts {
        findings.warn(
            "timeouts",
            format!("{timeouts}: a load that takes longer fails, and so does every retry of it"),
            "remove these timeouts from PGOPTIONS or from the options of the URL; taxi turns off the timeouts of the database and the role by itself",
        );
    }
}

async fn check_ledger(client: &Client, findings: &mut Findings) -> Result<()> {
    const NAME: &str = "ledger";
    let row = query(client, sql!("doctor/ledger.sql"), &[]).await?;
    if !row.get::<_, bool>("schema_exists") {
        match row.get("may_create_schema") {
            true => findings.ok(NAME, "not created yet: the first load creates the schema taxi_etl"),
            false => {
                missing_privilege(NAME, "CREATE on the database (to create the schema taxi_etl)", findings)
            }
        }
        return Ok(());
    }
    for (column, privilege) in [
        ("may_use_schema", "USAGE on the schema taxi_etl"),
        ("may_create_staging", "CREATE on the schema taxi_etl"),
        ("may_write_runs", "SELECT, INSERT and UPDATE on taxi_etl.runs"),
        ("may_read_version", "SELECT on taxi_etl.ledger_version"),
    ] {
        // NULL if the table does not exist
        if row.get::<_, Option<bool>>(column) == Some(false) {
            missing_privilege(NAME, privilege, findings);
            return Ok(());
        }
    }
    let without_rejects = match row.get::<_, Option<bool>>("may_write_rejects") {
        Some(false) => " (but not to taxi_etl.rejects, which --max-rejects needs)",
        _ => "",
    };
    let may_upgrade = row.get::<_, Option<bool>>("may_upgrade") == Some(true);
    let state = match schema::state(client).await {
        Ok(state) => state,
        Err(error) if error.kind() == Kind::Configuration => {
            findings.fail(NAME, &error, "restore the schema taxi_etl from a backup");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match (state, may_upgrade) {
        (SchemaState::Absent, _) => findings.ok(NAME, "not created yet: the first load creates its tables"),
        (SchemaState::Current, _) => {
            let message = format!("the schema is current, and the role can write to it{without_rejects}");
            findings.ok(NAME, message);
        }
        (SchemaState::Older, true) => {
            findings.ok(NAME, "the schema has an older version: the next load upgrades it");
        }
        (SchemaState::Older, false) => {
            let text = "the schema has an older version, and the role cannot upgrade it";
            let fix = "ask the owner of the schema taxi_etl to run a load with this version of taxi once";
            findings.fail(NAME, &Error::new(Kind::Authentication, text), fix);
        }
        (SchemaState::Newer, _) => {
            let text = "the schema has a newer version than this version of taxi supports";
            let fix = "use the version of taxi that upgraded the schema, or a later one";
            findings.fail(NAME, &Error::new(Kind::Configuration, text), fix);
        }
    }
    Ok(())
}

async fn check_table(client: &Client, job: &Job, findings: &mut Findings) -> Result<()> {
    let (name, quoted, schema) = (format!("table {}", job.table), job.table.quoted(), job.table.schema());
    let row = query(client, sql!("doctor/tables.sql"), &[&quoted, &schema]).await?;
    if !tables::exists(client, &job.table).await? {
        match (row.get("may_create_tables"), row.get("may_create_partitions")) {
            (false, _) => missing_privilege(&name, &format!("CREATE on the schema {schema}"), findings),
            (true, false) => {
                let privilege = format!("CREATE on the database (to create the schema {schema}_partitions)");
                missing_privilege(&name, &privilege, findings);
            }
            (true, true) => {
                findings.ok(name, "not created yet: the first load creates it, partitioned by month")
            }
        }
        return Ok(());
    }
    if row.get::<_, Option<bool>>("may_load") == Some(false) {
        missing_privilege(&name, &format!("SELECT and INSERT on {}", job.table), findings);
        return Ok(());
    }
    let columns = TableColumns::read(client, &job.table, &job.computed, &job.period).await;
    let columns = match columns {
        Ok(columns) => columns,
        Err(error) => {
            findings.fail(name, &error, "rename the table; the next load creates a new one");
            return Ok(());
        }
    };
    let unsupported = columns.unsupported();
    if !unsupported.is_empty() {
        let text = format!("loads do not support the types of the columns {}", unsupported.join(", "));
        findings.warn(name, text, "change the types, if the files have these columns: docs/your-database.md lists the supported types");
        return Ok(());
    }
    let target = match target::inspect(client, &job.table, &job.period, &job.computed.key_column).await {
        Ok(target) => target,
        Err(error) => {
            findings.fail(name, &error, "fix the problem, then load again");
            return Ok(());
        }
    };
    let no_replace = match row.get("may_replace") {
        Some(false) => "; without the privilege DELETE, taxi cannot replace a file",
        _ => "",
    };
    let filled = format!("taxi can fill its {} columns{no_replace}", columns.count());
    let time_column = job.period.time_column.to_lowercase();
    match target.new_months {
        Route::Attach(_) => findings.ok(name, format!("{filled}; a new month becomes a partition")),
        Route::Merge(MergeReason::NotPartitioned)
            if !query(client, sql!("doctor/time_index.sql"), &[&quoted, &time_column])
                .await?
                .get::<_, bool>(0) =>
        {
            findings.warn(
                name,
                format!("{filled}; every load is a merge that reads the whole table, because its time column has no index"),
                &format!(
                    "run CREATE INDEX ON {} USING brin ({time_column}) WITH (pages_per_range = 32), or rename the table: \
                     the next load creates a new one, partitioned by month",
                    job.table
                ),
            );
        }
        Route::Merge(reason) => {
            findings
                .ok(name, format!("{filled}; a new month is merged, not attached as a partition: {reason}"));
        }
    }
    Ok(())
}

fn missing_privilege(name: &str, privilege: &str, findings: &mut Findings) {
    let error = Error::new(Kind::Authentication, format!("the role does not have the privilege {privilege}"));
    let fix = "ask the owner to grant the privilege: docs/configuration.md lists the privileges that a role needs, as SQL";
    findings.fail(name, &error, fix);
}

async fn query(
    client: &Client,
    statement: &str,
    values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Row> {
    let row = client.query_one(statement, values).await;
    row.map_err(|cause| failure::statement("cannot inspect the database", cause))
}
