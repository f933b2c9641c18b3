//! Random policies.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::fields::{FIELDS, Field, Section, Term, all_terms};
use super::translate::{Dialect, Mesh, Protocol};

/// The policies of one workload, and its mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySet {
    /// The mesh's trust domain and its aliases.
    pub mesh: Mesh,
    /// AuthorizationPolicy resources.
    pub policies: Vec<Value>,
}

impl PolicySet {
    /// Generates policies with random actions, rules and fields. The set includes term `number`, so that as many
    /// consecutive sets as there are terms cover all of them.
    pub fn random(number: usize, protocol: Protocol, random: &mut Rng) -> Self {
        let trust_domains: &[&str] = if random.bool() { &["cluster.local"] } else { &["prod.example", "old.example"] };
        let mut policies: Vec<_> = (0..random.usize(1..=4)).map(|number| policy(number, protocol, random)).collect();
        let terms = all_terms();
        if let (Some(policy), Some(term)) = (random.choice(&mut policies), terms.get(number % terms.len())) {
            add_term(*term, policy, random);
        }
        Self {
            mesh: Mesh {
                trust_domains: trust_domains.iter().map(|domain| (*domain).to_owned()).collect(),
                dialect: Dialect::Sallyport,
            },
            policies,
        }
    }

    /// Returns the equivalent configuration of `identity-authz`. Without an ALLOW policy, Istio allows everything.
    pub fn configuration(&self) -> Value {
        let mut configuration = json!({"remoteAddress": "trusted", "resources": self.policies});
        if let (Value::Object(keys), [own, aliases @ ..]) = (&mut configuration, self.mesh.trust_domains.as_slice()) {
            keys.insert("trustDomain".to_owned(), json!(own));
            keys.insert("trustDomainAliases".to_owned(), json!(aliases));
            if !self.policies.iter().any(is_enforced_allow) {
                keys.insert("defaultAction".to_owned(), json!("ALLOW"));
            }
        }
        configuration
    }

    /// Returns each field with each of its values, and whether it is negated.
    pub(super) fn terms(&self) -> Vec<(&'static Field, &str, bool)> {
        self.policies.iter().flat_map(rules).flat_map(terms).collect()
    }

    /// Returns the terms of a random rule, none if there is no rule.
    pub(super) fn random_rule_terms(&self, random: &mut Rng) -> Vec<(&'static Field, &str, bool)> {
        let rules: Vec<_> = self.policies.iter().flat_map(rules).collect();
        random.choice(rules).map(terms).unwrap_or_default()
    }

    /// Returns true if a rule lists the principal `*`, for which the answers about a certificate without a SPIFFE ID
    /// differ.
    pub(super) fn matches_any_principal(&self) -> bool {
        self.terms()
            .iter()
            .any(|(field, value, _)| matches!(field.name, "principals" | "source.principal") && *value == "*")
    }

    /// Returns true if a path template keeps requests out, for which the answers about characters outside of Envoy's
    /// class differ.
    pub(super) fn denies_by_template(&self) -> bool {
        self.policies.iter().any(|policy| {
            let denies = action(policy) == "DENY";
            rules(policy).flat_map(terms).any(|(_, value, negated)| value.contains("{*") && negated != denies)
        })
    }
}

fn action(policy: &Value) -> &str {
    policy.pointer("/spec/action").and_then(Value::as_str).unwrap_or("ALLOW")
}

fn is_enforced_allow(policy: &Value) -> bool {
    action(policy) == "ALLOW" && policy.pointer("/metadata/annotations").is_none()
}

fn rules(policy: &Value) -> impl Iterator<Item = &Value> {
    policy.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten()
}

fn terms(rule: &Value) -> Vec<(&'static Field, &str, bool)> {
    let items = |key: &str| rule.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut found = Vec::new();
    for field in FIELDS {
        let value_lists: Vec<(Option<&Value>, bool)> = match field.section {
            Section::Source => field_values(items("from"), "source", field),
            Section::Operation => field_values(items("to"), "operation", field),
            Section::When => {
                let conditions =
                    items("when").iter().filter(|when| when.get("key").and_then(Value::as_str) == Some(field.name));
                conditions.flat_map(|when| [(when.get("values"), false), (when.get("notValues"), true)]).collect()
            }
        };
        for (values, negated) in value_lists {
            let values = values.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            found.extend(values.map(|value| (field, value, negated)));
        }
    }
    found
}

/// Returns the values of a field in each source or operation, plain and negated.
fn field_values<'v>(items: &'v [Value], key: &str, field: &Field) -> Vec<(Option<&'v Value>, bool)> {
    let values = |item: &'v Value, name: &str| item.get(key).and_then(|fields| fields.get(name));
    items
        .iter()
        .flat_map(|item| [(values(item, field.name), false), (values(item, field.negated_name), true)])
        .collect()
}

