//! The server as the oracle for the contents of a CSV file: the rows of a file that a load accepts must equal
//! the rows that `COPY … (FORMAT csv)` reads from it. A load may refuse files that COPY accepts.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::SinkExt as _;
use taxi_etl::extract::csv::dialect::BlankLines;
use taxi_etl::extract::csv::gunzip;
use taxi_etl::extract::csv::records::Records;
use taxi_etl::transform::row::{Column, Computed, Layout, RowEncoder};
use taxi_etl::transform::value::ColumnType;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

const COLUMNS: [(&str, ColumnType); 5] = [
    ("key", ColumnType::Text),
    ("file", ColumnType::Text),
    ("a", ColumnType::Text),
    ("b", ColumnType::Text),
    ("c", ColumnType::Integer),
];

pub(crate) struct Oracle {
    runtime: Runtime,
    client: Client,
}

impl Oracle {
    pub(crate) fn new(url: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls)).unwrap();
        runtime.spawn(connection);
        let tables = "CREATE TEMP TABLE loaded (key text, file text, a text, b text, c integer); \
                      CREATE TEMP TABLE copied (a text, b text, c integer)";
        runtime.block_on(client.batch_execute(tables)).unwrap();
        Self { runtime, client }
    }

    /// Returns whether a load accepts a file with these lines after its header. Panics if the server reads
    /// other rows from the file.
    pub(crate) fn compare(&self, lines: &[u8]) -> bool {
        let crlf = lines.windows(2).any(|pair| pair == b"\r\n");
        let csv = [if crlf { &b"a,b,c\r\n"[..] } else { b"a,b,c\n" }, lines].concat();
        let Some(tuples) = self.runtime.block_on(encode(&csv)) else { return false };
        self.runtime.block_on(async {
            self.client.batch_execute("ROLLBACK; BEGIN").await.unwrap();
            let text = String::from_utf8_lossy(&csv).into_owned();
            let copied = self.copy("COPY copied FROM STDIN (FORMAT csv, HEADER)", csv).await;
            copied.unwrap_or_else(|error| panic!("only the server refuses {text:?}: {error:?}"));
            self.copy("COPY loaded (key, a, b, c) FROM STDIN (FORMAT binary)", tuples).await.unwrap();
            let query = "SELECT (SELECT array_agg(ROW(a, b, c)::text ORDER BY ROW(a, b, c)::text) FROM loaded)::text, \
                                (SELECT array_agg(ROW(a, b, c)::text ORDER BY ROW(a, b, c)::text) FROM copied)::text, \
                                NOT EXISTS (SELECT FROM loaded WHERE key IS DISTINCT FROM \
                                            md5(coalesce(c::text, '') || coalesce(a, '') || coalesce(b, '')))";
            let row = self.client.query_one(query, &[]).await.unwrap();
            let (loaded, copied): (Option<String>, Option<String>) = (row.get(0), row.get(1));
            assert_eq!(loaded, copied, "the load's rows and the server's rows of {text:?}");
            assert!(row.get::<_, bool>(2), "the load's key differs from the server's key in {text:?}");
            self.client.batch_execute("ROLLBACK").await.unwrap();
        });
        true
    }

    async fn copy(&self, copy: &str, bytes: Vec<u8>) -> Result<u64, tokio_postgres::Error> {
        let mut sink = Box::pin(self.client.copy_in::<_, Bytes>(copy).await?);
        sink.send(bytes.into()).await?;
        sink.as_mut().finish().await
    }
}

/// Encodes the file's rows with the stages of a load. Returns `None` if a stage refuses the file.
pub(crate) async fn encode(csv: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(csv).unwrap();
    let (sender, compressed) = tokio::sync::mpsc::channel(1);
    let content = Bytes::from(encoder.finish().unwrap());
    tokio::spawn(async move { sender.send(Ok(content)).await });
    let mut records =
        Records::new(gunzip::start(compressed, "f".to_owned(), BlankLines::default()), "f".to_owned());
    let header = records.header().await.ok()?;
    let columns =
        COLUMNS.map(|(name, column_type)| Column { name: name.to_owned(), column_type, not_null: false });
    let computed = Computed {
        key_column: "key".to_owned(),
        key_of: ["c", "a", "b"].map(str::to_owned).to_vec(),
        filename_column: "file".to_owned(),
    };
    let mut rows = RowEncoder::new(&Layout::new(columns.to_vec(), computed, "at"), &header).ok()?;
    let mut tuples = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    while records.next().await.ok()? {
        rows.encode(records.record(), &mut tuples).ok()?;
    }
    if rows.rows_with_extra_cells() > 0 {
        return None; // a load accepts empty cells after the last column, and the server does not
    }
    tuples.extend((-1_i16).to_be_bytes());
    Some(tuples)
}
