//! Descriptions of the contents of a release, held to the lock file and the sources of the packages.

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use release::{Package, newest_section, packages, products, repository, sbom, third_party_licences};
use serde_json::Value;

const COMMIT: &str = "0123456789ab";

fn read(file: &str) -> Result<String> {
    fs::read_to_string(repository().join(file)).with_context(|| format!("reading {file}"))
}

/// The packages of everything, and of everything but the playground: Cargo takes a second to list them.
static PACKAGES: LazyLock<[Result<Vec<Package>>; 2]> =
    LazyLock::new(|| [true, false].map(|playground| packages(&products(playground))));

fn cached_packages(playground: bool) -> Result<&'static Vec<Package>> {
    let [all, without] = &*PACKAGES;
    (if playground { all } else { without }).as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// The bill of materials of everything, or of everything but the playground.
fn document(playground: bool) -> Result<(String, Value)> {
    let editor = playground.then(|| read("tools/ace-requirements.txt")).transpose()?;
    let text = sbom(&products(playground), cached_packages(playground)?, COMMIT, editor.as_deref())?;
    let value = serde_json::from_str(&text)?;
    Ok((text, value))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("no list {key}"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("no text {key} in {value}"))
}

fn names(document: &Value) -> Result<Vec<&str>> {
    list(document, "components")?.iter().map(|component| text(component, "name")).collect()
}

#[test]
fn the_document_has_the_fields_of_cyclonedx_and_no_time() -> Result<()> {
    let (written, document) = document(true)?;
    ensure!(document["bomFormat"] == "CycloneDX" && document["specVersion"] == "1.5" && document["version"] == 1);
    ensure!(document["metadata"]["component"]["name"] == "sallyport");
    ensure!(text(&document["metadata"]["component"], "version")?.ends_with("+0123456789ab"));
    ensure!(document["metadata"].get("timestamp").is_none());
    let serial = text(&document, "serialNumber")?.strip_prefix("urn:uuid:").context("no UUID")?;
    let lengths: Vec<usize> = serial.split('-').map(str::len).collect();
    ensure!(lengths == [8, 4, 4, 4, 12], "{serial}");
    ensure!(serial.split('-').nth(2).is_some_and(|part| part.starts_with('8')), "{serial} is not of version 8");
    let paths = [env!("CARGO_MANIFEST_DIR"), "/registry/", "file://"];
    ensure!(!paths.iter().any(|path| written.contains(path)), "a path of this machine is in the document");
    Ok(())
}

#[test]
fn equal_contents_give_equal_bytes_and_others_another_serial_number() -> Result<()> {
    let (first, with_playground) = document(true)?;
    let products = products(true);
    let second = sbom(&products, &packages(&products)?, COMMIT, Some(&read("tools/ace-requirements.txt")?))?;
    ensure!(first == second);
    let (_, without) = document(false)?;
    ensure!(without["serialNumber"] != with_playground["serialNumber"]);
    Ok(())
}

#[test]
fn each_package_is_there_once_with_licence_and_the_checksum_of_the_lock_file() -> Result<()> {
    let (_, document) = document(true)?;
    let lock = read("Cargo.lock")?;
    let mut references = BTreeSet::new();
    for component in list(&document, "components")? {
        let (name, version) = (text(component, "name")?, text(component, "version")?);
        ensure!(references.insert(text(component, "bom-ref")?), "{name} {version} is there twice");
        let licences = list(component, "licenses")?;
        let expression = text(licences.first().context("no licence")?, "expression")?;
        ensure!(!expression.is_empty() && !expression.contains('/'), "{name} {version}: {expression}");
        if name == "django-ace" {
            let hash = text(&component["hashes"][0], "content")?;
            ensure!(
                read("tools/ace-requirements.txt")?
                    .contains(&format!("{name}=={version} \\\n    --hash=sha256:{hash}"))
            );
            continue;
        }
        let entry = format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        let (_, rest) = lock.split_once(&entry).with_context(|| format!("Cargo.lock lacks {name} {version}"))?;
        let checksum = rest.split("\n\n").next().and_then(|rest| rest.split_once("checksum = \""));
        let checksum = checksum.and_then(|(_, rest)| rest.split('"').next());
        let written = component["hashes"][0]["content"].as_str();
        ensure!(written == checksum, "{name} {version}: {written:?}, in Cargo.lock {checksum:?}");
        let purl = checksum.map(|_| format!("pkg:cargo/{name}@{version}"));
        ensure!(component["purl"].as_str() == purl.as_deref(), "{component}");
    }
    Ok(())
}

