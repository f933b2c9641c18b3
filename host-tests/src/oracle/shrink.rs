//! Makes a disagreement as small as it gets.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::policy_set::PolicySet;
use super::question::Question;
use super::stage::{Answers, Stage};
use super::translate::Protocol;

/// A request to which the two filters answer differently.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The filters that were asked.
    pub protocol: Protocol,
    /// The policies.
    pub set: PolicySet,
    /// The request.
    pub question: Question,
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
            Protocol::Http => write!(f, "request: {}", json!(self.question)),
            Protocol::Tcp => write!(f, "connection: {}", json!(self.question.caller)),
        }
    }
}

/// Tries smaller policies and plainer requests as long as one of them still disagrees. Each round is one Envoy that has
/// all of the candidates.
pub fn shrink(
    mut found: Disagreement,
    binary: &std::path::Path,
    folder: &dyn Fn() -> Result<PathBuf>,
) -> Result<Disagreement> {
    loop {
        let mut candidates: Vec<(PolicySet, Question)> =
            smaller_sets(&found.set).into_iter().map(|set| (set, found.question.clone())).collect();
        candidates.extend(plainer(&found.question).into_iter().map(|question| (found.set.clone(), question)));
        let sets: Vec<_> = candidates.iter().map(|(set, _)| set.clone()).collect();
        let mut stage = Stage::start(found.protocol, &sets, binary.to_owned(), folder()?)?;
        let mut smaller = None;
        for (number, (set, question)) in candidates.into_iter().enumerate() {
            let answers = stage.compare_alone(number, &question)?;
            if !answers.agree_on(&question) {
                smaller = Some(Disagreement { set, question, answers, ..found.clone() });
                break;
            }
        }
        match smaller {
            Some(smaller) => found = smaller,
            None => return Ok(found),
        }
    }
}

/// Every set that is `set` without one of its parts and is still one that both filters take.
fn smaller_sets(set: &PolicySet) -> Vec<PolicySet> {
    let mut sets: Vec<_> = without_one(&json!(set.policies), "policies")
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

/// `value`, which stands under `key`, without one part of it, the largest parts first.
fn without_one(value: &Value, key: &str) -> Vec<Value> {
    let mut found = Vec::new();
    match value {
        Value::Array(items) => {
            if items.len() > 1 {
                found.extend((0..items.len()).map(|gone| {
                    items.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, item)| item.clone()).collect()
                }));
            }
            for (at, item) in items.iter().enumerate() {
                found.extend(without_one(item, key).into_iter().map(|smaller| {
                    let mut items = items.clone();
                    items.splice(at..=at, [smaller]);
                    Value::Array(items)
                }));
            }
        }
        Value::Object(entries) => {
            let can_go = |name: &str| match name {
                "from" | "to" | "when" | "annotations" => true,
                "values" => entries.contains_key("notValues"),
                "notValues" => entries.contains_key("values"),
                _ => matches!(key, "source" | "operation") && entries.len() > 1,
            };
            for (name, entry) in entries {
                let mut others = entries.clone();
                others.remove(name);
                if can_go(name) {
                    found.push(Value::Object(others.clone()));
                }
                found.extend(without_one(entry, name).into_iter().map(|smaller| {
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

/// Every request that is `question` with one part as it is by default.
fn plainer(question: &Question) -> Vec<Question> {
    let plain = Question::default();
    let mut found = Vec::new();
    let mut with = |change: &dyn Fn(&mut Question)| {
        let mut plainer = question.clone();
        change(&mut plainer);
        if plainer != *question {
            found.push(plainer);
        }
    };
    with(&|question| question.token = None);
    with(&|question| question.headers.clear());
    for at in 0..question.headers.len() {
        with(&|question| drop(question.headers.remove(at)));
    }
    for name in question.token.iter().flat_map(|token| token.claims.keys()) {
        with(&|question| question.token.iter_mut().for_each(|token| drop(token.claims.remove(name))));
    }
    with(&|question| {
        question.caller.peer = plain.caller.peer.clone();
        question.caller.server_name = None;
    });
    with(&|question| question.caller.server_name = None);
    with(&|question| question.caller.direct = plain.caller.direct);
    with(&|question| {
        question.caller.source.clone_from(&plain.caller.source);
        question.caller.destination.0.clone_from(&plain.caller.destination.0);
    });
    with(&|question| question.caller.destination.1 = plain.caller.destination.1);
    with(&|question| question.method.clone_from(&plain.method));
    with(&|question| question.host.clone_from(&plain.host));
    with(&|question| question.path.clone_from(&plain.path));
    found
}
