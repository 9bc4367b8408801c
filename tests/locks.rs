//! Runs at once: of one month one waits for the other, of different months both go on, and whatever dies leaves nothing.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_ROW, gzip, write, yellow_csv};
use crate::support::{Database, failure, json, refusal, wait_until};

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A site whose January never comes to its end.
fn slow_january(rows: u32) -> Server {
    let bytes = |name: &str| gzip(yellow_csv(rows, name).as_bytes());
    let (january, february) = (bytes("2021-01"), bytes("2021-02"));
    Server::new(move |path| match path.contains("2021-01") {
        true => Reply::ok(january.clone()).at_most(january.len() as u64 / 600),
        false => Reply::ok(february.clone()),
    })
}

#[test]
fn a_month_that_another_run_loads_is_waited_for_and_then_given_up() {
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
    let said = refusal(&waiting, 75);
    let named = format!("held by run {} on host {} (pid {}) since 20", holder[0], holder[1], holder[2]);
    assert!(said.contains(&named) && said.contains("--lock-timeout"), "{said}");
    assert!(said.contains("taxi: waiting for the month of yellow_tripdata_2021-01.csv"), "{said}");
    assert_eq!(failure(&waiting)["retry"], true);

    // another month goes on meanwhile
    assert_eq!(
        json(&database.load("yellow", 2021, 2, &site.address).output().unwrap())["rows_inserted"],
        20_000
    );
    assert!(first.try_wait().unwrap().is_none());
    first.kill().unwrap();
    first.wait().unwrap();
    // and the lock is gone with its holder
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2021-01", &gzip(yellow_csv(20_000, "2021-01").as_bytes()));
    let source = folder.path().to_str().unwrap();
    json(&database.load("yellow", 2021, 1, source).output().unwrap());
    let statuses = database.sql("SELECT status FROM taxi_etl.runs ORDER BY started_at");
    assert_eq!(statuses, [["lost"], ["failed"], ["succeeded"], ["succeeded"]]);
}

#[test]
fn a_second_run_of_a_month_finds_it_loaded_by_the_first() {
    let database = Database::new("second_waits");
    let bytes = gzip(yellow_csv(20_000, "2021-01").as_bytes());
    let site = Server::answering(move |request| {
        let same = request.header("If-None-Match") == Some("\"v1\"");
        let reply = if same { Reply::status(304) } else { Reply::ok(bytes.clone()) };
        reply.header("ETag", "\"v1\"").at_most(bytes.len() as u64)
    });
    let runs = [1, 2].map(|_| spawn(&mut database.load("yellow", 2021, 1, &site.address)));
    let mut endings = runs.map(|run| json(&run.wait_with_output().unwrap())["status"].to_string());
    endings.sort();
    assert_eq!(endings, ["\"loaded\"", "\"skipped\""]);
}

#[test]
fn a_table_that_somebody_has_locked_is_given_up_in_time() {
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

/// What has happened to many runs, four at a time, each killed after a random while or left to end.
#[test]
fn two_hundred_runs_at_random_come_to_what_they_come_to_one_after_the_other() {
    const RUNS: usize = 200;
    const AT_ONCE: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    let months: Vec<u8> = (1..=4).collect();
    for number in &months {
        let name = format!("2021-{number:02}");
        // rows that lie in other months, which those months have as their own, and rows that all share
        let mut text = yellow_csv(2000, &name);
        for other in &months {
            for day in 1..=3 {
                let date = format!("2021-{other:02}-{day:02}");
                text += &format!("{}\r\n", YELLOW_ROW.replace("2021-01-01", &date));
            }
        }
        write(folder.path(), "yellow", &name, &gzip(text.as_bytes()));
    }
    let contents = |database: &Database| {
        database.sql(
            "SELECT count(*), count(DISTINCT unique_row_id), md5(string_agg(row, '' ORDER BY row)) \
             FROM (SELECT unique_row_id, (to_jsonb(t) - 'filename')::text AS row FROM yellow_tripdata t) AS rows",
        )
    };
    let alone = Database::new("random_alone");
    months.iter().for_each(|month| _ = json(&alone.load("yellow", 2021, *month, source).output().unwrap()));

    let database = Database::new("random_runs");
    let mut random = fastrand::Rng::with_seed(20_211_121);
    let mut killed = 0;
    for round in 0..RUNS / AT_ONCE {
        if round % 4 == 1 {
            // so that all rows are to be inserted again, those that months share by whoever comes first
            database.sql("TRUNCATE yellow_tripdata");
        }
        let mut runs: Vec<(Child, u64)> = (0..AT_ONCE)
            .map(|_| {
                let month = *random.choice(&months).unwrap();
                let mut command = database.load("yellow", 2021, month, source);
                command.args(["--if-loaded", if random.u8(..4) == 0 { "replace" } else { "merge" }]);
                if random.u8(..3) > 0 {
                    command.arg("--force");
                }
                command.stdout(Stdio::null()).stderr(Stdio::null());
                (command.spawn().unwrap(), random.u64(..400))
            })
            .collect();
        runs.sort_by_key(|(_, after)| *after);
        let began = std::time::Instant::now();
        for (run, after) in &mut runs {
            std::thread::sleep(Duration::from_millis(*after).saturating_sub(began.elapsed()));
            if *after < 250 {
                killed += u32::from(run.try_wait().unwrap().is_none());
                run.kill().unwrap();
            }
        }
        runs.iter_mut().for_each(|(run, _)| _ = run.wait().unwrap());
    }
    assert!(killed > RUNS as u32 / 10, "only {killed} were killed while they ran");
    let failed = database.sql("SELECT error FROM taxi_etl.runs WHERE status = 'failed'");
    assert!(failed.is_empty(), "{failed:?}");
    months
        .iter()
        .for_each(|month| _ = json(&database.reload("yellow", 2021, *month, source).output().unwrap()));
    assert_eq!(contents(&database), contents(&alone));
    let leftovers =
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'taxi_etl' AND tablename LIKE 'staging%'";
    assert_eq!(database.value(leftovers), "0");
    let running = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'";
    assert_eq!(database.value(running), "0");
}
