//! Compares `taxi load` with the other ways to do the same job, in one run: interleaved, with a fresh target
//! for each loader, reported as medians.
//!
//! `cargo bench --bench side_by_side -- --help` lists the options. Prints a table to stderr and one JSON
//! object to stdout.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a failed benchmark panics, and results are printed"
)]

mod baselines;
#[path = "../../tests/support/http.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod http;
mod month;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use baselines::{Loader, Timed};
use clap::Parser;
use month::Month;
use server::Server;

/// Compares the time of taxi with other loaders: interleaved, a fresh database for each, medians.
#[derive(Parser)]
#[command(name = "cargo bench --bench side_by_side --")]
struct Args {
    /// Load 100,000 rows once instead of 1,370,000 rows three times, to check that the benchmark works
    #[arg(long)]
    short: bool,
    /// Measure only these parts (all parts take half an hour)
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Number of times that each loader loads the month [default: 3, or 1 with --short]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// One month with each loader, on a server with taxi's settings and on one with stock settings
    Month,
    /// One month as Parquet, with taxi and DuckDB, and the same month as CSV
    Parquet,
    /// Peak memory for months of two sizes
    Memory,
    /// 24 months, one after the other
    Growth,
    /// One month, loaded by flows
    Flow,
    /// Backfills with several jobs
    Backfill,
    /// Time that a load spends outside its phases
    Overhead,
}

/// How much to measure.
struct Scale {
    rows: u32,
    rounds: usize,
    growth_months: u32,
    backfill_months: u32,
    limited_months: u32,
    large_rows: Option<u32>,
}

const FULL: Scale = Scale {
    rows: 1_370_000,
    rounds: 3,
    growth_months: 24,
    backfill_months: 12,
    limited_months: 8,
    large_rows: Some(10_000_000),
};
const SHORT: Scale = Scale {
    rows: 100_000,
    rounds: 1,
    growth_months: 6,
    backfill_months: 4,
    limited_months: 4,
    large_rows: None,
};

fn main() {
    let args = Args::parse();
    // without `--bench`, this is a test run of all targets, which must not measure
    if !args.bench {
        return;
    }
    let mut scale = if args.short { SHORT } else { FULL };
    scale.rounds = args.rounds.unwrap_or(scale.rounds);
    let months = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("months-{}", scale.rows));
    let source = http::Server::folder(&months);

    let mut results: BTreeMap<String, f64> = BTreeMap::new();
    let is_selected = |part: Part| args.only.is_empty() || args.only.contains(&part);
    for (name, stock) in [("stock", true), ("tuned", false)] {
        let server = Server::start(stock);
        if is_selected(Part::Month) {
            one_month(&server, &scale, &months, &source.address, name, &mut results);
        }
        if !stock && is_selected(Part::Parquet) {
            parquet(&server, &scale, &months, &source.address, &mut results);
        }
        if !stock && is_selected(Part::Memory) {
            memory(&server, &scale, &mut results);
        }
        if !stock && is_selected(Part::Growth) {
            growth(&server, &scale, &months, &source.address, &mut results);
        }
        if !stock && is_selected(Part::Flow) {
            flows(&server, &scale, &months, &source.address, &mut results);
        }
        if !stock && is_selected(Part::Backfill) {
            backfills(&server, &scale, &months, &mut results);
        }
    }
    if is_selected(Part::Overhead) {
        overhead(&months, &mut results);
    }
    println!("{}", serde_json::to_string(&results).unwrap());
}

/// Loads one month into an empty target, and again into the loaded one, with each loader in turn.
fn one_month(
    server: &Server,
    scale: &Scale,
    months: &Path,
    address: &str,
    name: &str,
    results: &mut BTreeMap<String, f64>,
) {
    let month = Month::nth(0, scale.rows);
    let file = month.write(months);
    let loaders = Loader::available();
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..scale.rounds {
        for loader in &loaders {
            let url = server.fresh_database();
            let first = loader.load(&url, address, &file, &month);
            times.entry(loader.name().to_owned()).or_default().push(first.seconds);
            if let Some(again) = loader.load_again(&url, address, &file, &month) {
                times.entry(format!("{}, again", loader.name())).or_default().push(again.seconds);
            }
        }
    }
    eprintln!("\n{} rows into an empty table, {name} server, medians of {}:", scale.rows, scale.rounds);
    let median_of = |what: &str| times.get(what).map(|seconds| median(seconds));
    for what in times.keys() {
        let seconds = median_of(what).unwrap_or_default();
        // compare first loads with first loads, and repeated loads with repeated loads
        let ours =
            median_of(if what.ends_with("again") { "taxi, again" } else { "taxi" }).unwrap_or_default();
        eprintln!("  {what:<28} {seconds:>7.2} s   taxi / this {:.2}", ours / seconds);
        results.insert(format!("{name}: {what}, seconds"), seconds);
        if !what.starts_with("taxi") || what.contains("plain") {
            results.insert(format!("{name}: taxi / {what}"), ours / seconds);
        }
    }
    if let (Some(plain), Some(reference)) = (median_of("taxi, plain target"), median_of("reference")) {
        eprintln!("  taxi into a plain target / reference: {:.2}", plain / reference);
        results.insert(format!("{name}: taxi, plain target / reference"), plain / reference);
    }
}

