//! CiliumNetworkPolicy (`cilium.io/v2`), limited to hosts in `serverNames`.
//!
//! Rules about addresses, cluster workloads or ingress traffic cannot be enforced by a filter on the
//! egress path, so such policies are rejected, each part with its reason.

use crate::authz::policy_name::PolicyName;
use crate::authz::resources::object_meta::Metadata;
use crate::authz::resources::workload::{read_labels, transpose};
use crate::collections::map::HashMap;
use crate::config::reader::{ConfigNode, Object};
use crate::config::string_list::{read_listed, read_values};
use crate::egress::host_pattern::{DestinationPattern, WildcardScope};
use crate::egress::port::{PortPattern, ProtocolSet};
use crate::identity::trust_domains::TrustDomains;

/// Maximum number of values in a list.
const MAX_VALUES: usize = 1_000_000;

/// The label under which Cilium knows a workload's service account.
const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// The label under which it knows the namespace.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// Cilium labels may have a source prefix.
const LABEL_SOURCES: [&str; 2] = ["k8s:", "any:"];

/// Item of `workloads`: a principal and its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelledWorkload {
    principal: String,
    namespace: String,
    labels: HashMap<String, String>,
}

impl LabelledWorkload {
    pub(crate) fn read(node: &ConfigNode<'_>) -> Option<Self> {
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
        let mut labels = labels?;
        labels.insert(SERVICE_ACCOUNT.to_owned(), account);
        labels.insert(NAMESPACE.to_owned(), namespace.clone());
        Some(Self { principal, namespace, labels })
    }
}

/// Configuration that policies refer to.
pub(crate) struct Cluster<'c> {
    pub(crate) workloads: &'c [LabelledWorkload],
    pub(crate) trust_domains: &'c TrustDomains,
}

/// Hosts that the workloads of a selector may reach by TLS.
pub(crate) struct CiliumNetworkPolicy {
    pub(crate) name: PolicyName,
    /// Principals, as text; a final star stands for all workloads of the namespace.
    pub(crate) principals: Vec<String>,
    pub(crate) rules: Vec<Vec<Entry>>,
}

/// Hosts, and the ports on which they may be reached.
pub(crate) struct Entry {
    pub(crate) hosts: Vec<DestinationPattern>,
    pub(crate) ports: Vec<PortPattern>,
}

impl CiliumNetworkPolicy {
    /// Reads the object of a resource whose kind is known.
    pub(crate) fn read(resource: &Object<'_>, metadata: Option<Metadata>, cluster: &Cluster<'_>) -> Option<Self> {
        resource.unsupported("specs", "write one policy for each of the specs");
        let node = resource.required("spec", "write endpointSelector and egress")?;
        let spec = node.object()?;
        if let Some(description) = spec.optional("description") {
            description.text();
        }
        for key in ["ingress", "ingressDeny"] {
            spec.unsupported(key, "is about what comes in, and this filter decides what leaves; keep it in the cluster and remove it here");
        }
        spec.unsupported(
            "egressDeny",
            "denies by addresses or ports, which is not supported here; use rules with action: DENY",
        );
        spec.unsupported("nodeSelector", "picks nodes, which have no identity here; use endpointSelector");
        if let Some(default) = spec.optional("enableDefaultDeny") {
            read_default_deny(&default);
        }
        let selector = spec.required("endpointSelector", "write whom the policy is for");
        let principals = selector.and_then(|node| {
            read_selector(&node, metadata.as_ref().and_then(|metadata| metadata.name.namespace())?, cluster)
        });
        let egress = spec.required("egress", "write toPorts with serverNames");
        let rules = egress.and_then(|node| {
            let rules: Vec<_> =
                node.non_empty_list(MAX_VALUES, "and the policy with it")?.map(|item| read_egress(&item)).collect();
            rules.into_iter().collect::<Option<Vec<_>>>()
        });
        spec.finish();
        Some(Self { name: metadata?.name, principals: principals?, rules: rules? })
    }
}

