//! Whatever the target is, it ends with the rows of the reference: each month a partition, a plain table, partitioned in
//! another way, of another owner, with triggers, rules, indexes, and while others use it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_HEADER, YELLOW_ROW, gzip, write, yellow_csv};
use crate::support::{Database, failure, json, refusal, skipped, testdata, wait_until};

const COLUMNS: &str = "unique_row_id text, filename text, vendorid text, tpep_pickup_datetime timestamp, \
    tpep_dropoff_datetime timestamp, passenger_count integer, trip_distance double precision, ratecodeid text, \
    store_and_fwd_flag text, pulocationid text, dolocationid text, payment_type integer, fare_amount double precision, \
    extra double precision, mta_tax double precision, tip_amount double precision, tolls_amount double precision, \
    improvement_surcharge double precision, total_amount double precision, congestion_surcharge double precision";

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn write_month(folder: &Path, name: &str, text: &str) {
    write(folder, "yellow", name, &gzip(text.as_bytes()));
}

/// All rows of the target; a row that several files have may be under the name of any.
fn contents(database: &Database) -> Vec<Vec<String>> {
    database.sql(
        "SELECT count(*), count(DISTINCT unique_row_id), md5(string_agg(row, '' ORDER BY row)) \
         FROM (SELECT unique_row_id, (to_jsonb(t) - 'filename')::text AS row FROM yellow_tripdata t) AS rows",
    )
}

/// How many rows each partition holds.
fn partitions(database: &Database) -> Vec<String> {
    let query = "SELECT relname || ' ' || count(t) FROM pg_inherits \
                 JOIN pg_class ON pg_class.oid = inhrelid LEFT JOIN yellow_tripdata t ON t.tableoid = inhrelid \
                 WHERE inhparent = 'yellow_tripdata'::regclass GROUP BY relname ORDER BY relname";
    database.sql(query).into_iter().map(|mut row| row.remove(0)).collect()
}

/// The same database with a plain target, as the reference flow creates it.
fn plain(name: &str) -> Database {
    let database = Database::new(name);
    database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS})"));
    database
}

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

