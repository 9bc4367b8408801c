//! Targets whose columns differ from the file's: more columns, other types, constraints and unique indexes.

use std::path::Path;

use crate::support::month::{YELLOW_HEADER, YELLOW_ROW, yellow_csv};
use crate::support::targets::{COLUMNS, write_month, write_neighbours};
use crate::support::{Database, json, refusal, taxi, testdata};

const DATA: i32 = 65;
const CONFIGURATION: i32 = 78;

/// Loads yellow 2021-01 from a file with this text.
fn load(database: &Database, text: &str, options: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path(), "2021-01", text);
    load_from(database, folder.path(), options)
}

fn load_from(database: &Database, folder: &Path, options: &[&str]) -> std::process::Output {
    database.load("yellow", 2021, 1, folder.to_str().unwrap()).args(options).output().unwrap()
}

fn refused(output: &std::process::Output, code: i32, parts: &[&str]) {
    let error = refusal(output, code);
    parts.iter().for_each(|part| assert!(error.contains(part), "no {part:?} in {error}"));
}

/// A month of two trips, as CSV.
fn two_rows() -> String {
    format!("{YELLOW_HEADER}\r\n{YELLOW_ROW}\r\n{}\r\n", YELLOW_ROW.replace(",142,", ",7,"))
}

#[test]
fn columns_that_the_file_does_not_have_take_their_defaults() {
    let more = "ADD id bigserial, ADD loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(), ADD note uuid, \
                ADD twice float8 GENERATED ALWAYS AS (fare_amount * 2) STORED";
    let folder = tempfile::tempdir().unwrap();
    write_neighbours(folder.path());
    let source = folder.path().to_str().unwrap();
    for (name, made_by_taxi) in [("defaults_months", true), ("defaults_plain", false)] {
        let database = Database::new(name);
        if made_by_taxi {
            json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
            database.sql("DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE yellow_tripdata, taxi_etl.runs CASCADE");
        } else {
            database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS})"));
        }
        database.sql(&format!("ALTER TABLE yellow_tripdata {more}"));
        json(&database.load("yellow", 2021, 1, source).output().unwrap());
        let early = "SELECT md5(string_agg(id || ' ' || loaded_at, ',' ORDER BY id)) FROM yellow_tripdata \
                     WHERE filename = 'yellow_tripdata_2021-01.csv'";
        let before = database.value(early);
        // the second month moves rows that the first one left in the default partition
        let output = database.load("yellow", 2021, 2, source).output().unwrap();
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("does not have the columns note"),
            "{output:?}"
        );
        json(&output);
        assert_eq!(database.value(early), before, "{name}: moved rows keep their values");
        let wrong = "SELECT count(*) - count(DISTINCT id) FROM yellow_tripdata WHERE twice = fare_amount * 2";
        assert_eq!(database.value(wrong), "0", "{name}");
        let rows = database
            .value("SELECT count(*) FROM yellow_tripdata WHERE twice = fare_amount * 2 AND note IS NULL");
        assert_eq!(rows, database.value("SELECT count(*) FROM yellow_tripdata"), "{name}");
        assert_eq!(json(&database.reload("yellow", 2021, 1, source).output().unwrap())["rows_inserted"], 0);
    }
}

#[test]
fn identity_columns_get_their_values() {
    let database = Database::new("identity_columns");
    database.sql(&format!(
        "CREATE TABLE yellow_tripdata ({COLUMNS}, id bigint GENERATED ALWAYS AS IDENTITY) \
         PARTITION BY RANGE (tpep_pickup_datetime); CREATE TABLE d PARTITION OF yellow_tripdata DEFAULT"
    ));
    let output = load(&database, &two_rows(), &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("identity columns"), "{output:?}");
    json(&output);
    assert_eq!(database.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM yellow_tripdata"), "1 2");
}

#[test]
fn columns_that_stay_without_a_value_are_refused() {
    let database = Database::new("required_columns");
    database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS}, reviewer text NOT NULL)"));
    let expected =
        ["column reviewer of table public.yellow_tripdata is NOT NULL", "give the column a default"];
    refused(&load(&database, &two_rows(), &[]), CONFIGURATION, &expected);
    database.sql("ALTER TABLE yellow_tripdata DROP reviewer, ALTER passenger_count SET NOT NULL");
    let empty = two_rows().replace(",1,2.10,1,N,7", ",,2.10,1,N,7");
    refused(
        &load(&database, &empty, &[]),
        DATA,
        &["line 3: invalid value \"\" in column \"passenger_count\"", "NOT NULL"],
    );
    let loaded = json(&load(&database, &empty, &["--max-rejects", "1"]));
    assert_eq!((&loaded["rows_inserted"], &loaded["rows_rejected"]), (&1.into(), &1.into()));
}

