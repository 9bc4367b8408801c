//! Hostile files and servers cannot fill the memory.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use crate::support::http::{Reply, Server};
use crate::support::month::{YELLOW_HEADER, gzip};
use crate::support::{Database, TAXI, refusal};

const DATA: i32 = 65;
const UNREACHABLE: i32 = 69;

/// Runs a load. Returns its output and its peak memory in MiB.
fn peak_memory(mut load: Command) -> (Output, u64) {
    let child = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let sampler = std::thread::spawn(move || {
        let mut peak_kib = 0;
        // after the process has ended, the line is missing
        while let Some(kib) = std::fs::read_to_string(&status).ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        }) {
            peak_kib = peak_kib.max(kib);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        peak_kib / 1024
    });
    let output = child.wait_with_output().unwrap();
    (output, sampler.join().unwrap())
}

#[test]
fn hostile_files_cannot_fill_the_memory() {
    const PIECE: usize = 32 << 20;
    let database = Database::new("hostile_files");
    let row = |row: &[u8]| [YELLOW_HEADER.as_bytes(), b"\n", row].concat();
    // concatenated gzip members are one file: 32 small ones give a gigabyte
    let bomb = |start: &[u8], filling: u8| [gzip(start), gzip(&vec![filling; PIECE]).repeat(32)].concat();
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("a gigabyte of zeros", bomb(b"", 0), "the line is longer than 1 MiB"),
        ("a gigabyte of blank lines", bomb(&row(b""), b'\n'), "the line is blank"),
        ("a line of a gigabyte", bomb(&row(b"1,"), b'x'), "the line is longer than 1 MiB"),
        ("a cell of a gigabyte", bomb(&row(b"\""), b'x'), "the line is longer than 1 MiB"),
        ("a quoted cell of lines", bomb(&row(b"\""), b'\n'), "the line is longer than 1 MiB"),
        (
            "a header of half a million columns",
            gzip("a,".repeat(500_000).as_bytes()),
            "the header has 500001 columns; expected at most 1600",
        ),
        ("a row of half a million cells", gzip(&row("1,".repeat(500_000).as_bytes())), "found 500001"),
    ];
    for (name, content, expected) in cases {
        let server = Server::new(move |_| Reply::ok(content.clone()));
        let (output, peak_mib) = peak_memory(database.load("yellow", 2021, 1, &server.address));
        let error = refusal(&output, DATA);
        assert!(error.contains(expected), "{name}: {error}");
        eprintln!("{name}: {peak_mib} MiB");
        assert!(peak_mib < 64, "{name}: {peak_mib} MiB");
    }
}

#[test]
fn hostile_servers_cannot_fill_the_memory() {
    let database = Database::new("hostile_servers");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok)
                .find(String::is_empty);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            let endless = format!("X-Header: {}\r\n", "x".repeat(8000)).repeat(100);
            while stream.write_all(endless.as_bytes()).is_ok() {}
        }
    });
    let mut load = database.load("yellow", 2021, 1, &address);
    load.args(["--retries", "1"]);
    let (output, peak_mib) = peak_memory(load);
    let stderr = refusal(&output, UNREACHABLE);
    assert!(stderr.contains("cannot reach") && peak_mib < 64, "{peak_mib} MiB: {stderr}");

    let redirect_loop = Server::new(|path| Reply::status(302).header("Location", path));
    let mut load = database.load("yellow", 2021, 1, &redirect_loop.address);
    let stderr = refusal(&load.output().unwrap(), 78);
    assert!(stderr.contains("redirect"), "{stderr}");
    assert!(redirect_loop.requests().len() < 20, "{TAXI} followed a redirect loop");
}
