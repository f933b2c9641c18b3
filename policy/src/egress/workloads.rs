//! `workloads`: the labels of each identity, and selectors over them.

use crate::authz::resources::workload::read_labels;
use crate::collections::map::OrderedMap;
use crate::config::reader::ConfigNode;
use crate::identity::trust_domains::TrustDomains;

/// The label under which Cilium knows a workload's service account.
pub(crate) const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// The label under which it knows the namespace.
pub(crate) const NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// Item of `workloads`: a principal and its labels.
struct LabelledWorkload {
    principal: String,
    labels: OrderedMap<String, String>,
}

impl LabelledWorkload {
    fn read(node: &ConfigNode<'_>) -> Option<Self> {
        let object = node.object()?;
        let principal = object.required("principal", "write the SPIFFE ID, as in cluster.local/ns/shop/sa/web");
        let labels = object.required("labels", "write the labels that its pods have");
        let named = principal.as_ref().and_then(|node| {
            let text = node.non_empty_str()?;
            let id = text.strip_prefix("spiffe://").unwrap_or(text);
            let parts: Vec<_> = id.split('/').collect();
            let [_, "ns", namespace, "sa", account] = parts.as_slice() else {
                node.error(format!("bad principal `{text}`: labels are those of a Kubernetes workload, write trust-domain/ns/namespace/sa/name"));
                return None;
            };
            if text.contains('*') {
                node.error(format!("bad principal `{text}`: a workload has one identity, write it without stars"));
                return None;
            }
            Some((id.to_owned(), (*namespace).to_owned(), (*account).to_owned()))
        });
        let labels = labels.as_ref().and_then(read_labels);
        object.finish();
        let (principal, namespace, account) = named?;
        let mut labels: OrderedMap<_, _> = labels?.into_iter().collect();
        labels.insert(SERVICE_ACCOUNT.to_owned(), account);
        labels.insert(NAMESPACE.to_owned(), namespace);
        Some(Self { principal, labels })
    }
}

impl LabelledWorkload {
    /// Returns the principal with the one name of its trust domain.
    fn canonical_principal(&self, trust_domains: Option<&TrustDomains>) -> String {
        match (self.principal.split_once('/'), trust_domains) {
            (Some((domain, path)), Some(trust_domains)) => format!("{}/{path}", trust_domains.canonical(domain)),
            _ => self.principal.clone(),
        }
    }
}

/// Comparison of a label of a workload with the values of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// One label that a selector asks for.
pub(crate) struct Requirement {
    pub(crate) key: String,
    pub(crate) operator: Operator,
    /// None for [`Operator::Exists`] and [`Operator::DoesNotExist`].
    pub(crate) values: OrderedMap<String, ()>,
}

impl Requirement {
    /// Returns the requirement of one value.
    pub(crate) fn is(key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), operator: Operator::In, values: [(value.to_owned(), ())].into_iter().collect() }
    }

    fn holds(&self, labels: &OrderedMap<String, String>) -> bool {
        let value = labels.get(self.key.as_str());
        // Labels that Cilium itself gives, such as those of namespaces, may be there without being listed.
        let is_known = value.is_some() || !self.key.starts_with("io.cilium.k8s.");
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.get(value.as_str()).is_some()),
            Operator::NotIn => is_known && value.is_none_or(|value| self.values.get(value.as_str()).is_none()),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => is_known && value.is_none(),
        }
    }
}

/// A label's key, with its value or for any.
type Label = (String, Option<String>);

/// The listed workloads, found by their labels.
#[derive(Default)]
pub(crate) struct Workloads {
    list: Vec<LabelledWorkload>,
    by_label: OrderedMap<Label, Vec<usize>>,
}

