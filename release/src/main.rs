//! `release`: writes what a release says of its contents.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use release::{newest_section, packages, products, repository, sbom, third_party_licences};

/// Writes the bill of materials, the licences of third parties and the changes of a release.
#[derive(Parser)]
struct Arguments {
    /// The folder for the three files.
    #[arg(long)]
    output: PathBuf,
    /// The commit of the release.
    #[arg(long)]
    commit: String,
    /// True if the playground is in the release.
    #[arg(long)]
    playground: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let read = |file: &str| fs::read_to_string(repository().join(file)).with_context(|| format!("reading {file}"));
    let write = |name: &str, text: String| {
        let path = arguments.output.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    let products = products(arguments.playground);
    let packages = packages(&products)?;
    let editor = arguments.playground.then(|| read("tools/ace-requirements.txt")).transpose()?;
    write("sallyport.cdx.json", sbom(&products, &packages, &arguments.commit, editor.as_deref())?)?;
    write("THIRD-PARTY-LICENSES.txt", third_party_licences(&packages)?)?;
    write("CHANGES.md", newest_section(&read("CHANGELOG.md")?, env!("CARGO_PKG_VERSION"))?)
}
