//! The active policy files: a copy of the repository's files that every Envoy watches, so they can change while the stack
//! runs.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::stack;

/// The folder of the active policy files, which git ignores.
pub(super) fn folder() -> PathBuf {
    testbed::root().join(".stack/policies")
}

/// Creates the folder, and copies the repository's files into it.
pub(super) fn install() -> Result<()> {
    fs::create_dir_all(folder())?;
    enforce()
}

/// Removes the folder of the active files.
pub(super) fn remove() -> Result<()> {
    match fs::remove_dir_all(testbed::root().join(".stack")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Runs `act` while replacements are applied to a file, then restores the file. Fails if a text to replace is not in the
/// file.
pub(super) fn with_edit<T>(file: &str, changes: &[(&str, &str)], act: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut text = source(file)?;
    for (from, to) in changes {
        ensure!(text.contains(from), "{file} has no {from:?}");
        text = text.replace(from, to);
    }
    write(file, &text)?;
    let result = act();
    restore(file)?;
    result
}

/// Restores a file from the repository.
fn restore(file: &str) -> Result<()> {
    write(file, &source(file)?)
}

/// Activates report mode and PERMISSIVE mTLS, so that nothing is denied.
pub(super) fn report() -> Result<()> {
    for file in files()? {
        let text = source(&file)?.replace("mode: enforce", "mode: report").replace("mode: STRICT", "mode: PERMISSIVE");
        write(&file, &text)?;
    }
    Ok(())
}

/// Restores every file from the repository.
pub(super) fn enforce() -> Result<()> {
    files()?.iter().try_for_each(|file| restore(file))
}

fn files() -> Result<Vec<String>> {
    fs::read_dir(sources())?.map(|file| Ok(file?.file_name().to_string_lossy().into_owned())).collect()
}

fn sources() -> PathBuf {
    stack::folder().join("policies")
}

fn source(file: &str) -> Result<String> {
    Ok(fs::read_to_string(sources().join(file))?)
}

/// Replaces a file atomically, so that no Envoy reads an incomplete one.
fn write(file: &str, text: &str) -> Result<()> {
    let new = folder().join(format!("{file}.new"));
    fs::write(&new, text)?;
    Ok(fs::rename(new, folder().join(file))?)
}
