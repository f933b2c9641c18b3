//! Translation of AuthorizationPolicy to Envoy's RBAC filter, as Istio 1.31 does it (`pilot/pkg/security/authz`).
//!
//! It follows Istio's source alone and shares nothing with the crate that it tests.

mod attribute;
mod cidr;
mod permission;
mod principal;
mod rule;
mod string_matcher;
mod trust_domain;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

pub use trust_domain::{Dialect, Mesh};

/// The kind of Envoy's RBAC filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `envoy.filters.http.rbac`.
    Http,
    /// `envoy.filters.network.rbac`: a field that only HTTP has drops a rule of an ALLOW and is ignored in other
    /// actions.
    Tcp,
}

/// The rules of one action: enforced ones, and those of policies in dry run. Each is `None` without a policy of its
/// kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// `rules`.
    pub enforced: Option<Value>,
    /// `shadow_rules`.
    pub shadow: Option<Value>,
}

/// The translation of policies: the rules of each action, in the order in which Istio's filters decide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// Marks requests without deciding them.
    pub audit: Rules,
    /// Denies a request that matches.
    pub deny: Rules,
    /// Denies a request that matches none of the enforced rules, if there are any.
    pub allow: Rules,
}

impl Translation {
    /// Returns the configurations of Istio's filters, in order.
    pub fn filters(&self) -> Vec<Value> {
        let actions = [("", &self.audit), ("istio_dry_run_deny_", &self.deny), ("istio_dry_run_allow_", &self.allow)];
        actions.into_iter().filter_map(|(prefix, rules)| rules.filter(prefix)).collect()
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

/// Translates policies, all of which apply to the workload. Fails for a policy that Istio's schema does not allow.
pub fn translate(policies: &[Value], mesh: &Mesh, protocol: Protocol) -> Result<Translation> {
    let mut translation = Translation::default();
    for policy in policies {
        let spec = policy.get("spec").context("a policy without spec")?;
        let (rbac_action, rules) = match spec.get("action").and_then(Value::as_str) {
            None | Some("ALLOW") => ("ALLOW", &mut translation.allow),
            Some("DENY") => ("DENY", &mut translation.deny),
            Some("AUDIT") => ("LOG", &mut translation.audit),
            Some(other) => bail!("unknown action {other}"),
        };
        let dry_run = policy.pointer("/metadata/annotations/istio.io~1dry-run").and_then(Value::as_str) == Some("true");
        let rules = if dry_run { &mut rules.shadow } else { &mut rules.enforced };
        let rules = rules.get_or_insert_with(|| json!({"action": rbac_action, "policies": {}}));
        let target = rules.get_mut("policies").and_then(Value::as_object_mut).context("rules without policies")?;
        add_rules(target, policy, rbac_action, mesh, protocol)?;
    }
    Ok(translation)
}

fn add_rules(
    target: &mut Map<String, Value>,
    policy: &Value,
    action: &str,
    mesh: &Mesh,
    protocol: Protocol,
) -> Result<()> {
    let string = |pointer: &str| policy.pointer(pointer).and_then(Value::as_str).context("a policy without a name");
    let (namespace, name) = (string("/metadata/namespace")?, string("/metadata/name")?);
    let label = |index: usize| format!("ns[{namespace}]-policy[{name}]-rule[{index}]");
    let rules = policy.pointer("/spec/rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if rules.is_empty() {
        target.insert(
            label(0),
            json!({"permissions": [{"not_rule": {"any": true}}], "principals": [{"not_id": {"any": true}}]}),
        );
    }
    let translator = rule::RuleTranslator { ignores_untranslatable: action != "ALLOW", namespace, mesh, protocol };
    for (index, rule) in rules.iter().enumerate() {
        if let Some(translated) = translator.translate(rule).with_context(|| label(index))? {
            target.insert(label(index), translated);
        }
    }
    Ok(())
}

/// Returns a matcher for metadata that matches if one of these does.
fn any_of(mut matchers: Vec<Value>) -> Value {
    match matchers.len() {
        1 => matchers.remove(0),
        _ => json!({"or_match": {"value_matchers": matchers}}),
    }
}
