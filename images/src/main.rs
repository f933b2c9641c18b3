//! `images`: writes an OCI image layout for each filter, and prints the digest to pin.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use images::{Labels, write_layout};

/// The filters, each with the question that it answers.
const FILTERS: [(&str, &str); 3] = [
    ("identity-authz", "May this workload, proven by its certificate, do this here?"),
    ("baseline-deny", "Is this an obviously hostile client?"),
    ("egress-allowlist", "May this workload reach that outside host?"),
];

/// Writes OCI image layouts of the filters.
#[derive(Parser)]
struct Arguments {
    /// The folder with the modules.
    #[arg(long, default_value = "dist")]
    modules: PathBuf,
    /// The folder for the layouts, one below it for each filter.
    #[arg(long, default_value = "dist/images")]
    output: PathBuf,
    /// The label `source`: the address of the source code.
    #[arg(long)]
    source: String,
    /// The label `revision`: the commit that the modules were built from.
    #[arg(long)]
    revision: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    for (filter, question) in FILTERS {
        let path = arguments.modules.join(format!("{filter}.wasm"));
        let module =
            fs::read(&path).with_context(|| format!("reading {}, which `make wasm` builds", path.display()))?;
        let labels = Labels {
            title: filter.to_owned(),
            description: question.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: arguments.revision.clone(),
            source: arguments.source.clone(),
            licenses: env!("CARGO_PKG_LICENSE").to_owned(),
        };
        let manifest = write_layout(&arguments.output.join(filter), &module, &labels)?;
        println!("{filter}@{}", manifest.digest);
    }
    Ok(())
}
