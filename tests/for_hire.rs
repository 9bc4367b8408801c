//! The trips of for-hire vehicles: two data sets that are YAML and SQL alone, and files with odd bytes.

use crate::support::month::{gzip, write};
use crate::support::{Database, json, refusal, taxi, testdata};

const DATA: i32 = 65;

/// The row keys as the server computes them.
const FHV_KEY: &str =
    "md5(concat(dispatching_base_num, pickup_datetime, dropoff_datetime, pulocationid, dolocationid))";

#[test]
fn both_kinds_load_with_the_keys_that_the_server_computes() {
    let database = Database::new("for_hire");
    let backfill = || {
        let range = ["--from", "2019-02", "--to", "2019-02", "--source", testdata().to_str().unwrap()]
            .map(str::to_owned);
        let mut command = taxi(["backfill", "--output", "json", "--taxi", "FHV,fhvhv"]);
        json(&command.args(range).env("DATABASE_URL", &database.url).output().unwrap())
    };
    let loaded = backfill();
    assert_eq!((&loaded["files_loaded"], &loaded["rows_inserted"]), (&2.into(), &1002.into()), "{loaded}");
    for (file, table, key) in [
        (&loaded["files"][0], "public.fhv_tripdata", FHV_KEY.to_owned()),
        (
            &loaded["files"][1],
            "public.fhvhv_tripdata",
            FHV_KEY.replace("concat(", "concat(hvfhs_license_num, "),
        ),
    ] {
        assert_eq!((&file["table"], &file["duplicate_keys"]), (&table.into(), &1.into()), "{file}");
        assert_eq!(
            database.value(&format!("SELECT count(*) FROM {table} WHERE unique_row_id = {key}")),
            "501"
        );
        let partition =
            format!("SELECT count(*) FROM public_partitions.{}_2019_02", &table["public.".len()..]);
        assert_eq!(database.value(&partition), "500", "one row is dated outside of the month");
    }
    let again = backfill();
    assert_eq!((&again["files_skipped"], &again["rows_inserted"]), (&2.into(), &0.into()), "{again}");
}

#[test]
fn headers_of_every_year_match_the_columns_without_regard_to_case() {
    let database = Database::new("for_hire_headers");
    let dir = tempfile::tempdir().unwrap();
    for (month, header, row) in [
        (
            "2017-01",
            "Dispatching_base_num,Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID",
            "B00001,2017-01-01 00:30:00,,,",
        ),
        (
            "2019-01",
            "dispatching_base_num,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,SR_Flag",
            "B00001,2019-01-01 00:30:00,2019-01-01 02:51:55,,,1",
        ),
        (
            "2019-02",
            "dispatching_base_num,pickup_datetime,dropOff_datetime,PUlocationID,DOlocationID,SR_Flag,Affiliated_base_number",
            "B00001,2019-02-01 00:30:00,2019-02-01 02:51:55,1,2,,B00254",
        ),
    ] {
        write(dir.path(), "fhv", month, &gzip(format!("{header}\r\n{row}\r\n").as_bytes()));
        let (year, number) = month.split_once('-').unwrap();
        let (year, number) = (year.parse().unwrap(), number.parse().unwrap());
        json(&database.load("fhv", year, number, dir.path().to_str().unwrap()).output().unwrap());
    }
    let rows = "SELECT string_agg(concat_ws(' ', dropoff_datetime, pulocationid, sr_flag, affiliated_base_number), '|' ORDER BY pickup_datetime) FROM fhv_tripdata";
    assert_eq!(database.value(rows), "|2019-01-01 02:51:55 1|2019-02-01 02:51:55 1 B00254");
}

#[test]
fn odd_bytes_are_refused_or_rejected_and_never_altered() {
    let database = Database::new("odd_bytes");
    let dir = tempfile::tempdir().unwrap();
    let header = b"dispatching_base_num,pickup_datetime,dropOff_datetime,PUlocationID,DOlocationID,SR_Flag,Affiliated_base_number\r\n";
    let row = |base: &[u8], day: u8| {
        let times = format!(",2019-02-{day:02} 00:30:00,2019-02-{day:02} 00:40:00,,,,");
        [base, times.as_bytes(), base, b"\r\n"].concat()
    };
    let save = |rows: &[Vec<u8>]| {
        write(dir.path(), "fhv", "2019-02", &gzip(&[&header[..], &rows.concat()].concat()))
    };
    let load = |options: &[&str]| {
        database.load("fhv", 2019, 2, dir.path().to_str().unwrap()).args(options).output().unwrap()
    };

    save(&[row(b"B00001", 1), row(b"B02\xa0\xa0", 2), row(b"B0\x003", 3)]);
    let error = refusal(&load(&[]), DATA);
    for part in
        ["line 3", "in column \"dispatching_base_num\"", "expected UTF-8 text: --encoding windows-1252"]
    {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    let loaded = json(&load(&["--max-rejects", "2"]));
    assert_eq!((&loaded["rows_inserted"], &loaded["rows_rejected"]), (&1.into(), &2.into()), "{loaded}");
    let rejects = "SELECT string_agg(line || ': ' || reason, '|' ORDER BY line) FROM taxi_etl.rejects";
    let rejects = database.value(rejects);
    assert!(
        rejects.starts_with("3: expected UTF-8")
            && rejects.contains("|4: a text column cannot store a NUL byte"),
        "{rejects}"
    );

    // each byte is a character of Windows-1252, but a NUL byte still fits no text
    let error = refusal(&load(&["--encoding", "windows-1252", "--force"]), DATA);
    assert!(error.contains("line 4") && error.contains("NUL"), "{error}");
    let loaded = json(&load(&["--encoding", "windows-1252", "--max-rejects", "1", "--force"]));
    assert_eq!((&loaded["rows_inserted"], &loaded["rows_matched"]), (&1.into(), &1.into()), "{loaded}");
    let decoded = format!(
        "SELECT count(*) FROM fhv_tripdata WHERE dispatching_base_num = 'B02' || chr(160) || chr(160) AND unique_row_id = {FHV_KEY}"
    );
    assert_eq!(database.value(&decoded), "1");

    // an unclosed quote makes it uncertain where a row ends
    save(&[row(b"B00001", 1), row(b"\"B00002", 2), row(b"B00003", 3)]);
    for options in [&[][..], &["--max-rejects", "9"], &["--encoding", "windows-1252", "--force"]] {
        let error = refusal(&load(options), DATA);
        assert!(error.contains("line ") && error.contains("quote"), "{options:?}: {error}");
    }
    assert_eq!(database.value("SELECT count(*) FROM fhv_tripdata"), "2");
}
