//! Yellow targets, months to load into them, and queries for their contents.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Database;
use super::month::{YELLOW_ROW, gzip, write, yellow_csv};

pub(crate) const COLUMNS: &str = "unique_row_id text, filename text, vendorid text, tpep_pickup_datetime timestamp, \
    tpep_dropoff_datetime timestamp, passenger_count integer, trip_distance double precision, ratecodeid text, \
    store_and_fwd_flag text, pulocationid text, dolocationid text, payment_type integer, fare_amount double precision, \
    extra double precision, mta_tax double precision, tip_amount double precision, tolls_amount double precision, \
    improvement_surcharge double precision, total_amount double precision, congestion_surcharge double precision";

pub(crate) fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn write_month(folder: &Path, name: &str, text: &str) {
    write(folder, "yellow", name, &gzip(text.as_bytes()));
}

/// Returns counts and a digest of all rows. Leaves out `filename`, because a row that is in several files may
/// have the name of any of them.
pub(crate) fn contents(database: &Database) -> Vec<Vec<String>> {
    database.sql(
        "SELECT count(*), count(DISTINCT unique_row_id), md5(string_agg(row, '' ORDER BY row)) \
         FROM (SELECT unique_row_id, (to_jsonb(t) - 'filename')::text AS row FROM yellow_tripdata t) AS rows",
    )
}

/// Returns the name and the row count of each partition.
pub(crate) fn partitions(database: &Database) -> Vec<String> {
    let query = "SELECT relname || ' ' || count(t) FROM pg_inherits \
                 JOIN pg_class ON pg_class.oid = inhrelid LEFT JOIN yellow_tripdata t ON t.tableoid = inhrelid \
                 WHERE inhparent = 'yellow_tripdata'::regclass GROUP BY relname ORDER BY relname";
    database.sql(query).into_iter().map(|mut row| row.remove(0)).collect()
}

/// Creates a database with a plain target table, as the reference flow creates it.
pub(crate) fn plain(name: &str) -> Database {
    let database = Database::new(name);
    database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS})"));
    database
}

/// Writes two neighbouring months. Each file has rows of the other month, and some rows are in both files.
pub(crate) fn write_neighbours(folder: &Path) {
    let at = |date: &str, location: u32| {
        YELLOW_ROW.replace("2021-01-01", date).replace(",142,", &format!(",{location},"))
    };
    for (name, other) in [("2021-01", "2021-02"), ("2021-02", "2021-01")] {
        let mut text = yellow_csv(2000, name);
        for day in 1..=20 {
            // two rows that both files have, one of each month, and a row of the other month that only this
            // file has
            text += &format!("{}\r\n", at(&format!("{other}-{day:02}"), 1));
            text += &format!("{}\r\n", at(&format!("{name}-{day:02}"), 1));
            text += &format!("{}\r\n", at(&format!("{other}-{day:02}"), 2 + u32::from(name < other)));
        }
        write_month(folder, name, &text);
    }
}
