//! Every kind of target ends up with the rows of the reference: plain tables, tables with other partitions,
//! other owners, triggers, rules, foreign keys or publications.

use crate::support::month::yellow_csv;
use crate::support::targets::{COLUMNS, contents, partitions, plain, write_month, write_neighbours};
use crate::support::{Database, json, refusal, testdata};

#[test]
fn targets_of_every_shape_end_up_with_the_same_rows() {
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
        // without a default partition, a row of a month without a partition is refused
        let first = database.load("yellow", 2021, 1, source).output().unwrap();
        if shape == "by_month" {
            let stderr = refusal(&first, 78);
            assert!(
                stderr.contains("yellow_tripdata_2021-01.csv, line 2002: the row was refused"),
                "{stderr}"
            );
            let hint = stderr.split("hint: add a partition for all other rows: ").nth(1).expect(&stderr);
            database.sql(hint.lines().next().unwrap());
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
fn maintenance_of_the_table_does_not_block_a_merge() {
    let database = plain("maintained");
    let source = testdata();
    let other = Database::connect(database.url.clone(), String::new());
    // the lock of VACUUM, ANALYZE and CREATE INDEX CONCURRENTLY
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
        // also if only the ledger shows that the file was loaded, because the month now holds fewer of its
        // rows
        let again = load(1);
        assert_eq!(again["rows_inserted"], 0, "{name}");
        // and if the month's partition is gone, and its rows are in another partition
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
        let repeated_keys = "SELECT count(*) - count(DISTINCT unique_row_id) FROM yellow_tripdata";
        assert_eq!(database.value(repeated_keys), "0", "{name}");
    }
}

#[test]
fn a_trigger_that_shifts_times_applies_and_a_reload_matches_its_rows() {
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
    let refused = |sql: &str, expected: &[&str]| {
        database.sql(sql);
        let output = database.load("yellow", 2021, 1, source).output().unwrap();
        let error = refusal(&output, 78);
        expected.iter().for_each(|part| assert!(error.contains(part), "no {part:?} in {error}"));
        assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0");
    };
    refused(
        "CREATE FUNCTION drop_some() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.passenger_count = 3 THEN RETURN NULL; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER only_three BEFORE INSERT ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION drop_some()",
        &["its triggers dropped", "rows: only_three", "the triggers only_three must fire for the rows"],
    );
    database.sql("ALTER TABLE yellow_tripdata DISABLE TRIGGER only_three");
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER keeps BEFORE DELETE ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION keep()",
    );
    let mut replace = database.reload("yellow", 2021, 1, source);
    let stderr = refusal(&replace.args(["--if-loaded", "replace"]).output().unwrap(), 78);
    assert!(
        stderr.contains("were not deleted from public.yellow_tripdata, which has triggers: keeps"),
        "{stderr}"
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
    let (loaded, stderr) = load("table_stranger", "merge");
    assert_eq!(loaded["rows_inserted"], 3001);
    assert!(stderr.contains("only the owner, table_owner, can attach partitions"), "{stderr}");
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
fn foreign_keys_and_publications_make_a_new_month_merge() {
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
    let (database, stderr) = loaded(
        "referred_to",
        "ALTER TABLE yellow_tripdata ADD PRIMARY KEY (unique_row_id, tpep_pickup_datetime); \
         CREATE TABLE notes (id text, at timestamp, \
             FOREIGN KEY (id, at) REFERENCES yellow_tripdata ON DELETE CASCADE); \
         INSERT INTO notes SELECT unique_row_id, tpep_pickup_datetime FROM yellow_tripdata \
             WHERE tpep_pickup_datetime < '2021-02-01'",
    );
    assert!(stderr.contains("foreign keys of public.notes reference the table"), "{stderr}");
    assert_eq!(database.value("SELECT count(*) FROM notes"), "40");
    let publication =
        "CREATE PUBLICATION p FOR TABLE yellow_tripdata WITH (publish_via_partition_root = true)";
    assert!(loaded("published", publication).1.contains("the publications p use publish_via_partition_root"));
}

#[test]
fn a_changed_file_without_matches_is_counted_with_the_existing_rows() {
    let database = Database::new("changed_wholly");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    write_month(folder.path(), "2021-01", &yellow_csv(2000, "2021-01"));
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    write_month(folder.path(), "2021-01", &yellow_csv(1000, "2021-01").replace(".5,3,", ".25,3,"));
    let changed = json(&database.load("yellow", 2021, 1, source).output().unwrap());
    assert_eq!((&changed["rows_inserted"], &changed["rows_in_period"]), (&1000.into(), &3000.into()));
    // a generated column is filled by the server
    database.sql(
        "ALTER TABLE yellow_tripdata ADD twice float8 GENERATED ALWAYS AS (coalesce(fare_amount, 0) * 2) STORED NOT NULL",
    );
    write_month(folder.path(), "2021-01", &yellow_csv(3000, "2021-01"));
    assert_eq!(json(&database.load("yellow", 2021, 1, source).output().unwrap())["rows_inserted"], 1000);
}
