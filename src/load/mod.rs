//! The last stage: puts a file's rows into the target, all or nothing.
//!
//! ```text
//!                ┌─► a month without a partition: COPY into a new table ─► ATTACH it ─┐
//! BEGIN, lock ─► │                                                                    ├─► ledger row ─► COMMIT
//!                └─► else: COPY into a staging table ─► MERGE ────────────────────────┘
//! ```
//!
//! All of this is one transaction, which [`crate::month::load`] begins and commits. Advisory locks prevent
//! two loads of the same month at the same time. If the client dies, the server rolls back the transaction and
//! releases the locks, so a killed load leaves no rows, no tables and no locks.
//!
//! Loads of different months run in parallel and share nothing until they add their rows. Then the table's lock
//! allows only one load at a time to add its rows, so that each load sees what the others have committed. The result
//! is the same as if the loads had run one after another, in the order of their commits.

pub(crate) mod attach;
pub(crate) mod columns;
pub(crate) mod copy;
pub(crate) mod exclusive;
mod failing_row;
mod merge;
pub(crate) mod new_columns;
pub(crate) mod repeated_keys;
pub(crate) mod staging;
pub(crate) mod tables;
pub(crate) mod target;
pub(crate) mod transaction;

use crate::error::{Detail, Error, Result};
use crate::transform::batch::Transformed;
use staging::Staging;
use target::Route;
use transaction::{Added, Load};

/// Adds the staged rows to the target, one load at a time. After that, only the ledger's row and the commit remain. If
/// the target refuses a row, the error names its line.
pub(crate) async fn add(load: &Load<'_>, staging: &Staging, transformed: &Transformed) -> Result<Added> {
    load.execute("SAVEPOINT add").await?;
    let added = async {
        let added = match &load.target.route {
            Route::Attach(_) => attach::add(load, staging, transformed).await?,
            Route::Merge(_) => merge::add(load, staging, transformed).await?,
        };
        // deferred constraints too, so that the commit cannot fail because of a row
        load.execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
        Ok::<_, Error>(added)
    };
    match added.await {
        Err(error) if error.detail() == Some(Detail::RefusedRow) => {
            load.execute("ROLLBACK TO SAVEPOINT add").await?;
            Err(failing_row::explain(load, staging, error).await)
        }
        added => added,
    }
}