/// Two neighbours whose files hold rows of each other, and some rows that both files have.
fn write_neighbours(folder: &Path) {
    let at = |date: &str, location: u32| {
        YELLOW_ROW.replace("2021-01-01", date).replace(",142,", &format!(",{location},"))
    };
    for (name, other) in [("2021-01", "2021-02"), ("2021-02", "2021-01")] {
        let mut text = yellow_csv(2000, name);
        for day in 1..=20 {
            // of the neighbour's month, in both files; and in this file alone
            text += &format!("{}\r\n", at(&format!("{other}-{day:02}"), 1));
            text += &format!("{}\r\n", at(&format!("{name}-{day:02}"), 1));
            text += &format!("{}\r\n", at(&format!("{other}-{day:02}"), 2 + u32::from(name < other)));
        }
        write_month(folder, name, &text);
    }
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
fn targets_of_every_shape_end_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_neighbours(folder.path());
    let source = folder.path().to_str().unwrap();
    let expected = {
        let database = Database::new("shape_months");
        for month in [1, 2, 1] {
            json(&database.reload("yellow", 2021, month, source).output().unwrap());
        }
        contents(&database)
    };
    let by_file = "PARTITION BY LIST (filename); CREATE TABLE a PARTITION OF yellow_tripdata \
                   FOR VALUES IN ('yellow_tripdata_2021-01.csv'); CREATE TABLE b PARTITION OF yellow_tripdata DEFAULT";
    let by_year = "PARTITION BY RANGE (tpep_pickup_datetime); \
                   CREATE TABLE y PARTITION OF yellow_tripdata FOR VALUES FROM ('2021-01-01') TO ('2022-01-01'); \
                   CREATE TABLE e PARTITION OF yellow_tripdata FOR VALUES FROM (MINVALUE) TO ('2021-01-01')";
    let by_month = "PARTITION BY RANGE (tpep_pickup_datetime)";
    let indexed = "; CREATE INDEX ON yellow_tripdata USING brin (tpep_pickup_datetime)";
    for (shape, table) in [
        ("plain", ""),
        ("by_file", by_file),
        ("by_year", by_year),
        ("by_month", by_month),
        ("indexed", indexed),
    ] {
        let database = Database::new(&format!("shape_{shape}"));
        database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS}) {table}"));
        // without a default partition, a row of a month that has none is refused by name
        let first = database.load("yellow", 2021, 1, source).output().unwrap();
        if shape == "by_month" {
            let said = refusal(&first, 78);
            assert!(said.contains("needs a default partition"), "{said}");
            database.sql("CREATE TABLE d PARTITION OF yellow_tripdata DEFAULT");
            json(&database.load("yellow", 2021, 1, source).output().unwrap());
            assert!(
                database.sql("SELECT FROM pg_tables WHERE tablename = 'yellow_tripdata_2021_01'").len() == 1
            );
        } else {
            json(&first);
        }
        for month in [2, 1] {
            json(&database.reload("yellow", 2021, month, source).output().unwrap());
        }
        assert_eq!(contents(&database), expected, "{shape}");
    }
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
fn maintenance_of_the_table_does_not_keep_a_merge_waiting() {
    let database = plain("maintained");
    let source = testdata();
    let other = Database::connect(database.url.clone(), String::new());
    // what VACUUM, ANALYZE and CREATE INDEX CONCURRENTLY hold
    other.sql("BEGIN; LOCK TABLE yellow_tripdata IN SHARE UPDATE EXCLUSIVE MODE");
    let load = |how: &str| {
        let mut command = database.load("yellow", 2021, 1, source.to_str().unwrap());
        json(&command.args(["--lock-timeout", "1s", "--force", "--if-loaded", how]).output().unwrap())
    };
    assert_eq!(load("merge")["rows_inserted"], 3001);
    assert_eq!(load("merge")["rows_matched"], 3001);
    assert_eq!(load("replace")["rows_deleted"], 3001);
}

#[test]
fn rows_whose_times_were_changed_are_matched_by_their_keys() {
    let shifted =
        "UPDATE yellow_tripdata SET tpep_pickup_datetime = tpep_pickup_datetime + interval '4 hours'";
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    write_neighbours(folder.path());
    for (name, database) in [("months", Database::new("shifted_months")), ("plain", plain("shifted_plain"))] {
        let load = |month| json(&database.load("yellow", 2021, month, source).output().unwrap());
        for month in [1, 2] {
            load(month);
        }
        database.sql(shifted);
        for month in [1, 2] {
            let again = json(&database.reload("yellow", 2021, month, source).output().unwrap());
            assert_eq!(again["rows_inserted"], 0, "{name}, month {month}");
        }
        // also where the ledger alone knows that the file was loaded: its rows in the month are fewer now
        let again = load(1);
        assert_eq!(again["rows_inserted"], 0, "{name}");
        // and where the month's partition is gone, with its rows among those of another
        if name == "months" {
            database.sql(
                "CREATE TABLE moved AS SELECT * FROM public_partitions.yellow_tripdata_2021_01; \
                 DROP TABLE public_partitions.yellow_tripdata_2021_01; \
                 INSERT INTO yellow_tripdata SELECT * FROM moved; \
                 UPDATE yellow_tripdata SET tpep_pickup_datetime = '2010-01-01' \
                 WHERE filename LIKE '%01.csv' AND pulocationid = '43'",
            );
            assert_eq!(load(1)["rows_inserted"], 0, "from the default partition");
        }
        let doubled = "SELECT count(*) - count(DISTINCT unique_row_id) FROM yellow_tripdata";
        assert_eq!(database.value(doubled), "0", "{name}");
    }
}

