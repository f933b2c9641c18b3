//! The blocks of commands of the pages that `host-tests/page-commands.yaml` gives to a folder here, run as the pages have
//! them, and the flags of `sallyport` that pages name.

mod folder;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::folder::Folder;

/// A row of `host-tests/page-commands.yaml` with `run_in`.
struct Row {
    page: String,
    block: String,
    folder: String,
    exits: i64,
    file: Option<String>,
    before: Option<String>,
    endless: Option<String>,
}

/// The rows that are run here, in their order.
fn rows() -> Result<Vec<Row>> {
    let text = fs::read_to_string(testbed::root().join("host-tests/page-commands.yaml"))?;
    let rows = testbed::read_yaml(&text)?;
    let mut found = Vec::new();
    for row in rows.as_array().context("no rows")? {
        let key = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(folder) = key("run_in") {
            found.push(Row {
                page: key("page").context("no page")?,
                block: key("block").context("no block")?,
                folder,
                exits: row.get("exits").and_then(Value::as_i64).unwrap_or_default(),
                file: key("file"),
                before: key("before"),
                endless: key("endless"),
            });
        }
    }
    Ok(found)
}

#[test]
fn the_commands_of_the_pages_do_what_the_pages_say() -> Result<()> {
    let mut folders = BTreeMap::new();
    let rows = rows()?;
    for row in &rows {
        let text = fs::read_to_string(testbed::root().join(&row.page))?;
        let block = page::block(&text, &row.block).with_context(|| row.page.clone())?;
        let folder = match folders.entry((&row.page, &row.folder)) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Folder::new(&row.folder)?),
        };
        if let Some(file) = &row.file {
            folder.write(file, block.yaml.context("no YAML behind the block")?)?;
        }
        if let Some(before) = &row.before {
            folder.run(before, None)?;
        }
        let (status, printed) = folder.run(&block.commands, row.endless.as_deref())?;
        ensure!(i64::from(status) == row.exits, "{}: `{}` exits with {status}:\n{printed}", row.page, row.block);
        let expected = block.printed.unwrap_or_default();
        ensure!(printed.contains(expected), "{}: `{}` prints\n{printed}\nand not\n{expected}", row.page, row.block);
    }
    ensure!(rows.len() >= 10, "{} blocks", rows.len());
    Ok(())
}

/// The flags that a verb has.
fn flags_of(verb: &str) -> Result<BTreeSet<String>> {
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport")).args([verb, "--help"]).output()?;
    ensure!(output.status.success(), "there is no `sallyport {verb}`");
    Ok(flags(&String::from_utf8(output.stdout)?).collect())
}

/// The words of a text that are long flags.
fn flags(text: &str) -> impl Iterator<Item = String> {
    let is_end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    text.split(is_end).filter(|word| word.len() > 2 && word.starts_with("--")).map(str::to_owned)
}

#[test]
fn every_flag_that_a_page_gives_sallyport_is_one() -> Result<()> {
    let mut known = BTreeMap::new();
    let mut checked = 0;
    for (name, text) in page::all()? {
        for call in page::calls(&text) {
            // Calls of the command itself, such as `sallyport --version`, have no verb.
            let Some(verb) = call.split_whitespace().nth(1).filter(|verb| verb.starts_with(char::is_alphabetic)) else {
                continue;
            };
            if !known.contains_key(verb) {
                known.insert(verb.to_owned(), flags_of(verb).with_context(|| format!("{name}: {call}"))?);
            }
            let known = known.get(verb).context("no flags")?;
            for flag in flags(&call) {
                ensure!(known.contains(&flag), "{name}: `sallyport {verb}` has no {flag}: {call}");
                checked += 1;
            }
        }
    }
    ensure!(checked > 30, "{checked} flags");
    Ok(())
}
