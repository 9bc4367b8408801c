//! How many of the file's rows repeat a key.

use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::merge::Merge;
use crate::database::failure;
use crate::database::statement;
use crate::error::Result;
use crate::transform::repeats::Repeats;
use crate::transform::times::{Period, TIMES_LIMIT};
use crate::transform::timestamp::Timestamp;

/// The file's rows less the distinct keys among them, in the chunks of the `merge` and, where they went there straight, in
/// the target. Only what `repeats` suspects is looked at.
pub async fn count(
    transaction: &Transaction<'_>,
    merge: &Merge<'_>,
    period: &Period,
    identifiers: &minijinja::Value,
    repeats: Repeats,
) -> Result<u64> {
    let suspects = repeats.suspects();
    if suspects.as_ref().is_some_and(Vec::is_empty) {
        return Ok(0);
    }
    let straight = merge.period_is_free();
    let identifiers =
        minijinja::context! { chunks => merge.chunks().to_vec(), straight, ..identifiers.clone() };
    let query = statement::render("count_duplicate_keys.sql", &identifiers)?;
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let keys: Option<Vec<String>> =
        suspects.as_ref().map(|rows| rows.iter().map(|row| text(&row.key.text())).collect());
    let times: Option<Vec<Timestamp>> = suspects
        .filter(|rows| rows.len() <= TIMES_LIMIT)
        .map(|rows| rows.iter().filter_map(|row| row.time).collect());
    let values: [&(dyn ToSql + Sync); 4] = [&keys, &times, &period.range.start, &period.range.end];
    let counted = transaction.query_one(&query, if straight { &values } else { &values[..1] }).await;
    let row =
        counted.map_err(|cause| failure::statement("cannot count the keys that the file repeats", cause))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