#[test]
fn other_types_hold_the_same_values_and_the_same_keys() {
    let source = testdata();
    let source = source.to_str().unwrap();
    let course = Database::new("types_course");
    json(&course.load("yellow", 2021, 1, source).output().unwrap());
    let other = Database::new("types_other");
    other.sql(
        "CREATE DOMAIN money_amount AS numeric(10,2); CREATE DOMAIN small_money AS money_amount CHECK (VALUE < 100000); \
         CREATE TABLE yellow_tripdata (unique_row_id varchar(32), filename varchar(80), vendorid smallint, \
         tpep_pickup_datetime timestamptz, tpep_dropoff_datetime timestamptz, passenger_count bigint, trip_distance numeric, \
         ratecodeid char(4), store_and_fwd_flag boolean, pulocationid integer, dolocationid varchar(4), payment_type smallint, \
         fare_amount numeric(10,2), extra real, mta_tax small_money, tip_amount money_amount, tolls_amount numeric, \
         improvement_surcharge numeric(6,1), total_amount numeric(12,4), congestion_surcharge real)",
    );
    assert_eq!(json(&other.load("yellow", 2021, 1, source).output().unwrap())["rows_inserted"], 3001);
    let values = |database: &Database, cast: &str| {
        database.sql(&format!(
            "SELECT count(*), md5(string_agg(concat_ws('|', unique_row_id, vendorid::text, {cast}, passenger_count::text, \
                 trip_distance::numeric::float8, trim(ratecodeid::text), pulocationid::text, payment_type::text, \
                 fare_amount::numeric(10,2), extra::real, mta_tax::numeric(10,2), tip_amount::numeric(10,2), \
                 improvement_surcharge::numeric(6,1), total_amount::numeric(12,4)), ',' ORDER BY unique_row_id)) \
             FROM yellow_tripdata"
        ))
    };
    let local = "tpep_pickup_datetime, store_and_fwd_flag = 'Y'";
    let zoned = "tpep_pickup_datetime AT TIME ZONE 'America/New_York', store_and_fwd_flag";
    assert_eq!(values(&other, zoned), values(&course, local));
    // a match is found by time, too
    let again = json(&other.reload("yellow", 2021, 1, source).output().unwrap());
    assert_eq!((&again["rows_inserted"], &again["rows_matched"]), (&0.into(), &3001.into()));
    assert_eq!(json(&other.load("yellow", 2021, 1, source).output().unwrap())["status"], "skipped");
    let verified =
        taxi(["verify", "--taxi", "yellow", "--year", "2021", "--month", "1", "--database-url", &other.url])
            .output()
            .unwrap();
    assert!(String::from_utf8_lossy(&verified.stdout).contains("3,001"), "{verified:?}");
}

