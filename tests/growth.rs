//! A load reads only its month's partition of the target, and still finds every match.

use crate::support::month::{YELLOW_HEADER, YELLOW_ROW, gzip, write};
use crate::support::{Database, json, month, wait_until};

/// Returns the number of rows that scans of the target's partitions have read so far, with or without an
/// index.
fn rows_read(database: &Database) -> u64 {
    // a session reports its reads when it ends
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    wait_until("the load's sessions are gone", || database.value(sessions) == "0");
    database.sql("SELECT pg_stat_clear_snapshot()");
    let query = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables \
                 WHERE schemaname = 'public_partitions'";
    database.value(query).parse().unwrap()
}

#[test]
fn a_load_into_the_24th_month_reads_only_that_months_rows() {
    const MONTHS: u8 = 24;
    const ROWS: u64 = 10_000;
    let database = Database::new("growth");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    let load = |number: u8| {
        let (year, month) = (2019 + u16::from(number / 12), number % 12 + 1);
        json(&database.reload("yellow", year, month, source).output().unwrap())
    };
    for number in 0..MONTHS {
        let name = format!("{}-{:02}", 2019 + u32::from(number / 12), number % 12 + 1);
        // three out-of-period rows, as in real files
        let out_of_period =
            |date: &str| YELLOW_ROW.replace("2021-01-01", date).replace(",142,", &format!(",{number},"));
        let out_of_period = ["2009-01-01", "2018-12-31", "2021-06-01"].map(out_of_period).join("\r\n");
        let text = format!("{}{out_of_period}\r\n", month::yellow_csv(ROWS as u32, &name));
        write(folder.path(), "yellow", &name, &gzip(text.as_bytes()));
    }
    (0..MONTHS - 1).for_each(|number| assert_eq!(load(number)["rows_inserted"], ROWS + 3));
    // the rows of a new month are read once, to verify the bounds of the partition
    database.sql("DELETE FROM taxi_etl.runs");
    let mut fresh = database.load("yellow", 2020, 12, source);
    let before = rows_read(&database);
    assert_eq!(json(&fresh.output().unwrap())["rows_inserted"], ROWS + 3);
    let first = rows_read(&database);
    assert_eq!(load(MONTHS - 1)["rows_matched"], ROWS + 3);
    let again = rows_read(&database);
    assert!(first - before < 2 * ROWS, "{} rows read for a new month of {ROWS}", first - before);
    assert!(again - first < 3 * ROWS, "{} rows read for a loaded month of {ROWS}", again - first);

    assert_eq!(partitions_of_the_merge(&database, false), ["yellow_tripdata_2020_12"]);
    // rows without a time may match rows of any time
    assert_eq!(partitions_of_the_merge(&database, true).len(), usize::from(MONTHS) + 1);
}

/// Returns the partitions that the server reads to merge the rows of 2020-12 again.
fn partitions_of_the_merge(database: &Database, anywhere: bool) -> Vec<String> {
    let identifiers = minijinja::context! {
        table => "yellow_tripdata",
        staging => "staging",
        key_column => "unique_row_id",
        time_column => "tpep_pickup_datetime",
        columns => "unique_row_id",
        staged_columns => "staged.unique_row_id",
    };
    let merge =
        minijinja::Environment::new().render_str(include_str!("../sql/merge.sql"), identifiers).unwrap();
    let settings = include_str!("../sql/session.sql");
    let explained = database.sql(&format!(
        "BEGIN; {settings}; CREATE UNLOGGED TABLE staging (LIKE yellow_tripdata); \
         PREPARE merging (bool, timestamp, timestamp, timestamp[], timestamp, timestamp, bool) AS {merge}; \
         EXPLAIN (FORMAT JSON) EXECUTE merging ({anywhere}, '2020-12-01', '2021-01-01', NULL, NULL, NULL, false); \
         ROLLBACK; DEALLOCATE ALL"
    ));
    let plan: serde_json::Value = serde_json::from_str(&explained[0][0]).unwrap();
    let mut relations = Vec::new();
    add_relations(&plan[0]["Plan"]["Plans"], &mut relations);
    relations.retain(|relation| relation != "staging");
    relations
}

