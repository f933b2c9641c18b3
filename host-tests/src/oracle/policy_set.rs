//! Random policies.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::fields::{FIELDS, Field, Place, Term, all_terms};
use super::translate::{Mesh, Protocol};

/// The policies of one workload, in a mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySet {
    /// The mesh's trust domain and its aliases.
    pub mesh: Mesh,
    /// AuthorizationPolicy resources.
    pub policies: Vec<Value>,
}

impl PolicySet {
    /// Some policies, of any action, rules and fields. One of their terms goes by `number`, so that as many sets as there
    /// are terms have all of them.
    pub fn random(number: usize, protocol: Protocol, random: &mut Rng) -> Self {
        let trust_domains: &[&str] = if random.bool() { &["cluster.local"] } else { &["prod.example", "old.example"] };
        let mut policies: Vec<_> = (0..random.usize(1..=4)).map(|number| policy(number, protocol, random)).collect();
        let terms = all_terms();
        if let (Some(policy), Some(term)) = (random.choice(&mut policies), terms.get(number % terms.len())) {
            add(*term, policy, random);
        }
        Self {
            mesh: Mesh { trust_domains: trust_domains.iter().map(|domain| (*domain).to_owned()).collect() },
            policies,
        }
    }

    /// The configuration of `identity-authz` that means the same: without an ALLOW policy Istio lets everything in.
    pub fn configuration(&self) -> Value {
        let mut configuration = json!({"resources": self.policies});
        if let (Value::Object(keys), [own, aliases @ ..]) = (&mut configuration, self.mesh.trust_domains.as_slice()) {
            keys.insert("trustDomain".to_owned(), json!(own));
            keys.insert("trustDomainAliases".to_owned(), json!(aliases));
            if !self.policies.iter().any(is_enforced_allow) {
                keys.insert("defaultAction".to_owned(), json!("ALLOW"));
            }
        }
        configuration
    }

    /// Each field with each of its values, and whether it is negated.
    pub(super) fn terms(&self) -> Vec<(&'static Field, &str, bool)> {
        self.policies.iter().flat_map(rules).flat_map(terms).collect()
    }

    /// The terms of a random rule, if there is one.
    pub(super) fn some_rule(&self, random: &mut Rng) -> Vec<(&'static Field, &str, bool)> {
        let rules: Vec<_> = self.policies.iter().flat_map(rules).collect();
        random.choice(rules).map(terms).unwrap_or_default()
    }

    /// Whether a rule asks for any principal at all: of a certificate without a SPIFFE ID the answers differ.
    pub(super) fn asks_for_any_principal(&self) -> bool {
        self.terms()
            .iter()
            .any(|(field, value, _)| matches!(field.name, "principals" | "source.principal") && *value == "*")
    }

    /// Whether a template keeps requests out: of bytes that Envoy's class of characters lacks the answers differ.
    pub(super) fn guards_by_template(&self) -> bool {
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
        let places: Vec<(Option<&Value>, bool)> = match field.place {
            Place::Source => pair(items("from"), "source", field),
            Place::Operation => pair(items("to"), "operation", field),
            Place::When => {
                let conditions =
                    items("when").iter().filter(|when| when.get("key").and_then(Value::as_str) == Some(field.name));
                conditions.flat_map(|when| [(when.get("values"), false), (when.get("notValues"), true)]).collect()
            }
        };
        for (values, negated) in places {
            let values = values.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            found.extend(values.map(|value| (field, value, negated)));
        }
    }
    found
}