#[test]
fn values_that_a_type_cannot_hold_are_refused_with_their_line() {
    let database = Database::new("narrow_types");
    let alter = |sql: &str| database.sql(&format!("ALTER TABLE yellow_tripdata {sql}"));
    database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS})"));
    for (to, from, cell, column, type_name) in [
        ("numeric(4,2)", "2.10", "123.4", "trip_distance", "numeric(4,2)"),
        ("real", "2.10", "1e39", "trip_distance", "real"),
        ("varchar(4)", ",7,", ",12345,", "pulocationid", "varchar(4)"),
        ("boolean", ",N,", ",maybe,", "store_and_fwd_flag", "boolean"),
        ("smallint", ",1,2.10", ",40000,2.10", "passenger_count", "smallint"),
    ] {
        alter(&format!("ALTER {column} TYPE {to} USING NULL"));
        let mut lines: Vec<String> = two_rows().lines().map(str::to_owned).collect();
        lines[2] = lines[2].replace(from, cell);
        let expected = [
            "line 3: invalid value".to_owned(),
            format!("in column \"{column}\": expected a value of type {type_name}"),
        ];
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        refused(&load(&database, &lines.join("\n"), &[]), DATA, &expected);
    }
    alter("ALTER extra TYPE point USING NULL");
    refused(
        &load(&database, &two_rows(), &[]),
        CONFIGURATION,
        &["column extra", "point", "loads do not support", "supported types"],
    );
}

#[test]
fn a_unique_index_tells_a_repeated_key_from_a_broken_file() {
    let repeated = format!("{}{YELLOW_ROW}\r\n{YELLOW_ROW}\r\n", two_rows());
    let folder = tempfile::tempdir().unwrap();
    write_month(folder.path(), "2021-01", &repeated);
    for (name, index) in [
        ("unique_plain", "CREATE UNIQUE INDEX one_key ON yellow_tripdata (unique_row_id)"),
        (
            "unique_months",
            "CREATE UNIQUE INDEX one_key ON yellow_tripdata (tpep_pickup_datetime, unique_row_id)",
        ),
    ] {
        let database = Database::new(name);
        match name {
            "unique_plain" => database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS})")),
            _ => {
                json(&load(&database, &two_rows(), &[]));
                database.sql(
                    "DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE taxi_etl.runs CASCADE",
                )
            }
        };
        let keep_all = json(&load_from(&database, folder.path(), &[]));
        assert_eq!(
            (&keep_all["rows_inserted"], &keep_all["duplicate_keys"]),
            (&4.into(), &2.into()),
            "{name}"
        );
        refused(
            &load_from(&database, folder.path(), &["--force", "--on-repeated-key", "fail"]),
            DATA,
            &["2 rows of yellow_tripdata_2021-01.csv repeat the row key", "the lines 2, 4, 5 have the key"],
        );
        database.sql(
            "DELETE FROM yellow_tripdata; DROP TABLE IF EXISTS public_partitions.yellow_tripdata_2021_01",
        );
        database.sql(&format!("TRUNCATE taxi_etl.runs CASCADE; {index}"));
        refused(
            &load_from(&database, folder.path(), &[]),
            DATA,
            &[
                "the lines 2, 4, 5",
                "the unique index one_key of public.yellow_tripdata allows each key once",
                "keep-first",
            ],
        );
        let kept = json(&load_from(&database, folder.path(), &["--on-repeated-key", "keep-first"]));
        let counts = ["rows_staged", "rows_inserted", "rows_matched", "rows_in_period"]
            .map(|name| kept[name].as_u64());
        assert_eq!(counts, [4, 2, 2, 2].map(Some), "{name}");
        assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "2");
    }
}