/// Adds the relations that `nodes` and the nodes below them read.
fn add_relations(nodes: &serde_json::Value, relations: &mut Vec<String>) {
    for node in nodes.as_array().into_iter().flatten() {
        relations.extend(node["Relation Name"].as_str().map(str::to_owned));
        add_relations(&node["Plans"], relations);
    }
}

#[test]
fn out_of_period_rows_are_matched_in_every_partition() {
    let database = Database::new("out_of_period");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    let at = |date: &str| YELLOW_ROW.replace("2021-01-01", date);
    let without_time = YELLOW_ROW.replacen("2021-01-01 00:30:10", "", 1);
    // rows that both files have: one of January, one of 2009, and one without a time
    let january = [at("2021-01-05"), at("2009-01-01"), without_time.clone(), at("2021-01-06")].join("\n");
    let february = [at("2021-02-01"), at("2021-01-05"), at("2009-01-01"), without_time].join("\n");
    for (name, rows) in [("2021-01", january), ("2021-02", february)] {
        write(folder.path(), "yellow", name, &gzip(format!("{YELLOW_HEADER}\n{rows}\n").as_bytes()));
    }
    let load = |month| json(&database.load("yellow", 2021, month, source).output().unwrap());
    assert_eq!(load(2)["rows_inserted"], 4);
    let second = load(1);
    assert_eq!((&second["rows_inserted"], &second["rows_matched"]), (&1.into(), &3.into()));
    assert_eq!(load(1)["rows_inserted"], 0);
    assert_eq!(load(2)["rows_inserted"], 0);
}

#[test]
fn rows_without_a_time_are_matched_by_their_key_alone() {
    let database = Database::new("without_time");
    let folder = tempfile::tempdir().unwrap();
    // a row without a pickup time and a row without a drop-off time have the same key
    let no_pickup = YELLOW_ROW.replacen("2021-01-01 00:30:10,2021-01-01 00:36:12", ",2021-01-01 00:30:10", 1);
    let no_dropoff = YELLOW_ROW.replacen("2021-01-01 00:36:12", "", 1);
    let load = |rows: &[&str]| {
        let text = format!("{YELLOW_HEADER}\n{}\n", rows.join("\n"));
        write(folder.path(), "yellow", "2021-01", &gzip(text.as_bytes()));
        json(&database.load("yellow", 2021, 1, folder.path().to_str().unwrap()).output().unwrap())
    };
    assert_eq!(load(&[&no_dropoff])["rows_inserted"], 1);
    let both = load(&[&no_pickup, YELLOW_ROW]);
    assert_eq!((&both["rows_inserted"], &both["rows_matched"]), (&1.into(), &1.into()));
    database.sql("TRUNCATE yellow_tripdata");
    let both = load(&[&no_pickup, &no_dropoff]);
    assert_eq!((&both["rows_inserted"], &both["duplicate_keys"]), (&2.into(), &1.into()));
    assert_eq!(load(&[&no_dropoff])["rows_matched"], 1);
}

#[test]
fn a_file_with_half_of_its_rows_out_of_period_loads() {
    const ROWS: u32 = 30_000; // in each half: more than a load keeps back
    let database = Database::new("half_outside");
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (month::yellow_csv(ROWS, "2020-05"), month::yellow_csv(ROWS, "2021-01"));
    let rows = inside.lines().skip(1).zip(outside.lines().skip(1));
    let text: String = rows.map(|(inside, outside)| format!("{inside}\n{outside}\n")).collect();
    write(folder.path(), "yellow", "2020-05", &gzip(format!("{YELLOW_HEADER}\n{text}").as_bytes()));
    let load =
        || json(&database.reload("yellow", 2020, 5, folder.path().to_str().unwrap()).output().unwrap());
    assert_eq!(load()["rows_inserted"], 2 * ROWS);
    assert_eq!(load()["rows_matched"], 2 * ROWS);
}
