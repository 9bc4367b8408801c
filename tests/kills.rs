//! A load that is killed leaves the target as it was or complete, and the next one completes it.

use std::process::Stdio;

use crate::support::{Database, json, month, wait_until};

const ROWS: u32 = 60_000;

/// Points of a load: what one of its sessions must be doing, how many looks later the kill comes, and how many rows of the
/// month the target holds before: around few the rows are copied into it, many make it a MERGE.
const POINTS: [(&str, u32, u32); 14] = [
    ("state = 'active' AND query LIKE '%COPY \"public\"%'", 0, 100),
    ("state = 'active' AND query LIKE '%COPY \"public\"%'", 5, 100),
    ("state = 'active' AND query LIKE '%COPY \"public\"%'", 60, 100),
    ("state = 'active' AND query LIKE '%COPY \"taxi_etl\"%'", 0, 5000),
    ("state = 'active' AND query LIKE '%COPY \"taxi_etl\"%'", 20, 5000),
    ("query LIKE '%WITH present AS%'", 0, 100),
    ("query LIKE '%brin_summarize_new_values%'", 0, 100),
    ("query LIKE '%MERGE INTO%'", 0, 5000),
    ("query LIKE '%MERGE INTO%'", 5, 5000),
    ("query LIKE '%MERGE INTO%'", 30, 5000),
    ("query LIKE '%INSERT INTO taxi_etl.runs%'", 0, 100),
    ("state = 'idle in transaction'", 0, 100),
    ("query LIKE '%CREATE UNLOGGED TABLE \"taxi_etl\"%'", 3, 5000),
    ("query LIKE '%DROP TABLE%'", 0, 100),
];

#[test]
fn a_load_killed_at_any_point_is_none_or_all_and_the_next_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    month::write(folder.path(), "yellow", "2021-01", &month::yellow(ROWS));
    let source = folder.path().to_str().unwrap();
    let mut caught = 0;
    for (index, (point, looks, held)) in POINTS.into_iter().enumerate() {
        let database = Database::new(&format!("killed_{index}"));
        // what was there before: rows that the month holds too
        month::write(folder.path(), "yellow", "2021-02", &month::yellow(held));
        json(&database.load("yellow", 2021, 2, source).output().unwrap());

        let sessions = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'taxi-etl'",
            database.name()
        );
        let mut load = database
            .load("yellow", 2021, 1, source)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ended = false;
        wait_until("the load is at its point", || {
            ended = load.try_wait().unwrap().is_some();
            ended || database.value(&format!("{sessions} AND {point}")) != "0"
        });
        for _ in 0..looks {
            database.value(&sessions);
        }
        caught += u32::from(load.try_wait().unwrap().is_none());
        load.kill().unwrap();
        load.wait().unwrap();
        wait_until("the server has let the session go", || database.value(&sessions) == "0");

        let rows = database.value("SELECT count(*) FROM yellow_tripdata");
        let recorded = database.value("SELECT count(*) FROM taxi_etl.runs WHERE status = 'succeeded'");
        let complete = ROWS.to_string();
        assert!(
            (rows == held.to_string() && recorded == "1") || (rows == complete && recorded == "2"),
            "killed at {point}: {rows} rows, {recorded} runs recorded"
        );
        json(&database.reload("yellow", 2021, 1, source).output().unwrap());
        let query = "SELECT count(*) || ' ' || count(DISTINCT unique_row_id) FROM yellow_tripdata";
        assert_eq!(database.value(query), format!("{ROWS} {ROWS}"), "after a kill at {point}");
        let chunks =
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'taxi_etl' AND tablename LIKE 'staging%'";
        assert_eq!(database.value(chunks), "0", "chunks are left after a kill at {point}");
    }
    assert!(caught >= 9, "only {caught} of the kills met a load that still ran");
}
