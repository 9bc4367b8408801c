//! Connections: every form of URL, and databases that are missing, unreachable, silent, too old, or refuse
//! the user.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use crate::support::http::{Reply, Server};
use crate::support::proxy::{Direction, Fault, Proxy};
use crate::support::{Database, OwnServer, json, refusal, skipped, taxi, testdata, wait_until};

fn load_into(url: &str, source: &str) -> std::process::Output {
    let args = ["load", "--force", "--taxi", "yellow", "--year", "2021", "--month", "1", "--output", "json"];
    taxi(args).args(["--source", source, "--database-url", url]).output().unwrap()
}

#[test]
fn every_form_of_url_reaches_the_same_database() {
    let database = Database::new("url_forms");
    let plain = database.url.trim_start_matches("postgresql://");
    let (credentials, host_and_name) = plain.split_once('@').unwrap();
    let (user, password) = credentials.split_once(':').unwrap();
    let source = testdata();
    let urls = [
        format!("postgresql://{plain}"),
        format!("postgres://{plain}"),
        format!("jdbc:postgresql://{host_and_name}?user={user}&password={password}"),
    ];
    for url in &urls {
        json(&load_into(url, source.to_str().unwrap()));
    }
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs"), "3");
}

#[test]
fn a_wrong_password_is_refused_and_not_printed() {
    let database = Database::new("wrong_password");
    let (credentials, host_and_name) = database.url.split_once('@').unwrap();
    let (user, _) = credentials.rsplit_once(':').unwrap();
    let error = refusal(&load_into(&format!("{user}:wr0ng@{host_and_name}"), "testdata"), 77);
    assert!(error.contains("rejected the user or the password") && error.contains("28P01"), "{error}");
    assert!(!error.contains("wr0ng"), "{error}");
}

#[test]
fn a_missing_database_is_named() {
    let database = Database::new("no_such_database");
    let error = refusal(&load_into(&format!("{}_at_all", database.url), "testdata"), 78);
    assert!(error.contains("no_such_database_at_all") && error.contains("3D000"), "{error}");
}

#[test]
fn an_unreachable_server_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refusal(&load_into(&format!("postgresql://ann:s3cret@{free}/trips"), "testdata"), 69);
    assert!(error.contains(&format!("cannot connect to the database at {free}/trips")), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn an_invalid_url_is_a_configuration_error() {
    let error = refusal(&load_into("mysql://ann:s3cret@host/trips", "testdata"), 78);
    assert!(error.contains("cannot read the database URL") && !error.contains("s3cret"), "{error}");
}

#[test]
fn a_server_older_than_15_is_refused_before_anything_is_downloaded() {
    // no server of version 14 is installed, so this thread answers the first messages of the protocol as it
    // would
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut startup).unwrap();
        if startup == 80_877_103_u32.to_be_bytes() {
            stream.write_all(b"N").unwrap(); // no TLS; the startup follows
            stream.read_exact(&mut length).unwrap();
            startup = vec![0; u32::from_be_bytes(length) as usize - 4];
            stream.read_exact(&mut startup).unwrap();
        }
        let parameter = b"server_version\x0014.9 (Debian)\0";
        let mut answer = b"R\0\0\0\x08\0\0\0\0S".to_vec();
        answer.extend((parameter.len() as u32 + 4).to_be_bytes());
        answer.extend(parameter);
        answer.extend(b"Z\0\0\0\x05I");
        stream.write_all(&answer).unwrap();
        let _ = stream.read(&mut [0; 64]);
    });
    let source = Server::new(|_| Reply::status(500));
    let error = refusal(&load_into(&format!("postgresql://ann@{address}/trips"), &source.address), 76);
    assert!(error.contains("is PostgreSQL 14.9 (Debian); taxi needs 15 or later"), "{error}");
    assert_eq!(source.requests(), Vec::<String>::new());
}

#[test]
fn a_silent_server_ends_the_load_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://ann@{}/trips?connect_timeout=1", silent.local_addr().unwrap());
    let error = refusal(&load_into(&url, "testdata"), 69);
    assert!(error.contains("accepts the connection but does not answer"), "{error}");
}

