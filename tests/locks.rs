//! Concurrent runs: runs of the same month wait for each other, runs of different months do not, and killed
//! runs leave nothing behind.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_ROW, gzip, write, yellow_csv};
use crate::support::targets::{contents, spawn};
use crate::support::{Database, STAGING_TABLES, failure, json, refusal, wait_until};

/// Returns a server that sends January so slowly that its download does not end during a test.
fn slow_january(rows: u32) -> Server {
    let bytes = |name: &str| gzip(yellow_csv(rows, name).as_bytes());
    let (january, february) = (bytes("2021-01"), bytes("2021-02"));
    Server::new(move |path| match path.contains("2021-01") {
        true => Reply::ok(january.clone()).at_most(january.len() as u64 / 600),
        false => Reply::ok(february.clone()),
    })
}

#[test]
fn a_load_waits_for_another_run_of_its_month_until_the_lock_timeout() {
    let database = Database::new("lock_held");
    let site = slow_january(20_000);
    let mut first = spawn(&mut database.load("yellow", 2021, 1, &site.address));
    let running = "SELECT run_id, host, pid FROM taxi_etl.runs WHERE status = 'running'";
    wait_until("the first run has begun", || {
        database.value("SELECT to_regclass('taxi_etl.ledger_version') IS NOT NULL") == "t"
            && !database.sql(running).is_empty()
    });
    let holder = database.sql(running).remove(0);
    assert_eq!(holder[2], first.id().to_string());

    let waiting =
        database.load("yellow", 2021, 1, &site.address).args(["--lock-timeout", "1500ms"]).output().unwrap();
    let stderr = refusal(&waiting, 75);
    let expected = format!("held by run {} on host {} (pid {}) since 20", holder[0], holder[1], holder[2]);
    assert!(stderr.contains(&expected) && stderr.contains("--lock-timeout"), "{stderr}");
    assert!(stderr.contains("taxi: waiting for the lock on yellow_tripdata_2021-01.csv"), "{stderr}");
    assert_eq!(failure(&waiting)["retry"], true);

    // another month loads in the meantime
    assert_eq!(
        json(&database.load("yellow", 2021, 2, &site.address).output().unwrap())["rows_inserted"],
        20_000
    );
    assert!(first.try_wait().unwrap().is_none());
    first.kill().unwrap();
    first.wait().unwrap();
    // the lock ends with its holder
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2021-01", &gzip(yellow_csv(20_000, "2021-01").as_bytes()));
    let source = folder.path().to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    let statuses = database.sql("SELECT status FROM taxi_etl.runs ORDER BY started_at");
    assert_eq!(statuses, [["lost"], ["failed"], ["succeeded"], ["succeeded"]]);
}

#[test]
fn a_second_run_of_a_month_waits_and_then_skips_it() {
    let database = Database::new("second_waits");
    let bytes = gzip(yellow_csv(20_000, "2021-01").as_bytes());
    let site = Server::answering(move |request| {
        let same = request.header("If-None-Match") == Some("\"v1\"");
        let reply = if same { Reply::status(304) } else { Reply::ok(bytes.clone()) };
        reply.header("ETag", "\"v1\"").at_most(bytes.len() as u64)
    });
    let runs = [1, 2].map(|_| spawn(&mut database.load("yellow", 2021, 1, &site.address)));
    let mut statuses = runs.map(|run| json(&run.wait_with_output().unwrap())["status"].to_string());
    statuses.sort();
    assert_eq!(statuses, ["\"loaded\"", "\"skipped\""]);
}

#[test]
fn a_locked_table_fails_the_load_after_the_lock_timeout() {
    let database = Database::new("table_locked");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2021-01", &gzip(yellow_csv(50, "2021-01").as_bytes()));
    let source = folder.path().to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    database.sql("BEGIN; LOCK TABLE yellow_tripdata");
    let output = database.reload("yellow", 2021, 1, source).args(["--lock-timeout", "1"]).output().unwrap();
    assert!(refusal(&output, 75).contains("55P03"));
    database.sql("ROLLBACK");
    assert_eq!(json(&database.reload("yellow", 2021, 1, source).output().unwrap())["rows_matched"], 50);
}

/// Writes two versions of each month. Each file has rows of the other months, which their files have, too.
fn write_versions(folder: &Path, months: &[u8]) -> [String; 2] {
    [("first", 2000), ("second", 1500)].map(|(version, rows)| {
        let source = folder.join(version);
        for number in months {
            let name = format!("2021-{number:02}");
            let mut text = yellow_csv(rows, &name);
            for other in months {
                for day in 1..=3 {
                    let date = format!("2021-{other:02}-{day:02}");
                    text += &format!("{}\r\n", YELLOW_ROW.replace("2021-01-01", &date));
                }
            }
            write(&source, "yellow", &name, &gzip(text.as_bytes()));
        }
        source.to_str().unwrap().to_owned()
    })
}

