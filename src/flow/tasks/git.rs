//! Clones Git repositories with the Git of this machine.
//!
//! Credentials reach Git through a program that it asks for them, never through its arguments.

use std::path::Path;

use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};
use tempfile::TempPath;
use url::Url;

use super::files::within;
use super::process;
use super::script::{Workspace, find_program};
use crate::error::{Error, Kind, Result};
use crate::flow::context::storage;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::properties;
use crate::report::event::Level;

/// Answers Git's questions for a user name and a password.
const ASKPASS: &str = "#!/bin/sh\ncase \"$1\" in\n\
    Username*) printf '%s\\n' \"$TAXI_GIT_USERNAME\" ;;\n\
    *) printf '%s\\n' \"$TAXI_GIT_PASSWORD\" ;;\nesac\n";

/// The user name for a token without a user name. Git servers do not read it.
const TOKEN_USER: &str = "git";

properties! {
    /// A Git repository.
    pub(crate) struct Remote as "a Git repository" {
        /// The URL of the repository.
        "url" => url: Template,
        /// The user name.
        "username" => username: Option<Template> = None,
        /// The password or the access token.
        "password" => password: Option<Template> = None,
        /// Whether to fetch the submodules too.
        "cloneSubmodules" => submodules: bool = false,
    }
}

properties! {
    /// Clones a Git repository into the working directory.
    pub(crate) struct Clone as "a Clone task" {
        /// The folder in the working directory. Default: the working directory itself.
        "directory" => directory: Option<Template> = None,
        /// The branch. Default: the default branch of the repository.
        "branch" => branch: Option<Template> = None,
        /// The tag to check out instead of a branch.
        "tag" => tag: Option<Template> = None,
        /// The commit to check out instead of a branch or a tag.
        "commit" => commit: Option<Template> = None,
        /// The number of commits to fetch of a branch or a tag.
        "depth" => depth: u32 = 1,
        with {
            /// The repository.
            remote: Remote,
        }
    }
}

impl Clone {
    /// Clones the repository.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let workspace = Workspace::empty(run)?;
        let folder = match run.fill_optional(self.directory.as_ref())? {
            Some(directory) => within(&workspace.path, &directory)?,
            None => workspace.path.clone(),
        };
        let reference = match (&self.commit, &self.tag, &self.branch) {
            (Some(commit), ..) => Reference::Commit(run.fill(commit)?),
            (None, Some(tag), _) => Reference::Tag(run.fill(tag)?),
            (None, None, Some(branch)) => Reference::Branch(run.fill(branch)?),
            (None, None, None) => Reference::Head,
        };
        Git::open(run, &self.remote)?.check_out(&folder, &reference, self.depth).await?;
        let folder = match workspace.is_shared() {
            true => folder,
            // later tasks find the clone by its path
            false => {
                let kept = run.context.storage.lasting_dir()?.join("clone");
                std::fs::rename(&folder, &kept).map_err(|cause| Error::file("move", &folder, cause))?;
                kept
            }
        };
        Ok(Outputs::from_iter([("directory".to_owned(), json!(folder.display().to_string()))]))
    }
}

properties! {
    /// Fetches the files of a namespace from a Git repository, for the tasks of this run that use namespace files.
    pub(crate) struct SyncNamespaceFiles as "a SyncNamespaceFiles task" {
        /// The branch.
        "branch" => branch: Option<Template> = None,
        /// The namespace. Default: the flow's namespace.
        "namespace" => namespace: Option<Template> = None,
        /// The folder of the repository that holds the files. Default: _files.
        "gitDirectory" => git_directory: Option<Template> = None,
        /// Whether files that an earlier task has fetched, and that the repository does not have, are removed.
        "delete" => delete: bool = false,
        /// Whether to report only what would be done.
        "dryRun" => dry_run: bool = false,
        with {
            /// The repository.
            remote: Remote,
        }
    }
}

