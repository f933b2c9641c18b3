//! The newest section of the changelog.

use anyhow::{Context, Result, ensure};

/// Returns the newest section of a changelog, which has to be that of a version.
///
/// # Errors
///
/// There is none, or it is of another version.
pub fn newest_section(changelog: &str, version: &str) -> Result<String> {
    const HEAD: &str = "\n## ";
    let (_, newest) = changelog.split_once(HEAD).context("the changelog has no section")?;
    let section = newest.split(HEAD).next().unwrap_or(newest);
    let title = section.lines().next().unwrap_or_default();
    ensure!(
        title.starts_with(&format!("[{version}]")),
        "the newest section of the changelog is `## {title}`, and Cargo.toml has version {version}: add a section"
    );
    Ok(format!("## {}\n", section.trim_end()))
}
