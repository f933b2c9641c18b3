//! `sallyport completions`.

use std::fs;
use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::{Generator, Shell};

use crate::NOTHING_FOUND;
use crate::arguments::{Arguments, CompletionArgument, CompletionArguments};

/// Name of the command.
const NAME: &str = "sallyport";

/// Prints completions or the manual, or writes them into a folder.
///
/// # Errors
///
/// A folder that cannot be written.
pub(crate) fn run(arguments: &CompletionArguments) -> Result<u8> {
    let mut command = Arguments::command();
    if let Some(folder) = &arguments.output {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let mut text = Vec::new();
    let name = match (shell(arguments.shell), &arguments.output) {
        (None, Some(folder)) => {
            clap_mangen::generate_to(command, folder).with_context(|| format!("writing into {}", folder.display()))?;
            return Ok(NOTHING_FOUND);
        }
        (None, None) => {
            clap_mangen::Man::new(command).render(&mut text)?;
            String::new()
        }
        (Some(shell), _) => {
            clap_complete::generate(shell, &mut command, NAME, &mut text);
            // bash-completion looks for the name of the command.
            if shell == Shell::Bash { NAME.to_owned() } else { shell.file_name(NAME) }
        }
    };
    match &arguments.output {
        Some(folder) => {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        None => io::stdout().write_all(&text).context("writing to standard output")?,
    }
    Ok(NOTHING_FOUND)
}

/// Returns the shell; `None` for the manual.
fn shell(argument: CompletionArgument) -> Option<Shell> {
    match argument {
        CompletionArgument::Bash => Some(Shell::Bash),
        CompletionArgument::Elvish => Some(Shell::Elvish),
        CompletionArgument::Fish => Some(Shell::Fish),
        CompletionArgument::PowerShell => Some(Shell::PowerShell),
        CompletionArgument::Zsh => Some(Shell::Zsh),
        CompletionArgument::Man => None,
    }
}