#[test]
fn what_is_linked_is_there_and_what_only_builds_or_tests_is_not() -> Result<()> {
    let (_, with_playground) = document(true)?;
    let (_, without) = document(false)?;
    let (all, fewer) = (names(&with_playground)?, names(&without)?);
    // A package, whether it is in a release, and whether it is in one without the playground.
    let rows = [
        ("identity-authz", true, true),
        ("baseline-deny", true, true),
        ("egress-allowlist", true, true),
        ("sallyport-cli", true, true),
        ("sallyport-policy", true, true),
        ("serde_json", true, true),
        ("clap", true, true),
        ("sallyport-playground", true, false),
        ("wasm-bindgen", true, false),
        ("django-ace", true, false),
        ("serde_derive", false, false),
        ("syn", false, false),
        ("wasmtime", false, false),
        ("testbed", false, false),
        ("snapbox", false, false),
    ];
    for (name, in_all, in_fewer) in rows {
        ensure!(all.contains(&name) == in_all, "{name}, with the playground");
        ensure!(fewer.contains(&name) == in_fewer, "{name}, without the playground");
    }
    Ok(())
}

#[test]
fn each_component_is_reached_from_the_release() -> Result<()> {
    let (_, document) = document(true)?;
    let dependencies = list(&document, "dependencies")?;
    let mut reached = BTreeSet::new();
    let mut next = vec!["sallyport"];
    while let Some(reference) = next.pop() {
        if reached.insert(reference) {
            let entry = dependencies.iter().find(|entry| entry["ref"] == reference);
            let entry = entry.with_context(|| format!("no dependencies of {reference}"))?;
            next.extend(list(entry, "dependsOn")?.iter().filter_map(Value::as_str));
        }
    }
    for component in list(&document, "components")? {
        ensure!(reached.contains(text(component, "bom-ref")?), "nothing depends on {component}");
    }
    ensure!(reached.len() == dependencies.len());
    Ok(())
}

#[test]
fn licences_of_all_packages_of_others_are_listed_in_order_with_their_texts() -> Result<()> {
    let packages = cached_packages(true)?;
    let written = third_party_licences(packages)?;
    let mut before = "";
    for package in packages.iter().filter(|package| package.checksum.is_some()) {
        let name = format!("{} {}", package.id.0, package.id.1);
        ensure!(written.matches(&format!("\n{name}: {}\n", package.licence)).count() >= 1, "{name} is not listed");
        ensure!(before <= package.id.0.as_str(), "{name} stands after {before}");
        before = &package.id.0;
        let owns_text = written.contains(&format!("\n{name}, "));
        let (_, without) = written.split_once("carry no text of their licence\n").unwrap_or(("", ""));
        let is_without = without.split("\n\nThe standard").next().unwrap_or("").contains(&format!("\n{name}: "));
        ensure!(owns_text != is_without, "{name} has either a text or a line among those without");
    }
    let mit = packages.iter().find(|package| package.id.0 == "zmij").context("no zmij")?;
    let licence = fs::read_to_string(mit.folder.join("LICENSE-MIT"))?;
    ensure!(written.contains(licence.trim_end()), "the text of zmij is not there");
    ensure!(written.matches("Version 2.0, January 2004\n").count() < packages.len() / 2, "equal texts are repeated");
    Ok(())
}

#[test]
fn the_changes_are_the_newest_section_and_of_this_version() -> Result<()> {
    let changelog = "# Changelog\n\nHead.\n\n## [1.1.0]\n\n- new\n\n### Changed\n\n- ★ other\n\n## [1.0.0]\n\n- old\n";
    ensure!(newest_section(changelog, "1.1.0")? == "## [1.1.0]\n\n- new\n\n### Changed\n\n- ★ other\n");
    let refused = newest_section(changelog, "1.2.0").err().context("taken")?.to_string();
    ensure!(
        refused
            == "the newest section of the changelog is `## [1.1.0]`, and Cargo.toml has version 1.2.0: add a section"
    );
    ensure!(newest_section("# Changelog\n", "1.2.0").is_err());
    newest_section(&read("CHANGELOG.md")?, env!("CARGO_PKG_VERSION")).map(drop)
}
