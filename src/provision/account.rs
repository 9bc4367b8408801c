//! The account that runs the server. It is never root, because PostgreSQL refuses to run as root.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, User};

use crate::error::{Error, Kind, Result};

/// The accounts that root switches to; the first that exists is used. `initdb` refuses an account without an entry
/// in the user database.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// The name of a user, or else the user's id.
pub(crate) fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("with the id {uid}"), |user| user.name)
}

/// The account that runs the server.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    /// The caller's own account.
    Own,
    /// Another account, which root switches to.
    Other {
        /// The account's name.
        name: String,
        /// The account's user id.
        uid: Uid,
        /// The account's group id.
        gid: Gid,
    },
}

impl Account {
    /// Returns the caller's own account. For root, returns the owner of the data directory `data`, else the
    /// first candidate that exists.
    pub(crate) fn for_server(data: &Path) -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self::Own);
        }
        if let Ok(metadata) = std::fs::metadata(data)
            && metadata.uid() != 0
        {
            let uid = Uid::from_raw(metadata.uid());
            let user = User::from_uid(uid).ok().flatten();
            let name = user.map_or_else(|| uid.to_string(), |user| user.name);
            return Ok(Self::Other { name, uid, gid: Gid::from_raw(metadata.gid()) });
        }
        let user = CANDIDATES.iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.ok_or_else(|| {
            let text = format!(
                "PostgreSQL refuses to run as root, and none of these users exists: {}",
                CANDIDATES.join(", ")
            );
            Error::new(Kind::Configuration, text)
                .hint("create a user with 'useradd --system postgres', or run taxi as another user")
        })?;
        Ok(Self::Other { name: user.name, uid: user.uid, gid: user.gid })
    }

    /// The account's name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Own => name_of(Uid::effective()),
            Self::Other { name, .. } => name.clone(),
        }
    }

    /// Refuses a caller without an entry in the user database, which `initdb` requires. Containers often run with such
    /// a user.
    pub(crate) fn check_entry(&self) -> Result<()> {
        let uid = Uid::effective();
        match self {
            Self::Own if User::from_uid(uid).ok().flatten().is_none() => {
                let text =
                    format!("the user with the id {uid} has no entry in the user database (/etc/passwd)");
                Err(Error::new(Kind::Configuration, text)
                    .because("PostgreSQL's initdb, which creates the embedded server, requires one")
                    .hint(
                        "add the user (useradd --uid, or a line in the container's /etc/passwd), run taxi as another \
                         user, or use your own database with --database-url",
                    ))
            }
            Self::Own | Self::Other { .. } => Ok(()),
        }
    }

    /// A command that runs as this account. It gets only `PATH` from the caller's environment.
    pub(crate) fn command(&self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).env_clear().env("LC_ALL", "C");
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(std::process::Stdio::null());
        if let Self::Other { uid, gid, .. } = self {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    /// Makes this account the owner of `path`.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => nix::unistd::chown(path, Some(*uid), Some(*gid))
                .map_err(|cause| Error::file("change the owner of", path, cause.into())),
        }
    }

    /// Gives `path` to this account's group, so that the account can read it or enter it.
    pub(crate) fn share(&self, path: &Path) -> Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { gid, .. } => nix::unistd::chown(path, None, Some(*gid))
                .map_err(|cause| Error::file("change the group of", path, cause.into())),
        }
    }
}
