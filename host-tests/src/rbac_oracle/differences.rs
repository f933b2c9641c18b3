//! Intended differences from Istio, as data.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::policy_set::PolicySet;
use super::probe::Probe;
use super::translate::{Dialect, Mesh};

/// A policy and a request that the two intentionally answer differently.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Difference {
    /// The name: what differs, in a few words. Unique.
    pub name: String,
    /// The reason for Sallyport's answer.
    pub why: String,
    /// The `spec` of the policy.
    pub spec: Value,
    /// The mesh's trust domain, then its aliases. Default: `cluster.local`.
    #[serde(default)]
    pub trust_domains: Vec<String>,
    /// The fields in which the request differs from the default [`Probe`].
    #[serde(default)]
    pub request: Value,
    /// The answer of Istio's translation in Envoy.
    pub istio: Istio,
    /// The answer of `identity-authz`.
    pub sallyport: Sallyport,
}

/// The answer of Istio's translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Istio {
    /// The request is allowed.
    Allowed,
    /// The request is denied.
    Denied,
    /// Envoy terminates when it loads the configuration.
    Terminates,
    /// The answer depends on Istio's validating webhook, so Envoy is not asked.
    Webhook,
}

/// The answer of `identity-authz`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sallyport {
    /// The request is allowed.
    Allowed,
    /// The request is denied.
    Denied,
    /// The configuration is refused with this error.
    Refused(String),
}

impl Difference {
    /// Returns the policy as a set of its own.
    pub fn set(&self) -> PolicySet {
        let policy = json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "difference", "namespace": "shop"},
            "spec": self.spec
        });
        let trust_domains = match self.trust_domains.is_empty() {
            true => vec!["cluster.local".to_owned()],
            false => self.trust_domains.clone(),
        };
        PolicySet { mesh: Mesh { trust_domains, dialect: Dialect::Istio }, policies: vec![policy] }
    }

    /// Returns the request.
    pub fn probe(&self) -> Result<Probe> {
        let mut probe = serde_json::to_value(Probe::default())?;
        overlay(&mut probe, &self.request);
        Ok(serde_json::from_value(probe)?)
    }
}

/// Replaces the values of `base` that `patch` gives.
fn overlay(base: &mut Value, patch: &Value) {
    match (base, patch) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(patch)) => {
            patch.iter().for_each(|(key, value)| overlay(base.entry(key.clone()).or_insert(Value::Null), value));
        }
        (base, patch) => *base = patch.clone(),
    }
}

/// Reads `host-tests/oracle/differences.yaml`.
pub fn differences() -> Result<Vec<Difference>> {
    let path = testbed::root().join("host-tests/oracle/differences.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_value(testbed::read_yaml(&text)?).with_context(|| format!("in {}", path.display()))
}
