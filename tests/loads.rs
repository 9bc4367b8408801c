//! A load gives the same rows as the reference SQL, whatever the target held before.

use std::path::Path;

use crate::support::http::{Reply, Server};
use crate::support::{Database, json, month, real_data, testdata};

/// Loads an unzipped file as the course's flow does: COPY into a staging table, UPDATE of key and filename,
/// MERGE.
fn load_by_reference(database: &Database, taxi: &str, source: &Path, filename: &str) {
    use futures_util::SinkExt as _;
    use std::io::Read as _;
    let (pickup, dropoff) = match taxi {
        "yellow" => ("tpep_pickup_datetime", "tpep_dropoff_datetime"),
        _ => ("lpep_pickup_datetime", "lpep_dropoff_datetime"),
    };
    let (table, staging) = (format!("public.{taxi}_tripdata"), format!("public.{taxi}_tripdata_staging"));
    let gzipped = std::fs::File::open(source.join(format!("{taxi}/{filename}.gz"))).unwrap();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(gzipped).read_to_string(&mut text).unwrap();
    let header = text.lines().next().unwrap().to_lowercase();
    database.sql(&format!("TRUNCATE {staging}"));
    let (runtime, client) = database.driver();
    runtime.block_on(async {
        let copy = format!("COPY {staging} ({header}) FROM STDIN (FORMAT csv, HEADER)");
        let mut sink = Box::pin(client.copy_in(&copy).await.unwrap());
        sink.send(bytes::Bytes::from(text)).await.unwrap();
        sink.as_mut().finish().await.unwrap();
    });
    database.sql(&format!(
        "UPDATE {staging} SET filename = '{filename}', unique_row_id = md5( \
             coalesce(vendorid::text, '') || coalesce({pickup}::text, '') || coalesce({dropoff}::text, '') || \
             coalesce(pulocationid, '') || coalesce(dolocationid, '') || \
             coalesce(fare_amount::text, '') || coalesce(trip_distance::text, ''))"
    ));
    database.sql(&format!(
        "MERGE INTO {table} t USING {staging} s ON t.unique_row_id = s.unique_row_id \
         WHEN NOT MATCHED THEN INSERT VALUES (s.*)"
    ));
}

/// Creates the tables as the course's flow does: plain, logged, without an index.
fn create_by_reference(database: &Database, taxi: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("sql/tables/{taxi}_tripdata.sql"));
    let sql = std::fs::read_to_string(file).unwrap();
    let create = sql.split(" PARTITION BY").next().unwrap();
    for table in [format!("public.{taxi}_tripdata"), format!("public.{taxi}_tripdata_staging")] {
        database.sql(&create.replace("{{ table }}", &table));
    }
}

const MONTHS: [(&str, u16, u8, &str); 2] =
    [("yellow", 2021, 1, "yellow_tripdata_2021-01.csv"), ("green", 2020, 3, "green_tripdata_2020-03.csv")];

#[test]
fn a_load_gives_the_same_rows_as_the_reference_sql() {
    let ours = Database::new("same_result_ours");
    let reference = Database::new("same_result_reference");
    for (taxi, year, month, filename) in MONTHS {
        json(&ours.load(taxi, year, month, testdata().to_str().unwrap()).output().unwrap());
        create_by_reference(&reference, taxi);
        load_by_reference(&reference, taxi, &testdata(), filename);
        let table = format!("public.{taxi}_tripdata");
        assert_eq!(ours.digest(&table, filename), reference.digest(&table, filename), "{filename}");
    }
}

#[test]
fn a_second_load_inserts_nothing() {
    let database = Database::new("second_load");
    let source = testdata();
    let source = source.to_str().unwrap();
    let first = json(&database.load("yellow", 2021, 1, source).output().unwrap());
    let digest = database.digest("public.yellow_tripdata", "yellow_tripdata_2021-01.csv");
    let second = json(&database.reload("yellow", 2021, 1, source).output().unwrap());
    assert_eq!((&first["rows_inserted"], &first["rows_matched"]), (&3001.into(), &0.into()));
    assert_eq!((&second["rows_inserted"], &second["rows_matched"]), (&0.into(), &3001.into()));
    assert_eq!(second["duplicate_keys"], 1, "the file holds one row twice");
    assert_eq!(database.digest("public.yellow_tripdata", "yellow_tripdata_2021-01.csv"), digest);
    assert_eq!(database.sql("SELECT forced FROM taxi_etl.runs ORDER BY started_at"), [["f"], ["t"]]);
}