/// Starts two hundred runs, four at a time, and kills some of them after a random time. The successful runs
/// of the ledger, repeated one after the other in the order in which they ended, must give the same rows.
#[test]
fn two_hundred_concurrent_runs_give_the_same_result_as_sequential_runs() {
    const RUNS: usize = 200;
    const CONCURRENT_RUNS: usize = 4;
    const ROUNDS_PER_TABLE: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let months: Vec<u8> = (1..=4).collect();
    let sources = write_versions(folder.path(), &months);
    let mut random = fastrand::Rng::with_seed(20_211_121);
    let (mut killed, mut succeeded) = (0, 0);
    for table in 0..RUNS / CONCURRENT_RUNS / ROUNDS_PER_TABLE {
        let database = Database::new(&format!("random_{table}"));
        for _ in 0..ROUNDS_PER_TABLE {
            let mut runs: Vec<(Child, u64)> = (0..CONCURRENT_RUNS)
                .map(|_| {
                    let (month, source) = (random.choice(&months).unwrap(), random.choice(&sources).unwrap());
                    let mut command = database.reload("yellow", 2021, *month, source);
                    command.args(["--if-loaded", if random.u8(..3) == 0 { "replace" } else { "merge" }]);
                    command.stdout(Stdio::null()).stderr(Stdio::null());
                    (command.spawn().unwrap(), random.u64(..500))
                })
                .collect();
            runs.sort_by_key(|(_, delay_ms)| *delay_ms);
            let began = std::time::Instant::now();
            for (run, delay_ms) in &mut runs {
                std::thread::sleep(Duration::from_millis(*delay_ms).saturating_sub(began.elapsed()));
                if *delay_ms < 250 {
                    killed += u32::from(run.try_wait().unwrap().is_none());
                    run.kill().unwrap();
                }
            }
            runs.iter_mut().for_each(|(run, _)| _ = run.wait().unwrap());
        }
        let failed = database.sql("SELECT error FROM taxi_etl.runs WHERE status = 'failed'");
        assert!(failed.is_empty(), "{failed:?}");
        let successful = database.sql(
            "SELECT inputs->>'month', inputs->>'source', if_loaded FROM taxi_etl.runs WHERE status = 'succeeded' \
             ORDER BY finished_at",
        );
        succeeded += successful.len();
        let sequential = Database::new("random_alone");
        for run in &successful {
            let mut command = sequential.reload("yellow", 2021, run[0].parse().unwrap(), &run[1]);
            json(&command.args(["--if-loaded", &run[2]]).output().unwrap());
        }
        if !successful.is_empty() {
            assert_eq!(contents(&database), contents(&sequential), "after {successful:?}");
        }
        // the next load removes what the killed runs have left
        json(&database.reload("yellow", 2021, 1, &sources[0]).output().unwrap());
        assert_eq!(database.value(STAGING_TABLES), "0");
        assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'"), "0");
    }
    assert!(killed > RUNS as u32 / 10, "only {killed} runs were killed while they ran");
    assert!(succeeded > RUNS / 4, "only {succeeded} runs succeeded");
}

#[test]
fn a_row_that_two_files_share_returns_after_one_file_is_replaced() {
    let database = Database::new("shared_row");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    let shared = YELLOW_ROW.replace("2021-01-01", "2021-02-01");
    let january = yellow_csv(50, "2021-01");
    let february = format!("{}{shared}\r\n", yellow_csv(50, "2021-02"));
    write(folder.path(), "yellow", "2021-01", &gzip(format!("{january}{shared}\r\n").as_bytes()));
    write(folder.path(), "yellow", "2021-02", &gzip(february.as_bytes()));
    let load = |month, how: &str| {
        json(&database.load("yellow", 2021, month, source).args(["--if-loaded", how]).output().unwrap())
    };
    assert_eq!(load(1, "merge")["rows_inserted"], 51);
    assert_eq!(load(2, "merge")["rows_inserted"], 50, "the shared row has January's filename");
    assert_eq!(load(2, "merge")["status"], "skipped");
    write(folder.path(), "yellow", "2021-01", &gzip(january.as_bytes()));
    assert_eq!(load(1, "replace")["rows_deleted"], 51);
    // the row is deleted with January's old file, so February is loaded again
    assert_eq!(load(2, "merge")["rows_inserted"], 1);
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "101");
    assert_eq!(load(2, "merge")["status"], "skipped");
}
