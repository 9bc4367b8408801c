//! The files of one run, in a private directory that is deleted when the run ends. If a run was killed, the next
//! run deletes its directory.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use glob::{MatchOptions, Pattern};
use nix::unistd::Uid;
use tempfile::{NamedTempFile, TempDir};

use crate::error::{Error, Kind, Result};

/// `*` matches neither `/` nor a leading dot.
const MATCH_OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

const PREFIX: &str = "taxi-flow-";
const FILES: &str = "files";

/// The files of one run.
pub(crate) struct Storage {
    root: TempDir,
    /// The directory itself, locked while the run is alive.
    _lock: File,
    next: AtomicU64,
}

impl Storage {
    /// Creates the directory, accessible only to this user, and deletes the directories of killed runs.
    pub(crate) fn create() -> Result<Self> {
        let parent = std::env::temp_dir();
        let private = fs::Permissions::from_mode(0o700);
        remove_leftovers(&parent);
        let root = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(&parent);
        let root = root.map_err(|cause| Error::file("create a directory in", &parent, cause))?;
        let failed = |cause| Error::file("lock", root.path(), cause);
        let lock = File::open(root.path()).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let storage = Self { root, _lock: lock, next: AtomicU64::new(0) };
        for folder in [storage.files(), storage.root.path().join("work")] {
            fs::create_dir(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
        }
        Ok(storage)
    }

    fn files(&self) -> PathBuf {
        self.root.path().join(FILES)
    }

    /// Returns a path for a new file with this name.
    pub(crate) fn new_file(&self, name: &str) -> Result<PathBuf> {
        let folder = self.files().join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
        // the name may come from a URL and must not act as a path
        Ok(folder.join(name.replace(['/', '\0'], "_")))
    }

    /// Creates a file with this name for writing.
    pub(crate) fn new_writer(&self, name: &str) -> Result<(PathBuf, BufWriter<File>)> {
        let path = self.new_file(name)?;
        let file = File::create(&path).map_err(|cause| Error::file("write", &path, cause))?;
        Ok((path, BufWriter::new(file)))
    }

    /// Writes a script file, which is deleted on drop.
    pub(crate) fn script(&self, text: &str) -> Result<NamedTempFile> {
        let write_error = |cause| Error::file("write a script into", self.root.path(), cause);
        let mut file = NamedTempFile::new_in(self.root.path()).map_err(write_error)?;
        file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(write_error)?;
        Ok(file)
    }

    /// Creates a working directory, which is deleted on drop.
    pub(crate) fn working_dir(&self) -> Result<TempDir> {
        let parent = self.root.path().join("work");
        TempDir::new_in(&parent).map_err(|cause| Error::file("create a directory in", &parent, cause))
    }

    /// Whether the path is a file stored by this run.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        let real = fs::canonicalize(path).ok();
        let files = fs::canonicalize(self.files()).ok();
        real.zip(files).is_some_and(|(real, files)| real.starts_with(files) && real.is_file())
    }

    /// Stores the files of a folder that match one of the patterns. Returns, for each file, its path relative
    /// to the folder and the path of the stored file.
    pub(crate) fn keep(&self, folder: &Path, patterns: &[String]) -> Result<Vec<(String, PathBuf)>> {
        let parse = |text: &String| {
            Pattern::new(text).map_err(|cause| {
                Error::new(Kind::Configuration, format!("invalid glob pattern {text:?}"))
                    .because(cause)
                    .hint("use a pattern like *.csv")
            })
        };
        let patterns: Vec<Pattern> = patterns.iter().map(parse).collect::<Result<_>>()?;
        let mut names = Vec::new();
        if !patterns.is_empty() {
            list(folder, Path::new(""), &mut names).map_err(|cause| Error::file("read", folder, cause))?;
        }
        names.retain(|name| patterns.iter().any(|pattern| pattern.matches_path_with(name, MATCH_OPTIONS)));
        names.sort();
        let mut stored = Vec::new();
        for name in names {
            let (text, from) = (name.display().to_string(), folder.join(&name));
            let to = self.new_file(&text)?;
            // a file in the run's own folder is deleted anyway, so it can be moved
            let moved = from.starts_with(self.root.path()) && fs::rename(&from, &to).is_ok();
            if !moved {
                fs::copy(&from, &to).map_err(|cause| Error::file("copy", &from, cause))?;
            }
            stored.push((text, to));
        }
        Ok(stored)
    }

    /// Deletes all stored files; returns their number.
    pub(crate) fn purge(&self) -> Result<usize> {
        let folder = self.files();
        let failed = |cause| Error::file("remove", &folder, cause);
        let mut names = Vec::new();
        list(&folder, Path::new(""), &mut names).map_err(failed)?;
        fs::remove_dir_all(&folder).and_then(|()| fs::create_dir(&folder)).map_err(failed)?;
        Ok(names.len())
    }
}

/// Deletes the directories of killed runs: this user owns them, and no process has locked them. A directory
/// without a `files` folder is kept: its run may have just started, without a lock so far.
fn remove_leftovers(parent: &Path) {
    let is_own = |path: &Path| {
        fs::symlink_metadata(path)
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == Uid::effective().as_raw())
    };
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for path in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let path = path.path();
        if is_own(&path)
            && path.join(FILES).is_dir()
            && File::open(&path).is_ok_and(|lock| lock.try_lock().is_ok())
        {
            // ignore errors: the current run does not need the space
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Adds the files below `folder` to `names`, without symbolic links.
fn list(folder: &Path, below: &Path, names: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let (name, kind) = (below.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() {
            list(folder, &name, names)?;
        } else if kind.is_file() {
            names.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching_files_are_stored_and_the_directory_is_deleted() {
        let storage = Storage::create().unwrap();
        let root = storage.root.path().to_owned();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        let work = storage.working_dir().unwrap();
        fs::create_dir(work.path().join("sub")).unwrap();
        for name in ["a.csv", "b.txt", "sub/c.csv"] {
            fs::write(work.path().join(name), name).unwrap();
        }
        let names = |kept: Vec<(String, PathBuf)>| kept.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let kept = storage.keep(work.path(), &["*.csv".to_owned()]).unwrap();
        assert!(storage.contains(&kept[0].1) && !storage.contains(Path::new("/etc/passwd")));
        assert_eq!(names(kept), ["a.csv"]);
        assert_eq!(names(storage.keep(work.path(), &["**/*.csv".to_owned()]).unwrap()), ["sub/c.csv"]);
        assert_eq!(storage.purge().unwrap(), 2);
        drop((work, storage));
        assert!(!root.exists());
    }

    #[test]
    fn directories_of_killed_runs_are_deleted_and_others_are_kept() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, folder: &str| {
            let path = parent.path().join(name);
            fs::create_dir_all(path.join(folder)).unwrap();
            path
        };
        let (killed, other) = (make("taxi-flow-killed", FILES), make("other-program", FILES));
        let (new, alive) = (make("taxi-flow-new", ""), make("taxi-flow-alive", FILES));
        let lock = File::open(&alive).unwrap();
        lock.lock().unwrap();
        remove_leftovers(parent.path());
        assert!(!killed.exists() && new.exists() && alive.exists() && other.exists());
    }
}