impl Workloads {
    /// Reads the list. Each identity stands in it once: otherwise a selector would meet it by the labels of either item.
    pub(crate) fn read(node: &ConfigNode<'_>, trust_domains: Option<&TrustDomains>) -> Option<Self> {
        let mut known: OrderedMap<String, usize> = OrderedMap::default();
        let mut read = Vec::new();
        for (position, item) in node.items()?.enumerate() {
            let workload = LabelledWorkload::read(&item).filter(|workload| {
                let earlier = known.insert(workload.canonical_principal(trust_domains), position);
                if let Some(earlier) = earlier {
                    item.error(format!(
                        "{} is the workload of {}[{earlier}] already; write its labels in one item",
                        workload.principal,
                        node.path()
                    ));
                }
                earlier.is_none()
            });
            read.push(workload);
        }
        let list = read.into_iter().collect::<Option<Vec<_>>>()?;
        let mut by_label: OrderedMap<Label, Vec<usize>> = OrderedMap::default();
        for (position, workload) in list.iter().enumerate() {
            for (key, value) in workload.labels.entries() {
                for value in [Some(value.clone()), None] {
                    by_label.entry_or_insert_with((key.clone(), value), Vec::new, |list| list.push(position));
                }
            }
        }
        Some(Self { list, by_label })
    }

    /// Returns the principals of the workloads that meet all requirements.
    pub(crate) fn picked(&self, requirements: &[Requirement]) -> Vec<String> {
        let picks =
            |workload: &&LabelledWorkload| requirements.iter().all(|requirement| requirement.holds(&workload.labels));
        let principal = |workload: &LabelledWorkload| workload.principal.clone();
        match self.fewest_candidates(requirements) {
            None => self.list.iter().filter(picks).map(principal).collect(),
            Some(lists) => {
                let positions = lists.into_iter().flatten();
                positions.filter_map(|position| self.list.get(*position)).filter(picks).map(principal).collect()
            }
        }
    }

    /// Returns the workloads that meet the rarest requirement: no others have to be looked at, so that many policies for
    /// a few workloads each take no longer than they pick workloads.
    fn fewest_candidates(&self, requirements: &[Requirement]) -> Option<Vec<&Vec<usize>>> {
        let candidates = requirements.iter().filter_map(|requirement| self.candidates(requirement));
        candidates.min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>())
    }

    /// Returns the workloads that meet a requirement, a list for each value; `None` where it only excludes.
    fn candidates(&self, requirement: &Requirement) -> Option<Vec<&Vec<usize>>> {
        let with = |value: Option<&String>| self.by_label.get(&(requirement.key.clone(), value.cloned()));
        match requirement.operator {
            Operator::In => {
                Some(requirement.values.entries().iter().filter_map(|(value, ())| with(Some(value))).collect())
            }
            Operator::Exists => Some(with(None).into_iter().collect()),
            Operator::NotIn | Operator::DoesNotExist => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostics::Diagnostics;
    use crate::config::value::Value;

    #[test]
    fn a_selector_looks_at_the_workloads_of_its_rarest_label() {
        let workloads: Vec<_> = (0..1_000)
            .map(|n| {
                format!(r#"{{"principal": "cluster.local/ns/shop/sa/a{n}", "labels": {{"app": "a{n}", "team": "t"}}}}"#)
            })
            .collect();
        let document = Value::parse(format!("[{}]", workloads.join(", ")).as_bytes()).expect("JSON");
        let diagnostics = Diagnostics::default();
        let workloads = Workloads::read(&ConfigNode::root(&document, &diagnostics), None).expect("workloads");
        let requirement =
            |key: &str, operator| Requirement { key: key.to_owned(), operator, values: OrderedMap::default() };
        let rows = [
            (
                vec![Requirement::is("team", "t"), Requirement::is("app", "a7"), Requirement::is(NAMESPACE, "shop")],
                1,
                1,
            ),
            (vec![Requirement::is("team", "t"), requirement("tier", Operator::Exists)], 0, 0),
            (vec![Requirement::is("app", "a7"), requirement("team", Operator::DoesNotExist)], 1, 0),
            (vec![Requirement::is("app", "none")], 0, 0),
        ];
        for (requirements, candidates, picked) in rows {
            let lists = workloads.fewest_candidates(&requirements).expect("a requirement that picks");
            assert_eq!(lists.into_iter().flatten().count(), candidates);
            assert_eq!(workloads.picked(&requirements).len(), picked);
        }
        assert_eq!(workloads.picked(&[requirement("tier", Operator::DoesNotExist)]).len(), 1_000);
        // Cilium may have given it to any of them.
        let of_namespace = "io.cilium.k8s.namespace.labels.env";
        for operator in [Operator::DoesNotExist, Operator::NotIn, Operator::Exists, Operator::In] {
            assert_eq!(workloads.picked(&[requirement(of_namespace, operator)]).len(), 0, "{operator:?}");
        }
    }
}