#[test]
fn a_trigger_that_shifts_times_applies_and_its_rows_are_found_again() {
    let database = Database::new("shifting_trigger");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql(
        "DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE yellow_tripdata, taxi_etl.runs CASCADE; \
         CREATE FUNCTION shift() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             NEW.tpep_pickup_datetime := NEW.tpep_pickup_datetime + interval '40 days'; RETURN NEW; END $$; \
         CREATE TABLE yellow_old (LIKE yellow_tripdata); DROP TABLE yellow_tripdata; \
         ALTER TABLE yellow_old RENAME TO yellow_tripdata; \
         CREATE TRIGGER local_time BEFORE INSERT ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION shift()",
    );
    let output = database.load("yellow", 2021, 1, source).output().unwrap();
    assert_eq!(json(&output)["rows_inserted"], 3001);
    let earliest = "SELECT min(tpep_pickup_datetime) >= '2021-02-01' FROM yellow_tripdata WHERE tpep_pickup_datetime > '2010-01-01'";
    assert_eq!(database.value(earliest), "t", "the trigger applied");
    assert_eq!(json(&database.reload("yellow", 2021, 1, source).output().unwrap())["rows_matched"], 3001);
}

#[test]
fn triggers_and_rules_that_drop_rows_are_named() {
    let database = Database::new("dropping_triggers");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("green", 2020, 3, source).output().unwrap());
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql("DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE yellow_tripdata");
    let refused = |sql: &str, said: &[&str]| {
        database.sql(sql);
        let output = database.load("yellow", 2021, 1, source).output().unwrap();
        let error = refusal(&output, 78);
        said.iter().for_each(|part| assert!(error.contains(part), "no {part:?} in {error}"));
        assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0");
    };
    refused(
        "CREATE FUNCTION drop_some() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.passenger_count = 3 THEN RETURN NULL; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER only_three BEFORE INSERT ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION drop_some()",
        &["were dropped by one of its triggers: only_three", "the triggers only_three must see the rows"],
    );
    database.sql("ALTER TABLE yellow_tripdata DISABLE TRIGGER only_three");
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER keeps BEFORE DELETE ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION keep()",
    );
    let mut replace = database.reload("yellow", 2021, 1, source);
    let said = refusal(&replace.args(["--if-loaded", "replace"]).output().unwrap(), 78);
    assert!(
        said.contains("were not deleted from public.yellow_tripdata, which has triggers: keeps"),
        "{said}"
    );
    database.sql(
        "DROP TRIGGER keeps ON yellow_tripdata; DROP TABLE public_partitions.yellow_tripdata_2021_01; \
         TRUNCATE yellow_tripdata, taxi_etl.runs CASCADE",
    );
    refused(
        "DROP TRIGGER only_three ON yellow_tripdata; \
         CREATE RULE nothing AS ON INSERT TO yellow_tripdata DO INSTEAD NOTHING",
        &["table public.yellow_tripdata has rules", "nothing"],
    );
    database.sql("DROP RULE nothing ON yellow_tripdata");
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    assert_eq!(partitions(&database), ["yellow_tripdata_2021_01 3000", "yellow_tripdata_default 1"]);
}

