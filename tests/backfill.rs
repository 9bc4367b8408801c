//! A backfill loads the missing months of a range, with one job or several, and reports the result of each
//! month.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_ROW, gzip, write, yellow_csv};
use crate::support::targets::contents;
use crate::support::{Database, failure, json, real_data, refusal, testdata};

fn backfill(database: &Database, taxi: &str, from: &str, to: &str, source: &str) -> Command {
    let mut command = crate::support::taxi(["backfill", "--output", "json", "--taxi", taxi]);
    command.args(["--from", from, "--to", to, "--source", source]).env("DATABASE_URL", &database.url);
    command
}

fn result(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// Returns the status of each month.
fn statuses(result: &Value) -> Vec<&str> {
    result["files"].as_array().unwrap().iter().map(|file| file["status"].as_str().unwrap()).collect()
}

/// Writes twelve yellow months. Each file has out-of-period rows that other files have, too.
fn write_year(folder: &Path, rows: u32) {
    for number in 1..=12 {
        let name = format!("2021-{number:02}");
        let row = |date: &str, location: u32| {
            YELLOW_ROW.replace("2021-01-01", date).replace(",142,", &format!(",{location},"))
        };
        // a row of the next month, an old row that all files have, and an old row that only this file has
        let next = format!("2021-{:02}-01", number % 12 + 1);
        let out_of_period =
            [row(&next, number), row("2009-01-01", 1), row("2008-12-31", number)].join("\r\n");
        let mut own = String::new();
        for other in 1..=12 {
            // the previous month's file has one of these as an out-of-period row
            own += &format!("{}\r\n", row(&format!("{name}-01"), other));
        }
        let text = format!("{}{own}{out_of_period}\r\n", yellow_csv(rows, &name));
        write(folder, "yellow", &name, &gzip(text.as_bytes()));
    }
}

#[test]
fn several_jobs_give_the_same_result_as_one_job() {
    let folder = tempfile::tempdir().unwrap();
    write_year(folder.path(), 3000);
    let source = folder.path().to_str().unwrap();
    let one_job = Database::new("jobs_1");
    let sequential = json(&backfill(&one_job, "yellow", "2021-01", "2021-12", source).output().unwrap());
    assert_eq!(statuses(&sequential), ["loaded"; 12]);
    let repeated_keys = |database: &Database| {
        database.value("SELECT count(*) - count(DISTINCT unique_row_id) FROM yellow_tripdata")
    };
    assert_eq!(repeated_keys(&one_job), "0");
    for jobs in ["2", "8"] {
        let database = Database::new(&format!("jobs_{jobs}"));
        let mut command = backfill(&database, "yellow", "2021-01", "2021-12", source);
        let parallel = json(&command.args(["--jobs", jobs]).output().unwrap());
        assert_eq!(parallel["rows_inserted"], sequential["rows_inserted"], "--jobs {jobs}");
        assert_eq!(contents(&database), contents(&one_job), "--jobs {jobs}");
        let runs = database.sql("SELECT status, count(*) FROM taxi_etl.runs GROUP BY status");
        assert_eq!(runs, [["succeeded", "12"]]);
        assert_eq!(
            database.value("SELECT sum(rows_inserted) FROM taxi_etl.runs"),
            sequential["rows_inserted"].to_string()
        );
        // the ledger agrees with the target, so nothing is loaded again
        let mut command = backfill(&database, "yellow", "2021-01", "2021-12", source);
        assert_eq!(statuses(&json(&command.args(["--jobs", jobs]).output().unwrap())), ["skipped"; 12]);
    }
}

#[test]
fn only_missing_or_changed_months_are_loaded() {
    let database = Database::new("backfill_missing");
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-02", "2021-03"] {
        write(folder.path(), "yellow", name, &gzip(yellow_csv(500, name).as_bytes()));
    }
    let site = Server::folder(folder.path());
    let run = || json(&backfill(&database, "yellow", "2021-01", "2021-03", &site.address).output().unwrap());
    assert_eq!(statuses(&run()), ["loaded"; 3]);
    site.take_traffic();
    assert_eq!(statuses(&run()), ["skipped"; 3]);
    let (requests, bytes) = site.take_traffic();
    assert_eq!((requests.len(), bytes), (3, 0), "one conditional request each: {requests:?}");

    write(folder.path(), "yellow", "2021-02", &gzip(yellow_csv(600, "2021-02").as_bytes()));
    let changed = run();
    assert_eq!(statuses(&changed), ["skipped", "loaded", "skipped"]);
    assert_eq!((&changed["rows_inserted"], &changed["rows_matched"]), (&100.into(), &500.into()));
    assert_eq!(statuses(&run()), ["skipped"; 3]);

    // months of which some or all rows were deleted
    database.sql("DELETE FROM yellow_tripdata WHERE unique_row_id = (SELECT min(unique_row_id) FROM yellow_tripdata WHERE filename LIKE '%01.csv')");
    assert_eq!(statuses(&run()), ["loaded", "skipped", "skipped"]);
    database.sql("TRUNCATE yellow_tripdata");
    assert_eq!(statuses(&run()), ["loaded"; 3]);
    database.sql("DROP TABLE yellow_tripdata");
    assert_eq!(run()["rows_inserted"], 1600);
}