impl SyncNamespaceFiles {
    /// Fetches the files.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let storage = &run.context.storage;
        let branch = run.fill_optional(self.branch.as_ref())?.unwrap_or_else(|| "main".to_owned());
        let namespace = run.fill_optional(self.namespace.as_ref())?;
        let namespace = namespace.unwrap_or_else(|| run.context.namespace().to_owned());
        let directory =
            run.fill_optional(self.git_directory.as_ref())?.unwrap_or_else(|| "_files".to_owned());
        let clone = storage.working_dir()?;
        Git::open(run, &self.remote)?.check_out(clone.path(), &Reference::Branch(branch), 1).await?;
        let source = within(clone.path(), directory.trim_start_matches('/'))?;
        if !source.is_dir() {
            let text = format!("the repository has no folder {directory:?}");
            return Err(Error::new(Kind::Configuration, text).hint("name another folder in `gitDirectory`"));
        }
        let target = storage.namespace_dir(&namespace);
        let changes = Changes::between(&source, &target, self.delete)?;
        if !self.dry_run {
            changes.apply(&source, &target)?;
        }
        let verb = if self.dry_run { "would be" } else { "are" };
        let text = format!("{} files of the namespace {namespace} {verb} fetched", changes.fetched.len());
        run.log(Level::Info, &text);
        let report = storage.new_file("files.jsonl")?;
        std::fs::write(&report, changes.lines(&directory))
            .map_err(|cause| Error::file("write", &report, cause))?;
        Ok(Outputs::from_iter([("files".to_owned(), json!(report.display().to_string()))]))
    }
}

/// The files of a repository compared with those of the namespace.
struct Changes {
    /// The files of the repository, each with the change that it makes.
    fetched: Vec<(String, &'static str)>,
    /// The files to remove.
    deleted: Vec<String>,
}

impl Changes {
    fn between(source: &Path, target: &Path, deletes: bool) -> Result<Self> {
        let names = names(source)?;
        let existing = if target.is_dir() { self::names(target)? } else { Vec::new() };
        let change = |name: &String| match std::fs::read(target.join(name)) {
            Ok(content) if std::fs::read(source.join(name)).is_ok_and(|new| new == content) => "UNCHANGED",
            Ok(_) => "UPDATED",
            Err(_) => "ADDED",
        };
        let fetched: Vec<(String, &str)> = names.iter().map(|name| (name.clone(), change(name))).collect();
        let deleted = existing.into_iter().filter(|name| deletes && !names.contains(name)).collect();
        Ok(Self { fetched, deleted })
    }

    fn apply(&self, source: &Path, target: &Path) -> Result<()> {
        std::fs::create_dir_all(target).map_err(|cause| Error::file("create", target, cause))?;
        for (name, _) in &self.fetched {
            let (from, to) = (source.join(name), target.join(name));
            let copied = to.parent().map_or(Ok(()), std::fs::create_dir_all);
            let copied = copied.and_then(|()| std::fs::copy(&from, &to));
            copied.map_err(|cause| Error::file("copy", &from, cause))?;
        }
        for name in &self.deleted {
            let path = target.join(name);
            std::fs::remove_file(&path).map_err(|cause| Error::file("remove", &path, cause))?;
        }
        Ok(())
    }

    /// The changes, one JSON object a line.
    fn lines(&self, directory: &str) -> String {
        let deleted = self.deleted.iter().map(|name| (name, "DELETED"));
        let all = self.fetched.iter().map(|(name, change)| (name, *change)).chain(deleted);
        let line = |(name, change): (&String, &str)| {
            let path: Json = match change {
                "DELETED" => Json::Null,
                _ => json!(format!("{directory}/{name}")),
            };
            json!({ "gitPath": path, "syncState": change, "kestraPath": format!("/{name}") }).to_string()
                + "\n"
        };
        all.map(line).collect()
    }
}

/// The files below a folder, without the repository itself.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    storage::list(folder, Path::new(""), &mut names).map_err(|cause| Error::file("read", folder, cause))?;
    names.retain(|name| !name.starts_with(".git"));
    let mut names: Vec<String> = names.into_iter().map(|name| name.display().to_string()).collect();
    names.sort();
    Ok(names)
}

/// What to check out.
enum Reference {
    /// The default branch.
    Head,
    Branch(String),
    Tag(String),
    Commit(String),
}

impl Reference {
    /// What to fetch, and what to check out.
    fn arguments(&self) -> (String, Vec<String>) {
        let branch = |name: &str| format!("+refs/heads/{name}:refs/remotes/origin/{name}");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Head => ("HEAD".to_owned(), words(&["--detach", "FETCH_HEAD"])),
            Self::Branch(name) => (branch(name), words(&["-B", name, "FETCH_HEAD"])),
            Self::Tag(name) => {
                (format!("+refs/tags/{name}:refs/tags/{name}"), words(&["--detach", "FETCH_HEAD"]))
            }
            Self::Commit(commit) => (branch("*"), words(&["--detach", commit])),
        }
    }

    /// Refuses a name that Git would take for an option.
    fn check(&self) -> Result<()> {
        match self {
            Self::Branch(name) | Self::Tag(name) | Self::Commit(name) if name.starts_with('-') => Err(
                Error::new(Kind::Configuration, format!("invalid name of a branch, tag or commit: {name:?}")),
            ),
            _ => Ok(()),
        }
    }
}

