//! Running programs on this machine.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Runs a command and returns its standard output. An error has the last lines of its standard error, unless that was
/// inherited.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        let mut last_lines: Vec<_> = messages.lines().rev().take(8).collect();
        last_lines.reverse();
        ensure!(!last_lines.is_empty(), "{program} failed; see the messages above");
        bail!("{program} failed: {}", last_lines.join(" | "));
    }
    Ok(String::from_utf8(output.stdout)?)
}