fn pair<'v>(items: &'v [Value], inner: &str, field: &Field) -> Vec<(Option<&'v Value>, bool)> {
    let of = |item: &'v Value, key: &str| item.get(inner).and_then(|fields| fields.get(key));
    items.iter().flat_map(|item| [(of(item, field.name), false), (of(item, field.twin), true)]).collect()
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

/// Adds a term to a rule of `policy`: one more source or operation, or one more condition.
fn add((field, negated, kind): Term, policy: &mut Value, random: &mut Rng) {
    let words: Vec<_> = field.words.iter().filter(|(value, _)| field.kind(value) == kind).collect();
    let values = random.choice(words).map(|(value, _)| json!([value]));
    let Some(rules) = policy.pointer_mut("/spec/rules").and_then(Value::as_array_mut) else { return };
    if rules.is_empty() {
        rules.push(json!({}));
    }
    let Some(Value::Object(rule)) = random.choice(rules) else { return };
    let name = if negated { field.twin } else { field.name };
    let (key, item) = match field.place {
        Place::Source => ("from", json!({"source": {name: values}})),
        Place::Operation => ("to", json!({"operation": {name: values}})),
        Place::When => ("when", json!({"key": field.name, if negated { "notValues" } else { "values" }: values})),
    };
    if let Value::Array(items) = rule.entry(key).or_insert_with(|| json!([])) {
        items.push(item);
    }
}

/// What an ALLOW asks for has to be met, and what a DENY asks for should be at times: a few terms each.
fn rule(action: &str, protocol: Protocol, random: &mut Rng) -> Value {
    let mut rule = Map::new();
    if random.usize(..25) == 0 {
        return Value::Object(rule);
    }
    let parts = if action == "DENY" { 3 } else { 4 };
    let chosen = |random: &mut Rng| random.usize(..parts) > 1;
    let (from, to, when) = (chosen(random), chosen(random), chosen(random));
    if from || !(to || when) {
        rule.insert("from".to_owned(), alternatives("source", Place::Source, protocol, random));
    }
    if to {
        rule.insert("to".to_owned(), alternatives("operation", Place::Operation, protocol, random));
    }
    if when {
        let conditions: Vec<_> = (0..random.usize(1..=2)).map(|_| condition(protocol, random)).collect();
        rule.insert("when".to_owned(), json!(conditions));
    }
    Value::Object(rule)
}

fn alternatives(inner: &str, place: Place, protocol: Protocol, random: &mut Rng) -> Value {
    (0..random.usize(1..=2)).map(|_| json!({inner: fields(place, protocol, random)})).collect()
}

fn fields(place: Place, protocol: Protocol, random: &mut Rng) -> Value {
    let mut fields = Map::new();
    for _ in 0..random.usize(1..=2) {
        let Some(field) = some_field(place, protocol, random) else { continue };
        // Istio takes service accounts only without the fields that say the same.
        let said = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
        let excluded = match field.name {
            "serviceAccounts" => said(&["principals", "notPrincipals", "namespaces", "notNamespaces"]),
            "principals" | "namespaces" => said(&["serviceAccounts", "notServiceAccounts"]),
            _ => false,
        };
        if !excluded {
            insert_values(&mut fields, field, [field.name, field.twin], random);
        }
    }
    Value::Object(fields)
}

fn condition(protocol: Protocol, random: &mut Rng) -> Value {
    let Some(field) = some_field(Place::When, protocol, random) else { return json!({}) };
    let mut condition = Map::new();
    condition.insert("key".to_owned(), json!(field.name));
    insert_values(&mut condition, field, ["values", "notValues"], random);
    Value::Object(condition)
}

fn insert_values(into: &mut Map<String, Value>, field: &Field, [positive, negative]: [&str; 2], random: &mut Rng) {
    let (with, without) = match random.usize(..10) {
        0..6 => (true, false),
        6..9 => (false, true),
        _ => (true, true),
    };
    for (key, wanted) in [(positive, with), (negative, without)] {
        if wanted {
            let count = random.usize(1..=3);
            let words = random.choose_multiple(field.words, count);
            into.insert(key.to_owned(), words.into_iter().map(|(value, _)| json!(value)).collect());
        }
    }
}

/// For connections mostly one that they have: a rule that asks for anything else is dropped or says little.
fn some_field(place: Place, protocol: Protocol, random: &mut Rng) -> Option<&'static Field> {
    let any = protocol == Protocol::Http || random.usize(..6) == 0;
    let fields: Vec<_> =
        FIELDS.iter().filter(|field| field.place == place && (any || field.is_of_connections())).collect();
    random.choice(fields)
}