#[test]
fn a_database_that_stops_answering_ends_the_load_and_a_short_stall_does_not() {
    let database = Database::new("silent");
    let source = testdata();
    let source = source.to_str().unwrap();
    let (proxy, url) = Proxy::in_front_of(&database.url);
    let load = |taxi: &str, year: u16, month: u8| {
        let mut load = database.reload(taxi, year, month, source);
        load.env("DATABASE_URL", format!("{url}&connect_timeout=1"))
            .env("TAXI_DATABASE_TIMEOUT", "2s")
            .output()
            .unwrap()
    };
    proxy.arm(Fault::Stall(Direction::ToServer, 30_000, Duration::from_millis(500)));
    assert_eq!(json(&load("yellow", 2021, 1))["rows_inserted"], 3001);
    assert!(proxy.has_occurred());

    // a stall that never ends: in the middle of the load, and while the load connects
    for (offset, expected) in [(30_000, "the next load marks this run as lost"), (300, ""), (1500, "")] {
        proxy.arm(Fault::Stall(Direction::ToServer, offset, Duration::from_secs(3600)));
        let error = refusal(&load("green", 2020, 3), 69);
        assert!(error.contains("answer") && error.contains(expected), "after {offset} bytes: {error}");
        assert!(proxy.has_occurred());
    }
    proxy.arm(Fault::None);
    assert_eq!(database.value("SELECT count(*) FROM green_tripdata"), "0");
    for command in
        [&["runs"][..], &["verify", "--taxi", "yellow", "--year", "2021"], &["doctor", "--source", source]]
    {
        proxy.arm(Fault::Stall(Direction::ToClient, 1200, Duration::from_secs(3600)));
        let mut reader = taxi(command);
        reader.env("DATABASE_URL", format!("{url}&connect_timeout=1")).env("TAXI_DATABASE_TIMEOUT", "1s");
        assert_eq!(reader.output().unwrap().status.code(), Some(69), "{command:?}");
    }
    proxy.arm(Fault::None);
}

#[test]
fn a_load_waits_for_a_starting_server() {
    let server = OwnServer::created(None);
    let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let url = up["database_url"].as_str().unwrap().to_owned();
    let source = testdata();
    // enough data to recover that the start of the server takes a while
    let database = Database::connect(url.clone(), String::new());
    database.sql("CREATE TABLE ballast AS SELECT n, repeat('x', 200) FROM generate_series(1, 1000000) AS n");
    for pid in server.processes() {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    let mut seen_starting = false;
    let starting = server.taxi(&["up"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the server reports that it is starting", || {
        let (runtime, _) = database.driver();
        let error = runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).err();
        seen_starting |=
            error.as_ref().and_then(|error| error.code()).is_some_and(|code| code.code() == "57P03");
        seen_starting || error.is_none()
    });
    if !seen_starting {
        skipped("the server started before the test could see it");
    }
    assert_eq!(json(&load_into(&url, source.to_str().unwrap()))["rows_inserted"], 3001);
    assert!({ starting }.wait().unwrap().success());
}

#[test]
fn the_environment_selects_among_hosts() {
    let database = Database::new("several_hosts");
    let source = testdata();
    let load = |variable: &str, value: &str, hosts: &str| {
        let url = database.url.replacen("@127.0.0.1:", &format!("@{hosts}127.0.0.1:"), 1);
        let mut load = database.load("yellow", 2021, 1, source.to_str().unwrap());
        load.arg("--force").env("DATABASE_URL", url).env(variable, value).output().unwrap()
    };
    json(&load("PGLOADBALANCEHOSTS", "random", "127.0.0.1:1,"));
    let error = refusal(&load("PGLOADBALANCEHOSTS", "often", ""), 78);
    assert!(error.contains("`load_balance_hosts`"), "{error}");
    json(&load("PGTARGETSESSIONATTRS", "read-write", "127.0.0.1:1,"));
    database.sql("ALTER DATABASE several_hosts SET default_transaction_read_only = on");
    refusal(&load("PGTARGETSESSIONATTRS", "read-write", ""), 69);
    database.sql("ALTER DATABASE several_hosts RESET default_transaction_read_only");
    let error = refusal(&load("PGSSLNEGOTIATION", "perhaps", ""), 78);
    assert!(error.contains("`sslnegotiation`"), "{error}");
}

#[test]
fn a_database_that_is_not_utf8_is_refused() {
    let admin = Database::new("latin1_admin");
    admin.sql("DROP DATABASE IF EXISTS latin1");
    admin.sql("CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let url = format!("{}/latin1", admin.url.rsplit_once('/').unwrap().0);
    let error = refusal(&load_into(&url, "testdata"), 78);
    assert!(error.contains("has the encoding LATIN1; taxi needs UTF8"), "{error}");
    admin.sql("DROP DATABASE latin1");
}

#[test]
fn passwords_in_urls_are_not_printed() {
    let database = Database::new("secret_addresses");
    for source in ["http://u:s3cret@127.0.0.1:99999", "http://u:s3cret@127.0.0.1:1", "http://u:s3cret@[::1"] {
        let output = load_into(&database.url, source);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !stderr.contains("s3cret"), "{stderr}");
    }
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs r WHERE r::text LIKE '%s3cret%'"), "0");
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs"), "1");
    let no_password = database.url.replacen(
        &database.url[database.url.rfind("taxi:").unwrap() + 4..database.url.find('@').unwrap()],
        "",
        1,
    );
    let error = refusal(&load_into(&no_password, "testdata"), 77);
    assert!(error.contains("no password was given"), "{error}");
}