/// Loads one month as Parquet into an empty target, and the same rows as CSV.
fn parquet(
    server: &Server,
    scale: &Scale,
    months: &Path,
    address: &str,
    results: &mut BTreeMap<String, f64>,
) {
    let month = Month::nth(0, scale.rows);
    let csv = month.write(months);
    // a folder of its own: the first bytes of the file say what it is, not its name
    let folder = months.join("parquet");
    let file = folder.join("yellow").join(format!("{}.gz", month.filename()));
    if let Err(why) = baselines::write_parquet(&csv, &file) {
        return eprintln!("skipped: Parquet: {why}");
    }
    let named = file.with_extension("parquet");
    std::fs::copy(&file, &named).unwrap();
    let from_folder = format!("{address}/parquet");
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut peak_kib = 0;
    for _ in 0..scale.rounds {
        let ours = Loader::Taxi.load(&server.fresh_database(), &from_folder, &file, &month);
        peak_kib = peak_kib.max(ours.peak_kib);
        times.entry("taxi").or_default().push(ours.seconds);
        let duckdb = Loader::DuckDb.load(&server.fresh_database(), "", &named, &month);
        times.entry("DuckDB").or_default().push(duckdb.seconds);
        let ours = Loader::Taxi.load(&server.fresh_database(), address, &csv, &month);
        times.entry("taxi, the same rows as CSV").or_default().push(ours.seconds);
    }
    eprintln!("\n{} rows of a Parquet file, medians of {}:", scale.rows, scale.rounds);
    let ours = median(&times["taxi"]);
    for (what, seconds) in &times {
        let seconds = median(seconds);
        eprintln!("  {what:<28} {seconds:>7.2} s   taxi / this {:.2}", ours / seconds);
        results.insert(format!("Parquet: {what}, seconds"), seconds);
        if *what != "taxi" {
            results.insert(format!("Parquet: taxi / {what}"), ours / seconds);
        }
    }
    eprintln!("  peak memory of taxi {:.1} MiB", peak_kib as f64 / 1024.0);
    results.insert("Parquet: peak MiB".to_owned(), peak_kib as f64 / 1024.0);
}

/// Loads month after month into one target.
fn growth(server: &Server, scale: &Scale, months: &Path, address: &str, results: &mut BTreeMap<String, f64>) {
    eprintln!("\n{} months into one table, seconds each:", scale.growth_months);
    for loader in [Loader::Taxi, Loader::Reference] {
        let url = server.fresh_database();
        let mut seconds = Vec::new();
        for index in 0..scale.growth_months {
            let month = Month::nth(index, scale.rows);
            let file = month.write(months);
            seconds.push(loader.load(&url, address, &file, &month).seconds);
        }
        let line: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.1}")).collect();
        eprintln!("  {:<10} {}", loader.name(), line.join(" "));
        // the machine's noise is larger than the growth per month, so compare several months of each end
        let edge = (seconds.len() / 4).max(1);
        let ratio = median(&seconds[seconds.len() - edge..]) / median(&seconds[..edge]);
        results.insert(format!("growth: {}, last / first", loader.name()), ratio);
    }
}

