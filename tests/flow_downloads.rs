//! `http.Download` downloads as loads do: it resumes, retries, and never mixes bytes of two files.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use crate::support::flows::{run, task, write};
use crate::support::http::{Reply, Request, Server};
use crate::support::{Database, json, refusal};

const UNREACHABLE: i32 = 69;

/// Returns a server that passes each request and its number, counted from 0, to `answer`.
fn server(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::answering(move |request| answer(count.fetch_add(1, Ordering::Relaxed), request))
}

/// Writes a flow that downloads from the server, and copies the file to `copy`.
fn flow(folder: &tempfile::TempDir, server: &Server, copy: &Path) -> std::path::PathBuf {
    let (address, copy) = (&server.address, copy.display());
    write(
        folder,
        &format!(
            "id: download\nnamespace: taxi.tests\ntasks:\n  \
             - {{id: get, type: io.kestra.plugin.core.http.Download, uri: '{address}/data.bin', headers: {{X-Key: k3y}}}}\n  \
             - {{id: keep, type: io.kestra.plugin.scripts.shell.Commands, commands: ['cp {{{{ outputs.get.uri }}}} {copy}']}}\n"
        ),
    )
}

fn content(seed: u8) -> Vec<u8> {
    (0..400_000_u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect()
}

#[test]
fn a_cut_download_of_a_flow_resumes_at_the_byte_where_it_broke() {
    let database = Database::new("flow_resumes");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let (content, piece) = (content(0), 150_000);
    let served = content.clone();
    let site = server(move |_, request| Reply::ranged(&served, "\"a\"", request).cut_at(piece));
    let output = run(&database, &flow(&folder, &site, &copy), &[]).output().unwrap();
    let result = json(&output);
    assert_eq!(task(&result, "get")["outputs"]["length"], content.len());
    assert_eq!(task(&result, "get")["outputs"]["code"], 200);
    assert!(std::fs::read(&copy).unwrap() == content, "the bytes differ");
    let (requests, body_bytes) = site.take_traffic();
    let ranges: Vec<_> = requests.iter().map(|request| request.header("Range")).collect();
    assert_eq!(ranges, [None, Some("bytes=150000-"), Some("bytes=300000-")]);
    assert!(requests[1..].iter().all(|request| request.header("If-Range") == Some("\"a\"")));
    assert!(requests.iter().all(|request| request.header("X-Key") == Some("k3y")));
    assert_eq!(body_bytes, content.len(), "bytes were sent twice");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("resuming at byte 150000 in"), "{stderr}");
}

#[test]
fn a_download_of_a_flow_restarts_if_the_file_changes() {
    let database = Database::new("flow_restarts");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let (old, new) = (content(1), content(2));
    let served = new.clone();
    let site = server(move |count, request| match count {
        0 => Reply::ok(old.clone()).header("ETag", "\"a\"").cut_at(200_000),
        _ => Reply::ranged(&served, "\"b\"", request),
    });
    let output = run(&database, &flow(&folder, &site, &copy), &[]).output().unwrap();
    json(&output);
    assert!(std::fs::read(&copy).unwrap() == new, "bytes of two files are mixed");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("the file has changed at the source; restarting the download"), "{stderr}");
}

#[test]
fn timeout_and_retries_of_the_source_apply_to_the_downloads_of_a_flow() {
    let database = Database::new("flow_download_limits");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let silent = server(|_, _| Reply::ok(content(0)).stalling_at(100));
    let began = Instant::now();
    let limits = ["--source-timeout", "500ms", "--retries", "1"];
    let output = run(&database, &flow(&folder, &silent, &copy), &limits).output().unwrap();
    let stderr = refusal(&output, UNREACHABLE);
    assert!(stderr.contains("received no data for 500ms"), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}: {stderr}", began.elapsed());
    assert_eq!(silent.requests().len(), 2, "one attempt and one retry");

    let busy = server(|count, _| if count < 2 { Reply::status(503) } else { Reply::ok(content(0)) });
    let path = flow(&folder, &busy, &copy);
    refusal(&run(&database, &path, &["--retries", "0"]).output().unwrap(), UNREACHABLE);
    assert_eq!(busy.requests().len(), 1);
    json(&run(&database, &path, &["--retries", "1"]).output().unwrap());
    assert_eq!(busy.requests().len(), 3);

    let missing = server(|_, _| Reply::status(404));
    refusal(&run(&database, &flow(&folder, &missing, &copy), &[]).output().unwrap(), 66);
    assert_eq!(missing.requests().len(), 1, "a retry cannot fix a missing file");
}

#[test]
fn a_download_of_a_flow_without_its_announced_digest_is_an_error() {
    let database = Database::new("flow_digest");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let digest = |content: &[u8]| format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(content)));
    for (announced, code) in [(content(0), 0), (content(1), 65)] {
        let digest = digest(&announced);
        let site = server(move |_, _| Reply::ok(content(0)).header("Repr-Digest", &digest));
        let output = run(&database, &flow(&folder, &site, &copy), &[]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert_eq!(stderr.contains("has the wrong SHA-256"), code == 65, "{stderr}");
    }
}
