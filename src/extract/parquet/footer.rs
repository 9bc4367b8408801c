//! The footer of a file: its columns, and where their pages are.
//!
//! In: the last bytes of the file, from any source that reads parts of it. Out: the columns and row groups. Refused: a
//! file that is cut, a footer that is damaged or larger than any real one, row groups that lie outside of the file or
//! do not have the same number of rows in every column.
//!
//! A footer can declare any number of columns, in any depth, and the `parquet` crate believes it. The schema is
//! therefore read once before.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetStatisticsPolicy, RowGroupMetaData,
};

use super::kind::Kind;
use super::source::ReadAt;
use super::thrift::{self, Fault, Reader};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::extract::format::PARQUET_MAGIC;
use crate::extract::rows::FileColumn;

/// Length of what stands at the very end: the footer's length, and the magic bytes.
pub(crate) const END_BYTES: usize = 8;
/// Maximum length of a footer. Those of the agency have 10 KB; decoded, a footer takes twenty times its length.
const LENGTH_LIMIT_BYTES: u64 = 2 * 1024 * 1024;
/// Maximum number of columns, as of a table in PostgreSQL.
const COLUMNS_LIMIT: usize = 1600;
/// Maximum number of columns with all columns within nested ones.
const ELEMENTS_LIMIT: usize = 10_000;
/// How deep columns may nest.
const DEPTH_LIMIT: usize = 16;

/// A decoded footer.
pub(crate) struct Footer {
    /// The columns, in the order of the file.
    pub(super) columns: Vec<Column>,
    /// The row groups.
    pub(super) metadata: ParquetMetaData,
}

/// A column of the file.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// The name.
    pub(crate) name: String,
    /// What its values mean.
    pub(crate) kind: Kind,
    /// Its position in a row group; `None` if the column is nested.
    pub(super) leaf: Option<usize>,
}

/// Reads the footer of a file.
pub(super) async fn read(source: &Arc<dyn ReadAt>, address: &str) -> Result<Footer> {
    let (source, address) = (Arc::clone(source), address.to_owned());
    let reading = tokio::task::spawn_blocking(move || read_blocking(&*source, &address));
    reading
        .await
        .map_err(|cause| Error::new(ErrorKind::Internal, "the footer's reader failed").because(cause))?
}

/// As [`read`], on this thread.
pub(super) fn read_blocking(source: &dyn ReadAt, address: &str) -> Result<Footer> {
    let failed = |cause| Error::new(ErrorKind::Io, format!("cannot read {address}")).because(cause);
    let length = source.length().map_err(failed)?;
    if length < (PARQUET_MAGIC.len() + END_BYTES) as u64 {
        return Err(damaged(address, "it is shorter than any Parquet file"));
    }
    let end = source.read_at(length - END_BYTES as u64, END_BYTES).map_err(failed)?;
    let range = range(&end, length, address)?;
    let footer = source.read_at(range.start, (range.end - range.start) as usize).map_err(failed)?;
    decode(footer, range.start, address)
}

/// Where the footer is in a file of this `length`, by the last [`END_BYTES`] of the file.
pub(crate) fn range(end: &[u8], length: u64, address: &str) -> Result<Range<u64>> {
    let Some((footer_length, magic)) = end.split_first_chunk::<4>() else {
        return Err(damaged(address, "its last bytes are missing"));
    };
    if magic == b"PARE" {
        return Err(Error::new(ErrorKind::Data, format!("{address} is an encrypted Parquet file")));
    }
    if magic != PARQUET_MAGIC {
        return Err(damaged(address, "it does not end as a Parquet file")
            .hint("the file may be truncated: download it again"));
    }
    let footer_length = u64::from(u32::from_le_bytes(*footer_length));
    let end = length - END_BYTES as u64;
    match end.checked_sub(footer_length).filter(|start| *start >= PARQUET_MAGIC.len() as u64) {
        None => Err(damaged(address, "its footer is longer than the file")),
        Some(_) if footer_length > LENGTH_LIMIT_BYTES => {
            Err(damaged(address, &format!("its footer has {footer_length} bytes; expected at most 2 MiB")))
        }
        Some(start) => Ok(start..end),
    }
}

