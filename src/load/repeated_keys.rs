//! Row keys that occur more than once in a file: counts them, refuses them, or keeps the first row of each key.

use super::staging::Staging;
use super::transaction::Load;
use crate::database::failure;
use crate::database::statement::render;
use crate::error::{Error, Kind, Result};
use crate::transform::duplicates::Candidates;

/// What to do with rows of a file that repeat the key of an earlier row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnRepeatedKey {
    /// Load all rows, as the course's flow does: some published files repeat keys.
    KeepAll,
    /// Load the first row of each key.
    KeepFirst,
    /// Refuse the file.
    Fail,
}

/// The keys of a file that may occur more than once; `None` if there are too many to list.
type Keys = Option<Vec<String>>;

/// Counts the staged rows minus their distinct keys, and does with the repeated keys what the user asked for: if
/// nothing, keeps all rows, unless a unique index of the target allows each key only once. Returns the count.
pub(crate) async fn handle(
    load: &Load<'_>,
    staging: &mut Staging,
    candidates: Candidates,
    action: Option<OnRepeatedKey>,
) -> Result<u64> {
    let keys: Keys = candidates
        .keys()
        .map(|keys| keys.iter().map(|key| String::from_utf8_lossy(&key.text()).into_owned()).collect());
    if keys.as_ref().is_some_and(Vec::is_empty) {
        return Ok(0);
    }
    let repeated = count(load, staging, &keys).await?;
    let unique_index = &load.target.unique_index;
    match action.unwrap_or(if unique_index.is_some() { OnRepeatedKey::Fail } else { OnRepeatedKey::KeepAll })
    {
        _ if repeated == 0 => {}
        OnRepeatedKey::KeepAll => {}
        OnRepeatedKey::KeepFirst => {
            delete_repeated(load, staging, &keys).await?;
            // a row without a time can have the key of a row of the month, in the other staging table
            let left = count(load, staging, &keys).await?;
            if left > 0 {
                return Err(refuse(load, staging, &keys, left).await?);
            }
        }
        OnRepeatedKey::Fail => return Err(refuse(load, staging, &keys, repeated).await?),
    }
    Ok(repeated)
}

async fn count(load: &Load<'_>, staging: &Staging, keys: &Keys) -> Result<u64> {
    let tables: Vec<String> = staging.created().map(|table| table.name.quoted()).collect();
    let names = minijinja::context! { tables, ..load.names.clone() };
    let count = render!("count_duplicate_keys.sql", &names)?;
    let counted = load.transaction.query_one(&count, &[keys]).await;
    let failed = |cause| failure::statement("cannot count the duplicate keys of the file", cause);
    Ok(counted.map_err(failed)?.get::<_, i64>(0).unsigned_abs())
}

async fn delete_repeated(load: &Load<'_>, staging: &mut Staging, keys: &Keys) -> Result<()> {
    for table in staging.created_mut() {
        let delete = render!("delete_repeated.sql", &load.names_with(&table.name))?;
        let deleted = load.transaction.execute(&delete, &[keys]).await;
        table.remove_rows(deleted.map_err(|cause| {
            failure::statement(format!("cannot delete repeated keys from {}", table.name), cause)
        })?);
    }
    Ok(())
}

/// The error for a file with repeated keys, which names the rows of the first one.
async fn refuse(load: &Load<'_>, staging: &Staging, keys: &Keys, repeated: u64) -> Result<Error> {
    let mut text = format!("{repeated} rows of {} repeat the row key of an earlier row", load.filename);
    for table in staging.created() {
        let find = render!("find_repeated_key.sql", &load.names_with(&table.name))?;
        let found = load.transaction.query_opt(&find, &[keys]).await;
        let failed = |cause| failure::statement("cannot find the repeated keys of the file", cause);
        if let Some(row) = found.map_err(failed)? {
            let (key, numbers): (String, Vec<i64>) = (row.get(0), row.get(1));
            let lines = numbers.iter().filter_map(|number| table.lines.of(number.unsigned_abs()));
            let lines: Vec<String> = lines.map(|line| line.to_string()).collect();
            let (places, lines) = (load.place.word(), lines.join(", "));
            text.push_str(&format!(": for example, the {places}s {lines} have the key {key}"));
            break;
        }
    }
    let error = Error::new(Kind::Data, text);
    Ok(match &load.target.unique_index {
        Some(index) => error.hint(format!(
            "the unique index {index} of {} allows each key once: use --on-repeated-key keep-first to load the first \
             row of each key",
            load.table
        )),
        None => error.hint("use --on-repeated-key keep-first to load the first row of each key, or keep-all"),
    })
}
