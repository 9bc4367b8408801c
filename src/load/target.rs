//! What the target is, and so how a load's rows reach it.

use std::fmt;

use tokio_postgres::{GenericClient, Row};

use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::transform::times::Period;

/// How a load's rows reach the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The staging table becomes a partition of the target.
    Attach(NewPartition),
    /// The rows are merged from a staging table.
    Merge(MergeReason),
}

/// The partition that a load will add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartition {
    /// Its name.
    pub name: TableName,
    /// The target's owner, if that is not the role that loads.
    pub owner: Option<String>,
}

/// Why a load merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeReason {
    /// The month has a partition.
    MonthHasPartition(String),
    /// A partition covers a part of the month, or more than the month.
    OtherPartition(String),
    /// The target is not partitioned by ranges of the time column.
    NotPartitioned,
    /// The role is not a member of the role that owns the target.
    NotOwner(String),
    /// The role may not create tables in this schema.
    MayNotCreate(String),
    /// These triggers must see the rows.
    Triggers(Vec<String>),
    /// Row-level security applies to the role.
    Policies,
}

impl fmt::Display for MergeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MonthHasPartition(name) => write!(f, "the month has the partition {name}"),
            Self::OtherPartition(name) => write!(f, "the partition {name} is not one of a single month"),
            Self::NotPartitioned => f.write_str("the table is not partitioned by month"),
            Self::NotOwner(owner) => write!(f, "only the owner, {owner}, can attach partitions"),
            Self::MayNotCreate(schema) => write!(f, "the role lacks CREATE on the schema {schema}"),
            Self::Triggers(names) => write!(f, "the triggers {} must see the rows", names.join(", ")),
            Self::Policies => f.write_str("row-level security applies to the rows"),
        }
    }
}

/// What is known of the target.
#[derive(Clone, Debug)]
pub struct Target {
    /// How rows reach it.
    pub route: Route,
    /// Whether a month that has no partition yet could get one; else why not.
    pub new_months: Route,
    /// Whether it is partitioned by ranges of the time column: rows without a time are in one partition then.
    pub is_partitioned: bool,
    /// The triggers that fire for its rows.
    pub triggers: Vec<String>,
}

/// Looks at the `table` for a load of `period`. Refused: a table with rules, which neither COPY nor MERGE applies; a new
/// partition whose name is taken.
pub async fn inspect(client: &impl GenericClient, table: &TableName, period: &Period) -> Result<Target> {
    let inspect = statement::render("inspect_target.sql", &minijinja::context! {})?;
    let column = period.time_column.to_lowercase();
    let (range, suffix) = (&period.range, period.suffix());
    let row = client
        .query_one(&inspect, &[&table.quoted(), &column, &range.start, &range.end, &suffix])
        .await
        .map_err(|cause| failure::statement(format!("cannot inspect table {table}"), cause))?;
    let rules: Vec<String> = row.get("rules");
    if !rules.is_empty() {
        let text = format!("table {table} has rules, which a load does not apply: {}", rules.join(", "));
        return Err(Error::new(Kind::Configuration, text).hint("drop them, or make triggers of them"));
    }
    let new_months = new_months(&row);
    let partition: Option<String> = row.get("partition");
    let route = match (partition, &new_months) {
        (Some(name), _) if row.get("is_equal") => Route::Merge(MergeReason::MonthHasPartition(name)),
        (Some(name), _) => Route::Merge(MergeReason::OtherPartition(name)),
        (None, Route::Attach(partition)) if row.get("is_taken") => {
            let text = format!("{} exists and is not a partition of {table}", partition.name);
            return Err(Error::new(Kind::Configuration, text)
                .hint("attach it, rename it or drop it: the load would create a table of that name"));
        }
        (None, route) => route.clone(),
    };
    Ok(Target { route, new_months, is_partitioned: row.get("is_partitioned"), triggers: row.get("triggers") })
}

fn new_months(row: &Row) -> Route {
    let (owner, schema): (String, String) = (row.get("owner"), row.get("schema_name"));
    let triggers: Vec<String> = row.get("triggers");
    let has = |column: &str| row.get::<_, bool>(column);
    Route::Merge(match () {
        () if !has("is_partitioned") => MergeReason::NotPartitioned,
        () if !triggers.is_empty() => MergeReason::Triggers(triggers),
        () if has("has_policies") => MergeReason::Policies,
        () if !has("may_attach") => MergeReason::NotOwner(owner),
        () if !has("may_create") => MergeReason::MayNotCreate(schema),
        () => {
            let name = TableName::of(&schema, row.get("partition_name"));
            let owner = (!has("is_owner")).then_some(owner);
            return Route::Attach(NewPartition { name, owner });
        }
    })
}
