//! The packages inside of a release, from what Cargo resolves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Target of the filters and the playground.
const WASM: &str = "wasm32-unknown-unknown";

/// Name of the package that carries the playground's editor, in the file that pins it.
pub const EDITOR: &str = "django-ace";

/// Part of a release that Cargo builds.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Name of its package in the workspace.
    pub package: &'static str,
    /// Target that it is built for; `None` is this machine.
    target: Option<&'static str>,
}

/// Package that is inside of a release.
#[derive(Clone, Debug)]
pub struct Package {
    /// Name and version.
    pub id: (String, String),
    /// SPDX expression.
    pub licence: String,
    /// One line on what it is.
    pub description: String,
    /// SHA-256 in the lock file. The workspace's own packages have none.
    pub checksum: Option<String>,
    /// Folder of its sources.
    pub folder: PathBuf,
    /// Packages inside of the release that it calls.
    pub depends_on: BTreeSet<(String, String)>,
}

/// Returns the parts of a release that Cargo builds.
#[must_use]
pub fn products(playground: bool) -> Vec<Product> {
    let filters = ["identity-authz", "baseline-deny", "egress-allowlist"];
    let mut products: Vec<Product> =
        filters.map(|package| Product { package, target: Some(WASM) }).into_iter().collect();
    products.push(Product { package: "sallyport-cli", target: None });
    products.extend(playground.then_some(Product { package: "sallyport-playground", target: Some(WASM) }));
    products
}

/// Returns the root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(repository()).output();
    let output = output.with_context(|| format!("running {program}"))?;
    let call = format!("{program} {}", arguments.join(" "));
    ensure!(output.status.success(), "{call} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).with_context(|| format!("{call} printed no UTF-8"))
}

/// Returns the packages that are linked into products, sorted by name and version. What only runs at compile time, build
/// scripts and procedural macros, is not in a release.
///
/// # Errors
///
/// The lock file is not up to date, or Cargo says something unknown.
pub fn packages(products: &[Product]) -> Result<Vec<Package>> {
    let compiler = run("rustc", &["--version", "--verbose"])?;
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let mut linked = BTreeSet::new();
    for product in products {
        let target = product.target.unwrap_or(host);
        let edges = "normal,no-proc-macro";
        let arguments = ["tree", "--locked", "--edges", edges, "--prefix", "none", "--format", "{p}"];
        let tree = run("cargo", &[&arguments[..], &["--target", target, "--package", product.package]].concat())?;
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default();
            let version = words.next().and_then(|version| version.strip_prefix('v'));
            linked.insert((name.to_owned(), version.with_context(|| format!("no version in: {line}"))?.to_owned()));
        }
    }
    let arguments = ["metadata", "--locked", "--format-version", "1", "--filter-platform", WASM];
    let metadata = run("cargo", &[&arguments[..], &["--filter-platform", host]].concat())?;
    let lock = fs::read_to_string(repository().join("Cargo.lock")).context("reading Cargo.lock")?;
    let mut found = read_metadata(&serde_json::from_str(&metadata)?, &checksums(&lock))?;
    found.retain(|package| linked.contains(&package.id));
    for package in &mut found {
        package.depends_on.retain(|id| linked.contains(id));
    }
    found.sort_by(|first, second| first.id.cmp(&second.id));
    let missing: Vec<_> = linked.iter().filter(|id| !found.iter().any(|package| package.id == **id)).collect();
    ensure!(missing.is_empty(), "cargo metadata does not have {missing:?}");
    Ok(found)
}

/// Returns the checksums of a lock file by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |entry: &str, key: &str| {
        let start = format!("{key} = \"");
        entry.lines().find_map(|line| Some(line.strip_prefix(&start)?.strip_suffix('"')?.to_owned()))
    };
    let entries = lock.split("[[package]]");
    entries
        .filter_map(|entry| Some(((value(entry, "name")?, value(entry, "version")?), value(entry, "checksum")?)))
        .collect()
}

fn read_metadata(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> Result<Vec<Package>> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |value: &Value, path: &str| {
        let found = value.pointer(path).and_then(Value::as_array).cloned();
        found.with_context(|| format!("cargo metadata has no list {path}"))
    };
    let packages = list(metadata, "/packages")?;
    let ids: BTreeMap<String, (String, String)> = packages
        .iter()
        .map(|package| (text(package, "id"), (text(package, "name"), text(package, "version"))))
        .collect();
    let mut depends_on: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for node in list(metadata, "/resolve/nodes")? {
        let calls = depends_on.entry(text(&node, "id")).or_default();
        for dependency in list(&node, "/deps")? {
            if list(&dependency, "/dep_kinds")?.iter().any(|kind| kind.get("kind").is_none_or(Value::is_null)) {
                calls.extend(ids.get(&text(&dependency, "pkg")).cloned());
            }
        }
    }
    let mut read = |package: &Value| {
        let id = (text(package, "name"), text(package, "version"));
        let checksum = checksums.get(&id).cloned();
        let (name, version) = &id;
        ensure!(
            checksum.is_some() || package.get("source").is_none_or(Value::is_null),
            "{name} {version} comes from elsewhere and has no checksum in Cargo.lock"
        );
        Ok(Package {
            // Crates of old write / for OR, which is no SPDX expression.
            licence: text(package, "license").replace('/', " OR "),
            description: text(package, "description").split_whitespace().collect::<Vec<_>>().join(" "),
            checksum,
            folder: Path::new(&text(package, "manifest_path")).parent().unwrap_or(Path::new("")).to_owned(),
            depends_on: depends_on.remove(&text(package, "id")).unwrap_or_default(),
            id,
        })
    };
    packages.iter().map(&mut read).collect()
}
