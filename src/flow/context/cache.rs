//! Folders that outlive a run, like the virtual environments of Python tasks. They belong to this user, and no other
//! user can enter them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use nix::unistd::Uid;

/// The folder `taxi-etl/<name>` in the user's cache directory. `None` if it cannot be created, or if it belongs to
/// another user.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let base = dirs::cache_dir()?.join("taxi-etl");
    let folder = base.join(name);
    fs::create_dir_all(&folder).ok()?;
    for path in [&base, &folder] {
        let is_own = fs::symlink_metadata(path)
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == Uid::effective().as_raw());
        if !is_own {
            return None;
        }
        fs::set_permissions(path, Permissions::from_mode(0o700)).ok()?;
    }
    Some(folder)
}
