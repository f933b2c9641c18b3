//! The licences of third parties, with their texts.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::packages::Package;

/// Beginnings of the names of files with a licence or a notice, in capitals.
const BEGINNINGS: [&str; 6] = ["COPYING", "COPYRIGHT", "LICENCE", "LICENSE", "NOTICE", "UNLICENSE"];

/// Returns one text with the licences of the packages of others: who has which, those whose sources carry no text, and each
/// text once.
///
/// # Errors
///
/// The folder of a package cannot be read.
pub fn third_party_licences(packages: &[Package]) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut table = String::new();
    let mut without = String::new();
    for package in packages.iter().filter(|package| package.checksum.is_some()) {
        let name = format!("{} {}", package.id.0, package.id.1);
        writeln!(table, "{name}: {}", package.licence)?;
        let found = licence_texts(&package.folder).with_context(|| format!("the licences of {name}"))?;
        if found.is_empty() {
            writeln!(without, "{name}: {}", package.licence)?;
        }
        for (file, text) in found {
            texts.entry(text).or_default().push(format!("{name}, {file}"));
        }
    }
    let mut ordered: Vec<(Vec<String>, String)> = texts.into_iter().map(|(text, owners)| (owners, text)).collect();
    ordered.sort();
    let mut whole = format!("Packages of others in this release, with their licences\n\n{table}");
    if !without.is_empty() {
        write!(whole, "\nPackages whose sources carry no text of their licence\n\n{without}")?;
    }
    whole.push_str(
        "\nThe standard library of Rust is under MIT OR Apache-2.0. The playground's editor, Ace, has its licence beside it, \
         in ace/LICENCE.\n",
    );
    for (owners, text) in ordered {
        write!(whole, "\n{}\n{}\n\n{}\n", "=".repeat(80), owners.join("\n"), text.trim_end())?;
    }
    Ok(whole)
}

/// Returns the files of a folder that have a licence or a notice, by their names.
fn licence_texts(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_licence = BEGINNINGS.iter().any(|beginning| name.to_uppercase().starts_with(beginning));
        if is_licence && entry.path().is_file() && !name.ends_with(".rs") {
            let bytes = fs::read(entry.path())?;
            found.insert(name, String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
        }
    }
    Ok(found)
}