#[test]
fn a_member_of_the_owning_role_attaches_and_others_merge() {
    let database = Database::new("owners");
    let source = testdata();
    let source = source.to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql(
        "DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE yellow_tripdata, taxi_etl.runs CASCADE; \
         CREATE ROLE table_owner; CREATE ROLE table_member LOGIN PASSWORD 'x' IN ROLE table_owner; \
         CREATE ROLE table_stranger LOGIN PASSWORD 'x'; \
         ALTER TABLE yellow_tripdata OWNER TO table_owner; ALTER SCHEMA public_partitions OWNER TO table_owner; \
         ALTER TABLE public_partitions.yellow_tripdata_default OWNER TO table_owner; \
         GRANT SELECT, INSERT ON yellow_tripdata TO table_stranger; \
         GRANT USAGE, CREATE ON SCHEMA taxi_etl TO table_member, table_stranger; \
         GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA taxi_etl TO table_member, table_stranger",
    );
    let load = |role: &str, how: &str| {
        let url = format!("postgresql://{role}:x@{}", database.url.split_once('@').unwrap().1);
        let mut command = database.reload("yellow", 2021, 1, source);
        let output = command.args(["--if-loaded", how]).env("DATABASE_URL", url).output().unwrap();
        (json(&output), String::from_utf8(output.stderr).unwrap())
    };
    let (loaded, said) = load("table_stranger", "merge");
    assert_eq!(loaded["rows_inserted"], 3001);
    assert!(said.contains("only the owner, table_owner, can attach partitions"), "{said}");
    assert_eq!(partitions(&database), ["yellow_tripdata_default 3001"]);
    let (loaded, _) = load("table_member", "merge");
    assert_eq!(loaded["rows_matched"], 3001);
    assert_eq!(partitions(&database), ["yellow_tripdata_2021_01 3000", "yellow_tripdata_default 1"]);
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'yellow_tripdata_2021_01'";
    assert_eq!(database.value(owner), "table_owner", "so that the owner can alter both");
    assert_eq!(load("table_member", "replace").0["rows_deleted"], 3001);
    database.sql(
        "REASSIGN OWNED BY table_owner, table_member TO CURRENT_USER; DROP OWNED BY table_owner, table_member, table_stranger; \
         DROP ROLE table_member, table_stranger, table_owner",
    );
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
fn where_moved_rows_would_be_missed_a_new_month_is_merged() {
    let folder = tempfile::tempdir().unwrap();
    write_neighbours(folder.path());
    let source = folder.path().to_str().unwrap();
    let loaded = |name: &str, sql: &str| {
        let database = Database::new(name);
        json(&database.load("yellow", 2021, 2, source).output().unwrap());
        database.sql(sql);
        let output = database.load("yellow", 2021, 1, source).output().unwrap();
        json(&output);
        assert!(!partitions(&database).iter().any(|partition| partition.contains("2021_01")), "{name}");
        let rows =
            database.value("SELECT count(*) || ' ' || count(DISTINCT unique_row_id) FROM yellow_tripdata");
        assert_eq!(rows, "4080 4080", "{name}");
        (database, String::from_utf8(output.stderr).unwrap())
    };
    let (database, said) = loaded(
        "referred_to",
        "ALTER TABLE yellow_tripdata ADD PRIMARY KEY (unique_row_id, tpep_pickup_datetime); \
         CREATE TABLE notes (id text, at timestamp, \
             FOREIGN KEY (id, at) REFERENCES yellow_tripdata ON DELETE CASCADE); \
         INSERT INTO notes SELECT unique_row_id, tpep_pickup_datetime FROM yellow_tripdata \
             WHERE tpep_pickup_datetime < '2021-02-01'",
    );
    assert!(said.contains("foreign keys of notes refer to the table"), "{said}");
    assert_eq!(database.value("SELECT count(*) FROM notes"), "40");
    let publication =
        "CREATE PUBLICATION p FOR TABLE yellow_tripdata WITH (publish_via_partition_root = true)";
    assert!(loaded("published", publication).1.contains("the publications p publish its rows via the table"));
}

#[test]
fn a_changed_file_that_matches_nothing_is_counted_with_the_rows_that_were_there() {
    let database = Database::new("changed_wholly");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    write_month(folder.path(), "2021-01", &yellow_csv(2000, "2021-01"));
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    write_month(folder.path(), "2021-01", &yellow_csv(1000, "2021-01").replace(".5,3,", ".25,3,"));
    let changed = json(&database.load("yellow", 2021, 1, source).output().unwrap());
    assert_eq!((&changed["rows_inserted"], &changed["rows_in_period"]), (&1000.into(), &3000.into()));
    // a generated column, and one that only a trigger fills
    database.sql(
        "ALTER TABLE yellow_tripdata ADD twice float8 GENERATED ALWAYS AS (coalesce(fare_amount, 0) * 2) STORED NOT NULL",
    );
    write_month(folder.path(), "2021-01", &yellow_csv(3000, "2021-01"));
    assert_eq!(json(&database.load("yellow", 2021, 1, source).output().unwrap())["rows_inserted"], 1000);
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
