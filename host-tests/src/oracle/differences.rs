//! The differences from Istio that are meant, as data.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::policy_set::PolicySet;
use super::question::Question;
use super::translate::Mesh;

/// Where the two are known to answer differently, and why that is better.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Difference {
    /// What differs, in a few words; unique.
    pub name: String,
    /// Why Sallyport answers as it does.
    pub why: String,
    /// The `spec` of the one policy.
    pub spec: Value,
    /// What of the default request is otherwise, by the names of [`Question`].
    #[serde(default)]
    pub request: Value,
    /// What Istio's translation answers in Envoy.
    pub istio: Istio,
    /// What `identity-authz` answers.
    pub sallyport: Sallyport,
}

/// The answer of Istio's translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Istio {
    /// The request passes.
    Allowed,
    /// The request is turned away.
    Denied,
    /// Envoy ends while it reads the configuration.
    Terminates,
    /// It depends on Istio's validating webhook, so Envoy is not asked.
    Webhook,
}

/// The answer of `identity-authz`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sallyport {
    /// The request passes.
    Allowed,
    /// The request is turned away.
    Denied,
    /// The configuration is refused, with this fault.
    Refused(String),
}

impl Difference {
    /// The policy, by itself.
    pub fn set(&self) -> PolicySet {
        let policy = json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "difference", "namespace": "shop"},
            "spec": self.spec
        });
        PolicySet { mesh: Mesh { trust_domains: vec!["cluster.local".to_owned()] }, policies: vec![policy] }
    }

    /// The request.
    pub fn question(&self) -> Result<Question> {
        let mut question = serde_json::to_value(Question::default())?;
        overlay(&mut question, &self.request);
        Ok(serde_json::from_value(question)?)
    }
}

fn overlay(under: &mut Value, over: &Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            over.iter().for_each(|(key, value)| overlay(under.entry(key.clone()).or_insert(Value::Null), value));
        }
        (under, over) => *under = over.clone(),
    }
}

/// All of them, from `host-tests/oracle/differences.yaml`.
pub fn differences() -> Result<Vec<Difference>> {
    let path = testbed::root().join("host-tests/oracle/differences.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_value(testbed::read_yaml(&text)?).with_context(|| format!("in {}", path.display()))
}
