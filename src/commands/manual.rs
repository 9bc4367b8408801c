//! `taxi completions` and `taxi man`: what taxi's own description of its command line is turned into.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::{Cli, ManArgs};
use crate::error::{Error, Kind, Result};
use crate::report::output::CommandOutput;

/// The completion script for a shell.
pub(crate) fn completions(shell: Shell) -> CommandOutput {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "taxi", &mut script);
    CommandOutput::of_text(&script)
}

/// The manual page of a command, or the files of all pages.
pub(crate) fn man(args: &ManArgs) -> Result<CommandOutput> {
    let mut root = Cli::command();
    root.build();
    if let Some(dir) = &args.dir {
        return write_all(&root, dir);
    }
    let mut command = &root;
    for name in &args.command {
        command = command.find_subcommand(name).filter(has_page).ok_or_else(|| {
            let text = format!("no command \"{}\"", args.command.join(" "));
            Error::new(Kind::Usage, text).hint("use 'taxi help' to list the commands")
        })?;
    }
    Ok(CommandOutput::of_text(&page(command)?))
}

/// Writes the pages of all commands into `dir`, and lists the files.
fn write_all(root: &clap::Command, dir: &Path) -> Result<CommandOutput> {
    fs::create_dir_all(dir).map_err(|cause| Error::file("create", dir, cause))?;
    let mut paths = Vec::new();
    let mut commands = vec![root];
    while let Some(command) = commands.pop() {
        let path = dir.join(format!("{}.1", name(command)));
        fs::write(&path, page(command)?).map_err(|cause| Error::file("write", &path, cause))?;
        paths.push(path.display().to_string());
        commands.extend(command.get_subcommands().filter(has_page));
    }
    paths.sort();
    Ok(CommandOutput::of_text(paths.join("\n").as_bytes()))
}

/// "help" repeats the pages of the commands.
fn has_page(command: &&clap::Command) -> bool {
    command.get_name() != "help"
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let name = name(command);
    let mut page = Vec::new();
    Man::new(command.clone().display_name(&name))
        .title(name)
        .source(concat!("taxi-etl ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .map_err(|cause| Error::new(Kind::Internal, "cannot write a manual page").because(cause))?;
    // clap_mangen has no heading of its own for what follows the options
    let text = String::from_utf8_lossy(&page)
        .replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n")
        .replace(".SH EXTRA\nExit codes:\n", ".SH \"EXIT STATUS\"\n");
    Ok(text.into_bytes())
}

/// The name of a command's page, such as `taxi-runs-show`.
fn name(command: &clap::Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}
