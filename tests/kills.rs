//! A killed load leaves the target unchanged or complete, and the next load completes it.

use std::process::Stdio;

use crate::support::{Database, STAGING_TABLES, json, month, wait_until};

const ROWS: u32 = 30_000;

/// Rows of the month that the target holds before the load.
const ROWS_BEFORE: u32 = 5000;

/// The points at which a load is killed: a condition on one of its sessions, the number of queries that the test runs
/// between the condition and the kill, and whether the month has a partition. With a partition, the load merges its
/// rows; without one, it attaches them.
const POINTS: [(&str, u32, bool); 16] = [
    ("state = 'active' AND query LIKE '%COPY %'", 0, false),
    ("state = 'active' AND query LIKE '%COPY %'", 5, false),
    ("state = 'active' AND query LIKE '%COPY %'", 60, false),
    ("query LIKE '%CONSTRAINT taxi_month%'", 0, false),
    ("query LIKE '%DELETE FROM \"public_partitions\"%'", 0, false),
    ("query LIKE '%WITH moved AS%'", 0, false),
    ("query LIKE '%ATTACH PARTITION%'", 0, false),
    ("query LIKE '%INSERT INTO taxi_etl.runs%'", 0, false),
    ("state = 'idle in transaction'", 0, false),
    ("query LIKE '%CREATE %UNLOGGED%TABLE \"taxi_etl\"%'", 3, true),
    ("state = 'active' AND query LIKE '%COPY %'", 0, true),
    ("state = 'active' AND query LIKE '%COPY %'", 20, true),
    ("query LIKE '%MERGE INTO%'", 0, true),
    ("query LIKE '%MERGE INTO%'", 5, true),
    ("query LIKE '%MERGE INTO%'", 30, true),
    ("query LIKE '%DROP TABLE%'", 0, true),
];

#[test]
fn a_load_killed_at_any_point_is_all_or_nothing_and_the_next_load_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    month::write(folder.path(), "yellow", "2021-01", &month::yellow(ROWS));
    let source = folder.path().to_str().unwrap();
    let mut killed_while_running = 0;
    for (index, (point, queries, has_partition)) in POINTS.into_iter().enumerate() {
        let database = Database::new(&format!("killed_{index}"));
        // the target already holds some rows of the month: they are loaded under the name of another month
        month::write(folder.path(), "yellow", "2021-02", &month::yellow(ROWS_BEFORE));
        json(&database.load("yellow", 2021, 2, source).output().unwrap());
        if has_partition {
            database.make_partition("yellow", "2021-01", "2021-02");
        }

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
        let mut has_ended = false;
        wait_until("the load reaches the point of the kill", || {
            has_ended = load.try_wait().unwrap().is_some();
            has_ended || database.value(&format!("{sessions} AND {point}")) != "0"
        });
        for _ in 0..queries {
            database.value(&sessions);
        }
        killed_while_running += u32::from(load.try_wait().unwrap().is_none());
        load.kill().unwrap();
        load.wait().unwrap();
        wait_until("the server has closed the load's sessions", || database.value(&sessions) == "0");

        let rows = database.value("SELECT count(*) FROM yellow_tripdata");
        let recorded = database.value("SELECT count(*) FROM taxi_etl.runs WHERE status = 'succeeded'");
        let complete = ROWS.to_string();
        assert!(
            (rows == ROWS_BEFORE.to_string() && recorded == "1") || (rows == complete && recorded == "2"),
            "killed at {point}: {rows} rows, {recorded} runs recorded"
        );
        json(&database.reload("yellow", 2021, 1, source).output().unwrap());
        let query = "SELECT count(*) || ' ' || count(DISTINCT unique_row_id) FROM yellow_tripdata";
        assert_eq!(database.value(query), format!("{ROWS} {ROWS}"), "after a kill at {point}");
        assert_eq!(database.value(STAGING_TABLES), "0", "staging tables are left after a kill at {point}");
    }
    assert!(
        killed_while_running >= 9,
        "only {killed_while_running} loads were still running when they were killed"
    );
}
