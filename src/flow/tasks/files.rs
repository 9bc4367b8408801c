//! The files that a task finds in its working directory: input files, and files of the namespace.
//!
//! The files of the flow's namespace are those that `git.SyncNamespaceFiles` has fetched in this run. Before that,
//! they are the files of the folder `_files` beside the flow, or else of the flow's own folder.

use std::path::{Component, Path, PathBuf};

use glob::Pattern;
use serde_json::{Value as Json, json};

use super::script::fill_all;
use crate::error::{Error, Kind, Result};
use crate::flow::context::storage::{self, Storage};
use crate::flow::context::task_run::TaskRun;
use crate::flow::expression::{Template, fault_of};
use crate::flow::yaml::decode::{Decode, Decoder, Entries, choices, properties};
use crate::flow::yaml::document::{Node, Position, YamlValue};
use crate::report::event::Level;

/// Maximum number and total size of the namespace files of a task.
const LIMIT_FILES: usize = 10_000;
const LIMIT_BYTES: u64 = 1 << 30;

/// Files to create: a mapping of names, or an expression that yields one as JSON.
#[derive(Clone, Debug)]
pub(crate) enum InputFiles {
    /// A mapping of names to contents.
    Named(Entries<Template>),
    /// An expression that yields a JSON object.
    Computed(Template),
}

impl Default for InputFiles {
    fn default() -> Self {
        Self::Named(Entries::default())
    }
}

impl Decode for InputFiles {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match node.value {
            YamlValue::Text(_) => Template::decode(node, decoder).map(Self::Computed),
            _ => Entries::decode(node, decoder).map(Self::Named),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [Entries::<Template>::schema(), Template::schema()] })
    }
}

impl InputFiles {
    /// The names and contents. A name may have expressions, too.
    pub(crate) fn fill(&self, run: &TaskRun<'_>) -> Result<Vec<(String, String)>> {
        let template = match self {
            Self::Named(entries) => {
                let fill = |(name, content): &(String, Template)| {
                    Ok((fill_name(run, name, content.position)?, run.fill(content)?))
                };
                return entries.0.iter().map(fill).collect();
            }
            Self::Computed(template) => template,
        };
        let text = run.fill(template)?;
        let Ok(Json::Object(entries)) = serde_json::from_str(&text) else {
            return Err(
                run.fault(template.position, format!("expected a JSON object of files, found {text:?}"))
            );
        };
        let content = |value: Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(entries.into_iter().map(|(name, value)| (name, content(value))).collect())
    }
}

fn fill_name(run: &TaskRun<'_>, name: &str, position: Position) -> Result<String> {
    let parsed = Template::parse(name, position);
    let (template, _) = parsed.map_err(|fault| run.fault(position, fault_of(name, &fault)))?;
    run.fill(&template)
}

/// The path of `name` in a folder. Refuses a name that leads out of the folder.
pub(crate) fn within(folder: &Path, name: &str) -> Result<PathBuf> {
    let relative = PathBuf::from(name);
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        let text = format!("the path {name:?} is outside the working directory");
        return Err(Error::new(Kind::Configuration, text));
    }
    Ok(folder.join(relative))
}

/// Creates an input file in a folder: a copy if `content` is the path of a stored file, else the text itself.
pub(crate) fn create(storage: &Storage, folder: &Path, name: &str, content: &str) -> Result<()> {
    let path = within(folder, name)?;
    let write_error = |cause| Error::file("write", &path, cause);
    create_parent(&path)?;
    match storage.contains(Path::new(content)) {
        true => std::fs::copy(content, &path).map(drop).map_err(write_error),
        false => std::fs::write(&path, content).map_err(write_error),
    }
}

/// Creates an input file in a folder that belongs to the user, where it must not replace a file.
pub(crate) fn create_new(storage: &Storage, folder: &Path, name: &str, content: &str) -> Result<()> {
    let path = within(folder, name)?;
    if path.exists() {
        let text = format!("cannot create the input file {}: the file already exists", path.display());
        return Err(Error::new(Kind::Configuration, text));
    }
    create(storage, folder, name, content)
}

fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause)),
        None => Ok(()),
    }
}

choices! {
    /// What to do with a namespace file that the working directory has already.
    pub(crate) enum IfExists {
        /// Replace the file.
        Overwrite = "OVERWRITE",
        /// Fail.
        Fail = "FAIL",
        /// Keep the file and write a warning to the log.
        Warn = "WARN",
        /// Keep the file.
        Ignore = "IGNORE",
    }
}

properties! {
    /// Which files of a namespace a task gets.
    pub(crate) struct NamespaceFiles as "namespace files" {
        /// Whether the task gets namespace files.
        "enabled" => enabled: bool = true,
        /// Glob patterns of the files to include. Default: all files.
        "include" => include: Vec<Template> = Vec::new(),
        /// Glob patterns of the files to leave out.
        "exclude" => exclude: Vec<Template> = Vec::new(),
        /// The namespaces, of which later ones replace files of earlier ones. Default: the flow's namespace.
        "namespaces" => namespaces: Vec<Template> = Vec::new(),
        /// What to do with a file that the working directory has already.
        "ifExists" => if_exists: IfExists = IfExists::Overwrite,
        /// Whether each namespace has a folder of its own in the working directory.
        "folderPerNamespace" => folder_per_namespace: bool = false,
    }
}

