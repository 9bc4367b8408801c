//! The server is the oracle: the encoder must read the same values from a text as the server, and compute the
//! same key.

use futures_util::SinkExt as _;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use taxi_etl::extract::csv::records::Record;
use taxi_etl::extract::rows::{Cell, FileColumn, Row};
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
    let header = COLUMNS.map(|(name, _)| FileColumn::new(name));
    let mut tuples = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let mut texts = String::new();
    let mut accepted = 0;
    let mut encoder = RowEncoder::new(&Layout::new(columns, computed, "b"), &header).unwrap();
    for row in &rows {
        let mut tuple = Vec::new();
        if encoder.encode(&Record::from_iter(row), &mut tuple).is_err() {
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

/// A row of cells with types, as a file in a binary format has them.
struct TypedRow([Cell<'static>; 5]);

impl Row for TypedRow {
    fn width(&self) -> usize {
        self.0.len()
    }

    fn cell(&self, position: usize) -> Cell<'_> {
        self.0[position]
    }
}

#[test]
fn typed_values_are_stored_and_printed_as_the_servers() {
    const DAY: i64 = 86_400_000_000;
    let database = Database::new("typed_values");
    database.sql(
        "CREATE TABLE encoded (nth bigserial, key text, n double precision, nt text, i bigint, it text, \
             t timestamp, tt text, d date, dt text, b boolean, bt text); \
         CREATE TABLE texts (nth bigint, n text, i bigint, days int, rest bigint, d int, b boolean)",
    );
    // each value of the file goes into a column of its type and into a text column
    let names = ["n", "i", "t", "d", "b"];
    let types = [
        ColumnType::Double,
        ColumnType::BigInt,
        ColumnType::Timestamp,
        ColumnType::Date,
        ColumnType::Boolean,
    ];
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, not_null: false };
    let encoder = |as_text: bool| {
        let mut columns = vec![column("key", ColumnType::Text), column("file", ColumnType::Text)];
        columns.extend(
            std::iter::zip(names, types)
                .map(|(name, own)| column(name, if as_text { ColumnType::Text } else { own })),
        );
        let computed = Computed {
            key_column: "key".to_owned(),
            key_of: names.map(str::to_owned).to_vec(),
            filename_column: "file".to_owned(),
        };
        let file = names.map(FileColumn::new);
        RowEncoder::new(&Layout::new(columns, computed, "t"), &file).unwrap()
    };
    let (mut typed, mut printed) = (encoder(false), encoder(true));
    let mut random = fastrand::Rng::with_seed(7);
    let (mut tuples, mut texts) = (b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec(), String::new());
    for row in 0..6000 {
        let number = match row % 4 {
            0 => f64::from_bits(random.u64(..)),
            1 => f64::from(random.i32(-2_000_000..2_000_000)) / 100.0,
            2 => f64::from(random.i32(..)) / 100_000.0,
            _ => 2_f64.powi(random.i32(-1070..1023)) * f64::from(random.i8(..)),
        };
        let integer = random.i64(..) >> random.u32(0..63);
        // the years 1 to 9999
        let (days, rest) = (random.i32(-730_119..2_921_940), random.i64(0..DAY));
        let rest = if row % 2 == 0 { rest / 1_000_000 * 1_000_000 } else { rest };
        let day = random.i32(-730_119..2_921_940);
        let flag = random.bool();
        let cells = TypedRow([
            Cell::Double(number),
            Cell::Integer(integer),
            Cell::Timestamp(i64::from(days) * DAY + rest),
            Cell::Date(day),
            Cell::Boolean(flag),
        ]);
        let (mut own, mut as_text) = (Vec::new(), Vec::new());
        let key = typed.encode(&cells, &mut own).unwrap().key;
        assert!(
            key == printed.encode(&cells, &mut as_text).unwrap().key,
            "the key depends on the target's types"
        );
        // both rows as one: the key, then the fields of each column in turn
        let fields = |tuple: &[u8]| {
            let (mut fields, mut rest) = (Vec::new(), &tuple[2..]);
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                fields.push(rest[..4 + length].to_vec());
                rest = &after[length..];
            }
            fields
        };
        let (own, as_text) = (fields(&own), fields(&as_text));
        tuples.extend(11_i16.to_be_bytes());
        tuples.extend(&own[0]);
        std::iter::zip(&own[1..], &as_text[1..])
            .for_each(|(own, text)| tuples.extend([&own[..], text].concat()));
        texts.push_str(&format!("{},{number:e},{integer},{days},{rest},{day},{flag}\n", row + 1));
    }
    tuples.extend((-1_i16).to_be_bytes());
    let (runtime, client) = database.driver();
    for (copy, bytes) in [
        ("COPY encoded (key, n, nt, i, it, t, tt, d, dt, b, bt) FROM STDIN (FORMAT binary)", tuples),
        ("COPY texts FROM STDIN (FORMAT csv)", texts.into_bytes()),
    ] {
        runtime.block_on(async {
            let mut sink = Box::pin(client.copy_in::<_, bytes::Bytes>(copy).await.unwrap());
            sink.send(bytes.into()).await.unwrap();
            sink.as_mut().finish().await.unwrap();
        });
    }
    let differing = database.sql(
        "WITH v AS (SELECT nth, n::double precision AS n, i, b, date '2000-01-01' + d AS d, \
                           timestamp '2000-01-01' + days * interval '1 day' + rest * interval '1 microsecond' AS t \
                    FROM texts) \
         SELECT v, e FROM encoded e JOIN v USING (nth) \
         WHERE (e.n, e.nt, e.i, e.it, e.t, e.tt, e.d, e.dt, e.b, e.bt, e.key) IS DISTINCT FROM \
               (v.n, v.n::text, v.i, v.i::text, v.t, v.t::text, v.d, v.d::text, v.b, v.b::text, \
                md5(v.n::text || v.i::text || v.t::text || v.d::text || v.b::text)) LIMIT 5",
    );
    assert_eq!(differing, Vec::<Vec<String>>::new(), "the server's values and the encoded row");
    assert_eq!(database.value("SELECT count(*) FROM encoded JOIN texts USING (nth)"), "6000");
}
