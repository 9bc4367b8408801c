//! The directory that holds backups. One process at a time writes to it.
//!
//! A backup is written under an unfinished name and renamed at the end. What a killed process has left is removed by the
//! next backup.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::manifest::Manifest;
use crate::error::{Error, Kind, Result};

const UNFINISHED: &str = ".unfinished";
/// Mode of a directory that only its owner can enter.
const PRIVATE: u32 = 0o700;

/// A directory of backups, locked.
pub(crate) struct Directory {
    path: PathBuf,
    /// Keeps the lock.
    _lock: File,
}

impl Directory {
    /// Opens or creates the directory, locks it, and removes unfinished backups.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|cause| Error::file("resolve", path, cause))?;
        let created = DirBuilder::new().recursive(true).mode(PRIVATE).create(&path);
        created.map_err(|cause| Error::file("create", &path, cause))?;
        let lock = File::open(&path).map_err(|cause| Error::file("open", &path, cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("another backup writes to {}", path.display());
                return Err(Error::new(Kind::LockHeld, text).hint("run the command again when it has ended"));
            }
            Err(TryLockError::Error(cause)) => return Err(Error::file("lock", &path, cause)),
        }
        let directory = Self { path, _lock: lock };
        for entry in directory.entries()? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') && name.ends_with(UNFINISHED) && entry.is_dir() {
                remove(&entry)?;
            }
        }
        Ok(directory)
    }

    fn entries(&self) -> Result<Vec<PathBuf>> {
        let failed = |cause| Error::file("list", &self.path, cause);
        let entries = std::fs::read_dir(&self.path).map_err(failed)?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
    }

    /// Creates the directory of a new backup, which is removed unless the backup is finished.
    pub(crate) fn begin(&self, database: &str) -> Result<tempfile::TempDir> {
        let prefix = format!(".{}-", label(database));
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(UNFINISHED).permissions(Permissions::from_mode(PRIVATE));
        let begun = builder.tempdir_in(&self.path);
        begun.map_err(|cause| Error::file("create a directory in", &self.path, cause))
    }

    /// Gives the backup its final name.
    pub(crate) fn finish(
        &self,
        unfinished: tempfile::TempDir,
        database: &str,
        taken_at: Timestamp,
    ) -> Result<PathBuf> {
        let time = taken_at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
        let path = self.path.join(format!("{}-{time}", label(database)));
        std::fs::rename(unfinished.path(), &path).map_err(|cause| Error::file("create", &path, cause))?;
        // it has another name now
        let _ = unfinished.keep();
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|cause| Error::file("write", &self.path, cause))?;
        Ok(path)
    }

    /// Removes the oldest backups of the database beyond `keep`, and returns them.
    pub(crate) fn retain(&self, database: &str, keep: usize) -> Result<Vec<PathBuf>> {
        let mut backups = Vec::new();
        for path in self.entries()? {
            // what has no manifest of ours is not ours
            let manifest = if path.is_symlink() { None } else { Manifest::read(&path).ok() };
            if let Some(manifest) = manifest.filter(|manifest| manifest.database == database) {
                backups.push((manifest.taken_at, path));
            }
        }
        backups.sort();
        let removed: Vec<PathBuf> = backups.iter().rev().skip(keep).map(|(_, path)| path.clone()).collect();
        for path in &removed {
            // under an unfinished name first: a half-removed backup must not look like one
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let unfinished = self.path.join(format!(".{name}{UNFINISHED}"));
            std::fs::rename(path, &unfinished).map_err(|cause| Error::file("remove", path, cause))?;
            remove(&unfinished)?;
        }
        Ok(removed)
    }
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path).map_err(|cause| Error::file("remove", path, cause))
}

/// The database's name as a part of a file name.
fn label(database: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    database.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// The size of all files in a directory.
pub(crate) fn size_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}
