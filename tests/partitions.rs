//! Each month becomes a partition. Rows of other months, of other loads and of users end up in the right
//! partition, and queries and dumps continue during a load.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_HEADER, yellow_csv};
use crate::support::targets::{COLUMNS, contents, partitions, plain, spawn, write_month, write_neighbours};
use crate::support::{Database, failure, json, refusal, skipped, testdata, wait_until};

#[test]
fn a_month_becomes_a_partition_and_out_of_period_rows_go_to_the_default_partition() {
    let database = Database::new("partitions");
    let source = testdata();
    json(&database.load("yellow", 2021, 1, source.to_str().unwrap()).output().unwrap());
    assert_eq!(partitions(&database), ["yellow_tripdata_2021_01 3000", "yellow_tripdata_default 1"]);
    let schemas = "SELECT string_agg(DISTINCT relnamespace::regnamespace::text, ' ') FROM pg_class \
                   WHERE relkind IN ('r', 'p') AND relname LIKE 'yellow%'";
    assert_eq!(database.value(schemas), "public public_partitions", "the partitions are in their own schema");
    let checks = "SELECT count(*) FROM pg_constraint WHERE conname = 'taxi_month'";
    assert_eq!(database.value(checks), "0", "the CHECK for the bounds is dropped");
    let defaults = "SELECT count(*) FROM pg_attrdef WHERE adrelid = 'public_partitions.yellow_tripdata_2021_01'::regclass";
    assert_eq!(database.value(defaults), "0", "the partition has no default for the filename");
}

#[test]
fn neighbouring_months_that_share_rows_give_the_same_result_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    write_neighbours(folder.path());
    let source = folder.path().to_str().unwrap();
    let load_in_order = |database: &Database, months: [u8; 2]| {
        for month in months {
            json(&database.load("yellow", 2021, month, source).output().unwrap());
        }
        contents(database)
    };
    let expected = load_in_order(&plain("neighbours_plain"), [1, 2]);
    assert_eq!(expected[0][..2], ["4080", "4080"]);
    let (forward, backward) = (Database::new("neighbours_forward"), Database::new("neighbours_backward"));
    assert_eq!(load_in_order(&forward, [1, 2]), expected);
    assert_eq!(load_in_order(&backward, [2, 1]), expected);
    for round in 0..5 {
        let database = Database::new("neighbours_at_once");
        let loads = [1, 2].map(|month| spawn(&mut database.load("yellow", 2021, month, source)));
        for load in loads {
            json(&load.wait_with_output().unwrap());
        }
        assert_eq!(contents(&database), expected, "round {round}");
        assert_eq!(partitions(&database)[2], "yellow_tripdata_default 0");
    }
}

#[test]
fn a_month_whose_rows_are_all_in_the_default_partition_moves_to_its_own_partition() {
    let database = Database::new("all_in_default");
    let folder = tempfile::tempdir().unwrap();
    let text = yellow_csv(10_000, "2021-01");
    write_month(folder.path(), "2021-01", &text);
    // the same rows, all of them out of period
    write_month(folder.path(), "2021-02", &text);
    let load = |month| {
        json(&database.load("yellow", 2021, month, folder.path().to_str().unwrap()).output().unwrap())
    };
    let out_of_period = load(2);
    assert_eq!(
        (&out_of_period["rows_inserted"], &out_of_period["rows_in_period"]),
        (&10_000.into(), &0.into())
    );
    assert_eq!(partitions(&database), ["yellow_tripdata_2021_02 0", "yellow_tripdata_default 10000"]);
    let before = contents(&database);
    let moved = load(1);
    assert_eq!((&moved["rows_inserted"], &moved["rows_matched"]), (&0.into(), &10_000.into()));
    assert_eq!(contents(&database), before);
    assert_eq!(partitions(&database)[0], "yellow_tripdata_2021_01 10000");
    assert_eq!(partitions(&database)[2], "yellow_tripdata_default 0");
    assert_eq!((load(1)["status"].clone(), load(2)["status"].clone()), ("skipped".into(), "skipped".into()));
}

