//! Finds the server's programs, and checks that they are new enough.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::database::session::OLDEST_MAJOR;

/// The programs that taxi needs to create and run a server.
pub(crate) const REQUIRED_PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// Where distributions install the server's programs, outside the search path. `*` matches in one path component.
const DISTRIBUTION_DIRECTORIES: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/Library/PostgreSQL/*/bin",
];

/// Which binaries the user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The installed binaries, else the pinned build.
    Search,
    /// Only the binaries in this directory.
    Directory(PathBuf),
    /// The pinned build, even if other binaries are installed.
    Download,
}

impl std::str::FromStr for Choice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "" => Self::Search,
            "download" => Self::Download,
            path => Self::Directory(PathBuf::from(path)),
        })
    }
}

/// A directory of programs that can run a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    /// The directory of the programs.
    pub(crate) dir: PathBuf,
    /// The server's major version.
    pub(crate) major: u32,
}

impl Binaries {
    /// Checks that `dir` holds a server that is new enough. The error is the reason why it is not usable.
    pub(crate) fn inspect(dir: &Path) -> Result<Self, String> {
        let dir = &std::path::absolute(dir).map_err(|cause| cause.to_string())?;
        if let Some(missing) = REQUIRED_PROGRAMS.iter().find(|name| !dir.join(name).is_file()) {
            return Err(format!("the program {missing} is missing"));
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output();
        let output = output.map_err(|cause| format!("cannot run the program postgres: {cause}"))?;
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        let digits: String = version
            .split_whitespace()
            .nth(2)
            .unwrap_or_default()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        match digits.parse() {
            Ok(major) if major >= OLDEST_MAJOR => Ok(Self { dir: dir.to_owned(), major }),
            Ok(major) => Err(format!("it is PostgreSQL {major}; taxi needs {OLDEST_MAJOR} or later")),
            Err(_) => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                let reason = stderr.lines().next().unwrap_or("no error message");
                Err(format!("'postgres --version' failed: {reason}"))
            }
        }
    }

    /// The path of one of the programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The places to search for a server, in order.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    search_path: OsString,
    patterns: Vec<PathBuf>,
}

impl Places {
    /// The search path, the directory that `pg_config` names, and the distributions' directories.
    pub(crate) fn of_this_machine() -> Self {
        let patterns = DISTRIBUTION_DIRECTORIES.iter().map(PathBuf::from).collect();
        Self { search_path: std::env::var_os("PATH").unwrap_or_default(), patterns }
    }

    /// Finds a server of version `major`, or of any supported version if `major` is `None`. Returns the first
    /// server on the search path, else the newest server in the distributions' directories.
    pub(crate) fn find(&self, major: Option<u32>) -> Option<Binaries> {
        let fits = |found: &Binaries| major.is_none_or(|major| found.major == major);
        let mut candidates: Vec<PathBuf> =
            std::env::split_paths(&self.search_path).filter_map(server_directory).collect();
        candidates.extend(self.named_by_pg_config());
        if let Some(found) = candidates.iter().filter_map(|dir| Binaries::inspect(dir).ok()).find(fits) {
            return Some(found);
        }
        let installed = self.patterns.iter().flat_map(|pattern| expand(pattern));
        installed.filter_map(|dir| Binaries::inspect(&dir).ok()).filter(fits).max_by_key(|found| found.major)
    }

    /// All directories that may hold programs of PostgreSQL: the distributions', the one that `pg_config` names, and the
    /// search path. The search path is last, because Debian has scripts there that choose a version themselves.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let installed = self.patterns.iter().flat_map(|pattern| expand(pattern));
        installed.chain(self.named_by_pg_config()).chain(std::env::split_paths(&self.search_path)).collect()
    }

    /// Finds the newest server whose version `fits`.
    pub(crate) fn newest(&self, fits: impl Fn(u32) -> bool) -> Option<Binaries> {
        let on_path = std::env::split_paths(&self.search_path).filter_map(server_directory);
        let installed = self.patterns.iter().flat_map(|pattern| expand(pattern));
        let candidates = on_path.chain(self.named_by_pg_config()).chain(installed);
        let found = candidates.filter_map(|dir| Binaries::inspect(&dir).ok());
        found.filter(|found| fits(found.major)).max_by_key(|found| found.major)
    }

    fn named_by_pg_config(&self) -> Option<PathBuf> {
        let program = std::env::split_paths(&self.search_path)
            .map(|dir| dir.join("pg_config"))
            .find(|path| path.is_file())?;
        let output = Command::new(program).arg("--bindir").output().ok()?;
        let dir = String::from_utf8(output.stdout).ok()?;
        Some(PathBuf::from(dir.trim()))
    }
}

/// The real directory of `postgres` in `dir`. If `postgres` is a link, the other programs are beside its target.
fn server_directory(dir: PathBuf) -> Option<PathBuf> {
    let program = dir.join("postgres").canonicalize().ok()?;
    program.parent().map(Path::to_owned)
}

/// The directories that match a pattern.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy().into_owned();
        let Some((prefix, suffix)) = name.split_once('*') else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let matches = |entry: &std::fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.len() >= prefix.len() + suffix.len() && name.starts_with(prefix) && name.ends_with(suffix)
        };
        let entries = found.iter().filter_map(|path| std::fs::read_dir(path).ok()).flatten().flatten();
        found = entries.filter(matches).map(|entry| entry.path()).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Creates a directory of fake programs whose `postgres` reports `version`.
    fn create_fake_programs(dir: &Path, version: &str) {
        std::fs::create_dir_all(dir).unwrap();
        for name in REQUIRED_PROGRAMS {
            let path = dir.join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn the_search_path_is_searched_first_and_links_are_followed() {
        let root = tempfile::tempdir().unwrap();
        create_fake_programs(&root.path().join("real"), "16.2");
        create_fake_programs(&root.path().join("pg/17/bin"), "17.1");
        create_fake_programs(&root.path().join("pg/14/bin"), "14.9");
        let linked = root.path().join("linked");
        std::fs::create_dir(&linked).unwrap();
        std::os::unix::fs::symlink(root.path().join("real/postgres"), linked.join("postgres")).unwrap();

        let patterns = vec![root.path().join("pg/*/bin")];
        let places = Places { search_path: linked.clone().into(), patterns: patterns.clone() };
        let real = root.path().canonicalize().unwrap().join("real");
        assert_eq!(places.find(None).unwrap(), Binaries { dir: real, major: 16 });
        assert_eq!(places.find(Some(17)).unwrap().major, 17);
        assert_eq!(places.find(Some(14)), None);
        let without_search_path = Places { search_path: OsString::new(), patterns };
        assert_eq!(without_search_path.find(None).unwrap().major, 17);
    }

    #[test]
    fn the_error_says_why_a_server_is_not_usable() {
        let root = tempfile::tempdir().unwrap();
        create_fake_programs(root.path(), "14.9 (Debian)");
        assert_eq!(
            Binaries::inspect(root.path()).unwrap_err(),
            "it is PostgreSQL 14; taxi needs 15 or later"
        );
        std::fs::write(root.path().join("postgres"), "#!/bin/sh\necho no library >&2\n").unwrap();
        assert_eq!(Binaries::inspect(root.path()).unwrap_err(), "'postgres --version' failed: no library");
        std::fs::remove_file(root.path().join("pg_ctl")).unwrap();
        assert_eq!(Binaries::inspect(root.path()).unwrap_err(), "the program pg_ctl is missing");
    }
}
