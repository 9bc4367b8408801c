//! The files of one run, in a private directory that is deleted when the run ends. If a run was killed, the next
//! run deletes its directory.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use glob::{MatchOptions, Pattern};
use nix::unistd::Uid;
use tempfile::{NamedTempFile, TempDir, TempPath};

use crate::error::{Error, Kind, Result};

/// `*` matches neither `/` nor a leading dot.
const MATCH_OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

const PREFIX: &str = "taxi-flow-";
const FILES: &str = "files";

/// The files of one run. The run of a subflow has a folder in the directory of the run that calls it, so that each of
/// them can read the files of the other.
#[derive(Debug)]
pub(crate) struct Storage {
    root: Arc<TempDir>,
    /// The directory itself, locked while the run is alive.
    _lock: Arc<File>,
    /// The folder of this run's files.
    files: PathBuf,
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
        let files = root.path().join(FILES);
        for folder in [&files, &root.path().join("work")] {
            fs::create_dir(folder).map_err(|cause| Error::file("create", folder, cause))?;
        }
        Ok(Self { root: Arc::new(root), _lock: Arc::new(lock), files, next: AtomicU64::new(0) })
    }

    /// The storage of a subflow's run.
    pub(crate) fn of_subflow(&self) -> Result<Self> {
        let files = self.new_folder()?;
        let (root, lock) = (Arc::clone(&self.root), Arc::clone(&self._lock));
        Ok(Self { root, _lock: lock, files, next: AtomicU64::new(0) })
    }

    /// Creates a folder among the run's files.
    fn new_folder(&self) -> Result<PathBuf> {
        let folder = self.files.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir_all(&folder).map_err(|cause| Error::file("create", &folder, cause))?;
        Ok(folder)
    }

    /// Copies a file into the storage; returns the path of the copy.
    pub(crate) fn import(&self, path: &Path) -> Result<PathBuf> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let copy = self.new_file(&name)?;
        fs::copy(path, &copy).map_err(|cause| Error::file("copy", path, cause))?;
        Ok(copy)
    }

    /// The folder of the files that the run, its caller and its subflows have stored.
    pub(crate) fn files(&self) -> PathBuf {
        self.root.path().join(FILES)
    }

    /// Returns a path for a new file with this name.
    pub(crate) fn new_file(&self, name: &str) -> Result<PathBuf> {
        // the name may come from a URL and must not act as a path
        Ok(self.new_folder()?.join(name.replace(['/', '\0'], "_")))
    }

    /// Creates a file with this name for writing.
    pub(crate) fn new_writer(&self, name: &str) -> Result<(PathBuf, BufWriter<File>)> {
        let path = self.new_file(name)?;
        let file = File::create(&path).map_err(|cause| Error::file("write", &path, cause))?;
        Ok((path, BufWriter::new(file)))
    }

    /// Stores a text as a file with this name. Returns the path of the file.
    pub(crate) fn store(&self, name: &str, text: &str) -> Result<String> {
        let path = self.new_file(name)?;
        fs::write(&path, text).map_err(|cause| Error::file("write", &path, cause))?;
        Ok(path.display().to_string())
    }

    /// Writes a script file, which is deleted on drop.
    pub(crate) fn script(&self, text: &str) -> Result<NamedTempFile> {
        let write_error = |cause| Error::file("write a script into", self.root.path(), cause);
        let mut file = NamedTempFile::new_in(self.root.path()).map_err(write_error)?;
        file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(write_error)?;
        Ok(file)
    }

    /// Writes a program, which is deleted on drop.
    pub(crate) fn program(&self, text: &str) -> Result<TempPath> {
        let file = self.script(text)?;
        let executable = fs::set_permissions(file.path(), fs::Permissions::from_mode(0o700));
        executable.map_err(|cause| Error::file("set the permissions of", file.path(), cause))?;
        // a file that is open for writing cannot be run
        Ok(file.into_temp_path())
    }

    /// Creates a working directory, which is deleted on drop.
    pub(crate) fn working_dir(&self) -> Result<TempDir> {
        let parent = self.root.path().join("work");
        TempDir::new_in(&parent).map_err(|cause| Error::file("create a directory in", &parent, cause))
    }

    /// Creates a folder that stays until the run ends.
    pub(crate) fn lasting_dir(&self) -> Result<PathBuf> {
        self.working_dir().map(TempDir::keep)
    }

    /// The folder of a namespace's files that this run has fetched. It exists once files were fetched.
    pub(crate) fn namespace_dir(&self, namespace: &str) -> PathBuf {
        // an expression can give any text, which must not act as a path
        self.root.path().join("namespaces").join(format!("of {}", namespace.replace(['/', '\0'], "_")))
    }

    /// The folder of the stored files.
    pub(crate) fn stored_files(&self) -> PathBuf {
        self.files()
    }

    /// Whether the path is in the run's private directory.
    pub(crate) fn owns(&self, path: &Path) -> bool {
        path.starts_with(self.root.path())
    }

    /// Whether the path is a file stored by this run, by the one that calls it, or by a subflow.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        let real = fs::canonicalize(path).ok();
        let files = fs::canonicalize(self.root.path().join(FILES)).ok();
        real.zip(files).is_some_and(|(real, files)| real.starts_with(files) && real.is_file())
    }

    /// Stores the files of a folder that match one of the patterns. Returns, for each file, its path relative
    /// to the folder and the path of the stored file. If other tasks use the folder too, the files stay in it.
    pub(crate) fn keep(
        &self,
        folder: &Path,
        patterns: &[String],
        is_shared: bool,
    ) -> Result<Vec<(String, PathBuf)>> {
        let patterns: Vec<Pattern> =
            patterns.iter().map(|text| parse_pattern(text)).collect::<Result<_>>()?;
        let mut names = Vec::new();
        if !patterns.is_empty() {
            list(folder, Path::new(""), &mut names).map_err(|cause| Error::file("read", folder, cause))?;
        }
        names.retain(|name| matches(&patterns, name));
        names.sort();
        let mut stored = Vec::new();
        for name in names {
            let (text, from) = (name.display().to_string(), folder.join(&name));
            let to = self.new_file(&text)?;
            // a file in the run's own folder is deleted anyway, so it can be moved
            let moved = !is_shared && from.starts_with(self.root.path()) && fs::rename(&from, &to).is_ok();
            if !moved {
                fs::copy(&from, &to).map_err(|cause| Error::file("copy", &from, cause))?;
            }
            stored.push((text, to));
        }
        Ok(stored)
    }

    /// Deletes all stored files; returns their number.
    pub(crate) fn purge(&self) -> Result<usize> {
        let folder = self.files.clone();
        let failed = |cause| Error::file("remove", &folder, cause);
        let mut names = Vec::new();
        list(&folder, Path::new(""), &mut names).map_err(failed)?;
        fs::remove_dir_all(&folder).and_then(|()| fs::create_dir(&folder)).map_err(failed)?;
        Ok(names.len())
    }
}