#[test]
fn a_file_without_an_etag_is_identified_by_length_and_time() {
    let database = Database::new("no_etags");
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "yellow", "2021-01", &gzip(yellow_csv(10, "2021-01").as_bytes()));
    let load =
        |source: &str| json(&database.load("yellow", 2021, 1, source).output().unwrap())["status"].clone();

    let source = folder.path().to_str().unwrap();
    assert_eq!((load(source), load(source)), ("loaded".into(), "skipped".into()));
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!((load(source), load(source)), ("loaded".into(), "skipped".into()));

    // a server that ignores conditional requests, and one that sends neither ETag nor Last-Modified
    let body = std::fs::read(&path).unwrap();
    let dated = body.clone();
    let site = Server::new(move |_| {
        Reply::ok(dated.clone()).header("Last-Modified", "Sat, 21 Nov 2026 07:00:00 GMT")
    });
    assert_eq!((load(&site.address), load(&site.address)), ("loaded".into(), "skipped".into()));
    let requests = site.take_traffic().0;
    assert_eq!(requests[1].header("If-Modified-Since"), Some("Sat, 21 Nov 2026 07:00:00 GMT"));
    let undated = Server::new(move |_| Reply::ok(body.clone()));
    assert_eq!((load(&undated.address), load(&undated.address)), ("loaded".into(), "loaded".into()));
}

#[test]
fn a_changed_file_is_skipped_merged_or_replaced_as_requested() {
    let database = Database::new("if_loaded");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().to_str().unwrap();
    let rows = |rows: u32| gzip(yellow_csv(rows, "2021-01").as_bytes());
    let counts =
        || database.value("SELECT count(*) || ' ' || count(DISTINCT unique_row_id) FROM yellow_tripdata");
    let load = |args: &[&str]| json(&database.load("yellow", 2021, 1, source).args(args).output().unwrap());
    write(folder.path(), "yellow", "2021-01", &rows(500));
    load(&[]);
    write(folder.path(), "yellow", "2021-01", &rows(300));
    assert_eq!(load(&["--if-loaded", "skip"])["status"], "skipped");
    let merged = load(&["--if-loaded", "merge"]);
    assert_eq!((&merged["rows_matched"], &merged["rows_inserted"]), (&300.into(), &0.into()));
    assert_eq!(counts(), "500 500");

    assert_eq!(load(&["--if-loaded", "replace"])["status"], "skipped", "the ledger has the changed file");
    let replaced = load(&["--force", "--if-loaded", "replace"]);
    assert_eq!((&replaced["rows_deleted"], &replaced["rows_inserted"]), (&500.into(), &300.into()));
    assert_eq!(counts(), "300 300");
    assert_eq!(load(&[])["status"], "skipped");

    // a damaged file replaces nothing
    write(folder.path(), "yellow", "2021-01", &rows(400)[..2000]);
    refusal(&database.load("yellow", 2021, 1, source).args(["--if-loaded", "replace"]).output().unwrap(), 65);
    assert_eq!(counts(), "300 300");
    refusal(
        &database.load("yellow", 2021, 1, source).args(["--force", "--if-loaded", "skip"]).output().unwrap(),
        64,
    );
}

#[test]
fn a_month_that_fails_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-03", "2021-04"] {
        write(folder.path(), "yellow", name, &gzip(yellow_csv(50, name).as_bytes()));
    }
    write(folder.path(), "yellow", "2021-02", b"<html>");
    let source = folder.path().to_str().unwrap();
    let database = Database::new("one_fails");
    let mut command = backfill(&database, "yellow", "2021-01", "2021-04", source);
    let output = command.output().unwrap();
    let error = refusal(&output, 65);
    assert!(
        error.contains("1 of 4 files were not loaded") && error.contains("is neither gzip, CSV nor Parquet"),
        "{error}"
    );
    let summary = result(&output);
    assert_eq!(statuses(&summary), ["loaded", "failed", "loaded", "loaded"]);
    assert_eq!(summary["files"][1]["error"]["kind"], "data");

    let fast = Database::new("fail_fast");
    let mut command = backfill(&fast, "yellow", "2021-01", "2021-04", source);
    let output = command.arg("--fail-fast").output().unwrap();
    refusal(&output, 65);
    assert_eq!(statuses(&result(&output)), ["loaded", "failed", "not_begun", "not_begun"]);
}