fn read_default_deny(node: &ConfigNode<'_>) -> Option<()> {
    let object = node.object()?;
    object.optional("ingress");
    if let Some(egress) = object.optional("egress")
        && !egress.bool()?
    {
        egress.error("here everything is denied that nothing allows; remove it");
    }
    object.finish();
    Some(())
}

/// Predicate of a selector, over the labels of a workload.
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

impl Requirement {
    fn key(&self) -> &str {
        match self {
            Self::In(key, _) | Self::NotIn(key, _) | Self::Exists(key) | Self::DoesNotExist(key) => key,
        }
    }

    fn holds(&self, labels: &HashMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

/// Returns the principals that `endpointSelector` selects: by service account, or through `workloads`.
fn read_selector(node: &ConfigNode<'_>, namespace: &str, cluster: &Cluster<'_>) -> Option<Vec<String>> {
    let requirements = read_requirements(node)?;
    let own = cluster.trust_domains.own();
    if requirements.is_empty() {
        return Some(vec![format!("{own}/ns/{namespace}/*")]);
    }
    // The service account is part of the identity, so nothing else has to be known.
    if let [Requirement::In(key, accounts)] = requirements.as_slice()
        && key == SERVICE_ACCOUNT
    {
        return Some(accounts.iter().map(|account| format!("{own}/ns/{namespace}/sa/{account}")).collect());
    }
    let picked = |workload: &&LabelledWorkload| {
        workload.namespace == namespace && requirements.iter().all(|requirement| requirement.holds(&workload.labels))
    };
    let principals: Vec<_> =
        cluster.workloads.iter().filter(picked).map(|workload| workload.principal.clone()).collect();
    if principals.is_empty() {
        let keys: Vec<_> = requirements.iter().map(|requirement| format!("`{}`", requirement.key())).collect();
        node.error(format!(
            "no entry of workloads in the namespace {namespace} has what it asks of {}, so it cannot be told whom it picks; add {{principal: {own}/ns/{namespace}/sa/…, labels: {{…}}}} to workloads, or select by {SERVICE_ACCOUNT}",
            keys.join(" and ")
        ));
        return None;
    }
    Some(principals)
}

fn read_requirements(node: &ConfigNode<'_>) -> Option<Vec<Requirement>> {
    let object = node.object()?;
    let labels = transpose(object.optional("matchLabels").as_ref().map(read_labels));
    let expressions = transpose(object.optional("matchExpressions").map(|node| {
        let read: Vec<_> =
            node.non_empty_list(MAX_VALUES, "to ask for nothing")?.map(|item| read_expression(&item)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    }));
    object.finish();
    let by_label = |(key, value): (String, String)| Requirement::In(bare(&key).to_owned(), vec![value]);
    Some(labels?.unwrap_or_default().into_iter().map(by_label).chain(expressions?.unwrap_or_default()).collect())
}

fn read_expression(node: &ConfigNode<'_>) -> Option<Requirement> {
    let object = node.object()?;
    let key = object.required("key", "name the label");
    let operator = object.required("operator", "write In, NotIn, Exists or DoesNotExist");
    let values = object.optional("values").map(|node| read_values(&node, |text| Ok(text.to_owned())));
    let key = key.as_ref().and_then(ConfigNode::non_empty_str).map(|key| bare(key).to_owned());
    let words =
        [("In", (true, true)), ("NotIn", (false, true)), ("Exists", (true, false)), ("DoesNotExist", (false, false))];
    let operator = operator.as_ref().and_then(|node| node.enum_value(&words));
    object.finish();
    let (key, values) = (key?, transpose(values)?);
    match (operator?, values) {
        ((true, true), Some(values)) => Some(Requirement::In(key, values)),
        ((false, true), Some(values)) => Some(Requirement::NotIn(key, values)),
        ((true, false), None) => Some(Requirement::Exists(key)),
        ((false, false), None) => Some(Requirement::DoesNotExist(key)),
        _ => {
            node.error("In and NotIn take values, Exists and DoesNotExist take none");
            None
        }
    }
}

/// Returns a label's key without its source prefix.
fn bare(key: &str) -> &str {
    LABEL_SOURCES.iter().find_map(|source| key.strip_prefix(source)).unwrap_or(key)
}

/// Reads an item of `egress`: to the world, by server names on ports.
fn read_egress(node: &ConfigNode<'_>) -> Option<Vec<Entry>> {
    let rule = node.object()?;
    let mut complete = true;
    for key in ["toEndpoints", "toServices", "toNodes"] {
        if let Some(node) = rule.optional(key) {
            node.error("is about traffic within the cluster, and this filter decides what leaves it by serverNames; keep it in the cluster and remove it here");
            complete = false;
        }
    }
    for key in ["toCIDR", "toCIDRSet", "toGroups"] {
        if let Some(node) = rule.optional(key) {
            node.error("is about addresses, and this filter decides by name; write serverNames under toPorts");
            complete = false;
        }
    }
    for key in ["toFQDNs", "icmps", "authentication"] {
        if let Some(node) = rule.optional(key) {
            node.error("is not supported; write serverNames under toPorts");
            complete = false;
        }
    }
    if let Some(entities) = rule.optional("toEntities") {
        complete &= read_entities(&entities).is_some();
    }
    let entries = match rule.optional("toPorts") {
        Some(ports) => {
            let entries: Vec<_> =
                ports.non_empty_list(MAX_VALUES, "and the rule with it")?.map(|item| read_to_ports(&item)).collect();
            entries.into_iter().collect::<Option<Vec<_>>>()
        }
        None => {
            if complete {
                node.error("lists no host; write toPorts with serverNames, or leave the rule out here");
            }
            None
        }
    };
    rule.finish();
    entries.filter(|_| complete)
}

fn read_entities(node: &ConfigNode<'_>) -> Option<()> {
    let mut complete = true;
    for item in node.non_empty_list(MAX_VALUES, "to mean the world")? {
        match item.non_empty_str() {
            Some("world" | "all") => {}
            Some(other) => {
                item.error(format!(
                    "`{other}` is not the world outside, and this filter decides what leaves the cluster; write world"
                ));
                complete = false;
            }
            None => complete = false,
        }
    }
    complete.then_some(())
}

fn read_to_ports(node: &ConfigNode<'_>) -> Option<Entry> {
    let object = node.object()?;
    let names = object.required(
        "serverNames",
        "without them it is about addresses, which this filter does not decide by; list the hosts",
    );
    let hosts = names.and_then(|node| {
        read_listed(&node, "and the entry with it", |text| {
            DestinationPattern::parse(text, WildcardScope::OneLabel, false)
        })
    });
    let ports = object.required("ports", "list the ports, as in [{port: \"443\"}]").and_then(|node| {
        let ports: Vec<_> =
            node.non_empty_list(MAX_VALUES, "and the entry with it")?.map(|item| read_port(&item)).collect();
        ports.into_iter().collect()
    });
    for key in ["rules", "listener", "originatingTLS", "terminatingTLS"] {
        object.unsupported(key, "is the work of Cilium's own proxy and cannot be carried out here; remove it");
    }
    object.finish();
    Some(Entry { hosts: hosts?, ports: ports? })
}

fn read_port(node: &ConfigNode<'_>) -> Option<PortPattern> {
    let object = node.object()?;
    let port = object.required("port", "write the port, as in \"443\"");
    let port = port.and_then(|node| {
        let text = node.non_empty_str()?;
        let number = text.parse::<u16>().ok().filter(|number| *number > 0 && number.to_string() == text);
        if number.is_none() {
            node.error(format!("bad port `{text}`: expected a number of 1 to 65535, as in \"443\""));
        }
        number
    });
    object.unsupported("endPort", "ranges are not supported, list the ports");
    if let Some(protocol) = object.optional("protocol")
        && protocol.enum_value(&[("TCP", true), ("ANY", true), ("UDP", false), ("SCTP", false)]) == Some(false)
    {
        protocol.error("server names are seen on TCP alone, write TCP");
    }
    object.finish();
    Some(PortPattern::Number { port: port?, protocols: ProtocolSet::ConnectOrTls })
}
