//! A single file on the command line of `taxi load`: finds its taxi type and month by its name.

use std::path::Path;

use super::load;
use crate::cli::LoadArgs;
use crate::cli::values;
use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::flow::model::flow::Flow;
use crate::flow::sources;
use crate::http::SourceUrl;
use crate::month::calendar::Month;

/// The taxi type and the month of the `file`: what its name says, else what the options say. Refuses options that
/// contradict the name, and what is not a file.
pub(super) fn recognize(flow: &Flow, file: &SourceUrl, args: &LoadArgs) -> Result<(String, Month)> {
    let refuse = |text: String| Error::new(Kind::Usage, text);
    if let Some(source) = &args.run.source.source {
        // the variable may be set for other commands
        if std::env::var("TAXI_SOURCE").ok().as_deref() != Some(source.expose()) {
            return Err(refuse(format!("--source cannot be combined with the file {file}"))
                .hint("leave out --source to load the file, or leave out the file"));
        }
    }
    check_exists(file)?;
    let path = file.expose().split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let found = parse(flow.taxi_types(), name);
    let given = load::given_month(args)?;
    let (taxi, month) = match (found, &args.taxi, given) {
        (Some((taxi, _)), Some(given), _) if taxi != *given => {
            return Err(refuse(format!(
                "the file {name} has {taxi} trips by its name, but --taxi is {given}"
            )));
        }
        (Some((_, month)), _, Some(given)) if month != given => {
            return Err(refuse(format!("the file {name} is of {month} by its name, but --month is {given}")));
        }
        (Some(found), ..) => found,
        (None, Some(taxi), Some(month)) => (taxi.clone(), month),
        (None, ..) => {
            return Err(refuse(format!("the name {name} does not say the taxi type and the month"))
                .hint("use --taxi, --year and --month"));
        }
    };
    values::check_month(month).map_err(refuse)?;
    Ok((taxi, month))
}

fn check_exists(file: &SourceUrl) -> Result<()> {
    let refuse = |text: String, hint: &str| Err(Error::new(Kind::Configuration, text).hint(hint));
    match Source::parse(file.expose())? {
        Source::File(path) if path.is_dir() => refuse(
            format!("{} is a directory", path.display()),
            "use --source for a directory, with --taxi, --year and --month",
        ),
        Source::File(path) if !path.exists() => refuse(
            format!("the file {} does not exist", path.display()),
            "use --taxi, --year and --month to load a month from a source",
        ),
        Source::Http(_) if !sources::is_file(file.expose()) => refuse(
            format!("the address {file} does not end like that of a file: .csv.gz, .csv or .parquet"),
            "download the file, and load it with --taxi, --year and --month",
        ),
        Source::File(_) | Source::Http(_) => Ok(()),
    }
}

/// Finds the taxi type and the month in a name such as `green_tripdata_2025-11 (1).parquet`.
fn parse(taxi_types: &[String], name: &str) -> Option<(String, Month)> {
    let name = Path::new(name).file_name()?.to_str()?.to_lowercase();
    taxi_types.iter().find_map(|taxi| {
        let (before, after) = name.split_once(&format!("{taxi}_tripdata_"))?;
        let is_whole = !before.ends_with(|letter: char| letter.is_alphanumeric());
        let month = after.get(..7).filter(|_| is_whole)?.parse().ok()?;
        Some((taxi.clone(), month))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_its_taxi_type_and_month() {
        let types = ["yellow", "green", "fhv", "fhvhv"].map(str::to_owned);
        let parsed = |name| parse(&types, name).map(|(taxi, month)| format!("{taxi} {month}"));
        for (name, expected) in [
            ("green_tripdata_2025-11.parquet", Some("green 2025-11")),
            ("Green_TripData_2025-11 (1).PARQUET", Some("green 2025-11")),
            ("copy of fhvhv_tripdata_2019-02.csv.gz", Some("fhvhv 2019-02")),
            ("fhv_tripdata_2019-02.csv", Some("fhv 2019-02")),
            ("download.parquet", None),
            ("green_tripdata_2025.parquet", None),
            ("evergreen_tripdata_2025-11.parquet", None),
            ("blue_tripdata_2025-11.parquet", None),
        ] {
            assert_eq!(parsed(name).as_deref(), expected, "{name}");
        }
    }
}
