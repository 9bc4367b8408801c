//! Inspects the target table, and decides how a load's rows reach it.

use std::fmt;

use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row};

use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement::sql;
use crate::error::{Error, Kind, Result};
use crate::transform::times::Period;

/// How a load's rows reach the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The staging table becomes a partition of the target.
    Attach(NewPartition),
    /// The rows are merged from a staging table, for this reason.
    Merge(MergeReason),
}

/// The partition that a load will add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewPartition {
    /// The partition's name.
    pub(crate) name: TableName,
    /// The target's owner, if it is not the role that loads.
    pub(crate) owner: Option<String>,
}

/// Why a load merges its rows instead of attaching a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MergeReason {
    /// The month already has a partition, with this name.
    MonthHasPartition(String),
    /// The partition with this name covers a part of the month, or more than the month.
    OtherPartition(String),
    /// The target is not partitioned by ranges of the time column.
    NotPartitioned,
    /// The role is not a member of this role, which owns the target.
    NotOwner(String),
    /// The role may not create tables in this schema.
    MayNotCreate(String),
    /// The target has these triggers, which ATTACH does not fire.
    Triggers(Vec<String>),
    /// Row-level security applies to the role.
    Policies,
    /// Foreign keys of these tables reference the target: moving a row would delete the rows that reference it.
    ForeignKeys(Vec<String>),
    /// These publications use `publish_via_partition_root`, and would not publish the rows of an attached table.
    Publications(Vec<String>),
    /// The target has identity columns, which a partition cannot have.
    IdentityColumns,
    /// The name of a partition would be longer than the server's limit.
    NameTooLong,
}

impl fmt::Display for MergeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MonthHasPartition(name) => write!(f, "the month already has the partition {name}"),
            Self::OtherPartition(name) => write!(f, "the partition {name} does not cover exactly this month"),
            Self::NotPartitioned => f.write_str("the table is not partitioned by month"),
            Self::NotOwner(owner) => write!(f, "only the owner, {owner}, can attach partitions"),
            Self::MayNotCreate(schema) => {
                write!(f, "the role does not have the CREATE privilege on the schema {schema}")
            }
            Self::Triggers(names) => write!(f, "the triggers {} must fire for the rows", names.join(", ")),
            Self::Policies => f.write_str("row-level security applies to the role"),
            Self::ForeignKeys(tables) => {
                write!(f, "foreign keys of {} reference the table", tables.join(", "))
            }
            Self::Publications(names) => {
                write!(f, "the publications {} use publish_via_partition_root", names.join(", "))
            }
            Self::IdentityColumns => {
                f.write_str("identity columns get their values only in the table itself")
            }
            Self::NameTooLong => f.write_str("the name of a partition would be longer than 63 bytes"),
        }
    }
}

/// The properties of the target that decide how a load adds rows to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// How this load's rows reach the target.
    pub(crate) route: Route,
    /// How the rows of a month without a partition reach the target: in a new partition, or merged for this
    /// reason.
    pub(crate) new_months: Route,
    /// Whether the target is partitioned by ranges of the time column. If so, all rows without a time are in one
    /// partition.
    pub(crate) is_partitioned: bool,
    /// Whether taxi made the table, and this role may change it.
    pub(crate) is_made_by_taxi: bool,
    /// The triggers that fire when rows are inserted or deleted.
    pub(crate) triggers: Vec<String>,
    /// The unique index that allows each row key only once, if there is one.
    pub(crate) unique_index: Option<String>,
}

/// Inspects the `table` for a load of `period`. Refuses a table with rules, which neither COPY nor MERGE applies,
/// and a new partition whose name is already taken.
pub(crate) async fn inspect(
    client: &impl GenericClient,
    table: &TableName,
    period: &Period,
    key_column: &str,
) -> Result<Target> {
    let column = period.time_column.to_lowercase();
    let (range, suffix, key_column) = (&period.range, period.suffix(), key_column.to_lowercase());
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&table.quoted(), &column, &range.start, &range.end, &suffix, &key_column];
    let row = client
        .query_one(sql!("inspect_target.sql"), &parameters)
        .await
        .map_err(|cause| failure::statement(format!("cannot inspect table {table}"), cause))?;
    let rules: Vec<String> = row.get("rules");
    if !rules.is_empty() {
        let text = format!("table {table} has rules, which a load does not apply: {}", rules.join(", "));
        return Err(
            Error::new(Kind::Configuration, text).hint("drop the rules, or replace them with triggers")
        );
    }
    let new_months = new_months(&row);
    let partition: Option<String> = row.get("partition");
    let route = match (partition, &new_months) {
        (Some(name), _) if row.get("is_equal") => Route::Merge(MergeReason::MonthHasPartition(name)),
        (Some(name), _) => Route::Merge(MergeReason::OtherPartition(name)),
        (None, Route::Attach(partition)) if row.get("is_taken") => {
            let text = format!("{} already exists and is not a partition of {table}", partition.name);
            return Err(Error::new(Kind::Configuration, text)
                .hint("attach, rename or drop that table; the load needs its name for a new partition"));
        }
        (None, route) => route.clone(),
    };
    Ok(Target {
        route,
        new_months,
        is_partitioned: row.get("is_partitioned"),
        is_made_by_taxi: row.get("is_made_by_taxi") && row.get("may_attach"),
        triggers: row.get("triggers"),
        unique_index: row.get("unique_index"),
    })
}

fn new_months(row: &Row) -> Route {
    let (owner, schema): (String, String) = (row.get("owner"), row.get("schema_name"));
    let triggers: Vec<String> = row.get("triggers");
    let (referring, publications): (Vec<String>, Vec<String>) =
        (row.get("referring"), row.get("publications"));
    let has = |column: &str| row.get::<_, bool>(column);
    Route::Merge(match () {
        () if !has("is_partitioned") => MergeReason::NotPartitioned,
        () if !triggers.is_empty() => MergeReason::Triggers(triggers),
        () if has("has_policies") => MergeReason::Policies,
        () if !referring.is_empty() => MergeReason::ForeignKeys(referring),
        () if !publications.is_empty() => MergeReason::Publications(publications),
        () if has("has_identity") => MergeReason::IdentityColumns,
        () if has("is_too_long") => MergeReason::NameTooLong,
        () if !has("may_attach") => MergeReason::NotOwner(owner),
        () if !has("may_create") => MergeReason::MayNotCreate(schema),
        () => {
            let name = TableName::of(&schema, row.get("partition_name"));
            let owner = (!has("is_owner")).then_some(owner);
            return Route::Attach(NewPartition { name, owner });
        }
    })
}
