//! Checks the free space on a disk of this machine.

use std::path::Path;

use indicatif::HumanBytes;
use nix::sys::statvfs::statvfs;

use super::Findings;
use crate::error::{Error, Kind};

/// A month takes about 300 MB in the target, and as much again in WAL and staging.
const ENOUGH_BYTES: u64 = 2 << 30;
const TOO_LITTLE_BYTES: u64 = 256 << 20;

/// Checks the disk that `path` is on, or will be on.
pub(crate) fn check(path: &Path, findings: &mut Findings) {
    const NAME: &str = "disk";
    let Some(existing) = path.ancestors().find(|path| path.exists()) else {
        return findings.ok(NAME, format!("the room below {} cannot be known", path.display()));
    };
    let free = match statvfs(existing) {
        // the types differ between systems
        #[expect(clippy::useless_conversion, reason = "they are no 64 bits on macOS")]
        Ok(disk) => u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())),
        Err(cause) => {
            return findings.ok(NAME, format!("the room below {} cannot be known: {cause}", path.display()));
        }
    };
    let said = format!("{} are free below {}", HumanBytes(free), existing.display());
    let fix =
        "free some: a month of yellow trips takes about 300 MB in the target, and as much while it is loaded";
    match free {
        free if free < TOO_LITTLE_BYTES => findings.fail(NAME, &Error::new(Kind::Io, said), fix),
        free if free < ENOUGH_BYTES => findings.warn(NAME, said, fix),
        _ => findings.ok(NAME, said),
    }
}
