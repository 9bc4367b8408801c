//! Servers as other people set them up: timeouts, functions of other roles, publications, read-only databases,
//! triggers that raise errors, a ledger with values that taxi never writes.

use crate::support::http::{Reply, Server};
use std::process::Command;

use crate::support::{Database, TAXI, is_root, json, open_tempdir, refusal, skipped, taxi, testdata};

/// Loads the test data, and returns the summary.
fn load(database: &Database) -> serde_json::Value {
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap())
}

#[test]
fn timeouts_of_the_database_do_not_end_a_load() {
    let database = Database::new("timeouts");
    for setting in
        ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
    {
        database.sql(&format!("ALTER DATABASE timeouts SET {setting} = '700ms'"));
    }
    let file = std::fs::read(testdata().join("yellow/yellow_tripdata_2021-01.csv.gz")).unwrap();
    let rate = file.len() as u64 / 3;
    let slow = Server::new(move |_| Reply::ok(file.clone()).at_most(rate));
    let loaded = json(&database.load("yellow", 2021, 1, &slow.address).output().unwrap());
    assert_eq!(loaded["rows_inserted"], 3001);
}

#[test]
fn functions_and_operators_of_other_roles_are_never_called() {
    let database = Database::new("hijack");
    database.sql(
        "GRANT CREATE ON SCHEMA public TO PUBLIC; \
         CREATE TABLE caught (what text); GRANT INSERT ON caught TO PUBLIC; \
         DROP ROLE IF EXISTS hijacker; CREATE ROLE hijacker; SET ROLE hijacker; \
         CREATE FUNCTION public.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO public.caught VALUES ('hashtextextended'); RETURN 1; END $$; \
         CREATE FUNCTION public.times(numeric, integer) RETURNS numeric LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO public.caught VALUES ('*'); RETURN 1; END $$; \
         CREATE OPERATOR public.* (FUNCTION = public.times, LEFTARG = numeric, RIGHTARG = integer); \
         CREATE FUNCTION public.same(text, varchar) RETURNS boolean LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO public.caught VALUES ('='); RETURN true; END $$; \
         CREATE OPERATOR public.= (FUNCTION = public.same, LEFTARG = text, RIGHTARG = varchar); \
         RESET ROLE",
    );
    load(&database);
    json(&database.reload("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    let source = testdata();
    for (command, code) in [
        (&["runs"][..], 0),
        // the test data is a part of the published month
        (&["verify", "--taxi", "yellow", "--year", "2021", "--month", "1"], 67),
        (&["doctor", "--taxi", "yellow", "--source", source.to_str().unwrap()], 0),
    ] {
        let output = taxi(command).env("DATABASE_URL", &database.url).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
    }
    assert_eq!(database.value("SELECT count(*) FROM caught"), "0");
    database.sql("DROP OWNED BY hijacker CASCADE; DROP ROLE hijacker");
}

#[test]
fn a_publication_of_all_tables_does_not_prevent_a_load() {
    let database = Database::new("published_everything");
    database.sql("CREATE PUBLICATION everything FOR ALL TABLES");
    assert_eq!(load(&database)["rows_inserted"], 3001);
    let source = testdata();
    let replaced = database
        .reload("yellow", 2021, 1, source.to_str().unwrap())
        .args(["--if-loaded", "replace"])
        .output()
        .unwrap();
    assert_eq!(json(&replaced)["rows_deleted"], 3001);
    let without_key = "SELECT count(*) FROM pg_class WHERE relnamespace = 'taxi_etl'::regnamespace AND relkind = 'r' \
                       AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'p')";
    assert_eq!(database.value(without_key), "0", "every table of the ledger has a primary key");

    // a ledger as version 5 made it
    database.sql(
        "UPDATE taxi_etl.ledger_version SET version = 5; \
         ALTER TABLE taxi_etl.ledger_version DROP CONSTRAINT ledger_version_pkey; \
         ALTER TABLE taxi_etl.rejects DROP COLUMN reject_id; \
         ALTER TABLE taxi_etl.runs DROP COLUMN dropped_at, DROP COLUMN replay_of, DROP COLUMN trigger, \
             DROP COLUMN hidden_inputs, DROP COLUMN new_columns; \
         DROP TABLE taxi_etl.key_values; \
         UPDATE taxi_etl.runs SET target_table = 'yellow_tripdata'",
    );
    assert_eq!(load(&database)["status"], "skipped", "the upgraded ledger still knows the file");
    assert_eq!(database.value(without_key), "0", "the upgrade adds the keys");
}

#[test]
fn a_pooler_in_transaction_mode_is_refused() {
    let database = Database::new("pooled");
    let mut load = database.load("yellow", 2021, 1, testdata().to_str().unwrap());
    load.env("DATABASE_URL", format!("{}?pgbouncer=true", database.url));
    assert!(refusal(&load.output().unwrap(), 78).contains("session mode"));
}

#[test]
fn a_read_only_database_is_named_as_such() {
    let database = Database::new("read_only");
    database.sql("ALTER DATABASE read_only SET default_transaction_read_only = on");
    let error =
        refusal(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap(), 78);
    assert!(error.contains("read-only") && error.contains("default_transaction_read_only"), "{error}");
    assert!(!error.contains("owns the database"), "{error}");
}

#[test]
fn an_exception_of_a_trigger_is_reported_with_its_text() {
    let database = Database::new("raising");
    load(&database);
    database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no trips on Sundays'; END $$; \
         DELETE FROM yellow_tripdata; \
         CREATE TRIGGER refuse BEFORE INSERT ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let again = database.reload("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap();
    let error = refusal(&again, 65);
    assert!(error.contains("no trips on Sundays") && error.contains("refuse()"), "{error}");
}

#[test]
fn a_value_that_taxi_never_writes_is_an_error_of_the_ledger() {
    let database = Database::new("infinite");
    load(&database);
    database.sql("UPDATE taxi_etl.runs SET started_at = 'infinity'");
    let error = refusal(&taxi(["runs"]).env("DATABASE_URL", &database.url).output().unwrap(), 65);
    assert!(error.contains("cannot read the column started_at of taxi_etl.runs"), "{error}");
}

#[test]
fn a_damaged_ledger_is_reported_with_what_is_wrong_with_which_table() {
    let database = Database::new("damaged_ledger");
    load(&database);
    let source = testdata();
    let source = source.to_str().unwrap();
    let version = "UPDATE taxi_etl.ledger_version SET version =";
    for (damage, expected, repair) in [
        (
            "DELETE FROM taxi_etl.ledger_version",
            "taxi_etl.ledger_version has 0 rows; expected one row",
            "INSERT INTO taxi_etl.ledger_version VALUES (7)",
        ),
        (
            "INSERT INTO taxi_etl.ledger_version VALUES (8)",
            "taxi_etl.ledger_version has 2 rows; expected one row",
            "DELETE FROM taxi_etl.ledger_version WHERE version = 8",
        ),
        (
            &format!("{version} 1"),
            "taxi_etl.ledger_version contains the version 1, which has no such table",
            &format!("{version} 7"),
        ),
        (
            &format!("{version} -3"),
            "taxi_etl.ledger_version contains the version -3",
            &format!("{version} 7"),
        ),
        (
            &format!("{version} 2"),
            "the tables do not have the version 2 that taxi_etl.ledger_version contains",
            &format!("{version} 7"),
        ),
        (
            "ALTER TABLE taxi_etl.ledger_version ALTER version TYPE text",
            "cannot read the version in taxi_etl.ledger_version",
            "ALTER TABLE taxi_etl.ledger_version ALTER version TYPE integer USING version::integer",
        ),
        (
            "DROP TABLE taxi_etl.runs CASCADE",
            "the table taxi_etl.runs is missing, but taxi_etl.ledger_version exists",
            "",
        ),
    ] {
        database.sql(damage);
        let load = database.load("yellow", 2021, 1, source).output().unwrap();
        let runs = taxi(["runs"]).env("DATABASE_URL", &database.url).output().unwrap();
        for output in [load, runs] {
            let error = refusal(&output, 78);
            assert!(error.contains("the ledger is damaged") && error.contains(expected), "{damage}: {error}");
            assert!(error.contains("restore the schema taxi_etl from a backup"), "{damage}: {error}");
        }
        let doctor =
            taxi(["doctor", "--source", source]).env("DATABASE_URL", &database.url).output().unwrap();
        let text = String::from_utf8(doctor.stdout).unwrap();
        // the doctor does not try the upgrade
        let is_found = text.contains(expected) || expected.starts_with("the tables do not have");
        assert!(is_found, "{damage}: {text}");
        database.sql(repair);
    }
    // what the hint says
    database.sql("ALTER SCHEMA taxi_etl RENAME TO taxi_etl_damaged");
    assert_eq!(load(&database)["rows_matched"], 3001);
}

#[test]
fn a_panic_ends_with_a_documented_exit_code() {
    use std::os::unix::process::CommandExt as _;
    if !is_root() {
        return skipped("only root can start a process of another user");
    }
    let folder = open_tempdir();
    let program = folder.path().join("taxi");
    std::fs::copy(TAXI, &program).unwrap();
    if Command::new("prlimit").arg("--version").output().is_err() {
        return skipped("prlimit is not installed");
    }
    // a user that may have one process, and no further thread
    let mut command = Command::new("prlimit");
    command.args(["--nproc=1", "--"]).arg(&program).arg("status").current_dir("/");
    let output = command.uid(54_321).gid(54_321).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(70), "{stderr}");
    assert!(stderr.contains("panicked at"), "{stderr}");
}