#[test]
fn unpublished_months_at_the_end_of_the_range_are_not_failures() {
    let database = Database::new("not_yet");
    let folder = tempfile::tempdir().unwrap();
    let first_month = jiff::Zoned::now().date().first_of_month().saturating_sub(jiff::ToSpan::months(4));
    let name = |months: i64| (first_month + jiff::ToSpan::months(months)).strftime("%Y-%m").to_string();
    write(folder.path(), "yellow", &name(0), &gzip(yellow_csv(50, &name(0)).as_bytes()));
    let source = folder.path().to_str().unwrap();
    let latest = || backfill(&database, "yellow", &name(0), "latest", source).output().unwrap();
    assert_eq!(statuses(&json(&latest())), ["loaded", "not_published", "not_published", "not_published"]);
    // a missing month before a published one is a failure
    write(folder.path(), "yellow", &name(2), &gzip(yellow_csv(50, &name(2)).as_bytes()));
    let output = latest();
    refusal(&output, 66);
    assert_eq!(statuses(&result(&output)), ["skipped", "not_published", "loaded", "not_published"]);
    // a source without any of the months is a failure
    refusal(&backfill(&database, "green", &name(0), "latest", source).output().unwrap(), 66);
    assert_eq!(
        failure(&backfill(&database, "yellow", &name(1), &name(1), source).output().unwrap())["retry"],
        false
    );
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs WHERE status <> 'succeeded'"), "0");
}

#[test]
fn the_previous_month_needs_no_year() {
    let database = Database::new("previous_month");
    let folder = tempfile::tempdir().unwrap();
    let previous = jiff::Zoned::now().date().first_of_month().saturating_sub(jiff::ToSpan::months(1));
    let name = previous.strftime("%Y-%m").to_string();
    write(folder.path(), "yellow", &name, &gzip(yellow_csv(5, &name).as_bytes()));
    let load = |args: &[&str]| {
        let mut command = crate::support::taxi(["load", "--taxi", "yellow", "--output", "json", "--source"]);
        command.arg(folder.path()).args(args).env("DATABASE_URL", &database.url).output().unwrap()
    };
    assert_eq!(json(&load(&["--month", "previous"]))["filename"], format!("yellow_tripdata_{name}.csv"));
    refusal(&load(&["--month", "previous", "--year", "2021"]), 64);
    refusal(&load(&["--month", "3"]), 64);
}

#[test]
fn a_plan_lists_the_actions_and_changes_nothing() {
    let database = Database::new("plan");
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-02"] {
        write(folder.path(), "yellow", name, &gzip(yellow_csv(50, name).as_bytes()));
    }
    let site = Server::folder(folder.path());
    let plan = || {
        let mut command = backfill(&database, "yellow", "2021-01", "2021-03", &site.address);
        json(&command.arg("--plan").output().unwrap())
    };
    let actions = |plan: &Value| -> Vec<String> {
        plan["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["action"].as_str().unwrap().to_owned())
            .collect()
    };
    let empty = plan();
    assert_eq!(actions(&empty), ["load", "load", "not_published"]);
    let length = |name: &str| {
        std::fs::metadata(folder.path().join(format!("yellow/yellow_tripdata_{name}.csv.gz"))).unwrap().len()
    };
    assert_eq!(empty["bytes_to_download"], length("2021-01") + length("2021-02"));
    assert_eq!(database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'taxi_etl'"), "0");
    assert_eq!(site.take_traffic().1, 0, "no body is fetched");

    json(&database.load("yellow", 2021, 1, &site.address).output().unwrap());
    json(&database.load("yellow", 2021, 2, &site.address).output().unwrap());
    write(folder.path(), "yellow", "2021-02", &gzip(yellow_csv(60, "2021-02").as_bytes()));
    assert_eq!(actions(&plan()), ["skip", "load_again", "not_published"]);
}

/// The variables in which schedulers number the tasks of an array job.
const TASK_NUMBERS: [&str; 4] =
    ["JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID", "AWS_BATCH_JOB_ARRAY_INDEX", "CLOUD_RUN_TASK_INDEX"];

#[test]
fn each_task_of_an_array_job_loads_one_month_of_the_range() {
    let folder = tempfile::tempdir().unwrap();
    let months = ["2021-01", "2021-02", "2021-03"];
    for name in months {
        write(folder.path(), "yellow", name, &gzip(yellow_csv(5, name).as_bytes()));
    }
    let source = folder.path().to_str().unwrap();
    for variable in TASK_NUMBERS {
        let database = Database::new(&format!("array_{}", variable.to_lowercase()));
        let task = |index: usize| {
            let mut command = backfill(&database, "yellow", "2021-01", "2021-03", source);
            command.env(variable, index.to_string()).output().unwrap()
        };
        for (index, month) in months.iter().enumerate() {
            let files = json(&task(index))["files"].clone();
            assert_eq!(files.as_array().unwrap().len(), 1, "{variable}");
            assert_eq!(files[0]["filename"], format!("yellow_tripdata_{month}.csv"), "{variable}");
        }
        assert_eq!(database.value("SELECT count(DISTINCT filename) FROM yellow_tripdata"), "3", "{variable}");
        assert!(refusal(&task(3), 64).contains("no month with the index 3: the range has 3 months"));
    }
}

#[test]
fn the_number_of_a_task_is_never_a_guess() {
    let database = Database::new("array_conflict");
    let source = testdata();
    let run = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = backfill(&database, "yellow", "2021-01", "2021-02", source.to_str().unwrap());
        command.args(options).envs(variables.iter().copied()).output().unwrap()
    };
    let two = [("SLURM_ARRAY_TASK_ID", "0"), ("JOB_COMPLETION_INDEX", "1")];
    let error = refusal(&run(&two, &[]), 64);
    assert!(error.contains("JOB_COMPLETION_INDEX and SLURM_ARRAY_TASK_ID are set"), "{error}");
    assert!(error.contains("use --index"), "{error}");
    let error = refusal(&run(&[("SLURM_ARRAY_TASK_ID", "first")], &[]), 64);
    assert!(error.contains("\"first\" of SLURM_ARRAY_TASK_ID"), "{error}");
    // the option counts more than the variables
    assert_eq!(json(&run(&two, &["--index", "0"]))["files_loaded"], 1);
}

