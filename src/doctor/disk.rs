//! Checks the free space on a disk of this machine.

use std::path::Path;

use indicatif::HumanBytes;
use nix::sys::statvfs::statvfs;

use super::Findings;
use crate::error::{Error, Kind};

/// A month takes about 300 MB in the target, and another 300 MB in WAL and staging.
const ENOUGH_BYTES: u64 = 2 << 30;
const TOO_LITTLE_BYTES: u64 = 256 << 20;

/// Checks the disk of `path`, which may not exist yet.
pub(crate) fn check(path: &Path, findings: &mut Findings) {
    const NAME: &str = "disk";
    let Some(existing) = path.ancestors().find(|path| path.exists()) else {
        return findings.ok(NAME, format!("not checked: no parent directory of {} exists", path.display()));
    };
    let free = match statvfs(existing) {
        // the types differ between systems
        #[expect(clippy::useless_conversion, reason = "one of these types has 32 bits on macOS")]
        Ok(disk) => u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())),
        Err(cause) => {
            let message = format!("not checked: cannot query the free space of {}: {cause}", path.display());
            return findings.ok(NAME, message);
        }
    };
    let message = format!("{} free in {}", HumanBytes(free), existing.display());
    let fix = "free some space: a month of yellow trips takes about 300 MB in the target, and another 300 MB while it loads";
    match free {
        free if free < TOO_LITTLE_BYTES => findings.fail(NAME, &Error::new(Kind::Io, message), fix),
        free if free < ENOUGH_BYTES => findings.warn(NAME, message, fix),
        _ => findings.ok(NAME, message),
    }
}
