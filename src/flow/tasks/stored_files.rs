//! Tasks on the files of a run: write, concatenate, split, reverse, measure, delete.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::model::values::Values;
use crate::flow::yaml::decode::properties;

const COPY_BYTES: usize = 64 * 1024;

/// The path of a local file that a property names.
pub(crate) fn local(run: &TaskRun<'_>, template: &Template) -> Result<PathBuf> {
    let from = run.fill(template)?;
    path_of(&from).ok_or_else(|| {
        let shown = crate::http::SourceUrl::new(from.as_str());
        let text = format!(
            "{shown} is not a local file; download it first with io.kestra.plugin.core.http.Download"
        );
        run.fault(template.position, text)
    })
}

fn path_of(address: &str) -> Option<PathBuf> {
    match Source::parse(address) {
        Ok(Source::File(path)) => Some(path),
        _ => None,
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    File::open(path).map(BufReader::new).map_err(|cause| Error::file("read", path, cause))
}

fn finish((path, mut file): (PathBuf, BufWriter<File>)) -> Result<Json> {
    file.flush().map_err(|cause| Error::file("write", &path, cause))?;
    Ok(json!(path.display().to_string()))
}

/// Copies the rest of `from` to the end of `to`. Ends early on a signal or a timeout.
fn append(run: &TaskRun<'_>, from: &Path, to: &mut (PathBuf, BufWriter<File>)) -> Result<()> {
    let mut reader = open(from)?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let length = reader.read(&mut buffer).map_err(|cause| Error::file("read", from, cause))?;
        if length == 0 {
            return Ok(());
        }
        to.1.write_all(&buffer[..length]).map_err(|cause| Error::file("write", &to.0, cause))?;
        if let Some(signal) = run.interrupt.raised() {
            return Err(signal);
        }
    }
}

fn outputs<const N: usize>(outputs: [(&str, Json); N]) -> Outputs {
    outputs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// The name of a new file: `stem` and the extension, with or without its dot.
fn named(run: &TaskRun<'_>, stem: &str, extension: Option<&Template>) -> Result<String> {
    let extension = run.fill_optional(extension)?.unwrap_or_default();
    let extension = extension.trim_start_matches('.');
    Ok(if extension.is_empty() { stem.to_owned() } else { format!("{stem}.{extension}") })
}

/// A new file with the extension of `from`.
fn new_like(run: &TaskRun<'_>, stem: &str, from: &Path) -> Result<(PathBuf, BufWriter<File>)> {
    let extension = from.extension().and_then(|extension| extension.to_str());
    let name = extension.map_or_else(|| stem.to_owned(), |extension| format!("{stem}.{extension}"));
    run.context.storage.new_writer(&name)
}

properties! {
    /// Writes a text to a file.
    pub(crate) struct Write as "a Write task" {
        /// The text.
        "content" => content: Template,
        /// The file's extension.
        "extension" => extension: Option<Template> = None,
    }
}

impl Write {
    /// Writes the file and returns its path.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let (content, name) = (run.fill(&self.content)?, named(run, "content", self.extension.as_ref())?);
        let mut file = run.context.storage.new_writer(&name)?;
        file.1.write_all(content.as_bytes()).map_err(|cause| Error::file("write", &file.0, cause))?;
        Ok(outputs([("uri", finish(file)?)]))
    }
}

properties! {
    /// Joins files to one file.
    pub(crate) struct Concat as "a Concat task" {
        /// The paths of the files: a list, or an expression that yields a JSON array.
        "files" => files: Values,
        /// A text between the files.
        "separator" => separator: Option<Template> = None,
        /// The extension of the new file.
        "extension" => extension: Option<Template> = None,
    }
}

impl Concat {
    /// Joins the files and returns the path of the new file.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let files = self.files.resolve(&run.scope).map_err(|diagnostic| run.diagnostic(diagnostic))?;
        let separator = run.fill_optional(self.separator.as_ref())?.unwrap_or_default();
        let mut to = run.context.storage.new_writer(&named(run, "concat", self.extension.as_ref())?)?;
        for (index, from) in files.iter().enumerate() {
            let Some(path) = path_of(from) else {
                return Err(Error::new(
                    Kind::Configuration,
                    format!("{from:?} in `files` is not a local file"),
                ));
            };
            if index > 0 {
                to.1.write_all(separator.as_bytes()).map_err(|cause| Error::file("write", &to.0, cause))?;
            }
            append(run, &path, &mut to)?;
        }
        Ok(outputs([("uri", finish(to)?)]))
    }
}

properties! {
    /// Splits a file into several, between lines.
    pub(crate) struct Split as "a Split task" {
        /// The path of the file.
        "from" => from: Template,
        /// Number of lines of each file.
        "rows" => rows: Option<u32> = None,
        /// Size of each file, as in `10MB`; a file ends after the line that reaches the size.
        "bytes" => bytes: Option<Template> = None,
        /// Number of files; the lines are dealt out to them in turn.
        "partitions" => partitions: Option<u32> = None,
        /// The character between the lines.
        "separator" => separator: String = "\n".to_owned(),
    }
}

