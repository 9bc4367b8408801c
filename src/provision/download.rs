//! The pinned build of the server, for machines without PostgreSQL: downloaded once, verified, unpacked, cached.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use reqwest::header::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::binaries::Binaries;
use crate::error::{Error, Kind, Result};
use crate::http::{self, SourceUrl};
use crate::report::Report;

/// Where the archives are published.
pub(crate) const RELEASES: &str = "https://github.com/theseus-rs/postgresql-binaries/releases/download";
/// The major version of the pinned build.
pub(crate) const MAJOR: u32 = 17;
const VERSION: &str = "17.11.0";
/// For each platform: operating system, architecture, target name in the archive's name, SHA-256 of the archive.
const PINNED: [(&str, &str, &str, &str); 4] = [
    (
        "linux",
        "x86_64",
        "x86_64-unknown-linux-gnu",
        "b7a1ba6bae6499d8296e3e81b0171eecfd1766ca9aaa0057e41ad3e844e5e2e0",
    ),
    (
        "linux",
        "aarch64",
        "aarch64-unknown-linux-gnu",
        "abffda09209280ec1502b73720dc4d254fb7fff9a072e324926c600a5b16c221",
    ),
    (
        "macos",
        "aarch64",
        "aarch64-apple-darwin",
        "fd4b62794b160e26973a768a1eef3248aef9d2ff23ebd6d884a4299485e28e57",
    ),
    (
        "macos",
        "x86_64",
        "x86_64-apple-darwin",
        "e43a81b15e1cfe7f9d8fd79c6d4d0366e9001a5f690e322224dca704656602f7",
    ),
];

/// An archive of server binaries: its address and its expected SHA-256.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    /// The archive's name without `.tar.gz`, which is also the directory that it unpacks to.
    pub(crate) name: String,
    /// The archive's URL.
    pub(crate) address: SourceUrl,
    /// The archive's expected SHA-256, in lower-case hex.
    pub(crate) sha256: String,
}

impl Archive {
    /// The pinned build for this platform, from the base address `mirror`.
    pub(crate) fn pinned(mirror: &SourceUrl) -> Result<Self> {
        let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
        let build = PINNED.iter().find(|build| build.0 == os && build.1 == architecture);
        let Some((_, _, target, sha256)) = build else {
            let text = format!(
                "no PostgreSQL server is installed, and no build is available for {os} on {architecture}"
            );
            return Err(Error::new(Kind::Configuration, text).hint(installation_hint()));
        };
        let name = format!("postgresql-{VERSION}-{target}");
        let base = mirror.expose().trim_end_matches('/');
        let address = SourceUrl::new(format!("{base}/{VERSION}/{name}.tar.gz"));
        Ok(Self { name, address, sha256: (*sha256).to_owned() })
    }

    /// Returns the binaries in `cache`, and downloads them first if they are missing.
    pub(crate) async fn install(&self, cache: &Path, report: &dyn Report) -> Result<Binaries> {
        if let Some(installed) = self.installed(cache)? {
            return Ok(installed);
        }
        let directory = cache.join(&self.name);
        report.notice(&format!("downloading a PostgreSQL server from {}", self.address));
        let mut archive = self.fetch(cache).await.map_err(unavailable)?;
        self.unpack(&mut archive, cache, &directory)
            .map_err(|cause| Error::file("unpack the server into", &directory, cause))?;
        self.inspect(&directory)
    }

    /// The binaries in `cache`, if they were downloaded before.
    pub(crate) fn installed(&self, cache: &Path) -> Result<Option<Binaries>> {
        let directory = cache.join(&self.name);
        directory.is_dir().then(|| self.inspect(&directory)).transpose()
    }

    /// Asks the mirror for the archive with the same request as [`Self::install`], and does not read the answer's body.
    pub(crate) async fn check_published(&self) -> Result<()> {
        http::get(&self.address, HeaderMap::new()).await.map(drop).map_err(unavailable)
    }

    fn inspect(&self, directory: &Path) -> Result<Binaries> {
        Binaries::inspect(&directory.join("bin")).map_err(|reason| {
            let text = format!("cannot use the downloaded server in {}", directory.display());
            Error::new(Kind::Configuration, text).because(reason).hint(installation_hint())
        })
    }

    /// Downloads the archive into an unnamed temporary file, and refuses it if its SHA-256 differs.
    async fn fetch(&self, cache: &Path) -> Result<File> {
        let cannot_write = |cause| Error::file("write to", cache, cause);
        let mut file = tempfile::tempfile_in(cache).map_err(cannot_write)?;
        let mut response = http::get(&self.address, HeaderMap::new()).await?;
        let mut sha256 = Sha256::new();
        while let Some(chunk) = http::chunk(&mut response, &self.address, http::IDLE_TIMEOUT).await? {
            sha256.update(&chunk);
            file.write_all(&chunk).map_err(cannot_write)?;
        }
        let digest = hex::encode(sha256.finalize());
        if digest != self.sha256 {
            let text = format!("{} has the SHA-256 {digest}; expected {}", self.address, self.sha256);
            return Err(Error::new(Kind::Data, text));
        }
        file.rewind().map_err(cannot_write)?;
        Ok(file)
    }

    /// Unpacks into a temporary directory and renames it into place: an installed directory is always complete.
    fn unpack(&self, archive: &mut File, cache: &Path, installed: &Path) -> io::Result<()> {
        let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(cache)?;
        tar::Archive::new(MultiGzDecoder::new(archive)).unpack(unfinished.path())?;
        std::fs::rename(unfinished.path().join(&self.name), installed)
    }
}

/// The error if the archive cannot be downloaded.
fn unavailable(error: Error) -> Error {
    // these kinds describe a month's file that is not published or is damaged, not this archive
    let kind = match error.kind() {
        Kind::NotPublished | Kind::Data => Kind::Configuration,
        kind => kind,
    };
    let text = "no PostgreSQL server is available, and the download of one failed";
    Error::new(kind, text).because(error).hint(installation_hint())
}

/// A hint that names the command to install a server on this machine.
fn installation_hint() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_system = |name: &str| release.lines().any(|line| line.starts_with("ID") && line.contains(name));
    let command = match std::env::consts::OS {
        "macos" => "brew install postgresql@17",
        _ if is_system("debian") || is_system("ubuntu") => "apt-get install postgresql",
        _ if is_system("fedora") || is_system("rhel") => "dnf install postgresql-server",
        _ if is_system("alpine") => "apk add postgresql17",
        _ if is_system("arch") => "pacman -S postgresql",
        _ if is_system("suse") => "zypper install postgresql-server",
        _ => "your system's package manager",
    };
    format!("install PostgreSQL 15 or later with {command}, or set --database-url to use your own database")
}