#[test]
fn a_target_of_the_reference_flow_is_loaded_like_a_target_of_taxi() {
    let database = Database::new("reference_target");
    let folder = tempfile::tempdir().unwrap();
    month::write(folder.path(), "yellow", "2021-02", &month::yellow(500));
    month::write(
        folder.path(),
        "yellow",
        "2021-01",
        &std::fs::read(testdata().join("yellow/yellow_tripdata_2021-01.csv.gz")).unwrap(),
    );
    create_by_reference(&database, "yellow");
    load_by_reference(&database, "yellow", &testdata(), "yellow_tripdata_2021-01.csv");
    let digest = database.digest("public.yellow_tripdata", "yellow_tripdata_2021-01.csv");

    let source = folder.path().to_str().unwrap();
    let same = json(&database.load("yellow", 2021, 1, source).output().unwrap());
    assert_eq!(same["rows_inserted"], 0, "the keys are those of the reference");
    let other = json(&database.load("yellow", 2021, 2, source).output().unwrap());
    assert_eq!(other["rows_inserted"], 500);
    assert_eq!(database.digest("public.yellow_tripdata", "yellow_tripdata_2021-01.csv"), digest);
}

#[test]
fn over_http_the_result_is_the_same_and_redirects_are_followed() {
    let database = Database::new("over_http");
    // redirect to a signed URL, as the release site does
    let storage = Server::folder(&testdata());
    let signed = storage.address.clone();
    let site = Server::new(move |path| {
        Reply::status(302).header("Location", &format!("{signed}{path}?token=s3cret"))
    });

    let loaded = json(&database.load("yellow", 2021, 1, &site.address).output().unwrap());
    let path = testdata().join("yellow/yellow_tripdata_2021-01.csv.gz");
    assert_eq!(loaded["bytes_downloaded"], std::fs::metadata(&path).unwrap().len());
    let ledger =
        database.sql("SELECT source_etag, source_length_bytes, sha256, source_address FROM taxi_etl.runs");
    assert!(ledger[0][0].starts_with('"'), "{ledger:?}");
    assert_eq!(ledger[0][1], loaded["bytes_downloaded"].to_string());
    assert_eq!(ledger[0][2], loaded["sha256"]);
    assert!(ledger[0][3].starts_with(&site.address) && !ledger[0][3].contains("s3cret"));

    let again = json(&database.load("yellow", 2021, 1, &site.address).output().unwrap());
    assert_eq!(again["status"], "skipped", "the condition follows the redirect");

    let from_folder = Database::new("over_folder");
    json(&from_folder.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    let digest =
        |database: &Database| database.digest("public.yellow_tripdata", "yellow_tripdata_2021-01.csv");
    assert_eq!(digest(&database), digest(&from_folder));
}

#[test]
fn concurrent_loads_do_not_damage_each_other() {
    let database = Database::new("two_at_once");
    let folder = tempfile::tempdir().unwrap();
    month::write(folder.path(), "yellow", "2021-01", &month::yellow(20_000));
    month::write(folder.path(), "yellow", "2021-02", &month::yellow(30_000));
    let source = folder.path().to_str().unwrap();
    let spawn = |month| {
        let mut command = database.reload("yellow", 2021, month, source);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let runs = [spawn(1), spawn(1), spawn(2), spawn(2)];
    let inserted: Vec<u64> = runs
        .map(|run| json(&run.wait_with_output().unwrap())["rows_inserted"].as_u64().unwrap())
        .into_iter()
        .filter(|inserted| *inserted > 0)
        .collect();
    // the two months share the keys of their common rows, so there are 30,000 keys in total
    assert_eq!(inserted.iter().sum::<u64>(), 30_000);
    assert_eq!(
        database.value("SELECT count(*) || ' ' || count(DISTINCT unique_row_id) FROM yellow_tripdata"),
        "30000 30000"
    );
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs WHERE status = 'succeeded'"), "4");
}

#[test]
fn an_empty_month_loads_no_rows() {
    let database = Database::new("header_only");
    let folder = tempfile::tempdir().unwrap();
    month::write(
        folder.path(),
        "yellow",
        "2021-01",
        &month::gzip(format!("{}\r\n", month::YELLOW_HEADER).as_bytes()),
    );
    let loaded = json(&database.load("yellow", 2021, 1, folder.path().to_str().unwrap()).output().unwrap());
    assert_eq!((&loaded["rows_read"], &loaded["rows_inserted"]), (&0.into(), &0.into()));
    assert_eq!(database.value("SELECT rows_inserted || status FROM taxi_etl.runs"), "0succeeded");
}

#[test]
fn whole_decimals_are_integers_and_several_gzip_members_are_one_file() {
    let database = Database::new("decimals_members");
    let folder = tempfile::tempdir().unwrap();
    let row = month::YELLOW_ROW.replace(",1,2.10,1,", ",1.0,2.10,1,").replace(",2,8,", ",2.0,8,");
    let mut bytes = month::gzip(format!("{}\n{}\n", month::YELLOW_HEADER, month::YELLOW_ROW).as_bytes());
    bytes.extend(month::gzip(format!("{row}\n").as_bytes()));
    month::write(folder.path(), "yellow", "2021-01", &bytes);
    let loaded = json(&database.load("yellow", 2021, 1, folder.path().to_str().unwrap()).output().unwrap());
    assert_eq!((&loaded["rows_inserted"], &loaded["duplicate_keys"]), (&2.into(), &1.into()));
    let rows = database.sql(
        "SELECT DISTINCT passenger_count, payment_type, md5(yellow_tripdata::text) FROM yellow_tripdata",
    );
    assert_eq!(rows.len(), 1, "1.0 and 1 are the same integer: {rows:?}");
}

#[test]
fn padding_after_the_gzip_stream_and_a_byte_order_mark_are_ignored() {
    let database = Database::new("padding");
    let folder = tempfile::tempdir().unwrap();
    let quoted: Vec<String> = month::YELLOW_HEADER.split(',').map(|name| format!("\"{name}\"")).collect();
    let csv = format!("\u{feff}{}\n{}\n", quoted.join(","), month::YELLOW_ROW);
    let padded = [month::gzip(csv.as_bytes()), vec![0; 200_000]].concat();
    month::write(folder.path(), "yellow", "2021-01", &padded);
    let loaded = json(&database.load("yellow", 2021, 1, folder.path().to_str().unwrap()).output().unwrap());
    assert_eq!(loaded["rows_inserted"], 1);
}

#[test]
fn a_file_that_repeats_every_row_is_counted_in_full() {
    let database = Database::new("repeats");
    let folder = tempfile::tempdir().unwrap();
    let text = month::yellow_csv(30_000, "2021-01");
    let (header, rows) = text.split_once('\n').unwrap();
    month::write(
        folder.path(),
        "yellow",
        "2021-01",
        &month::gzip(format!("{header}\n{rows}{rows}").as_bytes()),
    );
    let loaded = json(&database.load("yellow", 2021, 1, folder.path().to_str().unwrap()).output().unwrap());
    assert_eq!((&loaded["rows_inserted"], &loaded["duplicate_keys"]), (&60_000.into(), &30_000.into()));
}

#[test]
fn real_months_have_the_known_digests_in_a_partitioned_table() {
    real_months_have_the_known_digests("partitioned", |_, _| ());
}

#[test]
fn real_months_have_the_known_digests_in_a_plain_table() {
    real_months_have_the_known_digests("plain", create_by_reference);
}

/// Loads each month alone, again, and with all others, into targets that `create` prepares for a taxi type.
fn real_months_have_the_known_digests(shape: &str, create: impl Fn(&Database, &str)) {
    let Some(folder) = real_data() else { return };
    let oracle = std::fs::read_to_string(folder.join("oracle.tsv")).unwrap();
    let oracle: Vec<Vec<&str>> = oracle.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let source = folder.to_str().unwrap();
    let together = Database::new(&format!("real_together_{shape}"));
    ["yellow", "green"].iter().for_each(|taxi| create(&together, taxi));
    for fields in &oracle {
        let (filename, expected) = (fields[0], &fields[1..]);
        let taxi = filename.split('_').next().unwrap();
        let (year, month) =
            filename.trim_end_matches(".csv").rsplit_once('_').unwrap().1.split_once('-').unwrap();
        let (year, month) = (year.parse().unwrap(), month.parse().unwrap());

        let alone = Database::new(&format!("real_alone_{shape}"));
        create(&alone, taxi);
        let first = json(&alone.load(taxi, year, month, source).output().unwrap());
        assert_eq!(first["rows_inserted"].to_string(), expected[0], "{filename}");
        let second = json(&alone.reload(taxi, year, month, source).output().unwrap());
        assert_eq!(second["rows_inserted"], 0, "{filename}");
        let table = format!("public.{taxi}_tripdata");
        assert_eq!(alone.digest(&table, filename), expected, "{filename} after a second load");
        json(&together.load(taxi, year, month, source).output().unwrap());
    }
    for fields in &oracle {
        let table = format!("public.{}_tripdata", fields[0].split('_').next().unwrap());
        assert_eq!(together.digest(&table, fields[0]), &fields[1..], "{} with the other months", fields[0]);
    }
}

#[test]
fn rows_that_repeat_a_key_within_a_file_are_all_inserted_by_the_first_load() {
    let Some(folder) = real_data() else { return };
    let database = Database::new("real_duplicates");
    let source = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(folder.join("broken/yellow_duplicate_rows.csv.gz")).unwrap();
    month::write(source.path(), "yellow", "2021-01", &bytes);
    let load =
        || json(&database.reload("yellow", 2021, 1, source.path().to_str().unwrap()).output().unwrap());
    let first = load();
    assert_eq!((&first["rows_inserted"], &first["duplicate_keys"]), (&108.into(), &9.into()));
    assert_eq!(load()["rows_inserted"], 0);
    assert_eq!(
        database.value("SELECT count(*) || ' ' || count(DISTINCT unique_row_id) FROM yellow_tripdata"),
        "108 99"
    );
}
