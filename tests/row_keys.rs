//! The server is the oracle: the encoder must read the same values from a text as the server, and compute the
//! same key.

use csv_async::ByteRecord;
use futures_util::SinkExt as _;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use taxi_etl::transform::row::{Column, Computed, Layout, RowEncoder};
use taxi_etl::transform::value::ColumnType;

use crate::support::Database;

const COLUMNS: [(&str, ColumnType); 6] = [
    ("a", ColumnType::Text),
    ("b", ColumnType::Timestamp),
    ("c", ColumnType::Double),
    ("d", ColumnType::Integer),
    ("e", ColumnType::Date),
    ("f", ColumnType::BigInt),
];

/// Decimals in every form that files contain, and in forms that they should not contain.
fn decimal() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?[0-9]{0,4}\\.[0-9]{1,3}",
        2 => "[+-]?[0-9]{1,17}",
        2 => "[+-]?[0-9]{1,18}\\.[0-9]{0,18}",
        2 => "-?[0-9]{1,17}(\\.[0-9]{1,5})?[eE][+-]?[0-9]{1,3}",
        2 => any::<u64>().prop_map(|bits| f64::from_bits(bits).to_string()),
        2 => any::<u64>().prop_map(|bits| format!("{:e}", f64::from_bits(bits))),
        1 => (-1074..1024_i32).prop_map(|power| format!("{:e}", 2_f64.powi(power))),
        1 => (1..100_u32, -323..309_i32).prop_map(|(digits, power)| format!("{digits}e{power}")),
        1 => (0..1_u64 << 60, 0..60_u32).prop_map(|(bits, shift)| ((bits >> shift) as f64 / 8.0).to_string()),
        1 => proptest::sample::select(vec![
            "-0", "0.0000", "-.0", "NaN", "nan", "inf", "-Infinity", "1e400", "1e-400", "5e-324", "2.5e-324", "1e23",
            "9007199254740993", "0.1e-6", " 7.50 ", "00012.300", "1.7976931348623157e308", "1.7976931348623159e308",
            "0x10", "1_0", "--1", ".", "e5", "1e", "123456789012345", "1234567890123456", "0.00001234", "0.0001234",
        ]).prop_map(str::to_owned),
    ]
}

fn timestamp() -> impl Strategy<Value = String> {
    let date = (1..9999_u32, 1..=12_u32, 1..=31_u32).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    let clock = (0..=24_u32, 0..=60_u32, 0..=60_u32).prop_map(|(h, m, s)| format!("{h:02}:{m:02}:{s:02}"));
    prop_oneof![
        6 => (date.clone(), clock.clone()).prop_map(|(date, clock)| format!("{date} {clock}")),
        2 => (date.clone(), clock, "\\.[0-9]{0,9}").prop_map(|(date, clock, rest)| format!("{date}T{clock}{rest}")),
        1 => date,
        1 => Just("2021-02-29 00:00:00".to_owned()),
        1 => Just("1999-12-31 23:59:59.9999999".to_owned()),
        1 => Just("9999-12-31 23:59:59.9999999".to_owned()),
        1 => Just("1/1/2021 0:30".to_owned()),
    ]
}

fn integer() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<i32>().prop_map(|value| value.to_string()),
        2 => any::<i64>().prop_map(|value| value.to_string()),
        2 => "[+-]?[0-9]{1,12}",
        1 => "[0-9]{1,6}\\.0{1,3}",
        1 => "[0-9]{1,3}\\.[0-9]{1,2}",
    ]
}

fn cells() -> impl Strategy<Value = [String; 6]> {
    let or_null = |cell: BoxedStrategy<String>| prop_oneof![5 => cell, 1 => Just(String::new())];
    let date = (1..9999_u32, 1..=12_u32, 1..=31_u32).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    (
        or_null("[ -~é€\u{1F695}]{1,12}".boxed()),
        or_null(timestamp().boxed()),
        or_null(decimal().boxed()),
        or_null(integer().boxed()),
        or_null(date.boxed()),
        or_null(integer().boxed()),
    )
        .prop_map(<[String; 6]>::from)
}

/// Returns a row with only the cell at `index`, so that one refused cell does not hide another.
fn only_cell(row: &[String; 6], index: usize) -> [String; 6] {
    std::array::from_fn(|other| if other == index { row[other].clone() } else { String::new() })
}

