//! A download resumes where it broke, fails when its retries are used up, and never accepts bytes of another
//! file.

use std::net::TcpListener;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use crate::support::http::{Reply, Request, Server};
use crate::support::month::{YELLOW_HEADER, YELLOW_ROW, gzip};
use crate::support::{Database, STAGING_TABLES, json, month, refusal, taxi};

const DATA: i32 = 65;
const UNREACHABLE: i32 = 69;
const ROWS: u32 = 20_000;
const CSV: &str = "yellow_tripdata_2021-01.csv";

/// Loads from a server that passes each request and its number, counted from 0, to `answer`.
fn load(
    database: &Database,
    options: &[&str],
    answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
) -> (Output, Vec<Request>, usize) {
    let count = AtomicUsize::new(0);
    let server = Server::answering(move |request| answer(count.fetch_add(1, Ordering::Relaxed), request));
    let output = database.load("yellow", 2021, 1, &server.address).args(options).output().unwrap();
    let (requests, body_bytes) = server.take_traffic();
    (output, requests, body_bytes)
}

/// Returns the digest of the month after a load without faults.
fn expected_digest(name: &str, content: &[u8]) -> Vec<String> {
    let database = Database::new(name);
    let content = content.to_vec();
    let (output, ..) = load(&database, &[], move |_, _| Reply::ok(content.clone()));
    json(&output);
    database.digest("yellow_tripdata", CSV)
}

#[test]
fn a_cut_download_resumes_at_the_byte_where_it_broke() {
    let database = Database::new("resumed");
    let content = month::yellow(ROWS);
    let (length, piece) = (content.len(), content.len() / 4 + 1);
    let served = content.clone();
    let (output, requests, body_bytes) =
        load(&database, &[], move |_, request| Reply::ranged(&served, "\"a\"", request).cut_at(piece));
    let loaded = json(&output);
    assert_eq!((&loaded["rows_inserted"], &loaded["bytes_downloaded"]), (&ROWS.into(), &length.into()));
    let ranges: Vec<_> = requests.iter().map(|request| request.header("Range")).collect();
    let from = |times: usize| format!("bytes={}-", times * piece);
    assert_eq!(ranges, [None, Some(&*from(1)), Some(&*from(2)), Some(&*from(3))]);
    assert_eq!(body_bytes, length, "bytes were sent twice");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("was interrupted: ") && stderr.contains(&format!("resuming at byte {piece} in")));
    assert_eq!(database.digest("yellow_tripdata", CSV), expected_digest("resumed_reference", &content));
}

#[test]
fn a_server_without_range_support_sends_the_whole_file_again() {
    let database = Database::new("resent");
    let content = month::yellow(ROWS);
    let served = content.clone();
    // without ETag and Last-Modified, the bytes that are sent again are compared by their digest
    let (output, requests, _) = load(&database, &[], move |count, _| match count {
        0 => Reply::ok(served.clone()).cut_at(served.len() / 2),
        1 => Reply::ok(served.clone()).cut_at(served.len() / 3),
        _ => Reply::ok(served.clone()),
    });
    json(&output);
    assert_eq!(requests.len(), 3);
    assert_eq!(database.digest("yellow_tripdata", CSV), expected_digest("resent_reference", &content));
}

#[test]
fn a_file_that_changes_during_its_download_is_downloaded_from_the_start() {
    // more than a chunk, so that rows of the old file are staged when it changes
    let (old, new) = (month::yellow(150_000), month::yellow(ROWS));
    let reference = expected_digest("changed_reference", &new);
    let cases: [(&str, &str, u16); 4] = [
        ("tagged", "\"b\"", 200),
        ("untagged", "", 200),
        ("partly", "\"b\"", 206),
        ("shorter", "\"b\"", 416),
    ];
    for (name, etag, status) in cases {
        let database = Database::new(&format!("changed_{name}"));
        let (old, new) = (old.clone(), new.clone());
        let tagged = move |reply: Reply, etag: &str| match etag {
            "" => reply,
            etag => reply.header("ETag", etag),
        };
        let (output, requests, _) = load(&database, &[], move |count, _| match (count, status) {
            (0, _) => tagged(
                Reply::ok(old.clone()).cut_at(old.len() * 2 / 3),
                if etag.is_empty() { "" } else { "\"a\"" },
            ),
            (1, 206) => tagged(Reply { status, ..Reply::ok(new.clone()) }, etag)
                .header("Content-Range", "bytes 5-9/10"),
            (1, 416) => Reply::status(416),
            _ => tagged(Reply::ok(new.clone()), etag),
        });
        let loaded = json(&output);
        assert_eq!(loaded["rows_inserted"], ROWS, "{name}");
        assert_eq!(requests.len(), 3, "{name}: the cut download, the request for the rest, the new download");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            stderr.contains("the file has changed at the source; restarting the load"),
            "{name}: {stderr}"
        );
        assert_eq!(database.digest("yellow_tripdata", CSV), reference, "{name}");
        assert_eq!(
            database
                .sql("SELECT status, coalesce(source_etag, '') FROM taxi_etl.runs ORDER BY sequence DESC")[0],
            ["succeeded", etag],
            "{name}"
        );
        assert_eq!(
            database.value("SELECT string_agg(status, ' ' ORDER BY sequence) FROM taxi_etl.runs"),
            "failed succeeded"
        );
        assert_eq!(database.value(STAGING_TABLES), "0", "{name}");
    }
}