#[test]
fn ten_thousand_rows_of_other_months_stay_in_the_default_partition() {
    let database = Database::new("large_default");
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path(), "2021-05", &yellow_csv(10_000, "2009-01"));
    // a few rows are of the month that is loaded next
    let few: String = yellow_csv(30, "2021-01").lines().skip(1).map(|line| format!("{line}\r\n")).collect();
    write_month(folder.path(), "2021-06", &format!("{YELLOW_HEADER}\r\n{few}"));
    write_month(folder.path(), "2021-01", &yellow_csv(3000, "2021-01"));
    let source = folder.path().to_str().unwrap();
    let load = |month| json(&database.load("yellow", 2021, month, source).output().unwrap());
    for month in [5, 6] {
        load(month);
    }
    let loaded = load(1);
    let row_count = database.value("SELECT count(*) FROM yellow_tripdata");
    assert_eq!(partitions(&database).last().unwrap(), "yellow_tripdata_default 10000");
    let matched = loaded["rows_matched"].as_u64().unwrap();
    assert_eq!(row_count, (13_030 - matched).to_string());
    assert_eq!(database.value("SELECT count(*) - count(DISTINCT unique_row_id) FROM yellow_tripdata"), "0");
}

#[test]
fn the_reference_flow_works_on_the_partitioned_table_and_a_load_moves_its_rows() {
    let (database, expected) = (Database::new("reference_first"), plain("reference_expected"));
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&expected.load("yellow", 2021, 1, source).output().unwrap());
    // taxi creates the table, and then it is emptied
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql("DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE yellow_tripdata, taxi_etl.runs CASCADE");
    let rows = expected.sql("SELECT yellow_tripdata::text FROM yellow_tripdata");
    assert_eq!(rows.len(), 3001);
    // the statements of the reference flow: its own staging table, then MERGE
    database.sql(&format!("CREATE TABLE yellow_tripdata_staging ({COLUMNS})"));
    for row in rows {
        database
            .sql(&format!("INSERT INTO yellow_tripdata_staging SELECT ('{}'::yellow_tripdata).*", row[0]));
    }
    let merge = "MERGE INTO public.yellow_tripdata AS T USING public.yellow_tripdata_staging AS S \
                 ON T.unique_row_id = S.unique_row_id WHEN NOT MATCHED THEN INSERT VALUES (S.*)";
    database.sql(merge);
    assert_eq!(partitions(&database), ["yellow_tripdata_default 3001"]);
    let loaded = json(&database.load("yellow", 2021, 1, source).output().unwrap());
    assert_eq!((&loaded["rows_inserted"], &loaded["rows_matched"]), (&0.into(), &3001.into()));
    assert_eq!(partitions(&database), ["yellow_tripdata_2021_01 3000", "yellow_tripdata_default 1"]);
    assert_eq!(contents(&database), contents(&expected));
    database.sql(merge);
    assert_eq!(
        contents(&database),
        contents(&expected),
        "the reference finds its rows in their new partition"
    );
}

#[test]
fn a_new_month_has_the_indexes_of_the_target() {
    let database = Database::new("indexed_months");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("green", 2020, 3, source).output().unwrap());
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql(
        "DROP TABLE public_partitions.yellow_tripdata_2021_01; \
         CREATE INDEX \"a \"\"strange\"\" name\" ON yellow_tripdata (pulocationid, (lower(vendorid))) \
             WHERE trip_distance > 1; \
         CREATE INDEX ON yellow_tripdata USING brin (tpep_dropoff_datetime)",
    );
    json(&database.reload("yellow", 2021, 1, source).output().unwrap());
    let attached = "SELECT count(*) FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid \
                    WHERE indrelid = 'public_partitions.yellow_tripdata_2021_01'::regclass";
    assert_eq!(database.value(attached), "2");
}

