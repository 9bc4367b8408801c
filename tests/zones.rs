//! `taxi zones`: the lookup table of the zones is that of the file, after every load.

use std::path::Path;
use std::process::Output;

use crate::support::http::Server;
use crate::support::{Database, json, real_data, refusal, taxi, testdata};

const DATA: i32 = 65;
const NOT_PUBLISHED: i32 = 66;

fn zones(database: &Database, source: &str) -> Output {
    taxi(["zones", "--output", "json", "--source", source])
        .env("DATABASE_URL", &database.url)
        .output()
        .unwrap()
}

fn file() -> String {
    std::fs::read_to_string(testdata().join("misc/taxi_zone_lookup.csv")).unwrap()
}

fn save(dir: &Path, path: &str, content: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// The rows, in the order of their ids.
fn rows(database: &Database) -> String {
    database.value("SELECT string_agg(concat_ws(',', locationid, borough, zone, service_zone), '|' ORDER BY locationid::int) FROM taxi_zones")
}

fn expected(csv: &str) -> String {
    let rows: Vec<String> = csv.lines().skip(1).map(|line| line.replace('"', "")).collect();
    rows.join("|")
}

#[test]
fn the_table_is_that_of_the_file_whenever_the_file_changes() {
    let database = Database::new("zones");
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().to_str().unwrap();
    save(dir.path(), "taxi_zone_lookup.csv", &file());
    let loaded = json(&zones(&database, source));
    assert_eq!(
        (&loaded["status"], &loaded["table"]),
        (&"loaded".into(), &"public.taxi_zones".into()),
        "{loaded}"
    );
    assert_eq!((&loaded["rows_read"], &loaded["rows_inserted"]), (&6.into(), &6.into()), "{loaded}");
    assert_eq!(rows(&database), expected(&file()));
    let skipped = json(&zones(&database, source));
    assert_eq!((&skipped["status"], &skipped["run_id"]), (&"skipped".into(), &loaded["run_id"]), "{skipped}");

    // rows that stay the same are not touched
    let row = "SELECT xmin FROM taxi_zones WHERE locationid = '43'";
    let before = database.value(row);
    let changed = file()
        .replace("JFK Airport", "John F. Kennedy")
        .replace("1,\"EWR\",\"Newark Airport\",\"EWR\"\r\n", "");
    save(dir.path(), "misc/taxi_zone_lookup.csv", &changed);
    let loaded = json(&zones(&database, source));
    let counts = ["rows_read", "rows_inserted", "rows_matched", "rows_deleted"]
        .map(|name| loaded[name].as_u64().unwrap());
    assert_eq!(counts, [5, 1, 4, 2], "{loaded}");
    assert_eq!((rows(&database), database.value(row)), (expected(&changed), before));

    // the run history does not say that the table was emptied
    database.sql("DELETE FROM taxi_zones");
    assert_eq!(json(&zones(&database, source))["rows_inserted"], 5);
    let recorded = "SELECT string_agg(status || ' ' || filename || ' ' || rows_read, '|' ORDER BY sequence) FROM taxi_etl.runs";
    assert_eq!(
        database.value(recorded),
        ["6", "5", "5"].map(|rows| format!("succeeded taxi_zone_lookup.csv {rows}")).join("|")
    );
}

#[test]
fn a_web_server_sends_the_file_once_and_a_table_of_yours_keeps_its_types() {
    let database = Database::new("zones_served");
    database.sql("CREATE TABLE taxi_zones (service_zone text, locationid integer, borough varchar(20), zone text, note text)");
    let server = Server::folder(&testdata());
    assert_eq!(json(&zones(&database, &server.address))["rows_inserted"], 6);
    assert_eq!(rows(&database), expected(&file()));
    server.take_traffic();
    assert_eq!(json(&zones(&database, &server.address))["status"], "skipped");
    let (requests, body_bytes) = server.take_traffic();
    assert_eq!((requests.len(), requests[0].path.as_str(), body_bytes), (1, "/misc/taxi_zone_lookup.csv", 0));
    let missing = format!("{}/nowhere", server.address);
    assert!(refusal(&zones(&database, &missing), NOT_PUBLISHED).contains("404"));
}

#[test]
fn a_file_that_is_no_zone_lookup_table_changes_nothing() {
    let database = Database::new("zones_refused");
    let dir = tempfile::tempdir().unwrap();
    json(&zones(&database, testdata().to_str().unwrap()));
    let semicolons = "\"\"\"LocationID\"\";\"\"Borough\"\";\"\"Zone\"\";\"\"service_zone\"\"\"\r\n\"1;\"\"EWR\"\";\"\"Newark Airport\"\";\"\"EWR\"\"\"\r\n";
    let twice = format!("{}1,\"EWR\",\"Newark Airport\",\"EWR\"\r\n", file());
    for (content, part) in [
        (semicolons, "a spreadsheet has written the file with semicolons"),
        (
            "LocationID,Borough,Zone\r\n1,EWR,Newark\r\n",
            "line 1: expected the columns LocationID, Borough, Zone, service_zone; found",
        ),
        ("LocationID,Borough,Zone,service_zone\r\n1,EWR\r\n", "line 2: found 2 cells; expected 4"),
        ("LocationID,Borough,Zone,service_zone\r\n", "has no rows"),
        (&twice, "taxi_zones"),
        ("<!DOCTYPE html><p>Log in</p>", "it looks like a web page"),
        ("PK\u{3}\u{4},", "it looks like a zip archive"),
    ] {
        save(dir.path(), "taxi_zone_lookup.csv", content);
        let error = refusal(&zones(&database, dir.path().to_str().unwrap()), DATA);
        assert!(error.contains(part), "no {part:?} in {error}");
        assert_eq!(rows(&database), expected(&file()), "{error}");
    }
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs WHERE status = 'failed'"), "7");
}

#[test]
fn the_published_files_have_265_zones() {
    let Some(folder) = real_data() else { return };
    let database = Database::new("zones_published");
    for name in ["taxi_zone_lookup_before_2024-02.csv", "taxi_zone_lookup.csv"] {
        let csv = std::fs::read_to_string(folder.join("zones").join(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), "taxi_zone_lookup.csv", &csv);
        assert_eq!(json(&zones(&database, dir.path().to_str().unwrap()))["rows_read"], 265, "{name}");
        assert_eq!(rows(&database), expected(&csv), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    save(
        dir.path(),
        "taxi_zone_lookup.csv",
        &std::fs::read_to_string(folder.join("zones/spreadsheet_semicolons.csv")).unwrap(),
    );
    assert!(refusal(&zones(&database, dir.path().to_str().unwrap()), DATA).contains("semicolons"));
}
