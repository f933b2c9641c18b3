//! One rule of a policy (`pilot/pkg/security/authz/model/model.go`).

use std::slice;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::attribute::{Attribute, OPERATION, SOURCE, Side};
use super::permission::permissions;
use super::principal::principals;
use super::{Mesh, Protocol};

/// What a rule is read with.
pub(super) struct Reading<'r> {
    /// Whether what cannot be translated makes the rule wider, as it does in all but ALLOW, where the rule is dropped.
    pub(super) widens: bool,
    pub(super) namespace: &'r str,
    pub(super) mesh: &'r Mesh,
    pub(super) protocol: Protocol,
}

impl Reading<'_> {
    /// The policy of Envoy's RBAC; none where Istio drops the rule.
    pub(super) fn translate(&self, rule: &Value) -> Result<Option<Value>> {
        let mut conditions = Vec::new();
        for when in list(rule.get("when")) {
            let key = when.get("key").and_then(Value::as_str).context("a condition without a key")?;
            conditions.push(Attribute {
                key: key.to_owned(),
                values: texts(when.get("values")),
                not_values: texts(when.get("notValues")),
            });
        }
        // A key that is not known costs the whole rule, of whichever action.
        if conditions.iter().any(|condition| condition.side().is_none()) {
            return Ok(None);
        }
        let sources = alternatives(rule, "from", "source", &SOURCE);
        let operations = alternatives(rule, "to", "operation", &OPERATION);
        let principals = self.side(&sources, &conditions, Side::Principal)?;
        let permissions = self.side(&operations, &conditions, Side::Permission)?;
        Ok(permissions
            .zip(principals)
            .map(|(permissions, principals)| json!({"permissions": permissions, "principals": principals})))
    }

    /// Each alternative together with all conditions of its side. None where one of them drops the rule.
    fn side(
        &self,
        alternatives: &[Vec<Attribute>],
        conditions: &[Attribute],
        side: Side,
    ) -> Result<Option<Vec<Value>>> {
        let of_side = |condition: &&Attribute| condition.side() == Some(side);
        alternatives
            .iter()
            .map(|fields| self.all_of(fields.iter().chain(conditions.iter().filter(of_side)), side))
            .collect()
    }

    fn matchers(&self, attribute: &Attribute, values: &[String], side: Side) -> Result<Vec<Value>> {
        match side {
            Side::Permission => permissions(&attribute.key, values),
            Side::Principal => principals(&attribute.key, values, self.namespace, self.mesh),
        }
    }

    fn all_of<'a>(&self, attributes: impl Iterator<Item = &'a Attribute>, side: Side) -> Result<Option<Value>> {
        let mut all = Vec::new();
        for attribute in attributes {
            let is_known = attribute.is_of(self.protocol);
            for (values, negated) in [(&attribute.values, false), (&attribute.not_values, true)] {
                // A value that Istio cannot translate is left out, or costs the rule.
                let (good, bad): (Vec<_>, Vec<_>) = values
                    .iter()
                    .cloned()
                    .partition(|value| is_known && self.matchers(attribute, slice::from_ref(value), side).is_ok());
                if !bad.is_empty() && !self.widens {
                    return Ok(None);
                }
                if good.is_empty() {
                    continue;
                }
                let matchers = self.matchers(attribute, &good, side)?;
                let one = match side {
                    Side::Permission => json!({"or_rules": {"rules": matchers}}),
                    Side::Principal => json!({"or_ids": {"ids": matchers}}),
                };
                all.push(match (negated, side) {
                    (false, _) => one,
                    (true, Side::Permission) => json!({"not_rule": one}),
                    (true, Side::Principal) => json!({"not_id": one}),
                });
            }
        }
        if all.is_empty() {
            all.push(json!({"any": true}));
        }
        Ok(Some(match side {
            Side::Permission => json!({"and_rules": {"rules": all}}),
            Side::Principal => json!({"and_ids": {"ids": all}}),
        }))
    }
}

/// The fields of each `source` or `operation`; none at all are one that asks for nothing.
fn alternatives(rule: &Value, key: &str, inner: &str, fields: &[(&str, &str, &str)]) -> Vec<Vec<Attribute>> {
    let read = |item: &Value| {
        let fields = fields.iter().map(|(field, twin, key)| Attribute {
            key: (*key).to_owned(),
            values: texts(item.pointer(&format!("/{inner}/{field}"))),
            not_values: texts(item.pointer(&format!("/{inner}/{twin}"))),
        });
        fields.filter(|field| !field.values.is_empty() || !field.not_values.is_empty()).collect()
    };
    match list(rule.get(key)) {
        [] => vec![Vec::new()],
        items => items.iter().map(read).collect(),
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: Option<&Value>) -> Vec<String> {
    list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
