//! The loaders to compare. Each one runs as its users run it: as whole processes, from the gzipped file to
//! the last commit.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use crate::month::{HEADER, Month};

pub(crate) const TAXI: &str = env!("CARGO_BIN_EXE_taxi");

/// Time and memory that a process took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timed {
    pub(crate) seconds: f64,
    /// Sum of the phases that taxi reports, in seconds.
    pub(crate) phases: f64,
    pub(crate) peak_kib: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Loader {
    Taxi,
    /// Taxi, into a plain table as the reference flow creates it.
    TaxiPlain,
    Reference,
    BareCopy,
    DuckDb,
}

const COLUMNS: &str = "vendorid text, tpep_pickup_datetime timestamp, tpep_dropoff_datetime timestamp, \
    passenger_count integer, trip_distance double precision, ratecodeid text, store_and_fwd_flag text, \
    pulocationid text, dolocationid text, payment_type integer, fare_amount double precision, \
    extra double precision, mta_tax double precision, tip_amount double precision, tolls_amount double precision, \
    improvement_surcharge double precision, total_amount double precision, congestion_surcharge double precision";

impl Loader {
    /// Returns the loaders that can run here. Prints why the others cannot.
    pub(crate) fn available() -> Vec<Self> {
        let mut loaders = vec![Self::Taxi, Self::TaxiPlain, Self::Reference, Self::BareCopy];
        match &*DUCKDB_PYTHON {
            Ok(_) => loaders.push(Self::DuckDb),
            Err(why) => eprintln!("skipped: DuckDB: {why}"),
        }
        loaders
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Taxi => "taxi",
            Self::TaxiPlain => "taxi, plain target",
            Self::Reference => "reference",
            Self::BareCopy => "bare copy",
            Self::DuckDb => "DuckDB",
        }
    }

    /// Loads the same month again, so that all rows have a match. Returns `None` for loaders where this is
    /// not measured.
    pub(crate) fn load_again(self, url: &str, address: &str, file: &Path, month: &Month) -> Option<Timed> {
        match self {
            Self::Taxi => Some(taxi(url, address, month, &["--force"])),
            Self::Reference => Some(reference(url, file, month)),
            Self::TaxiPlain | Self::BareCopy | Self::DuckDb => None,
        }
    }

    /// Loads `month` into the database at `url`. Taxi reads from `address`, the other loaders read the
    /// `file`.
    pub(crate) fn load(self, url: &str, address: &str, file: &Path, month: &Month) -> Timed {
        match self {
            Self::Taxi => taxi(url, address, month, &[]),
            Self::TaxiPlain => {
                create_tables(url);
                taxi(url, address, month, &[])
            }
            Self::Reference => reference(url, file, month),
            Self::BareCopy => bare_copy(url, file),
            Self::DuckDb => duckdb(url, file, month),
        }
    }
}

fn taxi(url: &str, address: &str, month: &Month, options: &[&str]) -> Timed {
    let mut command = Command::new(TAXI);
    command.arg("load").args(options).args(["--taxi", "yellow", "--output", "json", "--source", address]);
    command.args(["--year", &month.year.to_string(), "--month", &month.month.to_string()]);
    let (timed, result) = run_taxi(&mut command, url);
    assert_eq!(result["rows_read"], month.rows);
    let phases = result["phases"].as_object().unwrap().values().filter_map(serde_json::Value::as_f64).sum();
    Timed { phases, ..timed }
}

/// Runs `taxi backfill` for the months `from` to `to`.
pub(crate) fn backfill(url: &str, address: &str, from: &Month, to: &Month, jobs: u32) -> Timed {
    let name = |month: &Month| format!("{}-{:02}", month.year, month.month);
    let mut command = Command::new(TAXI);
    command.args(["backfill", "--taxi", "yellow", "--output", "json", "--source", address]);
    command.args(["--from", &name(from), "--to", &name(to), "--jobs", &jobs.to_string()]);
    let (timed, result) = run_taxi(&mut command, url);
    assert_eq!(result["files_skipped"], 0);
    timed
}

