//! Reads the embedded server's log: its last lines, and what the server appends.
//!
//! In: the log file. Out: its bytes, unchanged. The file may be truncated, renamed or removed while it is followed.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::home::Home;
use super::{Provisioner, cluster};
use crate::error::{Error, Kind, Result};

/// Size of the blocks in which the file is searched for its last lines, from the end.
const BLOCK_BYTES: u64 = 64 << 10;

/// An open log, and how far it was read.
pub(crate) struct ServerLog {
    path: PathBuf,
    file: File,
}

impl Provisioner {
    /// Opens the server's log at its last `lines` lines. Refused: a home without a server or without a log.
    pub(crate) fn open_log(&self, lines: u64) -> Result<ServerLog> {
        let home = Home::resolve(self.home.as_deref())?;
        let path = home.log();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let text = match cluster::major_version(&home)? {
                    Some(_) => format!("the embedded server has no log yet: {}", path.display()),
                    None => format!("there is no embedded server in {} yet", home.path().display()),
                };
                return Err(Error::new(Kind::Configuration, text).hint("use 'taxi up' to start the server"));
            }
            Err(cause) => return Err(Error::file("read", &path, cause)),
        };
        let seek = start_of_last_lines(&mut file, lines).and_then(|start| file.seek(SeekFrom::Start(start)));
        seek.map_err(|cause| Error::file("read", &path, cause))?;
        Ok(ServerLog { path, file })
    }
}

impl ServerLog {
    /// Copies what has not been read yet to `out`. Returns `false` if the reader of `out` is gone.
    pub(crate) fn copy_new(&mut self, out: &mut impl Write) -> Result<bool> {
        self.rewind_if_truncated().map_err(|cause| Error::file("read", &self.path, cause))?;
        if !copy(&mut self.file, &self.path, out)? {
            return Ok(false);
        }
        // after a rotation the rest of the old file was copied first
        match self.reopen_if_replaced() {
            Ok(true) => copy(&mut self.file, &self.path, out),
            Ok(false) => Ok(true),
            Err(cause) => Err(Error::file("read", &self.path, cause)),
        }
    }

    fn rewind_if_truncated(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() < self.file.stream_position()? {
            self.file.rewind()?;
        }
        Ok(())
    }

    /// Opens the path again if it names another file. The old file stays open while there is none.
    fn reopen_if_replaced(&mut self) -> io::Result<bool> {
        let opened = match File::open(&self.path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(cause) => return Err(cause),
        };
        let identity = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        if identity(&opened)? == identity(&self.file)? {
            return Ok(false);
        }
        self.file = opened;
        Ok(true)
    }
}

/// Copies the rest of a file. Returns `false` if the reader of `out` is gone.
fn copy(file: &mut File, path: &Path, out: &mut impl Write) -> Result<bool> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    loop {
        let length = file.read(&mut block).map_err(|cause| Error::file("read", path, cause))?;
        if length == 0 {
            break;
        }
        match out.write_all(&block[..length]) {
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            written => written.map_err(write_error)?,
        }
    }
    match out.flush() {
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        flushed => flushed.map(|()| true).map_err(write_error),
    }
}

fn write_error(cause: io::Error) -> Error {
    Error::new(Kind::Io, "cannot write to stdout").because(cause)
}

/// The offset at which the last `lines` lines of a file begin. A last line without a line end counts.
fn start_of_last_lines(file: &mut File, lines: u64) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut remaining = lines;
    let mut end = length;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK_BYTES);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(begin))?;
        Read::by_ref(file).take(end - begin).read_to_end(&mut block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let offset = begin + index as u64;
            // the line end at the end of the file belongs to the last line
            if *byte == b'\n' && offset + 1 < length {
                remaining = remaining.saturating_sub(1);
            }
            if remaining == 0 {
                return Ok(if lines == 0 { length } else { offset + 1 });
            }
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &[u8], lines: u64) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let start = start_of_last_lines(&mut file, lines).unwrap();
        String::from_utf8(text[start as usize..].to_vec()).unwrap()
    }

    #[test]
    fn the_last_lines_of_a_file_are_found_from_its_end() {
        assert_eq!(last(b"", 3), "");
        assert_eq!(last(b"a\nb\nc\n", 0), "");
        assert_eq!(last(b"a\nb\nc\n", 1), "c\n");
        assert_eq!(last(b"a\nb\nc", 2), "b\nc");
        assert_eq!(last(b"a\n\n\n", 2), "\n\n");
        assert_eq!(last(b"a\nb\n", 9), "a\nb\n");
        let long = format!("{}\n", "x".repeat(1000)).repeat(200);
        assert_eq!(last(long.as_bytes(), 150).len(), 150 * 1001);
    }
}