#[test]
fn invalid_ranges_are_refused() {
    let database = Database::new("bad_ranges");
    let source = testdata();
    let refused = |taxi: &str, from: &str, to: &str| {
        refusal(&backfill(&database, taxi, from, to, source.to_str().unwrap()).output().unwrap(), 64)
    };
    assert!(
        refused("yellow", "2021-02", "2021-01")
            .contains("--from 2021-02 is after --to 2021-01: the range contains no months")
    );
    assert!(
        refused("blue", "2021-01", "2021-01").contains("possible values: yellow, green, fhv, fhvhv, all")
    );
    refused("yellow", "2021-13", "latest");
    refused("yellow", "2021-01", "soon");
}

#[test]
fn real_months_are_backfilled_once_and_then_skipped() {
    let Some(folder) = real_data() else { return };
    let database = Database::new("real_backfill");
    let copy = tempfile::tempdir().unwrap();
    for month in ["03", "04", "07", "10"] {
        let name = format!("green/green_tripdata_2020-{month}.csv.gz");
        let bytes = std::fs::read(folder.join(&name)).unwrap();
        write(copy.path(), "green", &format!("2020-{month}"), &bytes);
    }
    let site = Server::folder(copy.path());
    let run = || {
        let began = std::time::Instant::now();
        let output = backfill(&database, "green", "2020-03", "2020-12", &site.address).output().unwrap();
        refusal(&output, 66);
        (result(&output), began.elapsed())
    };
    let counts = |result: &Value| {
        ["files_loaded", "files_skipped", "files_not_published", "rows_inserted"]
            .map(|name| result[name].as_u64().unwrap())
    };
    let (first, first_duration) = run();
    assert_eq!(counts(&first), [4, 0, 6, 223_406 + 35_612 + 72_257 + 95_120]);
    let oracle = std::fs::read_to_string(folder.join("oracle.tsv")).unwrap();
    let check = || {
        for line in oracle.lines().filter(|line| line.starts_with("green")) {
            let fields: Vec<&str> = line.split('\t').collect();
            assert_eq!(database.digest("public.green_tripdata", fields[0]), &fields[1..], "{}", fields[0]);
        }
    };
    check();
    site.take_traffic();
    let (again, duration) = run();
    assert_eq!(counts(&again), [0, 4, 6, 0]);
    assert!(duration < first_duration / 2, "{duration:?} to find nothing to do, {first_duration:?} to load");
    let (requests, bytes) = site.take_traffic();
    let conditional = requests.iter().filter(|request| request.header("If-None-Match").is_some()).count();
    assert_eq!((requests.len(), conditional), (10, 4));
    assert_eq!(bytes, 6 * b"no\n".len(), "the only bodies are those of the missing months");
    check();

    let path = copy.path().join("green/green_tripdata_2020-04.csv.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(gzip(b"")); // another file with the same rows
    std::fs::write(&path, bytes).unwrap();
    let changed = run().0;
    assert_eq!(counts(&changed), [1, 3, 6, 0]);
    assert_eq!(changed["files"][1]["rows_matched"], 35_612);
    check();
    let verify = crate::support::taxi(["verify", "--taxi", "green", "--year", "2020", "--month", "4"])
        .env("DATABASE_URL", &database.url)
        .output()
        .unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}
