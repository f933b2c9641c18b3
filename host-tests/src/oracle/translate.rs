//! From AuthorizationPolicy to Envoy's own RBAC, as Istio 1.31 does it (`pilot/pkg/security/authz`).
//!
//! It is written from Istio's rules alone and shares nothing with the crate that it is held against.

mod attribute;
mod cidr;
mod permission;
mod principal;
mod rule;
mod text;
mod trust_domain;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

pub use trust_domain::Mesh;

/// Which of Envoy's two filters the translation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `envoy.filters.http.rbac`.
    Http,
    /// `envoy.filters.network.rbac`: what only HTTP has narrows an ALLOW and widens everything else.
    Tcp,
}

/// The rules of one action: those that are enforced, and those of policies in dry run. Neither is there without a
/// policy of its kind; enforced rules without policies match nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// `rules`.
    pub enforced: Option<Value>,
    /// `shadow_rules`.
    pub shadow: Option<Value>,
}

/// What Istio makes of some policies, by action, in the order in which its filters decide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// Marks requests and decides nothing.
    pub audit: Rules,
    /// A request that matches is turned away.
    pub deny: Rules,
    /// Where there are enforced rules, a request that matches none is turned away.
    pub allow: Rules,
}

impl Translation {
    /// The configurations of the filters that Istio writes, in their order.
    pub fn filters(&self) -> Vec<Value> {
        let written = [("", &self.audit), ("istio_dry_run_deny_", &self.deny), ("istio_dry_run_allow_", &self.allow)];
        written.into_iter().filter_map(|(prefix, rules)| rules.filter(prefix)).collect()
    }
}

impl Rules {
    fn filter(&self, prefix: &str) -> Option<Value> {
        let mut filter = Map::new();
        if let Some(rules) = &self.enforced {
            filter.insert("rules".to_owned(), rules.clone());
        }
        if let Some(rules) = &self.shadow {
            filter.insert("shadow_rules".to_owned(), rules.clone());
            filter.insert("shadow_rules_stat_prefix".to_owned(), json!(prefix));
        }
        (!filter.is_empty()).then_some(Value::Object(filter))
    }
}

/// Translates policies, all of which apply to the workload.
pub fn translate(policies: &[Value], mesh: &Mesh, protocol: Protocol) -> Result<Translation> {
    let mut translation = Translation::default();
    for policy in policies {
        let spec = policy.get("spec").context("a policy without spec")?;
        let (word, rules) = match spec.get("action").and_then(Value::as_str) {
            None | Some("ALLOW") => ("ALLOW", &mut translation.allow),
            Some("DENY") => ("DENY", &mut translation.deny),
            Some("AUDIT") => ("LOG", &mut translation.audit),
            Some(other) => bail!("the action {other}"),
        };
        let dry_run = policy.pointer("/metadata/annotations/istio.io~1dry-run").and_then(Value::as_str) == Some("true");
        let rules = if dry_run { &mut rules.shadow } else { &mut rules.enforced };
        let rules = rules.get_or_insert_with(|| json!({"action": word, "policies": {}}));
        let known = rules.get_mut("policies").and_then(Value::as_object_mut).context("just made")?;
        add_rules(known, policy, word, mesh, protocol)?;
    }
    Ok(translation)
}

fn add_rules(
    known: &mut Map<String, Value>,
    policy: &Value,
    action: &str,
    mesh: &Mesh,
    protocol: Protocol,
) -> Result<()> {
    let named = |pointer: &str| policy.pointer(pointer).and_then(Value::as_str).context("a policy without a name");
    let (namespace, name) = (named("/metadata/namespace")?, named("/metadata/name")?);
    let label = |number: usize| format!("ns[{namespace}]-policy[{name}]-rule[{number}]");
    let rules = policy.pointer("/spec/rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if rules.is_empty() {
        known.insert(
            label(0),
            json!({"permissions": [{"not_rule": {"any": true}}], "principals": [{"not_id": {"any": true}}]}),
        );
    }
    let reading = rule::Reading { widens: action != "ALLOW", namespace, mesh, protocol };
    for (number, rule) in rules.iter().enumerate() {
        if let Some(translated) = reading.translate(rule).with_context(|| label(number))? {
            known.insert(label(number), translated);
        }
    }
    Ok(())
}

/// One of several matchers for a value of metadata.
fn one_of(mut matchers: Vec<Value>) -> Value {
    match matchers.len() {
        1 => matchers.remove(0),
        _ => json!({"or_match": {"value_matchers": matchers}}),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// `host-tests/oracle/translations.yaml`.
    #[test]
    fn policies_are_translated_as_istio_does() {
        let text = fs::read_to_string(testbed::root().join("host-tests/oracle/translations.yaml")).expect("a file");
        let rows = testbed::read_yaml(&text).expect("YAML");
        let rows = rows.as_array().expect("a list");
        assert!(rows.len() > 3);
        for row in rows {
            let policies = row["policies"].as_array().expect("policies");
            let mesh: Vec<String> =
                row["trustDomains"].as_array().map_or(vec!["cluster.local".to_owned()], |domains| {
                    domains.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                });
            let mesh = Mesh { trust_domains: mesh };
            for (key, protocol) in [("http", Protocol::Http), ("tcp", Protocol::Tcp)] {
                let found = translate(policies, &mesh, protocol).expect("a translation").filters();
                assert_eq!(json!(found), row[key], "{key}: {}\n{:#}", row["name"], json!(found));
            }
        }
    }
}
