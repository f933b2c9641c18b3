//! Blocks and calls of commands in the pages.

use std::fs;

use anyhow::{Context, Result};

/// Folders of the pages, from the root of the repository.
const FOLDERS: [&str; 3] = ["", "docs", "envoy-config/stack"];

/// A block of commands and what stands behind it.
pub(crate) struct Block<'p> {
    pub(crate) commands: String,
    /// The next block, if it is what the commands print.
    pub(crate) printed: Option<&'p str>,
    /// The next block, if it is YAML.
    pub(crate) yaml: Option<&'p str>,
}

/// The names and texts of all pages.
pub(crate) fn all() -> Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(testbed::root().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|kind| kind == "md") {
                pages.push((path.display().to_string(), fs::read_to_string(&path)?));
            }
        }
    }
    Ok(pages)
}

/// The block that begins with this line.
pub(crate) fn block<'p>(page: &'p str, first: &str) -> Result<Block<'p>> {
    let mut commands = String::new();
    let mut rest = page;
    for line in page.split_inclusive('\n') {
        let is_first = commands.is_empty() && line.trim() == first;
        let goes_on = !commands.is_empty() && !line.trim().is_empty() && !line.starts_with("```");
        if is_first || goes_on {
            commands.push_str(line);
        } else if !commands.is_empty() {
            break;
        }
        rest = rest.get(line.len()..).unwrap_or_default();
    }
    (!commands.is_empty()).then_some(()).with_context(|| format!("there is no block `{first}`"))?;
    let next = rest.trim_start_matches("```").trim_start().strip_prefix("```");
    let next = next.and_then(|next| next.split_once("\n```")?.0.split_once('\n'));
    let printed = next.filter(|(language, _)| *language == "text").map(|(_, text)| text);
    let yaml = next.filter(|(language, _)| *language == "yaml").map(|(_, text)| text);
    Ok(Block { commands, printed, yaml })
}

/// The calls of `sallyport` in a page: lines of blocks of commands, and code within a line.
pub(crate) fn calls(page: &str) -> Vec<String> {
    let joined = page.replace("\\\n", " ");
    let (mut calls, mut language) = (Vec::new(), None);
    for line in joined.lines() {
        match (line.strip_prefix("```"), language) {
            (Some(opened), None) => language = Some(opened),
            (Some(_), Some(_)) => language = None,
            (None, Some("sh")) => calls.push(line.trim()),
            (None, Some(_)) => {}
            (None, None) if line.starts_with("    ") => calls.push(line.trim()),
            // Every second piece between backticks is code.
            (None, None) => calls.extend(line.split('`').skip(1).step_by(2)),
        }
    }
    calls.into_iter().filter(|call| call.starts_with("sallyport ")).map(str::to_owned).collect()
}