#[test]
fn a_role_with_the_documented_minimum_rights_can_load() {
    let database = Database::new("little_rights");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    json(&database.load("green", 2020, 3, source).output().unwrap());
    database.sql("TRUNCATE yellow_tripdata, green_tripdata; DELETE FROM taxi_etl.runs");
    let docs = include_str!("../docs/configuration.md").split("### The least rights").nth(1).unwrap();
    database.sql(docs.split("```sql\n").nth(1).unwrap().split("```").next().unwrap());
    database.sql("ALTER ROLE loader PASSWORD 'loader'");
    let url = format!("postgresql://loader:loader@{}", database.url.split_once('@').unwrap().1);
    for (taxi, year, month) in [("yellow", 2021, 1), ("green", 2020, 3)] {
        let mut load = database.load(taxi, year, month, source);
        let loaded = json(&load.env("DATABASE_URL", &url).output().unwrap());
        assert_eq!(loaded["rows_inserted"], loaded["rows_read"]);
    }
    let run = json(&load_into(&url, source));
    assert_eq!(run["rows_matched"], 3001);
    let show = ["runs", "show", run["run_id"].as_str().unwrap(), "--output", "json", "--database-url", &url];
    assert_eq!(json(&taxi(show).output().unwrap())["status"], "succeeded");
    // an option that needs more rights fails before the load
    let mut with_rejects = database.reload("yellow", 2021, 1, source);
    let error =
        refusal(&with_rejects.args(["--max-rejects", "1"]).env("DATABASE_URL", &url).output().unwrap(), 77);
    assert!(error.contains("taxi_etl.rejects") && error.contains("prepare failed"), "{error}");

    // each of the rights is needed if there are rows to insert
    database.sql("DELETE FROM yellow_tripdata WHERE passenger_count = 1");
    for (right, expected) in [
        ("INSERT ON public.yellow_tripdata", "cannot merge into target table public.yellow_tripdata"),
        ("SELECT ON public.yellow_tripdata", "permission denied for table yellow_tripdata"),
        ("CREATE ON SCHEMA taxi_etl", "cannot create staging table"),
        ("USAGE ON SCHEMA taxi_etl", "cannot check or upgrade the ledger"),
        ("SELECT ON taxi_etl.runs", "taxi_etl.runs"),
        ("INSERT ON taxi_etl.runs", "cannot write the run into taxi_etl.runs"),
        ("UPDATE ON taxi_etl.runs", "taxi_etl.runs"),
        ("SELECT ON taxi_etl.ledger_version", "cannot check or upgrade the ledger"),
    ] {
        database.sql(&format!("REVOKE {right} FROM loader"));
        let error = refusal(&load_into(&url, source), 77);
        assert!(error.contains(expected) && error.contains("42501"), "without {right}: {error}");
        let doctor = taxi(["doctor", "--output", "json", "--source", source, "--database-url", &url]);
        let diagnosis = { doctor }.output().unwrap();
        assert_eq!(diagnosis.status.code(), Some(77), "the doctor does not report the missing right {right}");
        database.sql(&format!("GRANT {right} TO loader"));
    }
    database.sql("REASSIGN OWNED BY loader TO CURRENT_USER; DROP OWNED BY loader; DROP ROLE loader");
}

#[test]
fn a_target_with_row_security_is_loaded_within_its_policies() {
    let database = Database::new("row_security");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql(
        "TRUNCATE yellow_tripdata; DELETE FROM taxi_etl.runs; \
         CREATE ROLE policed LOGIN PASSWORD 'policed'; \
         GRANT ALL ON SCHEMA public, taxi_etl TO policed; \
         GRANT ALL ON ALL TABLES IN SCHEMA public, taxi_etl TO policed; \
         ALTER TABLE yellow_tripdata ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY all_rows ON yellow_tripdata USING (true) WITH CHECK (trip_distance < 1)",
    );
    let url = format!("postgresql://policed:policed@{}", database.url.split_once('@').unwrap().1);
    let error = refusal(&load_into(&url, source), 77);
    assert!(error.contains("row-level security policy"), "{error}");
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0");
    database.sql("ALTER POLICY all_rows ON yellow_tripdata WITH CHECK (true)");
    let loaded = json(&load_into(&url, source));
    assert_eq!((&loaded["rows_inserted"], &loaded["rows_read"]), (&3001.into(), &3001.into()));
    database.sql("DROP OWNED BY policed; DROP ROLE policed");
}
