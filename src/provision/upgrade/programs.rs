//! Finds the programs of the old and of the new version.

use crate::error::{Error, Kind, Result};
use crate::provision::binaries::{Binaries, Choice, Places};
use crate::provision::download::{self, Archive};
use crate::provision::home::Home;
use crate::provision::{Provisioner, cluster};
use crate::report::Report;

/// What `pg_upgrade` runs, besides the programs that taxi needs in any case: of the old version, and of the new.
const OLD_PROGRAMS: [&str; 2] = ["pg_controldata", "pg_resetwal"];
const NEW_PROGRAMS: [&str; 8] = [
    "pg_upgrade",
    "pg_controldata",
    "pg_resetwal",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "psql",
    "vacuumdb",
];

impl Provisioner {
    /// The programs to upgrade to: those that the settings name, else the newest that are installed, else the pinned
    /// build. Refused: a version that is not newer than `from`.
    pub(super) async fn find_new(
        &self,
        from: u32,
        to: Option<u32>,
        home: &Home,
        report: &dyn Report,
    ) -> Result<Binaries> {
        if let Some(to) = to.filter(|to| *to < from) {
            let text = format!("the data directory has version {from}, which is newer than {to}");
            return Err(Error::new(Kind::Usage, text).hint("PostgreSQL cannot be downgraded"));
        }
        let fits = |major| major > from && to.is_none_or(|to| major == to);
        let found = match &self.binaries {
            Choice::Directory(dir) => self.installed(None)?.map(|found| match fits(found.major) {
                true => Ok(found),
                false => Err(does_not_fit(&found, dir.display().to_string(), from, to)),
            }),
            Choice::Search => Places::of_this_machine().newest(fits).map(Ok),
            Choice::Download => None,
        };
        let found = match found {
            Some(found) => found?,
            None if fits(download::MAJOR) => {
                Archive::pinned(&self.mirror)?.install(&home.cache(), report).await?
            }
            None => return Err(missing(from, to)),
        };
        check(&found, &NEW_PROGRAMS, &hint(found.major, "set --postgres-bin to its bin directory"))?;
        Ok(found)
    }

    /// The programs that have run the data directory: those of the last start, else those that are installed, else
    /// the pinned build.
    pub(super) async fn find_old(&self, major: u32, home: &Home, report: &dyn Report) -> Result<Binaries> {
        let last = cluster::last_programs(home).filter(|found| found.major == major);
        let hint = hint(major, "add its bin directory to PATH");
        let found = match last.or_else(|| Places::of_this_machine().find(Some(major))) {
            Some(found) => found,
            None if major == download::MAJOR => {
                Archive::pinned(&self.mirror)?.install(&home.cache(), report).await?
            }
            None => {
                let text =
                    format!("cannot find PostgreSQL {major}, the version of {}", home.data().display());
                let reason = "an upgrade needs the programs of both versions";
                return Err(Error::new(Kind::Configuration, text).because(reason).hint(hint));
            }
        };
        check(&found, &OLD_PROGRAMS, &hint)?;
        Ok(found)
    }
}

/// Refuses an installation without one of the programs.
fn check(binaries: &Binaries, programs: &[&str], hint: &str) -> Result<()> {
    match programs.iter().find(|name| !binaries.program(name).is_file()) {
        None => Ok(()),
        Some(missing) => {
            let text =
                format!("PostgreSQL {} in {} has no {missing}", binaries.major, binaries.dir.display());
            Err(Error::new(Kind::Configuration, text).hint(hint))
        }
    }
}

fn does_not_fit(found: &Binaries, dir: String, from: u32, to: Option<u32>) -> Error {
    let wanted = to.map_or_else(|| format!("newer than {from}"), |to| to.to_string());
    Error::new(Kind::Configuration, format!("the server in {dir} has version {}, not {wanted}", found.major))
        .hint("set --postgres-bin (or TAXI_POSTGRES_BIN) to the bin directory of the new version")
}

fn missing(from: u32, to: Option<u32>) -> Error {
    let text = match to {
        Some(to) => format!("cannot find PostgreSQL {to}"),
        None => format!("cannot find a version of PostgreSQL that is newer than {from}"),
    };
    let hint = hint(to.unwrap_or(from + 1), "set --postgres-bin to its bin directory");
    Error::new(Kind::Configuration, text).hint(hint)
}

/// How to install a version, or else what to do with one that is installed.
pub(super) fn hint(major: u32, otherwise: &str) -> String {
    format!(
        "install PostgreSQL {major} (Debian, Ubuntu: postgresql-{major} from PostgreSQL's own repository; Fedora: \
         postgresql{major}-server from the same; Homebrew: postgresql@{major}), or {otherwise}"
    )
}