#[test]
fn attach_waits_for_a_long_query_without_blocking_others() {
    const MAX_WAIT: Duration = Duration::from_millis(2500);
    let database = Database::new("long_query");
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-02"] {
        write_month(folder.path(), name, &yellow_csv(2000, name));
    }
    let source = folder.path().to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    let before = contents(&database);
    // hold the lock of a long query or of pg_dump
    let reader = Database::connect(database.url.clone(), String::new());
    reader.sql("BEGIN; SELECT count(*) FROM yellow_tripdata");
    let assert_count_is_fast = || {
        let began = Instant::now();
        assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "2000");
        assert!(began.elapsed() < MAX_WAIT, "a query was blocked for {:?}", began.elapsed());
    };
    let mut load = spawn(database.load("yellow", 2021, 2, source).args(["--lock-timeout", "6s"]));
    while load.try_wait().unwrap().is_none() {
        assert_count_is_fast();
    }
    let timed_out = load.wait_with_output().unwrap();
    let stderr = refusal(&timed_out, 75);
    assert!(
        stderr.contains(
            "waiting for the default partition of public.yellow_tripdata, which is in use by process"
        ),
        "{stderr}"
    );
    assert!(stderr.contains("--lock-timeout") && failure(&timed_out)["retry"] == true, "{stderr}");
    assert_eq!(contents(&database), before);

    let mut load = spawn(&mut database.load("yellow", 2021, 2, source));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%ATTACH PARTITION%' AND wait_event_type = 'Lock' \
                   AND datname = current_database()";
    wait_until("the load waits", || database.value(waiting) != "0");
    assert_count_is_fast();
    assert!(load.try_wait().unwrap().is_none());
    reader.sql("COMMIT");
    assert_eq!(json(&load.wait_with_output().unwrap())["rows_inserted"], 2000);
}

#[test]
fn a_streaming_load_holds_no_lock_on_the_default_partition() {
    let database = Database::new("no_lock");
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-02"] {
        write_month(folder.path(), name, &yellow_csv(20_000, name));
    }
    let source = folder.path().to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    // if any table has a trigger, the server reads the triggers of the partitions
    database.sql(
        "CREATE TABLE unrelated (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER t BEFORE INSERT ON unrelated FOR EACH ROW EXECUTE FUNCTION f()",
    );
    let body = std::fs::read(folder.path().join("yellow/yellow_tripdata_2021-02.csv.gz")).unwrap();
    let site = Server::new(move |_| Reply::ok(body.clone()).at_most(body.len() as u64 / 600));
    let mut load = spawn(&mut database.load("yellow", 2021, 2, &site.address));
    let streaming = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%COPY \"public_partitions\"%' \
                     AND datname = current_database() AND pid <> pg_backend_pid()";
    wait_until("the load streams", || database.value(streaming) != "0");
    let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'public_partitions.yellow_tripdata_default'::regclass";
    assert_eq!(database.value(locks), "0");
    load.kill().unwrap();
    load.wait().unwrap();
}

#[test]
fn a_table_with_the_name_of_the_partition_is_not_changed() {
    let database = Database::new("detached");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql("ALTER TABLE yellow_tripdata DETACH PARTITION public_partitions.yellow_tripdata_2021_01");
    let stderr = refusal(&database.load("yellow", 2021, 1, source).output().unwrap(), 78);
    assert!(
        stderr.contains("public_partitions.yellow_tripdata_2021_01 already exists and is not a partition"),
        "{stderr}"
    );
    assert_eq!(database.value("SELECT count(*) FROM public_partitions.yellow_tripdata_2021_01"), "3000");
}

#[test]
fn loads_continue_on_a_table_restored_from_pg_dump() {
    let version = "SELECT current_setting('server_version_num')::int / 10000";
    let database = Database::new("dumped");
    let bin = format!("/usr/lib/postgresql/{}/bin", database.value(version));
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    if !Command::new("pg_dump")
        .arg("--version")
        .env("PATH", &path)
        .output()
        .is_ok_and(|out| out.status.success())
    {
        return skipped("pg_dump is not installed");
    }
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    let restored = Database::new("restored");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump");
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).arg(&file).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run("pg_dump", &["-Fc", "-d", &database.url, "-f"]);
    run("pg_restore", &["-d", &restored.url]);
    assert_eq!(contents(&restored), contents(&database));
    let status = |month| -> Value {
        json(&restored.load("yellow", 2021, month, source).output().unwrap())["status"].clone()
    };
    assert_eq!(status(1), "skipped");
    restored.sql("DROP TABLE public_partitions.yellow_tripdata_2021_01");
    assert_eq!(status(1), "loaded");
    assert_eq!(contents(&restored), contents(&database));
}