impl Split {
    /// Splits the file and returns the paths of the new files.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let from = local(run, &self.from)?;
        let size = match &self.bytes {
            None => u64::MAX,
            Some(template) => {
                let text = run.fill(template)?;
                let fault = || format!("invalid size {text:?}: expected a size like 500KB or 10MB");
                size_of(&text).ok_or_else(|| run.fault(template.position, fault()))?
            }
        };
        let &[separator] = self.separator.as_bytes() else {
            return Err(run.fault(self.from.position, "`separator` takes one ASCII character".to_owned()));
        };
        let rows = self.rows.map_or(u64::MAX, u64::from).max(1);
        let uris = match self.partitions {
            Some(partitions) => deal_out(run, &from, separator, partitions.max(1) as usize)?,
            None => cut(run, &from, separator, rows, size.max(1))?,
        };
        Ok(outputs([("uris", json!(uris))]))
    }
}

/// Calls `take` with each line, including its separator.
fn each_line(
    run: &TaskRun<'_>,
    from: &Path,
    separator: u8,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut reader = open(from)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let length =
            reader.read_until(separator, &mut line).map_err(|cause| Error::file("read", from, cause))?;
        if length == 0 {
            return Ok(());
        }
        take(&line)?;
        if let Some(signal) = run.interrupt.raised() {
            return Err(signal);
        }
    }
}

/// Writes the lines to one file after another, and returns the paths.
fn cut(run: &TaskRun<'_>, from: &Path, separator: u8, rows: u64, size: u64) -> Result<Vec<Json>> {
    let (mut paths, mut open) = (Vec::new(), None);
    let (mut lines, mut bytes) = (0, 0);
    each_line(run, from, separator, |line| {
        if (lines >= rows || bytes >= size)
            && let Some(complete) = open.take()
        {
            paths.push(finish(complete)?);
            (lines, bytes) = (0, 0);
        }
        lines += 1;
        bytes += line.len() as u64;
        let (path, file) = match &mut open {
            Some(open) => open,
            None => open.insert(new_like(run, "part", from)?),
        };
        file.write_all(line).map_err(|cause| Error::file("write", path, cause))
    })?;
    paths.extend(open.map(finish).transpose()?);
    Ok(paths)
}

/// Deals the lines out to files in turn, and returns the paths.
fn deal_out(run: &TaskRun<'_>, from: &Path, separator: u8, count: usize) -> Result<Vec<Json>> {
    let mut files: Vec<(PathBuf, BufWriter<File>)> = Vec::new();
    let mut next = 0;
    each_line(run, from, separator, |line| {
        if files.len() < count {
            files.push(new_like(run, "part", from)?);
        }
        let (path, file) = &mut files[next];
        next = (next + 1) % count;
        file.write_all(line).map_err(|cause| Error::file("write", path, cause))
    })?;
    files.into_iter().map(finish).collect()
}

/// A size such as `10MB` in bytes; a kilobyte has 1024 bytes.
fn size_of(text: &str) -> Option<u64> {
    let text = text.trim().to_uppercase();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "B" => 1,
        "KB" | "KIB" => 1 << 10,
        "MB" | "MIB" => 1 << 20,
        "GB" | "GIB" => 1_u64 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

properties! {
    /// Reverses the lines of a file.
    pub(crate) struct Reverse as "a Reverse task" {
        /// The path of the file.
        "from" => from: Template,
    }
}

impl Reverse {
    /// Writes the lines in the reverse order, and returns the path of the new file.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let from = local(run, &self.from)?;
        let mut lines = Vec::new();
        each_line(run, &from, b'\n', |line| {
            lines.push(line.strip_suffix(b"\n").unwrap_or(line).to_vec());
            Ok(())
        })?;
        let (path, mut file) = new_like(run, "reversed", &from)?;
        for line in lines.iter().rev() {
            file.write_all(line)
                .and_then(|()| file.write_all(b"\n"))
                .map_err(|cause| Error::file("write", &path, cause))?;
        }
        Ok(outputs([("uri", finish((path, file))?)]))
    }
}

properties! {
    /// Returns the size of a file.
    pub(crate) struct Size as "a Size task" {
        /// The path of the file.
        "uri" => uri: Template,
    }
}

impl Size {
    /// Returns the size in bytes.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let path = local(run, &self.uri)?;
        let metadata = std::fs::metadata(&path).map_err(|cause| Error::file("read", &path, cause))?;
        Ok(outputs([("size", json!(metadata.len()))]))
    }
}

properties! {
    /// Deletes a file of the run.
    pub(crate) struct Delete as "a Delete task" {
        /// The path of the file.
        "uri" => uri: Template,
        /// Whether the task fails if the file does not exist.
        "errorOnMissing" => error_on_missing: bool = false,
    }
}

impl Delete {
    /// Deletes the file, and returns whether it existed. Files outside the run's storage are not deleted.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let path = local(run, &self.uri)?;
        if path.exists() && !run.context.storage.contains(&path) {
            let text = format!("{} is not a file that this run has stored", path.display());
            return Err(run.fault(self.uri.position, text));
        }
        let deleted = match std::fs::remove_file(&path) {
            Ok(()) => true,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && !self.error_on_missing => false,
            Err(cause) => return Err(Error::file("delete", &path, cause)),
        };
        Ok(outputs([("uri", json!(path.display().to_string())), ("deleted", json!(deleted))]))
    }
}

#[cfg(test)]
mod tests {
    use super::size_of;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size_of("10MB"), Some(10 << 20));
        assert_eq!(size_of(" 3 kb"), Some(3 << 10));
        assert_eq!((size_of("7"), size_of("7 parsecs"), size_of("MB")), (Some(7), None, None));
    }
}
