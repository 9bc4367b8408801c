//! `taxi drift`: what changes in the columns of the published files, read from footers and headers alone.

use std::process::Command;

use serde_json::Value;

use crate::support::http::{Reply, Request, Server};
use crate::support::{json, refusal, taxi, testdata};

const DATA: i32 = 65;
const NOT_PUBLISHED: i32 = 66;
const CONFIGURATION: i32 = 78;

fn drift(from: &str, to: &str, source: &str, output: &str) -> Command {
    taxi(["drift", "--taxi", "green", "--from", from, "--to", to, "--source", source, "--output", output])
}

fn parquet(name: &str) -> Vec<u8> {
    std::fs::read(testdata().join("parquet").join(name)).unwrap()
}

/// The file with `hole` bytes before its footer, as if its data were so much longer.
fn enlarged(file: &[u8], hole: usize) -> Vec<u8> {
    let end = file.len() - 8;
    let footer = end - u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize;
    [&file[..footer], &vec![0; hole], &file[footer..]].concat()
}

/// The part of the content that the request names: its end, or a range.
fn part(content: &[u8], request: &Request) -> Reply {
    let Some(range) = request.header("Range") else { return Reply::ok(content.to_vec()) };
    let (from, to) = range["bytes=".len()..].split_once('-').unwrap();
    let (from, to) = match from {
        "" => (content.len().saturating_sub(to.parse().unwrap()), content.len()),
        from => (from.parse().unwrap(), content.len().min(to.parse::<usize>().unwrap() + 1)),
    };
    Reply { status: 206, ..Reply::ok(content[from..to].to_vec()) }
        .header("Content-Range", &format!("bytes {from}-{}/{}", to - 1, content.len()))
}

/// The changes as `month: kind column before after`.
fn changes(report: &Value) -> Vec<String> {
    let word = |change: &Value, name: &str| change[name].as_str().unwrap_or("-").to_owned();
    let line = |change: &Value| {
        let month = word(change, "filename")["green_tripdata_".len()..][..7].to_owned();
        let words = ["change", "column", "before", "after"].map(|name| word(change, name));
        format!("{month}: {}", words.join(" "))
    };
    report["changes"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_report_of_two_years_reads_the_footers_and_no_data() {
    const HOLE: usize = 2_000_000;
    let files = ["same/until_2023.parquet", "same/since_2023.parquet", "more/fee.parquet"];
    let files = files.map(|name| enlarged(&parquet(name), HOLE));
    let server = Server::answering(move |request| {
        match request.path.trim_start_matches("/trip-data/green_tripdata_").trim_end_matches(".parquet") {
            "2022-05" => {
                Reply { status: 403, ..Reply::ok(b"<Error><Code>AccessDenied</Code></Error>".to_vec()) }
            }
            month if month < "2023-02" => part(&files[0], request),
            month if month < "2023-06" => part(&files[1], request),
            _ => part(&files[2], request),
        }
        .at_most(5_000_000)
    });
    let source = format!("{}/trip-data/{{taxi}}_tripdata_{{year}}-{{month}}.parquet", server.address);
    let report = json(&drift("2022-01", "2023-12", &source, "json").output().unwrap());
    let (requests, body_bytes) = server.take_traffic();
    assert_eq!(requests.len(), 24);
    assert!(body_bytes <= 24 * 64 * 1024, "{body_bytes} bytes were sent");
    assert_eq!(report["bytes_read"], 23 * 64 * 1024);
    assert_eq!(report["not_published"], serde_json::json!(["green_tripdata_2022-05.parquet"]));
    let found = changes(&report);
    for change in ["2023-02: type VendorID int64 int32", "2023-06: added cbd_congestion_fee - double"] {
        assert!(found.iter().any(|found| found == change), "no {change:?} in {found:?}");
    }
    assert!(
        found.iter().all(|change| change.starts_with("2023-02: ") || change.starts_with("2023-06: ")),
        "{found:?}"
    );
    let first = &report["files"][0];
    assert_eq!(
        (&first["filename"], &first["format"], &first["rows"]),
        (&"green_tripdata_2022-01.parquet".into(), &"parquet".into(), &120.into())
    );
}

#[test]
fn files_of_both_formats_and_other_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().to_str().unwrap();
    let save = |name: &str, content: &[u8]| std::fs::write(dir.path().join(name), content).unwrap();
    refusal(&drift("2020-02", "2020-04", source, "json").output().unwrap(), NOT_PUBLISHED);
    std::fs::copy(
        testdata().join("green/green_tripdata_2020-03.csv.gz"),
        dir.path().join("green_tripdata_2020-03.csv.gz"),
    )
    .unwrap();
    save("green_tripdata_2020-04.parquet", &parquet("same/plain.parquet"));
    let output = drift("2020-02", "2020-04", source, "text").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words, ["green_tripdata_2020-04.parquet", "format", "csv", "parquet"], "{text}");
    for part in ["not published: green_tripdata_2020-02.csv", "1 change of 2 files"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }

    save("green_tripdata_2020-05.parquet", b"<Error><Code>AccessDenied</Code></Error>");
    save("green_tripdata_2020-06.parquet", &parquet("same/plain.parquet")[..5000]);
    let output = drift("2020-03", "2020-06", source, "json").output().unwrap();
    let error = refusal(&output, DATA);
    for part in [
        "2 of 4 files cannot be read",
        "it looks like a web page or an XML error message",
        "does not end as a Parquet file",
    ] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    assert_eq!(changes(&serde_json::from_slice(&output.stdout).unwrap()), ["2020-04: format - csv parquet"]);

    let whole = enlarged(&parquet("same/plain.parquet"), 200_000);
    let server = Server::new(move |_| Reply::ok(whole.clone()));
    let source = format!("{}/{{year}}-{{month}}.parquet", server.address);
    let error = refusal(&drift("2020-03", "2020-03", &source, "json").output().unwrap(), CONFIGURATION);
    assert!(error.contains("sends whole files"), "{error}");
}