#[test]
fn a_file_that_keeps_changing_fails_the_load() {
    let database = Database::new("ever_changing");
    let content = month::yellow(ROWS);
    let (output, requests, _) = load(&database, &["--retries", "2"], move |count, request| {
        Reply::ranged(&content, &format!("\"{count}\""), request).cut_at(content.len() / 2)
    });
    let stderr = refusal(&output, UNREACHABLE);
    assert!(stderr.contains("the file has changed at the source"), "{stderr}");
    assert_eq!(requests.len(), 6, "three attempts of two requests: the file, and the rest of a changed file");
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0");
}

#[test]
fn a_file_that_changes_and_then_vanishes_is_recorded_as_failed() {
    let database = Database::new("changed_and_gone");
    let content = month::yellow(ROWS);
    let (output, requests, _) = load(&database, &[], move |count, _| match count {
        0 => Reply::ok(content.clone()).header("ETag", "\"a\"").cut_at(content.len() / 2),
        1 => Reply::ok(content.clone()).header("ETag", "\"b\""),
        _ => Reply::status(404),
    });
    refusal(&output, 66);
    assert_eq!(requests.len(), 3);
    assert_eq!(database.value("SELECT string_agg(status, ' ') FROM taxi_etl.runs"), "failed");
}

#[test]
fn parts_of_different_files_are_never_mixed() {
    let (old, new) = (month::yellow(ROWS), month::yellow(ROWS + 1));
    let reference = expected_digest("parts_reference", &new);
    let dates = ["Sat, 21 Nov 2026 07:00:00 GMT", "Sat, 21 Nov 2026 08:00:00 GMT"];
    // a server without ETags that ignores If-Range
    let database = Database::new("parts_dated");
    let (served, served_new) = (old.clone(), new.clone());
    let (output, ..) = load(&database, &[], move |count, request| match (count, request.header("Range")) {
        (0, _) => Reply::ok(served.clone()).header("Last-Modified", dates[0]).cut_at(served.len() / 2),
        (_, None) => Reply::ok(served_new.clone()).header("Last-Modified", dates[1]),
        (_, Some(range)) => {
            let from: usize = range["bytes=".len()..range.len() - 1].parse().unwrap();
            let range = format!("bytes {from}-{}/{}", served_new.len() - 1, served_new.len());
            let reply = Reply { status: 206, ..Reply::ok(served_new[from..].to_vec()) };
            reply.header("Content-Range", &range).header("Last-Modified", dates[1])
        }
    });
    json(&output);
    assert_eq!(database.digest("yellow_tripdata", CSV), reference, "old and new bytes were mixed");

    // a weak ETag does not guarantee equal bytes, so no range is requested
    let database = Database::new("parts_weak");
    let served = new.clone();
    let (output, requests, _) = load(&database, &[], move |count, _| {
        let reply = Reply::ok(served.clone()).header("ETag", "W/\"a\"").header("Last-Modified", dates[0]);
        if count == 0 { reply.cut_at(served.len() / 2) } else { reply }
    });
    json(&output);
    assert_eq!(requests[1].header("Range"), None);

    // a server that does not send the length, and sends a part of the file at a time
    let database = Database::new("parts_unknown_length");
    let (served, length) = (new.clone(), new.len());
    let (output, requests, _) = load(&database, &[], move |count, request| {
        let reply = Reply::ranged(&served, "\"a\"", request);
        match count {
            0 => reply.chunked().cut_at(length / 3),
            1 => reply.cut_at(length / 3),
            _ => reply,
        }
    });
    json(&output);
    assert_eq!(requests.len(), 3);
    assert_eq!(database.digest("yellow_tripdata", CSV), reference);

    // all bytes arrive, but the end of the chunked body is missing
    let database = Database::new("parts_no_end");
    let served = new.clone();
    let (output, requests, _) = load(&database, &[], move |count, request| match count {
        0 => Reply::ranged(&served, "\"a\"", request).chunked().cut_at(length),
        _ => Reply::status(416).header("Content-Range", &format!("bytes */{length}")),
    });
    json(&output);
    assert_eq!(requests.len(), 2);
    assert_eq!(database.digest("yellow_tripdata", CSV), reference);
}

