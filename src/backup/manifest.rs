//! The manifest of a backup: which programs wrote it, and what the database held.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::contents::Contents;
use crate::error::{Error, Kind, Result};

/// The name of the manifest's file.
pub(crate) const FILE: &str = "manifest.json";
/// The name of the dump's directory.
pub(crate) const DUMP: &str = "dump";
/// The version of the manifest's form.
const FORMAT: u32 = 1;

/// The manifest of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// The version of taxi that wrote the backup.
    pub(crate) taxi_version: String,
    /// The version of the server.
    pub(crate) server_version: String,
    /// The version of pg_dump.
    pub(crate) pg_dump_version: String,
    /// The name of the database.
    pub(crate) database: String,
    /// When the snapshot was taken.
    pub(crate) taken_at: Timestamp,
    /// The roles that own objects of the database, or have privileges on them.
    pub(crate) roles: Vec<String>,
    /// What the database held.
    #[serde(flatten)]
    pub(crate) contents: Contents,
}

impl Manifest {
    /// A manifest of this version.
    pub(crate) fn new(
        server_version: &str,
        pg_dump_version: &str,
        database: &str,
        taken_at: Timestamp,
        (roles, contents): (Vec<String>, Contents),
    ) -> Self {
        Self {
            format: FORMAT,
            taxi_version: env!("CARGO_PKG_VERSION").to_owned(),
            server_version: server_version.to_owned(),
            pg_dump_version: pg_dump_version.to_owned(),
            database: database.to_owned(),
            taken_at,
            roles,
            contents,
        }
    }

    /// Reads the manifest of the backup in `dir`. Refuses a directory that is no backup of taxi.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = std::fs::read(&path).map_err(|cause| {
            Error::file("read", &path, cause)
                .hint("name the directory of a backup, which 'taxi backup' printed")
        })?;
        let manifest: Self = serde_json::from_slice(&text).map_err(|cause| {
            let text = format!("{} is not a manifest of taxi backup", path.display());
            Error::new(Kind::Configuration, text).because(cause)
        })?;
        if manifest.format != FORMAT {
            let text = format!("{} has the format {}; expected {FORMAT}", path.display(), manifest.format);
            return Err(Error::new(Kind::Configuration, text)
                .hint(format!("use the version of taxi that wrote it: {}", manifest.taxi_version)));
        }
        Ok(manifest)
    }

    /// Writes the manifest into `dir`, onto the disk.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let failed = |cause| Error::file("write", &path, cause);
        let mut file =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(failed)?;
        serde_json::to_writer_pretty(&mut file, self).map_err(|cause| failed(cause.into()))?;
        file.write_all(b"\n").and_then(|()| file.sync_all()).map_err(failed)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    /// The major version of pg_dump.
    pub(crate) fn pg_dump_major(&self) -> u32 {
        let digits: String = self.pg_dump_version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_default()
    }
}
