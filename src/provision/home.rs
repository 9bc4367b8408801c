//! The directory that holds all files of the embedded server, and its permissions.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, Uid, access};

use super::account::{Account, name_of};
use crate::error::{Error, Kind, Result};
use crate::report::Report;

/// The directory of the embedded server if root runs taxi. The server runs as another account, which cannot enter
/// root's home directory.
const ROOT_HOME: &str = "/var/lib/taxi-etl";
/// Interval between attempts to take a lock that is held.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
/// Mode of a directory that only its owner can enter.
const PRIVATE: u32 = 0o700;
/// Mode of a directory that every user can enter.
const PUBLIC: u32 = 0o755;
/// Mode of a directory that the group of the server's account can enter.
const GROUP_CAN_ENTER: u32 = 0o710;

/// The embedded server's directory.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    path: PathBuf,
}

impl Home {
    /// Returns the `given` directory, or else the default: [`ROOT_HOME`] for root, and a subdirectory of the user's
    /// data directory for other users.
    pub(crate) fn resolve(given: Option<&Path>) -> Result<Self> {
        let path = match given {
            Some(path) => path.to_owned(),
            None if Uid::effective().is_root() => PathBuf::from(ROOT_HOME),
            None => dirs::data_local_dir()
                .ok_or_else(|| {
                    Error::new(Kind::Configuration, "cannot find the data directory of this user")
                        .hint("set TAXI_HOME to a directory that this user can write to")
                })?
                .join("taxi-etl"),
        };
        let path = std::path::absolute(&path).map_err(|cause| Error::file("resolve", &path, cause))?;
        // The path is part of the server's configuration file and of a shell command of pg_ctl, and each interprets
        // some of these characters.
        let is_unsupported = |c: char| c.is_control() || matches!(c, '"' | '$' | '`' | '\\' | ',');
        if path.to_str().is_none_or(|text| text.contains(is_unsupported)) {
            let text = format!(
                "{} contains a character that PostgreSQL's tools do not support in a path",
                path.display()
            );
            return Err(Error::new(Kind::Configuration, text).hint(
                "set TAXI_HOME to a UTF-8 path without quotation marks, $, `, \\, commas and control characters",
            ));
        }
        let home = Self { path };
        home.check_owner()?;
        Ok(home)
    }