impl NamespaceFiles {
    /// Copies the files into a folder.
    pub(crate) fn put(&self, run: &TaskRun<'_>, folder: &Path) -> Result<()> {
        if !self.enabled {
            return Ok(());
        }
        let patterns = |templates: &[Template]| -> Result<Vec<Pattern>> {
            fill_all(run, templates)?.iter().map(|text| anywhere(text)).collect()
        };
        let (include, exclude) = (patterns(&self.include)?, patterns(&self.exclude)?);
        let mut namespaces = fill_all(run, &self.namespaces)?;
        if namespaces.is_empty() {
            namespaces.push(run.context.namespace().to_owned());
        }
        for namespace in namespaces {
            let source = source(run, &namespace)?;
            let mut names = visible_files(&source)?;
            names.retain(|name| {
                (include.is_empty() || storage::matches(&include, name)) && !storage::matches(&exclude, name)
            });
            check_size(&source, &names)?;
            let target =
                if self.folder_per_namespace { within(folder, &namespace)? } else { folder.to_owned() };
            for name in &names {
                self.copy(run, &source.join(name), &target.join(name))?;
            }
        }
        Ok(())
    }

    fn copy(&self, run: &TaskRun<'_>, from: &Path, to: &Path) -> Result<()> {
        if to.exists() {
            let text = format!("the working directory already has the namespace file {}", to.display());
            match self.if_exists {
                IfExists::Overwrite => {}
                IfExists::Ignore => return Ok(()),
                IfExists::Warn => {
                    run.log(Level::Warning, &text);
                    return Ok(());
                }
                IfExists::Fail => return Err(Error::new(Kind::TaskFailed, text)),
            }
        }
        create_parent(to)?;
        std::fs::copy(from, to).map(drop).map_err(|cause| Error::file("copy", from, cause))
    }
}

/// A pattern that matches at any depth, unless it begins with a slash.
fn anywhere(text: &str) -> Result<Pattern> {
    match text.strip_prefix('/') {
        Some(anchored) => storage::parse_pattern(anchored),
        None => storage::parse_pattern(&format!("**/{text}")),
    }
}

/// The folder that holds the files of a namespace.
pub(crate) fn source(run: &TaskRun<'_>, namespace: &str) -> Result<PathBuf> {
    let fetched = run.context.storage.namespace_dir(namespace);
    if fetched.is_dir() {
        return Ok(fetched);
    }
    if namespace != run.context.namespace() {
        let text = format!("this run has not fetched files of the namespace {namespace}");
        return Err(Error::new(Kind::Configuration, text)
            .hint("fetch them with a task of type io.kestra.plugin.git.SyncNamespaceFiles"));
    }
    let folder = Path::new(".").join(&run.context.folder);
    let files = folder.join("_files");
    Ok(if files.is_dir() { files } else { folder })
}

/// The files below a folder, without hidden files, hidden folders and symbolic links.
fn visible_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |cause| Error::file("read", folder, cause);
    let mut names = Vec::new();
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (name, kind) = (PathBuf::from(entry.file_name()), entry.file_type().map_err(unreadable)?);
        if is_hidden(name.as_os_str()) {
            continue;
        }
        if kind.is_dir() {
            storage::list(folder, &name, &mut names).map_err(unreadable)?;
        } else if kind.is_file() {
            names.push(name);
        }
    }
    names.retain(|name| !name.iter().any(is_hidden));
    names.sort();
    Ok(names)
}

/// Refuses more files than a project has: a flow may lie in a folder with data.
fn check_size(folder: &Path, names: &[PathBuf]) -> Result<()> {
    let sizes = names.iter().filter_map(|name| folder.join(name).metadata().ok());
    let bytes: u64 = sizes.map(|metadata| metadata.len()).sum();
    if names.len() <= LIMIT_FILES && bytes <= LIMIT_BYTES {
        return Ok(());
    }
    let text = format!(
        "the namespace files in {} are too many: {} files with {} MiB",
        folder.display(),
        names.len(),
        bytes >> 20
    );
    Err(Error::new(Kind::Configuration, text).hint(
        "move the files of the namespace into the folder _files beside the flow, or name them in \
         `namespaceFiles.include`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_at_any_depth_unless_they_begin_with_a_slash() {
        for (pattern, name, expected) in [
            ("a.py", "a.py", true),
            ("a.py", "x/y/a.py", true),
            ("/a.py", "x/a.py", false),
            ("/a.py", "a.py", true),
            ("scripts/*.py", "scripts/a.py", true),
            ("scripts/**", "scripts/x/a.py", true),
            ("*.sql", "a.py", false),
        ] {
            let patterns = [anywhere(pattern).unwrap()];
            assert_eq!(storage::matches(&patterns, Path::new(name)), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_path_that_leads_out_of_the_folder_is_refused() {
        assert_eq!(within(Path::new("/w"), "a/./b").unwrap(), Path::new("/w/a/b"));
        for name in ["../a", "/a", "a/../../b"] {
            assert!(within(Path::new("/w"), name).is_err(), "{name}");
        }
    }
}
