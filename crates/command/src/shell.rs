//! `kiln completions` and `kiln man`: what a shell and a manual know of the command.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Command};
use clap_complete::Shell;

use super::out;

/// Print what a shell needs to complete the command
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln completions bash > ~/.local/share/bash-completion/completions/kiln
  kiln completions zsh > ~/.zfunc/_kiln
  kiln completions fish > ~/.config/fish/completions/kiln.fish")]
pub struct CompletionFlags {
    /// Which shell
    shell: Shell,
}

/// Write the manual pages, a file for each command
#[derive(Args)]
#[command(after_long_help = "Example:
  kiln man ~/.local/share/man/man1 && man kiln-train")]
pub struct ManFlags {
    /// The folder they go to
    folder: PathBuf,
}

pub fn completions(flags: CompletionFlags, mut command: Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(flags.shell, &mut command, "kiln", &mut text);
    out::text(String::from_utf8_lossy(&text))
}

pub fn man(flags: ManFlags, command: Command) -> Result<()> {
    std::fs::create_dir_all(&flags.folder).with_context(|| flags.folder.display().to_string())?;
    page(&command, "kiln", &flags.folder)?;
    for sub in command.get_subcommands() {
        page(sub, &format!("kiln-{}", sub.get_name()), &flags.folder)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str, folder: &Path) -> Result<()> {
    let mut text = Vec::new();
    // A page needs a name that lives as long as the program; there are a dozen.
    let named = command.clone().name(&*Box::leak(name.to_string().into_boxed_str()));
    clap_mangen::Man::new(named).render(&mut text)?;
    let path = folder.join(format!("{name}.1"));
    kiln_files::write(&path, text).with_context(|| path.display().to_string())
}