fn policy(number: usize, protocol: Protocol, random: &mut Rng) -> Value {
    let action = match random.usize(..20) {
        0..10 => "ALLOW",
        10..17 => "DENY",
        _ => "AUDIT",
    };
    let least = usize::from(action == "DENY" || random.usize(..15) > 0);
    let rules: Vec<_> = (0..random.usize(least..=3.max(least))).map(|_| rule(action, protocol, random)).collect();
    let mut metadata = json!({"name": format!("policy-{number}"), "namespace": "shop"});
    if let (Value::Object(keys), true) = (&mut metadata, action != "AUDIT" && random.usize(..12) == 0) {
        keys.insert("annotations".to_owned(), json!({"istio.io/dry-run": "true"}));
    }
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": metadata,
        "spec": {"action": action, "rules": rules}
    })
}

/// Adds a term to a random rule of `policy`, as a further source, operation or condition.
fn add_term((field, negated, kind): Term, policy: &mut Value, random: &mut Rng) {
    let samples: Vec<_> = field.samples.iter().filter(|(value, _)| field.kind(value) == kind).collect();
    let values = random.choice(samples).map(|(value, _)| json!([value]));
    let Some(rules) = policy.pointer_mut("/spec/rules").and_then(Value::as_array_mut) else { return };
    if rules.is_empty() {
        rules.push(json!({}));
    }
    let Some(Value::Object(rule)) = random.choice(rules) else { return };
    let name = if negated { field.negated_name } else { field.name };
    let (key, item) = match field.section {
        Section::Source => ("from", json!({"source": {name: values}})),
        Section::Operation => ("to", json!({"operation": {name: values}})),
        Section::When => ("when", json!({"key": field.name, if negated { "notValues" } else { "values" }: values})),
    };
    if let Value::Array(items) = rule.entry(key).or_insert_with(|| json!([])) {
        items.push(item);
    }
}

/// Generates a rule with a few terms, so that requests can match an ALLOW and sometimes match a DENY.
fn rule(action: &str, protocol: Protocol, random: &mut Rng) -> Value {
    let mut rule = Map::new();
    if random.usize(..25) == 0 {
        return Value::Object(rule);
    }
    let parts = if action == "DENY" { 3 } else { 4 };
    let chosen = |random: &mut Rng| random.usize(..parts) > 1;
    let (from, to, when) = (chosen(random), chosen(random), chosen(random));
    if from || !(to || when) {
        rule.insert("from".to_owned(), alternatives("source", Section::Source, protocol, random));
    }
    if to {
        rule.insert("to".to_owned(), alternatives("operation", Section::Operation, protocol, random));
    }
    if when {
        let conditions: Vec<_> = (0..random.usize(1..=2)).map(|_| condition(protocol, random)).collect();
        rule.insert("when".to_owned(), json!(conditions));
    }
    Value::Object(rule)
}

fn alternatives(inner: &str, section: Section, protocol: Protocol, random: &mut Rng) -> Value {
    (0..random.usize(1..=2)).map(|_| json!({inner: fields(section, protocol, random)})).collect()
}

fn fields(section: Section, protocol: Protocol, random: &mut Rng) -> Value {
    let mut fields = Map::new();
    for _ in 0..random.usize(1..=2) {
        let Some(field) = random_field(section, protocol, random) else { continue };
        // Istio rejects serviceAccounts beside principals or namespaces.
        let has_any = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
        let excluded = match field.name {
            "serviceAccounts" => has_any(&["principals", "notPrincipals", "namespaces", "notNamespaces"]),
            "principals" | "namespaces" => has_any(&["serviceAccounts", "notServiceAccounts"]),
            _ => false,
        };
        if !excluded {
            insert_values(&mut fields, field, [field.name, field.negated_name], random);
        }
    }
    Value::Object(fields)
}

fn condition(protocol: Protocol, random: &mut Rng) -> Value {
    let Some(field) = random_field(Section::When, protocol, random) else { return json!({}) };
    let mut condition = Map::new();
    condition.insert("key".to_owned(), json!(field.name));
    insert_values(&mut condition, field, ["values", "notValues"], random);
    Value::Object(condition)
}

fn insert_values(target: &mut Map<String, Value>, field: &Field, [positive, negative]: [&str; 2], random: &mut Rng) {
    let (with_positive, with_negative) = match random.usize(..10) {
        0..6 => (true, false),
        6..9 => (false, true),
        _ => (true, true),
    };
    for (key, included) in [(positive, with_positive), (negative, with_negative)] {
        if included {
            let count = random.usize(1..=3);
            let samples = random.choose_multiple(field.samples, count);
            target.insert(key.to_owned(), samples.into_iter().map(|(value, _)| json!(value)).collect());
        }
    }
}

/// Picks a field of a section; for TCP mostly one that connections have, since Istio drops or ignores the others.
fn random_field(section: Section, protocol: Protocol, random: &mut Rng) -> Option<&'static Field> {
    let allow_http_only = protocol == Protocol::Http || random.usize(..6) == 0;
    let fields: Vec<_> =
        FIELDS.iter().filter(|field| field.section == section && (allow_http_only || field.applies_to_tcp())).collect();
    random.choice(fields)
}
