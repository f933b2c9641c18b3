//! The policy files in use: a copy of the repository's that every Envoy watches, so that they can be changed while the
//! stack runs.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::running;

/// Where they are. Git ignores it.
pub(super) fn folder() -> PathBuf {
    testbed::root().join(".stack/policies")
}

/// Copies what the repository has.
pub(super) fn lay_out() -> Result<()> {
    fs::create_dir_all(folder())?;
    enforce()
}

/// Removes the copy.
pub(super) fn clear() -> Result<()> {
    match fs::remove_dir_all(testbed::root().join(".stack")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Acts while a file is changed, and puts the one back that the repository has, whatever came of it. What is replaced
/// has to be there.
pub(super) fn edited<T>(file: &str, changes: &[(&str, &str)], act: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut text = source(file)?;
    for (from, to) in changes {
        ensure!(text.contains(from), "{file} has no {from:?}");
        text = text.replace(from, to);
    }
    write(file, &text)?;
    let done = act();
    restore(file)?;
    done
}

/// Puts the file back that the repository has.
fn restore(file: &str) -> Result<()> {
    write(file, &source(file)?)
}

/// PERMISSIVE mTLS, and nothing denied by any policy.
pub(super) fn report() -> Result<()> {
    for file in files()? {
        let text = source(&file)?.replace("mode: enforce", "mode: report").replace("mode: STRICT", "mode: PERMISSIVE");
        write(&file, &text)?;
    }
    Ok(())
}

/// What the repository has.
pub(super) fn enforce() -> Result<()> {
    files()?.iter().try_for_each(|file| restore(file))
}

fn files() -> Result<Vec<String>> {
    fs::read_dir(sources())?.map(|file| Ok(file?.file_name().to_string_lossy().into_owned())).collect()
}

fn sources() -> PathBuf {
    running::folder().join("policies")
}

fn source(file: &str) -> Result<String> {
    Ok(fs::read_to_string(sources().join(file))?)
}

/// Beside it first and then in its place, so that no Envoy reads half a file.
fn write(file: &str, text: &str) -> Result<()> {
    let new = folder().join(format!("{file}.new"));
    fs::write(&new, text)?;
    Ok(fs::rename(new, folder().join(file))?)
}