#[test]
fn transient_errors_are_retried_and_permanent_errors_are_not() {
    let database = Database::new("retried");
    let content = month::yellow(100);
    let served = content.clone();
    let (output, requests, _) = load(&database, &[], move |count, _| match count {
        0 => Reply::status(503),
        1 => Reply::status(429).header("Retry-After", "1"),
        _ => Reply::ok(served.clone()),
    });
    assert_eq!(json(&output)["rows_inserted"], 100);
    assert_eq!(requests.len(), 3);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("returned 503 Service Unavailable; retrying in 0."), "{stderr}");
    assert!(stderr.contains("returned 429 Too Many Requests; retrying in 1.0 s"), "{stderr}");

    // a loop of redirects ends
    let (output, requests, _) =
        load(&database, &["--force"], move |_, request| Reply::status(302).header("Location", &request.path));
    let stderr = refusal(&output, 78);
    assert!(
        stderr.contains("more than 10 redirects") && requests.len() == 11,
        "{}: {stderr}",
        requests.len()
    );
    for (status, code, expected_requests) in [
        (500, UNREACHABLE, 3),
        (404, 66, 1),
        (403, 77, 1),
        (400, 78, 1),
        (501, 78, 1),
        // responses without the whole file: accepted but not ready, empty, a part, and a 304 to an unconditional
        // request
        (202, 78, 1),
        (204, 78, 1),
        (206, 78, 1),
        (304, 78, 1),
    ] {
        let (output, requests, _) =
            load(&database, &["--force", "--retries", "2"], move |_, _| Reply::status(status));
        refusal(&output, code);
        assert_eq!(requests.len(), expected_requests, "{status}");
    }
    // each connection brings only a few bytes, which does not reset the number of retries
    let (output, requests, _) = load(&database, &["--force", "--retries", "3"], move |_, request| {
        Reply::ranged(&content, "\"a\"", request).cut_at(10)
    });
    let stderr = refusal(&output, UNREACHABLE);
    assert!(stderr.contains("was interrupted"), "{stderr}");
    assert_eq!(requests.len(), 4);
}

#[test]
fn a_redirect_to_a_signed_url_is_resolved_again_for_each_request() {
    let database = Database::new("signed_addresses");
    let content = month::yellow(ROWS);
    let (issued, used) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let latest = Arc::clone(&issued);
    let storage = Server::answering(move |request| {
        // each signature is valid once
        let token: usize = request.path.rsplit_once('=').unwrap().1.parse().unwrap();
        let fresh = token == latest.load(Ordering::Relaxed) && used.swap(token, Ordering::Relaxed) != token;
        match fresh {
            true => Reply::ranged(&content, "\"a\"", request).cut_at(content.len() / 3 + 1),
            false => Reply::status(403),
        }
    });
    let target = storage.address.clone();
    let (output, requests, _) = load(&database, &[], move |_, request| {
        let token = issued.fetch_add(1, Ordering::Relaxed) + 1;
        Reply::status(302).header("Location", &format!("{target}{}?signature={token}", request.path))
    });
    assert_eq!(json(&output)["rows_inserted"], ROWS);
    assert_eq!(requests.len(), 3);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("signature="), "a signature is a secret");
}

#[test]
fn user_and_password_of_the_source_are_sent_to_that_server_only_and_never_shown() {
    let database = Database::new("source_password");
    let content = month::yellow(ROWS);
    let storage = Server::answering(move |request| match request.header("Authorization") {
        Some(_) => Reply::status(400),
        None => Reply::ok(content.clone()),
    });
    let target = storage.address.clone();
    let server = Server::answering(move |request| {
        // reader:p@ss
        match request.header("Authorization") == Some("Basic cmVhZGVyOnBAc3M=") {
            true => Reply::status(302).header("Location", &format!("{target}{}", request.path)),
            false => Reply::status(401),
        }
    });
    let with = |user: &str| server.address.replace("http://", &format!("http://{user}@"));
    let output = database.load("yellow", 2021, 1, &with("reader:p%40ss")).output().unwrap();
    assert_eq!(json(&output)["rows_inserted"], ROWS);
    let error = refusal(&database.load("yellow", 2021, 2, &with("reader:wrong")).output().unwrap(), 77);
    assert!(error.contains("401") && !error.contains("wrong"), "{error}");
    let recorded = database.value("SELECT string_agg(runs::text, ' ') FROM taxi_etl.runs");
    assert!(!recorded.contains("p%40ss") && !recorded.contains("wrong"), "{recorded}");
}

