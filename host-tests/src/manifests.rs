//! Counts of the Kubernetes manifests of a folder that the built filters load, pass over and refuse, by kind.
//!
//! Each document is given to the filter whose kind it is, as the one resource of a configuration that needs nothing else.
//! Lists are opened first, so that each of their items is counted by itself.

mod document;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::filter;
use crate::wasm_host::Vm;
pub use document::{Document, read_folder};

/// The kinds that `egress-allowlist` reads. Everything else is given to `identity-authz`, which names what it passes over.
const EGRESS_KINDS: [&str; 3] = ["ServiceEntry", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"];

/// Counts of the documents of a folder, by outcome.
#[derive(Debug, Default)]
pub struct Tally {
    kinds: BTreeMap<String, Counts>,
    /// The number of documents that were refused for a reason, with the file of the first, by kind and reason.
    reasons: BTreeMap<(String, String), (usize, String)>,
    /// The files that have text that is no YAML, with the number of such documents.
    unreadable: BTreeMap<String, usize>,
}

/// The documents of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    loads: usize,
    passed_over: usize,
    refused: usize,
}

/// Outcome of giving one resource to a filter.
enum Outcome {
    Loads,
    PassedOver,
    /// The lines of the refusal.
    Refused(Vec<String>),
}

/// Gives every document of a folder to the built filters. Fails where the folder cannot be read or a filter not be run.
pub fn tally(folder: &Path) -> Result<Tally> {
    let mut tally = Tally::default();
    for Document { file, content } in read_folder(folder)? {
        match content {
            Some(resource) => tally.add(&file, &resource)?,
            None => *tally.unreadable.entry(file).or_default() += 1,
        }
    }
    Ok(tally)
}

impl Tally {
    fn add(&mut self, file: &str, resource: &Value) -> Result<()> {
        let kind = resource.get("kind").and_then(Value::as_str).unwrap_or("without a kind").to_owned();
        let outcome = outcome(&kind, resource)?;
        let counts = self.kinds.entry(kind.clone()).or_default();
        match outcome {
            Outcome::Loads => counts.loads += 1,
            Outcome::PassedOver => counts.passed_over += 1,
            Outcome::Refused(lines) => {
                counts.refused += 1;
                let reasons: BTreeSet<_> = lines.iter().map(|line| generalised(line)).collect();
                for reason in reasons {
                    let (count, _) = self.reasons.entry((kind.clone(), reason)).or_insert((0, file.to_owned()));
                    *count += 1;
                }
            }
        }
        Ok(())
    }
}

/// Loads one resource into the filter whose kind it is.
fn outcome(kind: &str, resource: &Value) -> Result<Outcome> {
    // A provider that a document names is taken for one that is set up.
    let providers: Vec<_> = resource.pointer("/spec/provider/name").into_iter().collect();
    let (filter, configuration) = match EGRESS_KINDS.contains(&kind) {
        true => (
            "egress-allowlist",
            json!({"defaultNamespace": "default", "ipAddresses": "allow", "resources": [resource]}),
        ),
        false => (
            "identity-authz",
            json!({
                "defaultNamespace": "default", "defaultAction": "DENY", "remoteAddress": "trusted",
                "customProviders": providers, "resources": [resource]
            }),
        ),
    };
    let mut vm = Vm::start(&filter::load(filter)?)?;
    Ok(match vm.configure(&serde_json::to_vec(&configuration)?)? {
        // The first line gives the number of errors.
        Err(refused) => Outcome::Refused(refused.log.into_iter().skip(1).map(|line| line.message).collect()),
        Ok(_) if vm.log().iter().any(|line| line.message.contains(": passed over ")) => Outcome::PassedOver,
        Ok(_) => Outcome::Loads,
    })
}

/// A line of a refusal without what differs from one document to the next: its name, the places in lists, and quoted values.
fn generalised(line: &str) -> String {
    // What is before the path is the name of the resource.
    let line = line.split_once("resources[0].").map_or(line, |(_, problem)| problem);
    let mut text = String::new();
    for (at, part) in line.split('`').enumerate() {
        match at % 2 {
            0 => text.extend(
                part.split_inclusive('[').map(|piece| piece.trim_start_matches(|first: char| first.is_ascii_digit())),
            ),
            _ => text.push_str("`…`"),
        }
    }
    text
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.kinds.keys().map(String::len).max().unwrap_or_default().max("kind".len());
        writeln!(f, "{:widest$}  {:>6}  {:>11}  {:>8}", "kind", "loads", "passed over", "refused")?;
        for (kind, Counts { loads, passed_over, refused }) in &self.kinds {
            writeln!(f, "{kind:widest$}  {loads:>6}  {passed_over:>11}  {refused:>8}")?;
        }
        if !self.reasons.is_empty() {
            writeln!(f, "\nrefused, by reason, with the first file:")?;
        }
        for ((kind, reason), (count, file)) in &self.reasons {
            writeln!(f, "{count:>6}  {kind}: {reason} ({file})")?;
        }
        if !self.unreadable.is_empty() {
            writeln!(f, "\nno YAML, such as templates:")?;
        }
        for (file, count) in &self.unreadable {
            writeln!(f, "{count:>6}  {file}")?;
        }
        Ok(())
    }
}
