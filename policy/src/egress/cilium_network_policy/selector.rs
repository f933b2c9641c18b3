//! `endpointSelector`: whom a policy is for.

use crate::authz::resources::workload::{read_labels, transpose};
use crate::collections::map::OrderedMap;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_values;
use crate::config::value::Value;
use crate::egress::context::EgressContext;
use crate::egress::workloads::{NAMESPACE, Operator, Requirement, SERVICE_ACCOUNT};

/// The most expressions of a selector.
const MAX_EXPRESSIONS: usize = 100_000;

/// Cilium labels may have a source prefix.
const LABEL_SOURCES: [&str; 2] = ["k8s:", "any:"];

/// The label that every namespace has of itself, as Cilium copies it to workloads.
const NAMESPACE_NAME: &str = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name";

/// Workloads that a selector picks.
pub(crate) enum Selection {
    /// Those whose principal passes all of these tests.
    Principals(Vec<PrincipalTest>),
    /// None of those that are known.
    Nobody,
    /// Machines, which have no identity here.
    Nodes,
}

/// Test of a principal: it is among these, or with `negated` it is not. A final or leading star stands for any.
pub(crate) struct PrincipalTest {
    pub(crate) principals: Vec<String>,
    pub(crate) negated: bool,
}

/// Reads a selector of a policy in `namespace`, or of a cluster-wide one.
pub(crate) fn read_selector(
    node: &ConfigNode<'_>,
    namespace: Option<&str>,
    context: &EgressContext<'_>,
) -> Option<Selection> {
    let mut requirements = read_requirements(node)?;
    requirements.extend(namespace.map(|namespace| Requirement::is(NAMESPACE, namespace)));
    if requirements.iter().all(|requirement| [NAMESPACE, SERVICE_ACCOUNT].contains(&requirement.key.as_str())) {
        // Namespace and service account are parts of the identity, so nothing else has to be known.
        return Some(by_identity(&requirements, context.trust_domains.own()));
    }
    let principals = context.workloads.picked(&requirements);
    Some(match principals.is_empty() {
        true => Selection::Nobody,
        false => Selection::Principals(vec![PrincipalTest { principals, negated: false }]),
    })
}

/// Returns the selection by namespaces and service accounts in the trust domain `own`.
fn by_identity(requirements: &[Requirement], own: &str) -> Selection {
    let (mut namespaces, mut accounts) = (None, None);
    let mut tests = Vec::new();
    for requirement in requirements {
        let is_namespace = requirement.key == NAMESPACE;
        match requirement.operator {
            Operator::In => narrow(if is_namespace { &mut namespaces } else { &mut accounts }, requirement),
            Operator::NotIn => {
                let values = names(requirement).map(|value| match is_namespace {
                    true => format!("{own}/ns/{value}/*"),
                    false => format!("*/sa/{value}"),
                });
                tests.push(PrincipalTest { principals: values.collect(), negated: true });
            }
            Operator::Exists => {}
            Operator::DoesNotExist => return Selection::Nobody,
        }
    }
    if [&namespaces, &accounts].into_iter().flatten().any(|values| values.is_empty()) {
        return Selection::Nobody;
    }
    let principals = match (namespaces.as_deref(), accounts.as_deref()) {
        (None, None) => vec![format!("{own}/ns/*")],
        (Some([namespace]), Some(accounts)) => {
            accounts.iter().map(|account| format!("{own}/ns/{namespace}/sa/{account}")).collect()
        }
        (namespaces, accounts) => {
            let accounts = accounts.map(|accounts| accounts.iter().map(|account| format!("*/sa/{account}")).collect());
            tests.extend(accounts.map(|principals| PrincipalTest { principals, negated: false }));
            match namespaces {
                Some(namespaces) => namespaces.iter().map(|namespace| format!("{own}/ns/{namespace}/*")).collect(),
                None => vec![format!("{own}/ns/*")],
            }
        }
    };
    tests.retain(|test| !test.principals.is_empty());
    tests.push(PrincipalTest { principals, negated: false });
    Selection::Principals(tests)
}

/// Leaves of the values those that the requirement has too.
fn narrow<'r>(values: &mut Option<Vec<&'r str>>, requirement: &'r Requirement) {
    match values {
        Some(values) => values.retain(|value| requirement.values.get(*value).is_some()),
        None => *values = Some(names(requirement).collect()),
    }
}

/// Returns the values that name something in Kubernetes: anything else, a star above all, is nobody's name.
fn names(requirement: &Requirement) -> impl Iterator<Item = &str> {
    let of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let values = requirement.values.entries().iter().map(|(value, ())| value.as_str());
    values.filter(move |value| !value.is_empty() && value.bytes().all(of_a_name))
}

fn read_requirements(node: &ConfigNode<'_>) -> Option<Vec<Requirement>> {
    let object = node.object()?;
    let labels = transpose(object.optional("matchLabels").as_ref().map(read_labels));
    let expressions = transpose(object.optional("matchExpressions").map(|node| {
        let read: Vec<_> = node.items_up_to(MAX_EXPRESSIONS)?.map(|item| read_expression(&item)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    }));
    object.finish();
    let labels = labels?.unwrap_or_default().into_iter().map(|(key, value)| Requirement::is(label(&key), &value));
    Some(labels.chain(expressions?.unwrap_or_default()).collect())
}

fn read_expression(node: &ConfigNode<'_>) -> Option<Requirement> {
    let object = node.object()?;
    let key = object.required("key", "name the label");
    let operator = object.required("operator", "write In, NotIn, Exists or DoesNotExist");
    let is_empty = |node: &ConfigNode<'_>| matches!(node.value(), Value::List(values) if values.is_empty());
    let values = object.optional("values").filter(|node| !is_empty(node));
    let values = values.map(|node| read_values(&node, |text| Ok((text.to_owned(), ()))));
    let key = key.as_ref().and_then(ConfigNode::non_empty_str).map(|key| label(key).to_owned());
    let words = [
        ("In", Operator::In),
        ("NotIn", Operator::NotIn),
        ("Exists", Operator::Exists),
        ("DoesNotExist", Operator::DoesNotExist),
    ];
    let operator = operator.as_ref().and_then(|node| node.enum_value(&words));
    object.finish();
    let (key, operator, values) = (key?, operator?, transpose(values)?);
    if matches!(operator, Operator::In | Operator::NotIn) != values.is_some() {
        node.error("In and NotIn take values, Exists and DoesNotExist take none");
        return None;
    }
    let values: OrderedMap<_, _> = values.unwrap_or_default().into_iter().collect();
    Some(Requirement { key, operator, values })
}

/// Returns a label's key without its source prefix; the two names of the namespace's label are one.
fn label(key: &str) -> &str {
    let bare = LABEL_SOURCES.iter().find_map(|source| key.strip_prefix(source)).unwrap_or(key);
    if bare == NAMESPACE_NAME { NAMESPACE } else { bare }
}