/// Whether a text is the path of a file that a run has stored, and that is gone since the run ended.
pub(crate) fn is_gone(text: &str) -> bool {
    let path = Path::new(text);
    let mut parts = path.components().map(|part| part.as_os_str().as_encoded_bytes());
    let is_stored =
        parts.any(|part| part.starts_with(PREFIX.as_bytes())) && parts.next() == Some(FILES.as_bytes());
    is_stored && !path.exists()
}

/// Parses a glob pattern.
pub(crate) fn parse_pattern(text: &str) -> Result<Pattern> {
    Pattern::new(text).map_err(|cause| {
        Error::new(Kind::Configuration, format!("invalid glob pattern {text:?}"))
            .because(cause)
            .hint("use a pattern like *.csv")
    })
}

/// Whether one of the patterns matches the relative path.
pub(crate) fn matches(patterns: &[Pattern], name: &Path) -> bool {
    patterns.iter().any(|pattern| pattern.matches_path_with(name, MATCH_OPTIONS))
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
pub(crate) fn list(folder: &Path, below: &Path, names: &mut Vec<PathBuf>) -> std::io::Result<()> {
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
        let kept = storage.keep(work.path(), &["*.csv".to_owned()], true).unwrap();
        assert!(work.path().join("a.csv").exists());
        assert!(storage.contains(&kept[0].1) && !storage.contains(Path::new("/etc/passwd")));
        assert_eq!(names(kept.clone()), ["a.csv"]);
        assert_eq!(names(storage.keep(work.path(), &["**/c.csv".to_owned()], false).unwrap()), ["sub/c.csv"]);
        assert!(!work.path().join("sub/c.csv").exists());
        let subflow = storage.of_subflow().unwrap();
        let file = subflow.new_file("of_subflow").unwrap();
        fs::write(&file, "").unwrap();
        assert!(storage.contains(&file) && subflow.contains(&kept[0].1));
        assert_eq!((subflow.purge().unwrap(), storage.purge().unwrap()), (1, 2));
        drop((work, storage));
        assert!(root.exists(), "the subflow still runs");
        drop(subflow);
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