/// Loads one month with a flow of shell and SQL tasks, and with the built-in pipeline, as a flow and as `taxi
/// load`.
fn flows(server: &Server, scale: &Scale, months: &Path, address: &str, results: &mut BTreeMap<String, f64>) {
    let month = Month::nth(0, scale.rows);
    let file = month.write(months);
    let programs = tempfile::tempdir().unwrap();
    let wget = programs.path().join("wget");
    std::fs::write(&wget, format!("#!/bin/sh\nexec cat '{}'\n", file.display())).unwrap();
    std::fs::set_permissions(&wget, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let input = |name: &str, value: &str| ["--input".to_owned(), format!("{name}={value}")];
    let own_tasks: Vec<String> = input("taxi", "yellow")
        .into_iter()
        .chain(["--trigger-date".to_owned(), format!("{}-{:02}-01", month.year, month.month)])
        .collect();
    let built_in: Vec<String> = [
        ("taxi", "yellow"),
        ("source", address),
        ("year", &month.year.to_string()),
        ("month", &format!("{:02}", month.month)),
    ]
    .into_iter()
    .flat_map(|(name, value)| input(name, value))
    .collect();
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..scale.rounds {
        let url = server.fresh_database();
        let tasks = baselines::flow(&url, "examples/flows/wget_copy_merge.yaml", &own_tasks, programs.path());
        times.entry("flow of shell and SQL").or_default().push(tasks.seconds);
        let url = server.fresh_database();
        let pipeline = baselines::flow(&url, "pipelines/postgres_taxi.yaml", &built_in, programs.path());
        times.entry("built-in pipeline, taxi run").or_default().push(pipeline.seconds);
        let load = Loader::Taxi.load(&server.fresh_database(), address, &file, &month);
        times.entry("built-in pipeline, taxi load").or_default().push(load.seconds);
    }
    eprintln!("\n{} rows by flows, medians of {}:", scale.rows, scale.rounds);
    let slowest = median(&times["flow of shell and SQL"]);
    for (what, seconds) in &times {
        let median = median(seconds);
        eprintln!("  {what:<28} {median:>7.2} s   of the flow of shell and SQL {:.2}", median / slowest);
        results.insert(format!("flow: {what}, seconds"), median);
    }
}

/// Possible bandwidths of a connection to a distant server.
const LIMITS_BYTES_PER_SECOND: [u64; 2] = [5_000_000, 1_000_000];

/// Runs backfills with one job and with several jobs, in turn: from a source without a bandwidth limit, and
/// from sources that limit each connection.
fn backfills(server: &Server, scale: &Scale, months: &Path, results: &mut BTreeMap<String, f64>) {
    let longest = scale.backfill_months.max(scale.limited_months);
    (0..longest).for_each(|index| _ = Month::nth(index, scale.rows).write(months));
    let mut measure = |limit: Option<u64>, count: u32, jobs: &[u32]| {
        let root = months.to_owned();
        let site = http::Server::answering(move |request| {
            let reply = http::Reply::file(&root, request);
            http::Reply { bytes_per_second: limit, ..reply }
        });
        let what =
            limit.map_or("no limit".to_owned(), |limit| format!("{} MB/s a connection", limit / 1_000_000));
        let (first, last) = (Month::nth(0, scale.rows), Month::nth(count - 1, scale.rows));
        let mut times: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for _ in 0..if limit.is_some() { 1 } else { scale.rounds } {
            for jobs in jobs {
                let timed =
                    baselines::backfill(&server.fresh_database(), &site.address, &first, &last, *jobs);
                times.entry(*jobs).or_default().push(timed.seconds);
            }
        }
        eprintln!("\nbackfill of {count} months of {} rows, {what}:", scale.rows);
        let one = median(&times[&1]);
        for (jobs, seconds) in &times {
            let seconds = median(seconds);
            eprintln!("  --jobs {jobs} {seconds:>7.1} s   of --jobs 1 {:.2}", seconds / one);
            results.insert(format!("backfill, {what}: --jobs {jobs}, seconds"), seconds);
            results.insert(format!("backfill, {what}: --jobs {jobs} / --jobs 1"), seconds / one);
        }
    };
    measure(None, scale.backfill_months, &[1, 2, 4]);
    for limit in LIMITS_BYTES_PER_SECOND {
        measure(Some(limit), scale.limited_months, &[1, 4]);
    }
}

/// Measures the peak memory of the process for months of two sizes.
fn memory(server: &Server, scale: &Scale, results: &mut BTreeMap<String, f64>) {
    eprintln!("\npeak memory of taxi:");
    for rows in [Some(scale.rows), scale.large_rows].into_iter().flatten() {
        let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("months-{rows}"));
        let source = http::Server::folder(&base);
        let month = Month::nth(0, rows);
        let file = month.write(&base);
        let Timed { peak_kib, .. } =
            Loader::Taxi.load(&server.fresh_database(), &source.address, &file, &month);
        eprintln!("  {rows:>10} rows {:>6.1} MiB", peak_kib as f64 / 1024.0);
        results.insert(format!("peak MiB, {rows} rows"), peak_kib as f64 / 1024.0);
    }
}

/// Measures the time that a load spends outside its phases, and the time of `--help`.
fn overhead(months: &Path, results: &mut BTreeMap<String, f64>) {
    let server = Server::start(false);
    let month = Month::nth(0, SHORT.rows);
    let base = months.with_file_name(format!("months-{}", SHORT.rows));
    let file = month.write(&base);
    let source = http::Server::folder(&base);
    let mut outside = Vec::new();
    let mut help = Vec::new();
    for _ in 0..5 {
        let url = server.fresh_database();
        let timed = Loader::Taxi.load(&url, &source.address, &file, &month);
        outside.push(timed.seconds - timed.phases);
        help.push(baselines::time(std::process::Command::new(baselines::TAXI).arg("--help")).seconds);
    }
    eprintln!(
        "\nbesides its phases a load takes {:.0} ms; --help {:.0} ms",
        median(&outside) * 1e3,
        median(&help) * 1e3
    );
    results.insert("overhead, milliseconds".to_owned(), median(&outside) * 1e3);
    results.insert("help, milliseconds".to_owned(), median(&help) * 1e3);
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}