/// Runs `taxi run` with a flow of this repository for a yellow month. The folder `programs` comes first in
/// `PATH`.
pub(crate) fn flow(url: &str, flow: &str, arguments: &[String], programs: &Path) -> Timed {
    let mut command = Command::new(TAXI);
    command
        .args(["run", "--output", "json"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(flow))
        .args(arguments);
    command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
    let (timed, result) = run_taxi(&mut command, url);
    assert_eq!(result["status"], "succeeded");
    timed
}

fn run_taxi(command: &mut Command, url: &str) -> (Timed, serde_json::Value) {
    let command =
        command.env("DATABASE_URL", url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    // the result is one line, so the pipe cannot fill before the process ends
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak_kib = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak_kib);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let seconds = began.elapsed().as_secs_f64();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result = serde_json::from_slice(&output.stdout).unwrap();
    (Timed { seconds, peak_kib, ..Timed::default() }, result)
}

/// Runs the steps of the course's flow: unzip to a file, COPY into the staging table, UPDATE the key and the
/// file name, MERGE.
fn reference(url: &str, file: &Path, month: &Month) -> Timed {
    create_tables(url);
    let csv = file.with_extension("");
    let filename = month.filename();
    let copy =
        format!("\\copy yellow_tripdata_staging ({HEADER}) FROM '{}' (FORMAT csv, HEADER)", csv.display());
    let update = format!(
        "UPDATE yellow_tripdata_staging SET filename = '{filename}', unique_row_id = md5(\
         coalesce(vendorid::text, '') || coalesce(tpep_pickup_datetime::text, '') || \
         coalesce(tpep_dropoff_datetime::text, '') || coalesce(pulocationid, '') || coalesce(dolocationid, '') || \
         coalesce(fare_amount::text, '') || coalesce(trip_distance::text, ''))"
    );
    let merge = "MERGE INTO yellow_tripdata t USING yellow_tripdata_staging s ON t.unique_row_id = s.unique_row_id \
                 WHEN NOT MATCHED THEN INSERT VALUES (s.*)";
    let unzip = format!("gunzip -kf < '{}' > '{}'", file.display(), csv.display());
    let unzipped = time(Command::new("sh").args(["-c", &unzip]));
    let statements = ["TRUNCATE yellow_tripdata_staging", &copy, &update, merge];
    let loaded = time(psql(url).args(statements.iter().flat_map(|statement| ["-c", statement])));
    std::fs::remove_file(&csv).unwrap();
    Timed { seconds: unzipped.seconds + loaded.seconds, ..Timed::default() }
}

/// Measures the lower bound that is usually quoted: COPY of the unzipped file into an empty table, without a
/// key and without a merge.
fn bare_copy(url: &str, file: &Path) -> Timed {
    let csv = file.with_extension("");
    time(
        Command::new("sh").args(["-c", &format!("gunzip -kf < '{}' > '{}'", file.display(), csv.display())]),
    );
    time(psql(url).args(["-c", &format!("CREATE TABLE bare ({COLUMNS})")]));
    let timed =
        time(psql(url).args(["-c", &format!("\\copy bare FROM '{}' (FORMAT csv, HEADER)", csv.display())]));
    std::fs::remove_file(&csv).unwrap();
    timed
}

fn duckdb(url: &str, file: &Path, month: &Month) -> Timed {
    create_tables(url);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/side_by_side/duckdb_load.py");
    let python = DUCKDB_PYTHON.as_ref().unwrap();
    time(Command::new(python).arg(script).arg(url).arg(file).arg(month.filename()))
}

/// Writes the month as Parquet to `path`, unless the file exists. Returns why that is not possible.
pub(crate) fn write_parquet(csv: &Path, path: &Path) -> Result<(), &'static str> {
    let python = DUCKDB_PYTHON.as_ref().map_err(String::as_str)?;
    if !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/side_by_side/parquet_month.py");
        time(Command::new(python).arg(script).arg(csv).arg(path));
    }
    Ok(())
}

fn create_tables(url: &str) {
    for table in ["yellow_tripdata", "yellow_tripdata_staging"] {
        let create =
            format!("CREATE TABLE IF NOT EXISTS {table} (unique_row_id text, filename text, {COLUMNS})");
        time(psql(url).args(["-c", &create]));
    }
}

fn psql(url: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", url]);
    command
}

/// Measures a command, which must succeed.
pub(crate) fn time(command: &mut Command) -> Timed {
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let seconds = began.elapsed().as_secs_f64();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Timed { seconds, ..Timed::default() }
}

/// The Python interpreter of a virtual environment with these packages. The environment is created once,
/// below the target folder.
static DUCKDB_PYTHON: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duckdb");
    let python = environment.join("bin/python");
    let run = |program: &Path, args: &[&str]| match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned())
        }
        Err(cause) => Err(cause.to_string()),
    };
    if run(&python, &["-c", "import duckdb, duckdb_extension_postgres_scanner, pyarrow"]).is_err() {
        run(Path::new("python3"), &["-m", "venv", environment.to_str().unwrap()])?;
        let packages = ["duckdb==1.5.5", "duckdb-extension-postgres-scanner==1.5.5", "pyarrow"];
        run(&python, &[&["-m", "pip", "install", "--quiet"][..], &packages].concat())?;
    }
    Ok(python)
});
