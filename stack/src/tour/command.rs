//! Commands of this machine, whose output is wanted.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Runs a command and gives what it printed; a failure tells the last lines that it complained in, unless those were
/// shown at once.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let mut end: Vec<_> = said.lines().rev().take(8).collect();
        end.reverse();
        ensure!(!end.is_empty(), "{program} failed, its messages are above");
        bail!("{program} failed: {}", end.join(" | "));
    }
    Ok(String::from_utf8(output.stdout)?)
}
