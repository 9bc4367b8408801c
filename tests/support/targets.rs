//! Yellow targets of several shapes, months to load into them, and what they hold then.

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

/// All rows of the target; a row that several files have may be under the name of any.
pub(crate) fn contents(database: &Database) -> Vec<Vec<String>> {
    database.sql(
        "SELECT count(*), count(DISTINCT unique_row_id), md5(string_agg(row, '' ORDER BY row)) \
         FROM (SELECT unique_row_id, (to_jsonb(t) - 'filename')::text AS row FROM yellow_tripdata t) AS rows",
    )
}

/// How many rows each partition holds.
pub(crate) fn partitions(database: &Database) -> Vec<String> {
    let query = "SELECT relname || ' ' || count(t) FROM pg_inherits \
                 JOIN pg_class ON pg_class.oid = inhrelid LEFT JOIN yellow_tripdata t ON t.tableoid = inhrelid \
                 WHERE inhparent = 'yellow_tripdata'::regclass GROUP BY relname ORDER BY relname";
    database.sql(query).into_iter().map(|mut row| row.remove(0)).collect()
}

/// The same database with a plain target, as the reference flow creates it.
pub(crate) fn plain(name: &str) -> Database {
    let database = Database::new(name);
    database.sql(&format!("CREATE TABLE yellow_tripdata ({COLUMNS})"));
    database
}

/// Two neighbours whose files hold rows of each other, and some rows that both files have.
pub(crate) fn write_neighbours(folder: &Path) {
    let at = |date: &str, location: u32| {
        YELLOW_ROW.replace("2021-01-01", date).replace(",142,", &format!(",{location},"))
    };
    for (name, other) in [("2021-01", "2021-02"), ("2021-02", "2021-01")] {
        let mut text = yellow_csv(2000, name);
        for day in 1..=20 {
            // of the neighbour's month, in both files; and in this file alone
            text += &format!("{}\r\n", at(&format!("{other}-{day:02}"), 1));
            text += &format!("{}\r\n", at(&format!("{name}-{day:02}"), 1));
            text += &format!("{}\r\n", at(&format!("{other}-{day:02}"), 2 + u32::from(name < other)));
        }
        write_month(folder, name, &text);
    }
}
