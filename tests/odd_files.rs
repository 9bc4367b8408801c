//! Files that differ from the published form in ways that cannot lose or alter a row: they load as they are, or with
//! the option that the error names.

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_HEADER, YELLOW_ROW, gzip, write, yellow_csv};
use crate::support::targets::spawn;
use crate::support::{Database, json, refusal, wait_until};

const DATA: i32 = 65;

/// Loads `bytes` as the file of yellow 2021-01. Returns the output; the folder is gone afterwards.
fn load(database: &Database, bytes: &[u8], options: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "yellow", "2021-01", bytes);
    let mut command = database.reload("yellow", 2021, 1, folder.path().to_str().unwrap());
    command.args(options).output().unwrap()
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn files_that_lose_nothing_load_with_a_notice() {
    let database = Database::new("odd_files");
    let rows = |end: &str, cells: &str| format!("{YELLOW_ROW}{cells}{end}{YELLOW_ROW}{cells}{end}");
    let spaced = YELLOW_HEADER.replace(',', " , ");
    let mut is_first = true;
    for (what, bytes, notice) in [
        (
            "not compressed",
            format!("{YELLOW_HEADER}\r\n{}", rows("\r\n", "")).into_bytes(),
            Some("is not compressed"),
        ),
        (
            "empty cells",
            gzip(format!("{YELLOW_HEADER}\r\n{}", rows("\r\n", ",,")).as_bytes()),
            Some("left out empty cells after the last column, in 2 rows"),
        ),
        (
            "header with LF, rows with CR LF",
            gzip(format!("{YELLOW_HEADER}\n{}", rows("\r\n", "")).as_bytes()),
            None,
        ),
        ("spaces in the header", gzip(format!("{spaced}\n{}", rows("\n", "")).as_bytes()), None),
        (
            "a byte order mark, not compressed",
            format!("\u{feff}{YELLOW_HEADER}\n{}", rows("\n", "")).into_bytes(),
            Some("is not compressed"),
        ),
    ] {
        let output = load(&database, &bytes, &[]);
        let loaded = json(&output);
        assert_eq!(loaded["rows_staged"], 2, "{what}");
        // the same two rows every time, so that an altered one would be inserted
        assert_eq!(loaded["rows_inserted"], if std::mem::take(&mut is_first) { 2 } else { 0 }, "{what}");
        let said = stderr(&output);
        assert!(notice.is_none_or(|notice| said.contains(notice)), "{what}: {said}");
    }
    let plain = format!("{YELLOW_HEADER}\n{}", rows("\n", ""));
    let error = refusal(&load(&database, plain.trim_end().as_bytes(), &[]), DATA);
    assert!(error.contains("is not compressed and has no line end at its end"), "{error}");
    let server = Server::new(move |_| Reply::ok(plain.clone().into_bytes()).chunked());
    let error = refusal(&database.reload("yellow", 2021, 1, &server.address).output().unwrap(), DATA);
    assert!(error.contains("is not compressed, and the source does not announce its length"), "{error}");
    let extra = gzip(format!("{YELLOW_HEADER}\r\n{YELLOW_ROW},,\r\n{YELLOW_ROW},,7\r\n").as_bytes());
    let error = refusal(&load(&database, &extra, &[]), DATA);
    assert!(error.contains("line 3: expected 18 cells as in the header, found 20"), "{error}");
}

#[test]
fn blank_lines_are_skipped_on_request_and_counted_as_lines() {
    let database = Database::new("blank_lines");
    for (header_end, end) in [("\n", "\r\n"), ("\r\n", "\r\n"), ("\n", "\n")] {
        let file = |last: &str| {
            gzip(format!("{YELLOW_HEADER}{header_end}{end}{YELLOW_ROW}{end}{end}{end}{last}{end}").as_bytes())
        };
        let error = refusal(&load(&database, &file(YELLOW_ROW), &[]), DATA);
        assert!(
            error.contains("line 2: the line is blank") && error.contains("--blank-lines skip"),
            "{error}"
        );
        let loaded = json(&load(&database, &file(YELLOW_ROW), &["--blank-lines", "skip"]));
        assert_eq!(loaded["rows_staged"], 2);
        let error = refusal(&load(&database, &file("1,2"), &["--blank-lines", "skip"]), DATA);
        assert!(error.contains("line 6: expected 18 cells"), "{header_end:?} {end:?}: {error}");
    }
}