#[test]
fn a_row_that_the_table_refuses_is_named_by_its_line() {
    let mut text = yellow_csv(5000, "2021-01");
    // a row outside of the month, a blank row would be refused, and the row in question
    text += &format!("{}\r\n", YELLOW_ROW.replace("2021-01-01", "2020-12-31"));
    text += &format!("{}\r\n", YELLOW_ROW.replace(",43,2,8,", ",43,2,-8,"));
    text += &yellow_csv(6000, "2021-01")
        .lines()
        .skip(5001)
        .fold(String::new(), |text, line| text + line + "\r\n");
    let expected = |words: &str| {
        ["yellow_tripdata_2021-01.csv, line 5003: the row was refused".to_owned(), words.to_owned()]
    };
    let raise = "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.fare_amount < 0 THEN RAISE EXCEPTION 'we pay no one'; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER no_refunds BEFORE INSERT ON yellow_tripdata FOR EACH ROW EXECUTE FUNCTION refuse()";
    for (constraint, remove, words) in [
        (
            "ALTER TABLE yellow_tripdata ADD CONSTRAINT paid CHECK (fare_amount >= 0)",
            "ALTER TABLE yellow_tripdata DROP CONSTRAINT paid",
            "paid",
        ),
        (
            "CREATE TABLE fares AS SELECT n::float8 / 2 AS fare FROM generate_series(0, 200) AS n; \
             ALTER TABLE fares ADD PRIMARY KEY (fare); \
             ALTER TABLE yellow_tripdata ADD CONSTRAINT known FOREIGN KEY (fare_amount) REFERENCES fares DEFERRABLE INITIALLY DEFERRED",
            "ALTER TABLE yellow_tripdata DROP CONSTRAINT known",
            "known",
        ),
        (raise, "DROP TRIGGER no_refunds ON yellow_tripdata", "we pay no one"),
    ] {
        for (name, plain) in [("line_plain", true), ("line_months", false)] {
            let database = Database::new(name);
            database.sql("DROP TABLE IF EXISTS fares CASCADE");
            if plain {
                database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS})"));
            } else {
                json(&load(&database, &two_rows(), &[]));
                database.sql(
                    "DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE taxi_etl.runs CASCADE",
                );
            }
            database.sql(constraint);
            let output = load(&database, &text, &[]);
            let expected = expected(words);
            refused(&output, DATA, &expected.each_ref().map(String::as_str));
            assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0", "{name}: {words}");
            database.sql(remove);
            assert_eq!(json(&load(&database, &text, &[]))["rows_inserted"], 6002, "{name}: {words}");
        }
    }
}

#[test]
fn relations_that_are_not_tables_are_refused_by_what_they_are() {
    let database = Database::new("other_relations");
    database.sql(&format!("CREATE TABLE trips ({COLUMNS})"));
    let last = |sql: &str, kind: &str| {
        database.sql(sql);
        let expected =
            format!("public.yellow_tripdata is {kind}: a load needs an ordinary or a partitioned table");
        refused(&load(&database, &two_rows(), &[]), CONFIGURATION, &[&expected]);
    };
    last("CREATE VIEW yellow_tripdata AS SELECT * FROM trips", "a view");
    last(
        "DROP VIEW yellow_tripdata; CREATE MATERIALIZED VIEW yellow_tripdata AS SELECT * FROM trips",
        "a materialized view",
    );
    last(
        &format!(
            "DROP MATERIALIZED VIEW yellow_tripdata; CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER other FOREIGN DATA \
             WRAPPER elsewhere; CREATE FOREIGN TABLE yellow_tripdata ({COLUMNS}) SERVER other"
        ),
        "a foreign table",
    );
}

#[test]
fn a_constraint_that_is_not_valid_yet_applies_to_new_rows() {
    let database = Database::new("not_valid");
    json(&load(&database, &two_rows(), &[]));
    database.sql(
        "DROP TABLE public_partitions.yellow_tripdata_2021_01; TRUNCATE taxi_etl.runs CASCADE; \
         ALTER TABLE yellow_tripdata ADD CONSTRAINT paid CHECK (fare_amount >= 100) NOT VALID",
    );
    refused(&load(&database, &two_rows(), &[]), DATA, &["paid", "line 2: the row was refused"]);
    let dear = two_rows().replace(",2,8,", ",2,108,");
    assert_eq!(json(&load(&database, &dear, &[]))["rows_inserted"], 2);
}

#[test]
fn a_row_that_the_target_holds_is_not_taken_for_the_refused_one() {
    let database = Database::new("held_row");
    database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS})"));
    let cheap = two_rows().replace(",7,43,2,8,", ",7,43,2,-8,");
    json(&load(&database, &cheap, &[]));
    database.sql("ALTER TABLE yellow_tripdata ADD CONSTRAINT paid CHECK (fare_amount >= 0) NOT VALID");
    let more = format!("{cheap}{}\r\n", YELLOW_ROW.replace(",142,43,2,8,", ",9,43,2,-7,"));
    let error = refusal(&load(&database, &more, &["--force"]), DATA);
    assert!(error.contains("paid") && !error.contains("line 3"), "{error}");
}