    /// Refuses a directory that another user's server uses, or that this user may not enter. Root may use every one.
    fn check_owner(&self) -> Result<()> {
        let caller = Uid::effective();
        for (path, must_own) in [(self.path.clone(), false), (self.data(), true)] {
            // a directory that does not exist or cannot be seen is reported where it is used
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            let owner = Uid::from_raw(metadata.uid());
            let is_usable = !must_own && access(&path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
            if owner != caller && !caller.is_root() && !is_usable {
                let (owner, caller) = (name_of(owner), name_of(caller));
                let text = format!("the directory {} belongs to the user {owner}", path.display());
                return Err(Error::new(Kind::Configuration, text)
                    .because(format!(
                        "taxi runs as the user {caller}, who cannot use it for the embedded server"
                    ))
                    .hint(format!(
                        "run taxi as the user {owner}, or set TAXI_HOME to a directory of your own"
                    )));
            }
        }
        Ok(())
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The data directory while it is being created.
    pub(crate) fn unfinished_data(&self) -> PathBuf {
        self.path.join("data.unfinished")
    }

    /// The home of the new server during an upgrade.
    pub(crate) fn upgrade(&self) -> Self {
        Self { path: self.path.join("upgrade") }
    }

    /// Where an upgrade keeps the data directory of the major version `major`.
    pub(crate) fn kept_data(&self, major: u32) -> PathBuf {
        self.path.join(format!("data.{major}"))
    }

    /// The directory of the Unix socket.
    pub(crate) fn run(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The server's log file.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log").join("server.log")
    }

    /// The file that a running server keeps locked.
    pub(crate) fn server_lock(&self) -> PathBuf {
        self.path.join("server.lock")
    }

    /// The server's configuration file.
    pub(crate) fn settings(&self) -> PathBuf {
        self.path.join("server.conf")
    }

    /// The file with the port and the password.
    pub(crate) fn connection(&self) -> PathBuf {
        self.path.join("connection.json")
    }

    /// The password file for `initdb`, which exists only while `initdb` runs.
    pub(crate) fn initdb_password(&self) -> PathBuf {
        self.path.join("password.unfinished")
    }

    /// The directory of the downloaded binaries.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// The directory of the backups.
    pub(crate) fn backups(&self) -> PathBuf {
        self.path.join("backups")
    }

    /// The path of the directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the missing directories, and checks that the server's account can enter them. Only the caller and the
    /// server's account can enter a new home.
    pub(crate) fn create(&self, account: &Account) -> Result<()> {
        let mut missing: Vec<&Path> =
            self.path.ancestors().skip(1).take_while(|path| !path.exists()).collect();
        while let Some(parent) = missing.pop() {
            create_directory(parent, PUBLIC)?;
        }
        let mode = if matches!(account, Account::Own) { PRIVATE } else { GROUP_CAN_ENTER };
        if !self.path.is_dir() {
            self.create_home(mode, account)?;
        }
        self.check_passable(account)?;
        if create_directory(&self.cache(), mode)? {
            account.share(&self.cache())?;
        }
        for directory in [self.run(), self.path.join("log")] {
            if create_directory(&directory, PRIVATE)? {
                account.own(&directory)?;
            }
        }
        Ok(())
    }

    /// Refuses the path if the server's account cannot enter one of the directories on it.
    pub(crate) fn check_passable(&self, account: &Account) -> Result<()> {
        let Account::Other { name, uid, gid } = account else { return Ok(()) };
        for ancestor in self.path.ancestors().filter(|ancestor| ancestor.exists()) {
            let metadata = std::fs::metadata(ancestor)
                .map_err(|cause| Error::file("read the permissions of", ancestor, cause))?;
            let bit = match () {
                () if metadata.uid() == uid.as_raw() => 0o100,
                () if metadata.gid() == gid.as_raw() => 0o010,
                () => 0o001,
            };
            if metadata.mode() & bit == 0 {
                let text =
                    format!("the server runs as the user {name}, which cannot enter {}", ancestor.display());
                return Err(Error::new(Kind::Configuration, text)
                    .hint("set TAXI_HOME to a directory that every user can enter, like /var/lib/taxi-etl"));
            }
        }
        Ok(())
    }

    /// Creates the directory atomically, with its final permissions: another process may create or use it at the same
    /// time.
    fn create_home(&self, mode: u32, account: &Account) -> Result<()> {
        let unfinished = self.path.with_extension(format!("unfinished.{}", std::process::id()));
        create_directory(&unfinished, mode)?;
        account.share(&unfinished)?;
        // the directory must not be empty: the rename of another process could replace an empty directory
        let cache = unfinished.join("cache");
        create_directory(&cache, mode)?;
        account.share(&cache)?;
        match std::fs::rename(&unfinished, &self.path) {
            // another process created the directory first
            Err(_) if self.path.is_dir() => std::fs::remove_dir_all(&unfinished)
                .map_err(|cause| Error::file("remove", &unfinished, cause)),
            renamed => renamed.map_err(|cause| cannot_create(&self.path, cause)),
        }
    }

    /// Prevents other processes from starting or stopping the server, until the returned file is dropped.
    pub(crate) async fn lock(&self, report: &dyn Report) -> Result<File> {
        let path = self.path.join("lock");
        let failed = |cause| Error::file("lock", &path, cause);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        let mut is_reported = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if !is_reported => {
                    report.notice("waiting for another taxi process that is starting or stopping the server");
                    is_reported = true;
                }
                // poll: taxi could not handle signals during a system call that waits for the lock
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_INTERVAL).await,
                Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            }
        }
    }
}

/// Creates a directory unless it exists. Returns whether it is new.
fn create_directory(path: &Path, mode: u32) -> Result<bool> {
    match DirBuilder::new().mode(mode).create(path) {
        // set the mode again, because the umask may have removed bits
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode))
            .map(|()| true)
            .map_err(|cause| cannot_create(path, cause)),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(cause) => Err(cannot_create(path, cause)),
    }
}

fn cannot_create(path: &Path, cause: io::Error) -> Error {
    Error::file("create", path, cause).hint("set TAXI_HOME to a directory that this user can write to")
}
