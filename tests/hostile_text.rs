//! Hostile text: CSV that parsers read differently, names that contain SQL, and invalid connection strings.

use std::cell::Cell;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use taxi_etl::database::identifier::TableName;
use taxi_etl::database::settings::Settings;

use crate::support::flows::{run, task, write};
use crate::support::month::gzip;
use crate::support::oracle::Oracle;
use crate::support::{Database, json, taxi};

/// Fragments of CSV, some of which parsers read differently.
const FRAGMENTS: &[&[u8]] = &[
    b",",
    b",",
    b",",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"\"",
    b"\"\"",
    b"a",
    b"b,c,1",
    b"1",
    b"-7",
    b" 2 ",
    b"\\.",
    b"\\N",
    b"\\",
    b"\0",
    b"\xff",
    "é".as_bytes(),
    "\u{feff}".as_bytes(),
    "\u{2028}".as_bytes(),
    b"\t",
    b"\x0b",
    b"\x1a",
    b"'",
    b";",
    b"#",
    b"\"x\"",
    b"\"x\"\"y\"",
    b"\"p,q\"",
    b"\"l\nm\"",
    b"NULL",
    b"null",
    b"99999999999",
    b"x,y,1\n",
    b"x,y,1\r\n",
    b",,\n",
];

#[test]
fn every_accepted_file_has_the_rows_that_the_server_reads() {
    let database = Database::new("hostile_csv");
    let oracle = Oracle::new(&database.url);
    let accepted = Cell::new(0_u32);
    let mut runner = TestRunner::new(Config { cases: 3000, ..Config::default() });
    let cell = prop_oneof![Just("".to_owned()), "[a-z,\"\n]{0,6}", "[ -~]{0,8}"];
    let quoted = |cell: String| match cell.contains(['"', ',', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    };
    let row =
        (cell.clone(), cell, prop_oneof![Just(String::new()), any::<i32>().prop_map(|n| n.to_string())])
            .prop_map(move |(a, b, c)| format!("{},{},{c}\n", quoted(a), quoted(b)).into_bytes());
    let fragments = prop::sample::select(FRAGMENTS).prop_map(<[u8]>::to_vec);
    // valid rows with fragments between them, and only fragments
    let damaged = prop::collection::vec(prop_oneof![6 => row, 1 => fragments.clone()], 0..8);
    let strategy = prop_oneof![3 => damaged, 1 => prop::collection::vec(fragments, 0..12)];
    let result = runner.run(&strategy.prop_map(|parts| parts.concat()), |lines| {
        accepted.set(accepted.get() + u32::from(oracle.compare(&lines)));
        Ok(())
    });
    result.unwrap();
    assert!(accepted.get() > 300, "only {} files were accepted", accepted.get());
}

#[test]
fn table_names_are_parsed_as_the_server_parses_them() {
    let database = Database::new("hostile_names");
    let parts = prop_oneof![
        "[a-zA-Z_][a-zA-Z0-9_]{0,8}",
        "[ -~é🚕]{1,12}",
        Just("select".to_owned()),
        Just("a\"b.c".to_owned())
    ];
    let mut runner = TestRunner::new(Config { cases: 200, ..Config::default() });
    let result = runner.run(&(parts.clone(), parts), |(schema, name)| {
        let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let table = TableName::parse(&format!("{}.{}", quote(&schema), quote(&name))).unwrap();
        // the server's own quoting of the same names
        let (runtime, client) = database.driver();
        let row = runtime.block_on(client.query_one("SELECT format('%s.%s', '\"' || replace($1, '\"', '\"\"') || '\"', '\"' || replace($2, '\"', '\"\"') || '\"'), parse_ident($3)", &[&schema, &name, &table.quoted()])).unwrap();
        prop_assert_eq!(table.quoted(), row.get::<_, String>(0));
        prop_assert_eq!(row.get::<_, Vec<String>>(1), vec![schema, name]);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn tables_columns_and_files_can_have_any_name() {
    let database = Database::new("hostile_identifiers");
    database.sql("CREATE TABLE bystander AS SELECT 1 AS one");
    let folder = tempfile::tempdir().unwrap();
    let payload = "x'; DROP TABLE bystander; --";
    for (index, (schema, table, columns)) in [
        ("we\"ird schema", "sel\"ect", ["un\"ique key", "Fi le", "wh\"en", "où 🚕"]),
        ("select", "from", ["order", "group", "where", "table"]),
        ("x\"; DROP TABLE bystander; --", "$1 {{ y }}", ["a'b", "c;d", "e--f", "/*g*/"]),
        ("Ünïcode", "🚕", ["ключ", "文件", "temps", "ü"]),
    ]
    .into_iter()
    .enumerate()
    {
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let [key, file, time, value] = columns.map(|name| name.to_lowercase());
        let target = format!("{}.{}", quote(schema), quote(table));
        let shape = format!(
            "({} text, {} text, {} timestamp, {} text)",
            quote(&key),
            quote(&file),
            quote(&time),
            quote(&value)
        );
        database.sql(&format!(
            "CREATE SCHEMA {}; CREATE TABLE {target} {shape} {}",
            quote(schema),
            // every other table is partitioned, so that the names are used in all statements
            if index % 2 == 0 { format!("PARTITION BY RANGE ({})", quote(&time)) } else { String::new() }
        ));
        let cell = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let csv = format!("{},{}\n2021-01-01 00:00:01,{}\n", cell(&time), cell(&value), cell(payload));
        let path = folder.path().join(format!("{index}.csv.gz"));
        std::fs::write(&path, gzip(csv.as_bytes())).unwrap();
        // escape the braces of a name, so that the flow does not evaluate them
        let text = |text: &str| format!("{:?}", text.replace("{{", "{{ '{{' }}"));
        let flow = format!(
            "id: hostile\nnamespace: taxi.tests\ninputs: [{{id: name, type: STRING}}]\ntasks:\n  - id: load\n    \
             type: taxi.postgresql.Load\n    from: {}\n    table: {}\n    timeColumn: {}\n    \
             period: 2021-01\n    filename: '{{{{ inputs.name }}}}'\n    filenameColumn: {}\n    rowKeyColumn: {}\n    rowKey: [{}]\n",
            text(path.to_str().unwrap()),
            text(&target),
            text(&time),
            text(&file),
            text(&key),
            text(&value),
        );
        let path = write(&folder, &flow);
        for expected in ["1", "0"] {
            let mut run = taxi([
                "run",
                path.to_str().unwrap(),
                "--output",
                "json",
                "--input",
                &format!("name={payload}{index}"),
            ]);
            json(&run.env("DATABASE_URL", &database.url).output().unwrap());
            let inserted = "SELECT rows_inserted FROM taxi_etl.runs WHERE filename IS NOT NULL ORDER BY sequence DESC LIMIT 1";
            let inserted = database.sql(inserted);
            assert!(inserted[0][0] == expected || expected == "0", "{schema}");
        }
        let held = database.sql(&format!("SELECT {}, {} FROM {target}", quote(&file), quote(&value)));
        assert_eq!(held, [[format!("{payload}{index}"), payload.to_owned()]], "{schema}");
    }
    assert_eq!(database.value("SELECT one FROM bystander"), "1");
}

#[test]
fn sql_in_inputs_stays_data() {
    let database = Database::new("hostile_inputs");
    database.sql("CREATE TABLE bystander AS SELECT 1 AS one; CREATE TABLE notes (note text, year int)");
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: inputs\nnamespace: taxi.tests\ninputs: [{id: note, type: STRING}]\ntasks:\n  \
         - id: keep\n    type: io.kestra.plugin.jdbc.postgresql.Queries\n    \
           sql: INSERT INTO notes VALUES (:note, :year); INSERT INTO notes VALUES (lower(:note), :year::int + 1)\n    \
           parameters: {note: '{{ inputs.note }}', year: '2021'}\n  \
         - id: find\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    fetchType: FETCH_ONE\n    \
           sql: SELECT count(*) AS found FROM notes WHERE note = :note AND year = :year\n    \
           parameters: {note: '{{ inputs.note }}', year: '2021'}\n",
    );
    let payloads = [
        "x'); DROP TABLE bystander; --",
        "\\'); DROP TABLE bystander; --",
        "$$; DROP TABLE bystander; $$",
        ":year",
        "é\"`{{",
    ];
    for (index, payload) in payloads.into_iter().enumerate() {
        let result = json(&run(&database, &path, &["--input", &format!("note={payload}")]).output().unwrap());
        assert_eq!(task(&result, "find")["outputs"]["row"]["found"], 1, "{payload}");
        assert_eq!(database.value("SELECT count(*) FROM notes"), (2 * index + 2).to_string());
    }
    assert_eq!(database.value("SELECT one FROM bystander"), "1");
}

#[test]
fn no_connection_string_causes_a_panic_or_a_hang() {
    const FRAGMENTS: &[&str] = &[
        "postgresql://",
        "postgres://",
        "jdbc:postgresql://",
        "host=",
        "user=",
        "password=",
        "dbname=",
        "port=",
        "hostaddr=",
        "options=",
        "sslmode=",
        "connect_timeout=",
        "keepalives_idle=",
        "tcp_user_timeout=",
        "target_session_attrs=",
        "a",
        "b",
        "1",
        "-1",
        "99999999999999999999",
        "65536",
        ":",
        "@",
        "/",
        "?",
        "&",
        "=",
        ",",
        "'",
        "\\",
        "\\'",
        " ",
        "%",
        "%2",
        "%00",
        "%zz",
        "%ff",
        "[",
        "]",
        "[::1]",
        "é",
        "\0",
        "\n",
        "disable",
        "verify-full",
        "127.0.0.1",
    ];
    let mut runner = TestRunner::new(Config { cases: 4000, ..Config::default() });
    let fragments = prop::collection::vec(prop::sample::select(FRAGMENTS), 0..14)
        .prop_map(|fragments| fragments.concat());
    let result = runner.run(&prop_oneof![3 => fragments, 1 => any::<String>()], |text| {
        let began = Instant::now();
        match Settings::parse(&text) {
            Ok(settings) => assert!(!settings.address().is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{text:?}");
        Ok(())
    });
    result.unwrap();
}