#[test]
fn new_columns_are_refused_ignored_or_added() {
    let database = Database::new("new_columns");
    let file =
        gzip(format!("{YELLOW_HEADER},Surprise_fee,note\n{YELLOW_ROW},0.75,\n{YELLOW_ROW},1,x\n").as_bytes());
    let error = refusal(&load(&database, &file, &[]), DATA);
    assert!(error.contains("unknown column \"Surprise_fee\" at position 19"), "{error}");
    assert!(error.contains("--new-columns ignore") && error.contains("--new-columns add"), "{error}");
    let ignored = load(&database, &file, &["--new-columns", "ignore"]);
    assert_eq!(json(&ignored)["rows_inserted"], 2);
    assert!(stderr(&ignored).contains("Surprise_fee, note"), "{ignored:?}");
    let added = load(&database, &file, &["--new-columns", "add", "--if-loaded", "replace"]);
    assert_eq!(json(&added)["rows_inserted"], 2);
    assert!(stderr(&added).contains("added columns to public.yellow_tripdata"), "{added:?}");
    let values = "SELECT string_agg(concat_ws(' ', surprise_fee, note), ',' ORDER BY surprise_fee) FROM yellow_tripdata";
    assert_eq!(database.value(values), "0.75,1 x");
    // from now on, the table has the columns, and a file without them leaves them NULL
    let without = gzip(format!("{YELLOW_HEADER}\n{}\n", YELLOW_ROW.replace(",142,", ",9,")).as_bytes());
    assert_eq!(json(&load(&database, &without, &[]))["rows_inserted"], 1);
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata WHERE note IS NULL"), "2");
    let unnamed = gzip(format!("{YELLOW_HEADER},\n{YELLOW_ROW},7\n").as_bytes());
    let error = refusal(&load(&database, &unnamed, &["--new-columns", "add"]), DATA);
    assert!(error.contains("cannot add a column with the name \"\""), "{error}");
    // a file that is refused for another reason adds nothing
    let columns =
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'yellow_tripdata'::regclass AND attnum > 0";
    let before = database.value(columns);
    let refused = gzip(
        format!("{},surprise\n{YELLOW_ROW},7\n", YELLOW_HEADER.replace("PULocationID", "zone")).as_bytes(),
    );
    let error = refusal(&load(&database, &refused, &["--new-columns", "add"]), DATA);
    assert!(error.contains("the row key uses the column \"PULocationID\""), "{error}");
    assert_eq!(database.value(columns), before);
}

#[test]
fn adding_a_column_waits_for_readers_up_to_the_lock_timeout() {
    let database = Database::new("new_column_locked");
    let file = gzip(format!("{YELLOW_HEADER},note\n{YELLOW_ROW},x\n").as_bytes());
    json(&load(&database, &gzip(format!("{YELLOW_HEADER}\n{YELLOW_ROW}\n").as_bytes()), &[]));
    let reader = Database::connect(database.url.clone(), String::new());
    reader.sql("BEGIN; SELECT count(*) FROM yellow_tripdata");
    let error = refusal(&load(&database, &file, &["--new-columns", "add", "--lock-timeout", "2s"]), 75);
    assert!(error.contains("cannot add column \"note\" to table public.yellow_tripdata"), "{error}");
    reader.sql("COMMIT");
    json(&load(&database, &file, &["--new-columns", "add"]));
}

#[test]
fn a_column_is_added_between_loads_and_not_during_one() {
    let database = Database::new("new_column_meanwhile");
    let content = gzip(yellow_csv(30_000, "2021-01").as_bytes());
    let server = Server::new(move |_| Reply::ok(content.clone()).at_most(200_000));
    let slow = spawn(&mut database.load("yellow", 2021, 1, &server.address));
    let is_copying = "SELECT count(*) > 0 FROM pg_stat_progress_copy WHERE datname = current_database()";
    wait_until("the first month is copied", || database.value(is_copying) == "t");
    let folder = tempfile::tempdir().unwrap();
    let second = yellow_csv(1000, "2021-02")
        .replacen("\r\n", ",fee\r\n", 1)
        .replace(",11.8,2.5\r\n", ",11.8,2.5,7\r\n");
    write(folder.path(), "yellow", "2021-02", &gzip(second.as_bytes()));
    let mut add = database.load("yellow", 2021, 2, folder.path().to_str().unwrap());
    json(&add.args(["--new-columns", "add"]).output().unwrap());
    json(&slow.wait_with_output().unwrap());
    assert_eq!(database.value("SELECT count(*) || ' ' || count(fee) FROM yellow_tripdata"), "31000 1000");
}
