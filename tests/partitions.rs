//! Each month becomes a partition: rows of other months, of other loads and of users end where they belong, and queries and
//! dumps go on meanwhile.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_HEADER, yellow_csv};
use crate::support::targets::{COLUMNS, contents, partitions, plain, spawn, write_month, write_neighbours};
use crate::support::{Database, failure, json, refusal, skipped, testdata, wait_until};
#[test]
fn a_month_becomes_a_partition_and_rows_outside_of_it_go_to_the_default() {
    let database = Database::new("partitions");
    let source = testdata();
    json(&database.load("yellow", 2021, 1, source.to_str().unwrap()).output().unwrap());
    assert_eq!(partitions(&database), ["yellow_tripdata_2021_01 3000", "yellow_tripdata_default 1"]);
    let schemas = "SELECT string_agg(DISTINCT relnamespace::regnamespace::text, ' ') FROM pg_class \
                   WHERE relkind IN ('r', 'p') AND relname LIKE 'yellow%'";
    assert_eq!(database.value(schemas), "public public_partitions", "people look at the table alone");
    let left = "SELECT count(*) FROM pg_constraint WHERE conname = 'taxi_month'";
    assert_eq!(database.value(left), "0", "the proof of the bounds is dropped");
    let default = "SELECT count(*) FROM pg_attrdef WHERE adrelid = 'public_partitions.yellow_tripdata_2021_01'::regclass";
    assert_eq!(database.value(default), "0", "the file's name is no default of the partition");
}

#[test]
fn neighbouring_months_with_rows_of_each_other_end_the_same_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    write_neighbours(folder.path());
    let source = folder.path().to_str().unwrap();
    let in_order = |database: &Database, months: [u8; 2]| {
        for month in months {
            json(&database.load("yellow", 2021, month, source).output().unwrap());
        }
        contents(database)
    };
    let expected = in_order(&plain("neighbours_plain"), [1, 2]);
    assert_eq!(expected[0][..2], ["4080", "4080"]);
    let (forward, backward) = (Database::new("neighbours_forward"), Database::new("neighbours_backward"));
    assert_eq!(in_order(&forward, [1, 2]), expected);
    assert_eq!(in_order(&backward, [2, 1]), expected);
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
fn a_month_whose_rows_are_all_in_the_default_partition_moves_out_of_it() {
    let database = Database::new("all_in_default");
    let folder = tempfile::tempdir().unwrap();
    let text = yellow_csv(10_000, "2021-01");
    write_month(folder.path(), "2021-01", &text);
    // the same rows, all outside of their file's month
    write_month(folder.path(), "2021-02", &text);
    let load = |month| {
        json(&database.load("yellow", 2021, month, folder.path().to_str().unwrap()).output().unwrap())
    };
    let outside = load(2);
    assert_eq!((&outside["rows_inserted"], &outside["rows_in_period"]), (&10_000.into(), &0.into()));
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
fn ten_thousand_rows_of_other_times_in_the_default_partition_stay_there() {
    let database = Database::new("large_default");
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path(), "2021-05", &yellow_csv(10_000, "2009-01"));
    // of which a few are of the month to come
    let few: String = yellow_csv(30, "2021-01").lines().skip(1).map(|line| format!("{line}\r\n")).collect();
    write_month(folder.path(), "2021-06", &format!("{YELLOW_HEADER}\r\n{few}"));
    write_month(folder.path(), "2021-01", &yellow_csv(3000, "2021-01"));
    let source = folder.path().to_str().unwrap();
    let load = |month| json(&database.load("yellow", 2021, month, source).output().unwrap());
    for month in [5, 6] {
        load(month);
    }
    let loaded = load(1);
    let held = database.value("SELECT count(*) FROM yellow_tripdata");
    assert_eq!(partitions(&database).last().unwrap(), "yellow_tripdata_default 10000");
    let matched = loaded["rows_matched"].as_u64().unwrap();
    assert_eq!(held, (13_030 - matched).to_string());
    assert_eq!(database.value("SELECT count(*) - count(DISTINCT unique_row_id) FROM yellow_tripdata"), "0");
}

#[test]
fn the_reference_flow_works_on_the_partitioned_table_and_a_load_moves_its_rows() {
    let (database, expected) = (Database::new("reference_first"), plain("reference_expected"));
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&expected.load("yellow", 2021, 1, source).output().unwrap());
    // the table, made by taxi and empty
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql("DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE yellow_tripdata, taxi_etl.runs CASCADE");
    let rows = expected.sql("SELECT yellow_tripdata::text FROM yellow_tripdata");
    assert_eq!(rows.len(), 3001);
    // the reference's statements: a staging table of its own, then MERGE
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
    assert_eq!(contents(&database), contents(&expected), "the reference finds its rows where they are now");
}

#[test]
fn indexes_of_the_target_are_those_of_a_new_month() {
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
fn attach_waits_for_a_long_query_without_holding_up_others() {
    const AT_MOST: Duration = Duration::from_millis(2500);
    let database = Database::new("long_query");
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-02"] {
        write_month(folder.path(), name, &yellow_csv(2000, name));
    }
    let source = folder.path().to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    let before = contents(&database);
    // as a query of minutes or pg_dump holds its tables
    let reader = Database::connect(database.url.clone(), String::new());
    reader.sql("BEGIN; SELECT count(*) FROM yellow_tripdata");
    let count_at_most = || {
        let began = Instant::now();
        assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "2000");
        assert!(began.elapsed() < AT_MOST, "a query was held up for {:?}", began.elapsed());
    };
    let mut load = spawn(database.load("yellow", 2021, 2, source).args(["--lock-timeout", "6s"]));
    while load.try_wait().unwrap().is_none() {
        count_at_most();
    }
    let given_up = load.wait_with_output().unwrap();
    let said = refusal(&given_up, 75);
    assert!(
        said.contains("waiting for the default partition of public.yellow_tripdata, in use by process"),
        "{said}"
    );
    assert!(said.contains("--lock-timeout") && failure(&given_up)["retry"] == true, "{said}");
    assert_eq!(contents(&database), before);

    let mut load = spawn(&mut database.load("yellow", 2021, 2, source));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%ATTACH PARTITION%' AND wait_event_type = 'Lock' \
                   AND datname = current_database()";
    wait_until("the load waits", || database.value(waiting) != "0");
    count_at_most();
    assert!(load.try_wait().unwrap().is_none());
    reader.sql("COMMIT");
    assert_eq!(json(&load.wait_with_output().unwrap())["rows_inserted"], 2000);
}

#[test]
fn a_load_that_streams_holds_no_lock_on_the_default_partition() {
    let database = Database::new("no_lock");
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-02"] {
        write_month(folder.path(), name, &yellow_csv(20_000, name));
    }
    let source = folder.path().to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    // a trigger somewhere makes the server look for those of the partitions
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
fn a_table_of_the_partitions_name_is_not_touched() {
    let database = Database::new("detached");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql("ALTER TABLE yellow_tripdata DETACH PARTITION public_partitions.yellow_tripdata_2021_01");
    let said = refusal(&database.load("yellow", 2021, 1, source).output().unwrap(), 78);
    assert!(
        said.contains("public_partitions.yellow_tripdata_2021_01 exists and is not a partition"),
        "{said}"
    );
    assert_eq!(database.value("SELECT count(*) FROM public_partitions.yellow_tripdata_2021_01"), "3000");
}

#[test]
fn pg_dump_restores_a_table_that_loads_go_on_with() {
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
        return skipped("there is no pg_dump");
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
