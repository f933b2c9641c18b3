//! Reduction of a disagreement to a minimal one.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::envoy_pair::{Answers, EnvoyPair};
use super::policy_set::PolicySet;
use super::probe::Probe;
use super::translate::Protocol;

/// Policies and a request that the two filters answer differently.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The kind of filters: HTTP or network filters.
    pub protocol: Protocol,
    /// The policies.
    pub set: PolicySet,
    /// The request.
    pub probe: Probe,
    /// The answers.
    pub answers: Answers,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Istio's translation: {}\nSallyport: {}", self.answers.istio, self.answers.sallyport)?;
        writeln!(f, "trust domains: {:?}", self.set.mesh.trust_domains)?;
        for policy in &self.set.policies {
            writeln!(f, "policy: {} {}", json!(policy.get("metadata")), json!(policy.get("spec")))?;
        }
        match self.protocol {
            Protocol::Http => write!(f, "request: {}", json!(self.probe)),
            Protocol::Tcp => write!(f, "connection: {}", json!(self.probe.caller)),
        }
    }
}

/// Reduces the policies and the request for as long as the filters still disagree. Each round starts one Envoy with all
/// candidates.
pub fn shrink(
    mut found: Disagreement,
    binary: &std::path::Path,
    folder: &dyn Fn() -> Result<PathBuf>,
) -> Result<Disagreement> {
    loop {
        let mut candidates: Vec<(PolicySet, Probe)> =
            smaller_sets(&found.set).into_iter().map(|set| (set, found.probe.clone())).collect();
        candidates.extend(plainer_probes(&found.probe).into_iter().map(|probe| (found.set.clone(), probe)));
        let sets: Vec<_> = candidates.iter().map(|(set, _)| set.clone()).collect();
        let mut pair = EnvoyPair::start(found.protocol, &sets, binary.to_owned(), folder()?)?;
        let mut smaller = None;
        for (number, (set, probe)) in candidates.into_iter().enumerate() {
            let answers = pair.compare_alone(number, &probe)?;
            if !answers.agree_on(&probe) {
                smaller = Some(Disagreement { set, probe, answers, ..found.clone() });
                break;
            }
        }
        match smaller {
            Some(smaller) => found = smaller,
            None => return Ok(found),
        }
    }
}

/// Returns every set that is `set` without one of its parts and that both filters still accept.
fn smaller_sets(set: &PolicySet) -> Vec<PolicySet> {
    let mut sets: Vec<_> = without_part(&json!(set.policies), "policies")
        .into_iter()
        .filter_map(|policies| Some(PolicySet { policies: policies.as_array()?.clone(), ..set.clone() }))
        .collect();
    if let [own, _, ..] = set.mesh.trust_domains.as_slice() {
        let mut smaller = set.clone();
        smaller.mesh.trust_domains = vec![own.clone()];
        sets.push(smaller);
    }
    sets
}

/// Returns `value`, which is the value of `key`, without one part, the largest parts first.
fn without_part(value: &Value, key: &str) -> Vec<Value> {
    let mut found = Vec::new();
    match value {
        Value::Array(items) => {
            if items.len() > 1 {
                found.extend((0..items.len()).map(|removed| {
                    items
                        .iter()
                        .enumerate()
                        .filter(|(index, _)| *index != removed)
                        .map(|(_, item)| item.clone())
                        .collect()
                }));
            }
            for (index, item) in items.iter().enumerate() {
                found.extend(without_part(item, key).into_iter().map(|smaller| {
                    let mut items = items.clone();
                    items.splice(index..=index, [smaller]);
                    Value::Array(items)
                }));
            }
        }
        Value::Object(entries) => {
            let is_optional = |name: &str| match name {
                "from" | "to" | "when" | "annotations" => true,
                "values" => entries.contains_key("notValues"),
                "notValues" => entries.contains_key("values"),
                _ => matches!(key, "source" | "operation") && entries.len() > 1,
            };
            for (name, entry) in entries {
                let mut others = entries.clone();
                others.remove(name);
                if is_optional(name) {
                    found.push(Value::Object(others.clone()));
                }
                found.extend(without_part(entry, name).into_iter().map(|smaller| {
                    let mut entries = others.clone();
                    entries.insert(name.clone(), smaller);
                    Value::Object(entries)
                }));
            }
        }
        _ => {}
    }
    found
}

/// Returns every request that is `probe` with one part set to its default.
fn plainer_probes(probe: &Probe) -> Vec<Probe> {
    let plain = Probe::default();
    let mut found = Vec::new();
    let mut with = |change: &dyn Fn(&mut Probe)| {
        let mut plainer = probe.clone();
        change(&mut plainer);
        if plainer != *probe {
            found.push(plainer);
        }
    };
    with(&|probe| probe.token = None);
    with(&|probe| probe.headers.clear());
    for index in 0..probe.headers.len() {
        with(&|probe| drop(probe.headers.remove(index)));
    }
    for name in probe.token.iter().flat_map(|token| token.claims.keys()) {
        with(&|probe| probe.token.iter_mut().for_each(|token| drop(token.claims.remove(name))));
    }
    with(&|probe| {
        probe.caller.peer = plain.caller.peer.clone();
        probe.caller.server_name = None;
    });
    with(&|probe| probe.caller.server_name = None);
    with(&|probe| probe.caller.direct_address = plain.caller.direct_address);
    with(&|probe| {
        probe.caller.source.clone_from(&plain.caller.source);
        probe.caller.destination.0.clone_from(&plain.caller.destination.0);
    });
    with(&|probe| probe.caller.destination.1 = plain.caller.destination.1);
    with(&|probe| probe.method.clone_from(&plain.method));
    with(&|probe| probe.host.clone_from(&plain.host));
    with(&|probe| probe.path.clone_from(&plain.path));
    found
}