/// Decodes a footer. The data of the file ends at `data_end`.
pub(crate) fn decode(footer: Bytes, data_end: u64, address: &str) -> Result<Footer> {
    check_schema(&footer).map_err(|reason| damaged(address, reason))?;
    let mut options = ParquetMetaDataOptions::default();
    options.set_column_stats_policy(ParquetStatisticsPolicy::SkipAll);
    options.set_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
    options.set_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        ParquetMetaDataReader::decode_metadata_with_options(&footer, Some(&options))
    }));
    let metadata = match decoded {
        Ok(Ok(metadata)) => metadata,
        Ok(Err(cause)) => return Err(damaged(address, "its footer cannot be decoded").because(cause)),
        Err(_panic) => return Err(damaged(address, "its footer cannot be decoded")),
    };
    check_row_groups(&metadata, data_end).map_err(|reason| damaged(address, &reason))?;
    let schema = metadata.file_metadata().schema_descr();
    let mut leaves = schema.columns().iter().enumerate().peekable();
    let mut columns = Vec::new();
    for (position, field) in schema.root_schema().get_fields().iter().enumerate() {
        let mut column = Column { name: field.name().to_owned(), kind: Kind::Unsupported, leaf: None };
        while let Some((leaf, descriptor)) =
            leaves.next_if(|(leaf, _)| schema.get_column_root_idx(*leaf) == position)
        {
            if field.is_primitive() && descriptor.max_rep_level() == 0 {
                column.kind = Kind::of(descriptor);
                column.leaf = Some(leaf);
            }
        }
        columns.push(column);
    }
    Ok(Footer { columns, metadata })
}

impl Footer {
    /// The columns by their names.
    pub(crate) fn file_columns(&self) -> Vec<FileColumn> {
        let file_column = |column: &Column| FileColumn {
            has_no_values: column.kind == Kind::Null,
            ..FileColumn::new(column.name.trim())
        };
        self.columns.iter().map(file_column).collect()
    }
}

/// Where the pages of a column begin. Some programs write 0 as the place of a dictionary that does not exist.
pub(super) fn first_page(chunk: &ColumnChunkMetaData) -> i64 {
    let dictionary = chunk.dictionary_page_offset().filter(|dictionary| *dictionary > 0);
    dictionary.map_or(chunk.data_page_offset(), |dictionary| dictionary.min(chunk.data_page_offset()))
}

/// The error for a file that is not as Parquet files are.
pub(super) fn damaged(address: &str, reason: &str) -> Error {
    Error::new(ErrorKind::Data, format!("{address} is not a valid Parquet file: {reason}"))
}

/// Checks that the columns are as many as the footer says, and do not nest too deep.
fn check_schema(footer: &[u8]) -> Result<(), &'static str> {
    let mut children = Vec::new();
    let read = Reader::new(footer).fields(|reader, field| {
        if field.id != 2 {
            return Ok(false);
        }
        let (item, length) = reader.list()?;
        if item != thrift::STRUCT || length > ELEMENTS_LIMIT {
            return Err(Fault::Invalid);
        }
        for _ in 0..length {
            let mut count = 0;
            reader.fields(|reader, field| {
                let is_count = field.id == 5 && field.is_integer();
                if is_count {
                    count = usize::try_from(reader.integer()?).map_err(|_| Fault::Invalid)?;
                }
                Ok(is_count)
            })?;
            children.push(count);
        }
        Ok(true)
    });
    match read {
        Ok(()) => {}
        Err(Fault::Ends) => return Err("its footer ends within a value"),
        Err(Fault::Invalid) => return Err("its footer is damaged"),
    }
    let Some((columns, nested)) = children.split_first() else { return Err("its footer has no columns") };
    if *columns > COLUMNS_LIMIT {
        return Err("it has more columns than a table can have");
    }
    // the numbers of children that are still to come, from the outermost column to the innermost
    let mut open = vec![*columns];
    for count in nested {
        while open.last() == Some(&0) {
            open.pop();
        }
        match open.last_mut() {
            Some(remaining) => *remaining -= 1,
            None => return Err("its footer has columns without a place"),
        }
        if *count > nested.len() || open.len() > DEPTH_LIMIT {
            return Err("its columns nest too deep");
        }
        open.push(*count);
    }
    if open.iter().any(|remaining| *remaining > 0) {
        return Err("its footer lacks columns");
    }
    Ok(())
}

