//! How many of the staged rows repeat a key.

use tokio_postgres::Transaction;

use super::staging::Staging;
use crate::database::failure;
use crate::database::statement;
use crate::error::Result;
use crate::transform::repeats::Repeats;

/// The staged rows less the distinct keys among them; only what `repeats` suspects is looked at.
pub async fn count(
    transaction: &Transaction<'_>,
    staging: &Staging<'_>,
    identifiers: &minijinja::Value,
    repeats: Repeats,
) -> Result<u64> {
    let suspects = repeats.suspects();
    if suspects.as_ref().is_some_and(Vec::is_empty) {
        return Ok(0);
    }
    let some_suspects = suspects.is_some();
    let identifiers =
        minijinja::context! { chunks => staging.tables().to_vec(), some_suspects, ..identifiers.clone() };
    let query = statement::render("count_duplicate_keys.sql", &identifiers)?;
    let counted = match &suspects {
        Some(suspects) => transaction.query_one(&query, &[suspects]).await,
        None => transaction.query_one(&query, &[]).await,
    };
    let row =
        counted.map_err(|cause| failure::statement("cannot count the keys that the file repeats", cause))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}