/// The Git of this machine, with the credentials of a repository.
struct Git<'a> {
    run: &'a TaskRun<'a>,
    url: String,
    username: String,
    password: String,
    askpass: TempPath,
    submodules: bool,
}

impl<'a> Git<'a> {
    fn open(run: &'a TaskRun<'a>, remote: &Remote) -> Result<Self> {
        if find_program("git").is_none() {
            return Err(Error::new(Kind::Configuration, "cannot find `git` on the PATH").hint("install Git"));
        }
        let url = run.fill(&remote.url)?;
        let (url, in_url) = without_credentials(&url);
        let (in_url, password_in_url) = in_url.unzip();
        let username =
            run.fill_optional(remote.username.as_ref())?.or(in_url).filter(|name| !name.is_empty());
        let password = run.fill_optional(remote.password.as_ref())?.or(password_in_url).unwrap_or_default();
        run.context.secrets.keep(&password);
        Ok(Self {
            run,
            url,
            username: username.unwrap_or_else(|| TOKEN_USER.to_owned()),
            password,
            askpass: run.context.storage.program(ASKPASS)?,
            submodules: remote.submodules,
        })
    }

    /// Checks out the repository into a folder, which may have files already.
    async fn check_out(&self, folder: &Path, reference: &Reference, depth: u32) -> Result<()> {
        reference.check()?;
        std::fs::create_dir_all(folder).map_err(|cause| Error::file("create", folder, cause))?;
        let (fetched, checked_out) = reference.arguments();
        self.git(folder, &["init", "--quiet"]).await?;
        self.git(folder, &["remote", "add", "--", "origin", &self.url]).await?;
        let depth = format!("--depth={depth}");
        let is_whole = matches!(reference, Reference::Commit(_)) || depth == "--depth=0";
        let mut fetch = vec!["fetch", "--quiet"];
        fetch.extend((!is_whole).then_some(depth.as_str()));
        fetch.extend(["origin", &fetched]);
        self.git(folder, &fetch).await?;
        let mut check_out = vec!["checkout", "--quiet"];
        check_out.extend(checked_out.iter().map(String::as_str));
        self.git(folder, &check_out).await?;
        if self.submodules {
            self.git(folder, &["submodule", "--quiet", "update", "--init", "--recursive"]).await?;
        }
        Ok(())
    }

    async fn git(&self, folder: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = process::command("git");
        command.args(arguments).current_dir(folder).env("GIT_TERMINAL_PROMPT", "0");
        command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
        if !self.password.is_empty() {
            command.env("GIT_ASKPASS", &*self.askpass);
            command.env("TAXI_GIT_USERNAME", &self.username).env("TAXI_GIT_PASSWORD", &self.password);
        }
        match process::run(self.run, command).await?.exit_code {
            0 => Ok(()),
            code => {
                let action = arguments.first().copied().unwrap_or_default();
                let text = format!("cannot check out {}: git {action} exited with code {code}", self.url);
                Err(Error::new(Kind::TaskFailed, text).hint("read the output of git in the task's log"))
            }
        }
    }
}

/// The URL without a user name and a password, and these two.
fn without_credentials(text: &str) -> (String, Option<(String, String)>) {
    let Ok(mut url) = Url::parse(text) else { return (text.to_owned(), None) };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let Some(password) = url.password().map(decode) else {
        // a user name without a password is part of the address for SSH, and a token for HTTP
        let is_token = url.scheme().starts_with("http") && !url.username().is_empty();
        let token = decode(url.username());
        return match is_token && url.set_username("").is_ok() {
            true => (url.to_string(), Some((String::new(), token))),
            false => (text.to_owned(), None),
        };
    };
    let username = decode(url.username());
    match url.set_password(None).and_then(|()| url.set_username("")) {
        Ok(()) => (url.to_string(), Some((username, password))),
        Err(()) => (text.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url() {
        let given = |username: &str, password: &str| Some((username.to_owned(), password.to_owned()));
        for (text, url, credentials) in [
            ("https://git.example/a.git", "https://git.example/a.git", None),
            ("https://ann:p%40ss@git.example/a.git", "https://git.example/a.git", given("ann", "p@ss")),
            ("https://t0ken@git.example/a.git", "https://git.example/a.git", given("", "t0ken")),
            ("git@git.example:a.git", "git@git.example:a.git", None),
            ("ssh://git@git.example/a.git", "ssh://git@git.example/a.git", None),
            ("/srv/a", "/srv/a", None),
        ] {
            assert_eq!(without_credentials(text), (url.to_owned(), credentials), "{text}");
        }
    }
}