#[test]
fn keys_and_values_match_the_servers() {
    let database = Database::new("row_keys");
    database.sql(
        "CREATE SEQUENCE numbers MINVALUE 0; \
         CREATE TABLE encoded (key text, file text DEFAULT 'f' || nextval('numbers'), a text, b timestamp, c double precision, d integer, e date, f bigint); \
         CREATE TABLE texts (id int, a text, b text, c text, d text, e text, f text); \
         CREATE FUNCTION whole(cell text) RETURNS text LANGUAGE sql IMMUTABLE AS \
           $$ SELECT regexp_replace(cell, '^([+-]?\\d+)\\.0+$', '\\1') $$; \
         CREATE FUNCTION expected_row(t texts) RETURNS encoded LANGUAGE plpgsql AS $$ \
           DECLARE r encoded; BEGIN \
             r.a = nullif(t.a, ''); r.b = nullif(t.b, '')::timestamp; r.c = nullif(t.c, '')::double precision; \
             r.d = whole(nullif(t.d, ''))::integer; r.e = nullif(t.e, '')::date; r.f = whole(nullif(t.f, ''))::bigint; \
             r.file = 'f' || t.id; \
             r.key = md5(coalesce(r.f::text, '') || coalesce(r.b::text, '') || coalesce(r.c::text, '') || \
                         coalesce(r.a, '') || coalesce(r.d::text, '') || coalesce(r.e::text, '')); \
             RETURN r; \
           EXCEPTION WHEN data_exception THEN RETURN NULL; END $$",
    );
    let mut runner = TestRunner::new(Config::default());
    let strategy = proptest::collection::vec(cells(), 6000);
    let mut rows = strategy.new_tree(&mut runner).unwrap().current();
    rows.extend(rows.clone().iter().take(3000).enumerate().map(|(index, row)| only_cell(row, index % 6)));

    let columns: Vec<Column> = [("key", ColumnType::Text), ("file", ColumnType::Text)]
        .into_iter()
        .chain(COLUMNS)
        .map(|(name, column_type)| Column { name: name.to_owned(), column_type, not_null: false })
        .collect();
    let computed = Computed {
        key_column: "key".to_owned(),
        key_of: ["f", "b", "c", "a", "d", "e"].map(str::to_owned).to_vec(),
        filename_column: "file".to_owned(),
    };
    let header = ByteRecord::from(COLUMNS.map(|(name, _)| name).to_vec());
    let mut tuples = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let mut texts = String::new();
    let mut accepted = 0;
    let mut encoder = RowEncoder::new(&Layout::new(columns, computed, "b"), &header).unwrap();
    for row in &rows {
        let mut tuple = Vec::new();
        if encoder.encode(&ByteRecord::from(row.to_vec()), &mut tuple).is_err() {
            continue;
        }
        tuples.extend(tuple);
        let cells: Vec<String> =
            row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        texts.push_str(&format!("{accepted},{}\n", cells.join(",")));
        accepted += 1;
    }
    tuples.extend((-1_i16).to_be_bytes());
    assert!(accepted > rows.len() / 4, "only {accepted} of {} rows were accepted", rows.len());

    let (runtime, client) = database.driver();
    for (copy, bytes) in [
        ("COPY encoded (key, a, b, c, d, e, f) FROM STDIN (FORMAT binary)", tuples),
        ("COPY texts FROM STDIN (FORMAT csv)", texts.into_bytes()),
    ] {
        runtime.block_on(async {
            let mut sink = Box::pin(client.copy_in::<_, bytes::Bytes>(copy).await.unwrap());
            sink.send(bytes.into()).await.unwrap();
            sink.as_mut().finish().await.unwrap();
        });
    }
    let differing = database.sql(
        "SELECT t, o, expected_row(t) FROM encoded o JOIN texts t ON o.file = 'f' || t.id \
         WHERE (expected_row(t)).key IS NULL OR o::text IS DISTINCT FROM expected_row(t)::text LIMIT 5",
    );
    assert_eq!(differing, Vec::<Vec<String>>::new(), "text, encoded row, expected row");
    assert_eq!(database.value("SELECT count(*) FROM encoded"), accepted.to_string());
}