#[test]
fn silent_and_slow_sources_time_out() {
    let database = Database::new("stalled");
    let content = month::yellow(ROWS);
    let served = content.clone();
    let (output, requests, _) = load(&database, &["--source-timeout", "2s"], move |count, request| {
        let reply = Reply::ranged(&served, "\"a\"", request);
        if count == 0 { reply.stalling_at(served.len() / 2) } else { reply }
    });
    assert_eq!(json(&output)["rows_inserted"], ROWS);
    assert_eq!(requests.len(), 2);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("received no data for 2s; resuming at byte"), "{stderr}");

    let limits = ["--force", "--source-timeout", "2s", "--retries", "1"];
    let (output, ..) = load(&database, &limits, move |_, _| Reply::ok(content.clone()).at_most(100));
    let stderr = refusal(&output, UNREACHABLE);
    assert!(stderr.contains("the server sent only"), "{stderr}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let stderr =
        refusal(&database.load("yellow", 2021, 1, &address).args(limits).output().unwrap(), UNREACHABLE);
    assert!(stderr.contains("no response within 2s"), "{stderr}");
}

/// Makes the reply of a server from the content of the file.
type Answer = Box<dyn Fn(&[u8]) -> Reply + Send + Sync>;

#[test]
fn a_body_with_the_wrong_length_or_digest_is_refused() {
    let database = Database::new("other_bodies");
    let content = month::yellow(ROWS);
    let refused = |code, expected: &str, answer: Answer| {
        let content = content.clone();
        let (output, ..) = load(&database, &["--retries", "1"], move |_, _| answer(&content));
        let error = refusal(&output, code);
        assert!(error.contains(expected), "{expected:?} is missing: {error}");
        assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0");
    };
    // bytes after the announced length are not part of the body, so the file is cut short
    refused(
        DATA,
        "is truncated",
        Box::new(|content| Reply::ok(content.to_vec()).announcing(content.len() - 9)),
    );
    refused(
        UNREACHABLE,
        "was interrupted",
        Box::new(|content| Reply::ok(content.to_vec()).announcing(content.len() + 9)),
    );
    let digest = |content: &[u8]| format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(content)));
    refused(
        DATA,
        "has the wrong SHA-256",
        Box::new(move |content| Reply::ok(content.to_vec()).header("Repr-Digest", &digest(b"another"))),
    );
    let served = content.clone();
    let (output, ..) =
        load(&database, &[], move |_, _| Reply::ok(served.clone()).header("Repr-Digest", &digest(&served)));
    assert_eq!(json(&output)["sha256"], hex::encode(Sha256::digest(&content)));
}

#[test]
fn a_flow_can_pin_the_file_and_allow_rejects() {
    let database = Database::new("pinned_file");
    let folder = tempfile::tempdir().unwrap();
    let content = gzip(format!("{YELLOW_HEADER}\n{YELLOW_ROW}\n1,2\n").as_bytes());
    std::fs::write(folder.path().join("month.csv.gz"), &content).unwrap();
    let run = |sha256: &str, rejects: &str| {
        let flow = format!(
            "id: pinned\nnamespace: test\ntasks:\n  \
             - {{id: create, type: taxi.postgresql.CreateTables, sql: yellow_tripdata.sql, table: public.yellow_tripdata}}\n  \
             - {{id: load, type: taxi.postgresql.Load, from: '{}/month.csv.gz', table: public.yellow_tripdata, \
                timeColumn: tpep_pickup_datetime, period: 2021-01, \
                sha256: '{sha256}', maxRejects: '{rejects}', filename: f.csv, filenameColumn: filename, \
                rowKeyColumn: unique_row_id, rowKey: [VendorID, tpep_pickup_datetime]}}\n",
            folder.path().display()
        );
        let path = folder.path().join("flow.yaml");
        std::fs::write(&path, flow).unwrap();
        let mut command = taxi(["run", "--output", "json"]);
        command.arg(path).env("DATABASE_URL", &database.url).output().unwrap()
    };
    let correct = hex::encode(Sha256::digest(&content));
    let error = refusal(&run(&"0".repeat(64), "1"), DATA);
    assert!(
        error.contains("has the wrong SHA-256: expected 000") && error.contains(&format!("found {correct}")),
        "{error}"
    );
    let error = refusal(&run(&correct, "0"), DATA);
    assert!(error.contains("line 3: expected 18 cells as in the header, found 2"), "{error}");
    let error = refusal(&run("abc", "0"), 78);
    assert!(error.contains("invalid SHA-256 \"abc\": expected 64 hexadecimal digits"), "{error}");
    let error = refusal(&run(&correct, "10001"), 78);
    assert!(
        error.contains("invalid number of rows \"10001\": expected a whole number up to 10000"),
        "{error}"
    );
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "0");
    json(&run(&correct, "1"));
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "1");
}
