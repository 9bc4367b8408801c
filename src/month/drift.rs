//! What changed between the files of consecutive months: columns that come, go, change their spelling or their type.

use serde::Serialize;

use crate::extract::shape::{Shape, ShapeColumn};

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeKind {
    /// The files have another format.
    Format,
    /// The column is new.
    Added,
    /// The column is gone.
    Gone,
    /// The column is spelled with other upper and lower case.
    Spelling,
    /// The column has another type.
    Type,
}

impl ChangeKind {
    /// The kind in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Added => "added",
            Self::Gone => "gone",
            Self::Spelling => "spelling",
            Self::Type => "type",
        }
    }
}

/// A change from one file to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// The file that is the first to have the change.
    pub(crate) filename: String,
    /// What changed.
    pub(crate) change: ChangeKind,
    /// The column, as the file spells it; `None` for the format.
    pub(crate) column: Option<String>,
    /// The format, spelling or type before.
    pub(crate) before: Option<String>,
    /// The format, spelling or type since.
    pub(crate) after: Option<String>,
}

/// The changes from the `previous` file to the file `filename`, in the order of their columns.
pub(crate) fn changes(previous: &Shape, filename: &str, shape: &Shape) -> Vec<Change> {
    let change = |change, column: Option<&str>, before: Option<&str>, after: Option<&str>| Change {
        filename: filename.to_owned(),
        change,
        column: column.map(str::to_owned),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
    };
    let find = |shape: &Shape, name: &str| -> Option<ShapeColumn> {
        let name = name.to_lowercase();
        shape.columns.iter().find(|column| column.name.to_lowercase() == name).cloned()
    };
    let mut changes = Vec::new();
    if previous.format != shape.format {
        changes.push(change(ChangeKind::Format, None, Some(previous.format), Some(shape.format)));
    }
    for column in &shape.columns {
        let name = column.name.as_str();
        let Some(before) = find(previous, name) else {
            changes.push(change(ChangeKind::Added, Some(name), None, column.column_type.as_deref()));
            continue;
        };
        if before.name != column.name {
            changes.push(change(ChangeKind::Spelling, Some(name), Some(&before.name), Some(name)));
        }
        if let (Some(before), Some(after)) = (&before.column_type, &column.column_type)
            && before != after
        {
            changes.push(change(ChangeKind::Type, Some(name), Some(before), Some(after)));
        }
    }
    for column in &previous.columns {
        if find(shape, &column.name).is_none() {
            changes.push(change(ChangeKind::Gone, Some(&column.name), column.column_type.as_deref(), None));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(format: &'static str, columns: &[(&str, Option<&str>)]) -> Shape {
        let column = |(name, column_type): &(&str, Option<&str>)| ShapeColumn {
            name: (*name).to_owned(),
            column_type: column_type.map(str::to_owned),
        };
        Shape { format, rows: None, columns: columns.iter().map(column).collect(), bytes_read: 0 }
    }

    #[test]
    fn every_kind_of_change_is_found_and_nothing_else() {
        let old = shape(
            "parquet",
            &[("VendorID", Some("int64")), ("airport_fee", Some("null")), ("x", Some("double"))],
        );
        let new = shape(
            "parquet",
            &[("VendorID", Some("int32")), ("Airport_fee", Some("double")), ("y", Some("string"))],
        );
        let csv = shape("csv", &[("vendorid", None), ("Airport_fee", None), ("y", None)]);
        let found = |a, b| -> Vec<String> {
            let words = |change: Change| {
                let part = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
                [
                    change.change.words().to_owned(),
                    part(change.column),
                    part(change.before),
                    part(change.after),
                ]
                .join(" ")
            };
            changes(a, "f", b).into_iter().map(words).collect()
        };
        assert_eq!(
            found(&old, &new),
            [
                "type VendorID int64 int32",
                "spelling Airport_fee airport_fee Airport_fee",
                "type Airport_fee null double",
                "added y - string",
                "gone x double -",
            ]
        );
        // the columns of a CSV have no types
        assert_eq!(found(&new, &csv), ["format - parquet csv", "spelling vendorid VendorID vendorid"]);
        assert_eq!(found(&old, &old), [""; 0]);
    }
}
