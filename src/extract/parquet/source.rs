//! The bytes of a Parquet file, which are read at any position.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;

/// Bytes that can be read at any position, by several readers at a time.
pub(crate) trait ReadAt: Send + Sync + 'static {
    /// Number of bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads exactly `length` bytes from `position` on.
    fn read_at(&self, position: u64, length: usize) -> io::Result<Bytes>;
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, position)?;
        Ok(bytes.into())
    }
}

impl ReadAt for Bytes {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, position: u64, length: usize) -> io::Result<Bytes> {
        let range = usize::try_from(position).ok().and_then(|start| Some(start..start.checked_add(length)?));
        let range = range.filter(|range| range.end <= self.len());
        range.map(|range| self.slice(range)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
