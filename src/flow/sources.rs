//! The sources of `--source` and of the input `source`: names that the flow declares, directories, and addresses, in the
//! order in which they are asked.
//!
//! In: the text as given, and the task's declared `sources` and `layouts`. Out: the files that can hold the month.
//! Refused: a directory that does not exist, a template without year and month.

use std::path::Path;

use super::expression::Scope;
use crate::error::{Error, Kind, Result};
use crate::extract::source::{self, Source};
use crate::http::SourceUrl;

/// The inputs that an address can have in braces.
const PLACEHOLDERS: [&str; 3] = ["taxi", "year", "month"];
/// How the names of files end that a load reads.
const FILE_ENDS: [&str; 3] = [".csv.gz", ".csv", ".parquet"];

/// What a task declares about its sources.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declared<'a> {
    /// The sources that have a name, each with the address of a file.
    pub(crate) names: &'a [(String, String)],
    /// The paths that a file can have in a directory, in the order in which they are tried. A base address has the
    /// first.
    pub(crate) layouts: &'a [String],
}

/// Where one source has its files.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// An address with placeholders.
    Template(String),
    /// The one file at an address.
    File(String),
    /// A directory, which can hold files in every layout.
    Directory(String),
    /// The base address of files in the first layout.
    Base(String),
}

/// The sources that a text names.
#[derive(Clone, Debug)]
pub(crate) struct SourceList<'a> {
    declared: Declared<'a>,
    items: Vec<String>,
}

impl<'a> SourceList<'a> {
    /// Splits `text` at its commas. A path that exists as a whole is one source, and so is an address with a comma that
    /// no other source follows.
    pub(crate) fn parse(text: &str, declared: Declared<'a>) -> Self {
        let mut items: Vec<String> = Vec::new();
        let pieces = if Path::new(text).exists() { vec![text] } else { text.split(',').collect() };
        for piece in pieces {
            let is_source =
                declared.address(piece.trim()).is_some() || is_url(piece) || Path::new(piece.trim()).exists();
            match items.last_mut() {
                Some(address) if is_url(address) && !is_source => {
                    address.push(',');
                    address.push_str(piece);
                }
                _ => items.push(piece.trim().to_owned()),
            }
        }
        items.retain(|item| !item.is_empty());
        Self { declared, items }
    }

    /// Checks what can be checked without the network: a directory must exist, and a template must have a year and a
    /// month. A single file is no source of months.
    pub(crate) fn check(&self) -> Result<()> {
        for item in &self.items {
            match self.place(item)? {
                Place::File(_) => {
                    let text = format!("the source {} is a file", SourceUrl::new(item));
                    return Err(Error::new(Kind::Configuration, text)
                        .hint("use 'taxi load FILE' to load a single file"));
                }
                Place::Directory(dir) if !Path::new(&dir).is_dir() => {
                    return Err(source::not_a_directory(Path::new(&dir)));
                }
                Place::Template(_) | Place::Directory(_) | Place::Base(_) => {}
            }
        }
        Ok(())
    }

    /// The addresses of the files that can hold the month of the `scope`'s inputs, in the order of the sources.
    pub(crate) fn addresses(&self, scope: &Scope) -> Result<Vec<String>> {
        let mut addresses = Vec::new();
        for item in &self.items {
            let join = |base: &str, layout: &String| {
                Ok(format!("{}/{}", base.trim_end_matches('/'), expand(layout, scope)?))
            };
            match self.place(item)? {
                Place::File(address) => addresses.push(address),
                Place::Template(template) => addresses.push(expand(&template, scope)?),
                Place::Base(base) => {
                    let first = self.declared.layouts.first().map(|layout| join(&base, layout));
                    addresses.extend(first.transpose()?);
                }
                Place::Directory(dir) => {
                    let all: Result<Vec<_>> =
                        self.declared.layouts.iter().map(|layout| join(&dir, layout)).collect();
                    addresses.extend(all?);
                }
            }
        }
        Ok(addresses)
    }

    /// What to do if no source has the month.
    pub(crate) fn advice(&self) -> Option<String> {
        let shown =
            || -> Vec<String> { self.items.iter().map(|item| SourceUrl::new(item).to_string()).collect() };
        let [item] = self.items.as_slice() else {
            return Some(format!("none of the sources {} has the month", shown().join(", ")));
        };
        if let Some(index) = self.declared.names.iter().position(|(name, _)| name == item) {
            let (others, _): (Vec<String>, Vec<String>) =
                self.declared.names[index + 1..].iter().cloned().unzip();
            return (!others.is_empty()).then(|| {
                let others = others.join(" or --source ");
                format!("use --source {others}, if the source {item} ends before this month")
            });
        }
        match self.place(item) {
            Ok(Place::Directory(_)) => Some(
                "in a directory, a file can be .csv.gz, .csv or .parquet, with or without a folder of the taxi type"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    fn place(&self, item: &str) -> Result<Place> {
        if let Some(address) = self.declared.address(item) {
            return Ok(Place::Template(address.to_owned()));
        }
        let path = Path::new(item.strip_prefix("file://").unwrap_or(item));
        if item.contains('{') && !path.exists() {
            check_template(item)?;
            return Ok(Place::Template(item.to_owned()));
        }
        Ok(match Source::parse(item)? {
            Source::File(path) if path.is_dir() || !path.exists() => {
                Place::Directory(path.display().to_string())
            }
            Source::Http(_) if !is_file(item) => Place::Base(item.to_owned()),
            Source::File(_) | Source::Http(_) => Place::File(item.to_owned()),
        })
    }
}

impl Declared<'_> {
    fn address(&self, name: &str) -> Option<&str> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, address)| address.as_str())
    }
}

fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// Whether an address ends like that of a file.
pub(crate) fn is_file(address: &str) -> bool {
    let path = address.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    FILE_ENDS.iter().any(|end| path.ends_with(end))
}

/// The name that the ledger uses for the file at an address: that of the CSV, but with the ending of a Parquet file.
pub(crate) fn filename_at(address: &str, csv: &str) -> String {
    let path = address.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    match csv.strip_suffix(".csv") {
        Some(stem) if path.ends_with(".parquet") => format!("{stem}.parquet"),
        _ => csv.to_owned(),
    }
}

/// Refuses a template without the placeholders that distinguish the months.
fn check_template(template: &str) -> Result<()> {
    let refuse = |why: String| {
        let text = format!("the source {} {why}", SourceUrl::new(template));
        Err(Error::new(Kind::Configuration, text)
            .hint("write an address such as 'https://example.org/{taxi}_tripdata_{year}-{month}.parquet'"))
    };
    for name in ["year", "month"] {
        if !template.contains(&format!("{{{name}}}")) {
            return refuse(format!("has braces, but not {{{name}}}"));
        }
    }
    match fill(template, |_| Some(String::new())) {
        Ok(_) => Ok(()),
        Err(why) => refuse(why),
    }
}

fn expand(template: &str, scope: &Scope) -> Result<String> {
    fill(template, |name| scope.input(name)).map_err(|why| {
        Error::new(Kind::Configuration, format!("the source {} {why}", SourceUrl::new(template)))
    })
}

/// Replaces the placeholders.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("has a brace that is not closed")?;
        let value = PLACEHOLDERS.contains(&name).then(|| value(name)).flatten();
        let value = value.ok_or_else(|| {
            format!("has the unknown placeholder {{{name}}}: expected {{taxi}}, {{year}} and {{month}}")
        })?;
        filled = filled + before + &value;
        rest = after;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;
    use crate::secrets::Secrets;

    fn addresses(source: &str) -> Result<Vec<String>> {
        let names = [
            ("course".to_owned(), "https://course/{taxi}/{taxi}_{year}-{month}.csv.gz".to_owned()),
            ("tlc".to_owned(), "https://tlc/{taxi}_{year}-{month}.parquet".to_owned()),
        ];
        let layouts = ["{taxi}/{year}-{month}.csv.gz".to_owned(), "{year}-{month}.parquet".to_owned()];
        let inputs = context! { taxi => "green", year => "2025", month => "11" };
        let scope = Scope::new(&Secrets::default()).with("inputs", inputs);
        let list = SourceList::parse(source, Declared { names: &names, layouts: &layouts });
        list.check()?;
        list.addresses(&scope)
    }

    #[test]
    fn a_list_names_the_files_of_its_sources_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (path, comma) = (dir.path().to_str().unwrap(), dir.path().join("a,course"));
        std::fs::create_dir(&comma).unwrap();
        let in_dir = |dir: &str| [format!("{dir}/green/2025-11.csv.gz"), format!("{dir}/2025-11.parquet")];
        let (course, tlc) =
            ("https://course/green/green_2025-11.csv.gz", "https://tlc/green_2025-11.parquet");
        let expected: [(&str, Vec<String>); 8] = [
            ("course", vec![course.to_owned()]),
            ("course, tlc", vec![course.to_owned(), tlc.to_owned()]),
            (&format!("{path}/,tlc"), [&in_dir(path)[..], &[tlc.to_owned()]].concat()),
            (comma.to_str().unwrap(), in_dir(comma.to_str().unwrap()).to_vec()),
            ("http://a/b/", vec!["http://a/b/green/2025-11.csv.gz".to_owned()]),
            ("http://a/b,c,tlc", vec!["http://a/b,c/green/2025-11.csv.gz".to_owned(), tlc.to_owned()]),
            ("http://a/{year}/{month}.parquet?sig=1", vec!["http://a/2025/11.parquet?sig=1".to_owned()]),
            ("/{year}/{month}.csv", vec!["/2025/11.csv".to_owned()]),
        ];
        for (source, files) in expected {
            assert_eq!(addresses(source).unwrap(), files, "{source}");
        }
    }

    #[test]
    fn what_cannot_hold_months_is_refused_by_name() {
        for (source, part) in [
            ("tcl", "the source tcl is not a directory"),
            ("course,/no/such", "the source /no/such is not a directory"),
            ("http://a/{year}.parquet", "has braces, but not {month}"),
            ("http://a/{year}-{month}-{day}.parquet", "unknown placeholder {day}"),
            ("http://a/{year}-{month}-{day.parquet", "a brace that is not closed"),
            ("http://a/green_2025-11.parquet?x", "is a file"),
            ("ftp://a/b", "unknown URL scheme"),
        ] {
            let error = addresses(source).unwrap_err().to_string();
            assert!(error.contains(part), "{source}: {error}");
        }
    }

    #[test]
    fn the_advice_names_the_source_that_goes_on() {
        let names = ["course", "tlc"].map(|name| (name.to_owned(), String::new()));
        let advice = |source| SourceList::parse(source, Declared { names: &names, layouts: &[] }).advice();
        assert_eq!(
            advice("course").unwrap(),
            "use --source tlc, if the source course ends before this month"
        );
        assert_eq!(advice("tlc"), None);
        let several = advice("course,https://u:secret@h/x").unwrap();
        assert_eq!(several, "none of the sources course, https://h/x has the month");
    }

    #[test]
    fn the_ledger_names_a_parquet_file_as_such() {
        for (address, name) in [
            ("https://a/x.parquet?sig=a.csv", "m.parquet"),
            ("/a/X.PARQUET", "m.parquet"),
            ("https://a/x.csv.gz?parquet", "m.csv"),
        ] {
            assert_eq!(filename_at(address, "m.csv"), name, "{address}");
        }
    }
}
