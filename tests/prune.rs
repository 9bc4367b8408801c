//! `taxi runs prune`: old runs go, and what is loaded stays loaded.

use crate::support::backups::on;
use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, write, yellow_csv};
use crate::support::targets::spawn;
use crate::support::{Database, json, refusal, testdata, wait_until};

#[test]
fn old_runs_go_and_what_is_loaded_stays_loaded() {
    let database = Database::new("prune");
    let source = testdata();
    let source = source.to_str().unwrap();
    let prune = |args: &[&str]| {
        json(&on(&database, &[&["runs", "prune", "--older-than", "90d"], args].concat()).output().unwrap())
    };
    assert_eq!(prune(&[])["runs"], serde_json::json!([]), "there is no run history yet");
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    let first = database.value("SELECT run_id FROM taxi_etl.runs");
    json(&database.reload("yellow", 2021, 1, source).output().unwrap());
    let broken = tempfile::tempdir().unwrap();
    write(broken.path(), "yellow", "2021-02", b"<html>");
    refusal(&database.load("yellow", 2021, 2, broken.path().to_str().unwrap()).output().unwrap(), 65);
    assert_eq!(prune(&[])["runs"], serde_json::json!([]), "the runs are young");

    database.sql("UPDATE taxi_etl.runs SET started_at = now() - interval '91 days'");
    // with a rejected row and a task run
    database.sql(&format!(
        "INSERT INTO taxi_etl.rejects (run_id, filename, line, reason, raw) VALUES ('{first}', 'f', 1, 'r', 'x'); \
         INSERT INTO taxi_etl.task_runs VALUES \
             (gen_random_uuid(), '{first}', NULL, 't', 't', NULL, 'succeeded', '[]', NULL, '[]', NULL, NULL, now(), now())"
    ));
    // a load in progress that began long ago
    let file = gzip(yellow_csv(20_000, "2021-03").as_bytes());
    let site = Server::new(move |_| Reply::ok(file.clone()).at_most(file.len() as u64 / 600));
    let mut load = spawn(&mut database.load("yellow", 2021, 3, &site.address));
    let running = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'";
    wait_until("the load runs", || database.value(running) == "1");
    database.sql("UPDATE taxi_etl.runs SET started_at = now() - interval '91 days'");

    assert_eq!(prune(&["--keep-last", "4"])["runs"], serde_json::json!([]));
    let planned = prune(&["--plan"]);
    assert_eq!(planned["status"], "planned");
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs"), "4", "a dry run deletes nothing");
    let pruned = prune(&[]);
    assert_eq!(pruned["runs"], planned["runs"], "the dry run says what goes");
    assert_eq!(pruned["runs_by_status"], serde_json::json!({"failed": 1, "succeeded": 1}));
    assert_eq!((&pruned["task_runs"], &pruned["rejects"]), (&1.into(), &1.into()));
    assert_eq!(pruned["runs"][0]["run_id"], first);
    let left = database.sql("SELECT status FROM taxi_etl.runs ORDER BY sequence");
    assert_eq!(left, [["succeeded"], ["running"]]);
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.task_runs"), "0");
    assert_eq!(json(&database.load("yellow", 2021, 1, source).output().unwrap())["status"], "skipped");
    load.kill().unwrap();
    load.wait().unwrap();
}

#[test]
fn a_dropped_month_stays_known_as_dropped() {
    let database = Database::new("prune_dropped");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    json(&on(&database, &["drop", "--taxi", "yellow", "--year", "2021", "--yes"]).output().unwrap());
    database.sql("UPDATE taxi_etl.runs SET started_at = now() - interval '2 years'");
    json(&on(&database, &["runs", "prune", "--older-than", "1y"]).output().unwrap());
    let verify = ["verify", "--taxi", "yellow", "--year", "2021", "--month", "1"];
    assert_eq!(json(&on(&database, &verify).output().unwrap())["files"][0]["verdict"], "dropped");
}

#[test]
fn an_age_that_is_none_is_refused() {
    let database = Database::new("prune_age");
    for age in ["90", "-1d", "old", ""] {
        let output = on(&database, &["runs", "prune", &format!("--older-than={age}")]).output().unwrap();
        assert!(refusal(&output, 64).contains("expected an age such as 90d"), "{age}");
    }
}