/// Checks that the row groups lie within the file, and have one value in every column and row.
fn check_row_groups(metadata: &ParquetMetaData, data_end: u64) -> Result<(), String> {
    let mut rows = 0_i64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let number = index + 1;
        if group.num_rows() < 0 {
            return Err(format!("row group {number} has {} rows", group.num_rows()));
        }
        rows = rows.checked_add(group.num_rows()).ok_or("it has too many rows")?;
        if group.num_columns() != metadata.file_metadata().schema_descr().num_columns() {
            return Err(format!("row group {number} does not have all columns"));
        }
        check_columns(group, data_end)
            .map_err(|(name, reason)| format!("column {name:?} of row group {number} {reason}"))?;
    }
    let declared = metadata.file_metadata().num_rows();
    if declared != rows {
        return Err(format!("its footer declares {declared} rows, and its row groups have {rows}"));
    }
    Ok(())
}

fn check_columns(group: &RowGroupMetaData, data_end: u64) -> Result<(), (String, &'static str)> {
    for chunk in group.columns() {
        let refuse = |reason| Err((chunk.column_path().string(), reason));
        if chunk.file_path().is_some() {
            return refuse("is in another file");
        }
        let start = first_page(chunk);
        let end = start.checked_add(chunk.compressed_size());
        let is_inside = start >= PARQUET_MAGIC.len() as i64
            && chunk.compressed_size() >= 0
            && end.is_some_and(|end| end.unsigned_abs() <= data_end);
        // an empty column may have no place
        if !is_inside && group.num_rows() > 0 {
            return refuse("is outside of the file");
        }
        if chunk.column_descr().max_rep_level() == 0 && chunk.num_values() != group.num_rows() {
            return refuse("does not have one value for each row");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with a schema in which each element has as many children as given.
    fn footer(children: &[u32]) -> Vec<u8> {
        let varint = |mut value: u32| {
            let mut bytes = Vec::new();
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        // field 2, a list of structs with field 5, an integer
        let mut bytes = vec![0x29, 0xfc];
        bytes.extend(varint(children.len() as u32));
        for count in children {
            bytes.push(0x55);
            bytes.extend(varint(count * 2));
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn a_schema_has_the_columns_that_it_declares() {
        for (children, expected) in [
            (&[2, 0, 0][..], Ok(())),
            (&[2, 2, 0, 0, 0], Ok(())),
            (&[], Err("its footer has no columns")),
            (&[2, 0], Err("its footer lacks columns")),
            (&[1, 0, 0], Err("its footer has columns without a place")),
            (&[1_000_000_000, 0], Err("it has more columns than a table can have")),
            (&[1, 1_000_000_000, 0], Err("its columns nest too deep")),
            (&[1; 1000], Err("its columns nest too deep")),
        ] {
            assert_eq!(check_schema(&footer(children)), expected, "{} elements", children.len());
        }
        let whole = footer(&[1, 0]);
        for length in 0..whole.len() {
            assert!(check_schema(&whole[..length]).is_err(), "{length} bytes");
        }
        // lists of lists of lists
        assert_eq!(check_schema(&[0x19; 4000]), Err("its footer is damaged"));
    }
}
