//! One rule of a policy (`pilot/pkg/security/authz/model/model.go`).

use std::slice;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::attribute::{Attribute, OPERATION, SOURCE, Side};
use super::permission::permissions;
use super::principal::principals;
use super::{Mesh, Protocol};

/// The context in which a rule is translated.
pub(super) struct RuleTranslator<'r> {
    /// True if a value that cannot be translated is left out, which widens the rule, as for all actions but ALLOW.
    /// There the rule is dropped.
    pub(super) ignores_untranslatable: bool,
    pub(super) namespace: &'r str,
    pub(super) mesh: &'r Mesh,
    pub(super) protocol: Protocol,
}

impl RuleTranslator<'_> {
    /// Returns the policy of Envoy's RBAC, or `None` if Istio drops the rule.
    pub(super) fn translate(&self, rule: &Value) -> Result<Option<Value>> {
        let mut conditions = Vec::new();
        for when in list(rule.get("when")) {
            let key = when.get("key").and_then(Value::as_str).context("a condition without a key")?;
            conditions.push(Attribute {
                key: key.to_owned(),
                values: strings(when.get("values")),
                not_values: strings(when.get("notValues")),
            });
        }
        // An unknown key drops the whole rule, whatever the action.
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

    /// Combines each alternative with all conditions of its side. Returns `None` if one of them drops the rule.
    fn side(
        &self,
        alternatives: &[Vec<Attribute>],
        conditions: &[Attribute],
        side: Side,
    ) -> Result<Option<Vec<Value>>> {
        let on_side = |condition: &&Attribute| condition.side() == Some(side);
        alternatives
            .iter()
            .map(|fields| self.all_of(fields.iter().chain(conditions.iter().filter(on_side)), side))
            .collect()
    }

    fn matchers(&self, attribute: &Attribute, values: &[String], side: Side) -> Result<Vec<Value>> {
        match side {
            Side::Permission => permissions(&attribute.key, values, self.mesh),
            Side::Principal => principals(&attribute.key, values, self.namespace, self.mesh),
        }
    }

    fn all_of<'a>(&self, attributes: impl Iterator<Item = &'a Attribute>, side: Side) -> Result<Option<Value>> {
        let mut all = Vec::new();
        for attribute in attributes {
            let exists = attribute.exists_in(self.protocol);
            for (values, negated) in [(&attribute.values, false), (&attribute.not_values, true)] {
                // A value that Istio cannot translate is left out, or drops the rule.
                let (translatable, rest): (Vec<_>, Vec<_>) = values
                    .iter()
                    .cloned()
                    .partition(|value| exists && self.matchers(attribute, slice::from_ref(value), side).is_ok());
                if !rest.is_empty() && !self.ignores_untranslatable {
                    return Ok(None);
                }
                if translatable.is_empty() {
                    continue;
                }
                let matchers = self.matchers(attribute, &translatable, side)?;
                let any_of = match side {
                    Side::Permission => json!({"or_rules": {"rules": matchers}}),
                    Side::Principal => json!({"or_ids": {"ids": matchers}}),
                };
                all.push(match (negated, side) {
                    (false, _) => any_of,
                    (true, Side::Permission) => json!({"not_rule": any_of}),
                    (true, Side::Principal) => json!({"not_id": any_of}),
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

/// Returns the fields of each `source` or `operation`. A rule without any has one alternative without fields.
fn alternatives(rule: &Value, key: &str, inner: &str, fields: &[(&str, &str, &str)]) -> Vec<Vec<Attribute>> {
    let read = |item: &Value| {
        let fields = fields.iter().map(|(field, negated_name, key)| Attribute {
            key: (*key).to_owned(),
            values: strings(item.pointer(&format!("/{inner}/{field}"))),
            not_values: strings(item.pointer(&format!("/{inner}/{negated_name}"))),
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

fn strings(value: Option<&Value>) -> Vec<String> {
    list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
