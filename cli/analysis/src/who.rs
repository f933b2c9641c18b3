//! `who`: callers of a workload, and what a caller may reach.

mod denied;

use crate::filters::FilterInput;
use crate::lints::connections::http_field;
use crate::lints::cover::covers_pattern;
use crate::lints::policy::{Policy, blocks, texts};
use crate::project::Project;
use crate::render::effective_workload;
use crate::selection::{describe, selects};
use crate::settings::{Filter, Layer};
use crate::source::Span;
use crate::tree::Node;
use crate::who::denied::{Given, Taken, taken};

/// Access that a rule gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Caller: a principal, `namespace X`, `address X`, `token X` or `anyone`.
    pub from: String,
    /// Workload, or what the policy selects.
    pub to: String,
    /// Methods; any if there are none.
    pub methods: Vec<String>,
    /// Paths; any if there are none.
    pub paths: Vec<String>,
    /// Hosts; any if there are none.
    pub hosts: Vec<String>,
    /// Ports; any if there are none.
    pub ports: Vec<String>,
    /// Further conditions that have to hold.
    pub conditions: Vec<String>,
    /// Policy; `None` where the default action allows.
    pub policy: Option<String>,
    /// Index of the rule.
    pub rule: Option<usize>,
    /// The rule in the files.
    pub span: Option<Span>,
}

/// Source fields, by what they are called in a table.
const SOURCE_FIELDS: [(&str, &str); 6] = [
    ("principals", ""),
    ("serviceAccounts", "service account "),
    ("namespaces", "namespace "),
    ("requestPrincipals", "token "),
    ("ipBlocks", "address "),
    ("remoteIpBlocks", "client address "),
];

/// Lists the access that ALLOW rules give: to the workload of the settings if there is one, by the caller with the SPIFFE ID
/// `from` if it is given.
///
/// Access that a DENY rule takes back in whole is left out; a part that it takes back is among the row's conditions. At layer
/// 4 a row is for connections: a rule that compares what only requests have gives none, and takes back more.
pub fn who(project: &Project, from: Option<&str>) -> Vec<Access> {
    let contents = project.contents();
    let settings = project.filter_settings(&contents, Filter::IdentityAuthz);
    let text = |keys: &[&str]| settings.section.and_then(|section| section.text_at(keys)).map(str::to_owned);
    let root_namespace = text(&["rootNamespace"]).unwrap_or_else(|| "istio-system".to_owned());
    let trust_domain = project.settings().trust_domain.clone().or_else(|| text(&["trustDomain"]));
    // A configuration that a proxy has is for one workload, and the filter itself knows what applies there.
    let is_one_proxy = contents.carried(Filter::IdentityAuthz).is_some();
    let workload = match is_one_proxy {
        true => effective_workload(project, &contents),
        false => project.settings().workload.clone(),
    };
    let applicable = is_one_proxy
        .then(|| FilterInput::always(project, &contents, Filter::IdentityAuthz).applicable().ok())
        .flatten();
    let applies = |policy: &&Policy<'_>| match &applicable {
        Some(applicable) => applicable.contains(&("AuthorizationPolicy".to_owned(), policy.name())),
        None => {
            let selects = |workload| selects(policy.resource, policy.namespace, &root_namespace, workload);
            workload.as_ref().is_none_or(selects)
        }
    };
    let is_about_one = is_one_proxy || workload.is_some();
    let is_connection = project.layer(&contents) == Layer::Tcp;
    let policies = Policy::all(&contents);
    let enforced: Vec<&Policy<'_>> = policies.iter().filter(applies).filter(|one| one.dry_run().is_none()).collect();
    let caller = from.map(|from| from.trim_start_matches("spiffe://"));
    // Few policies take back what others give, and each of these would be held against each of those.
    let taking: Vec<&Policy<'_>> =
        enforced.iter().filter(|policy| matches!(policy.action, "DENY" | "CUSTOM")).copied().collect();
    // No authorizer is asked about a connection, so a CUSTOM policy closes all of them.
    if is_connection && is_about_one && enforced.iter().any(|policy| policy.action == "CUSTOM") {
        return Vec::new();
    }
    let mut access = Vec::new();
    for policy in enforced.iter().filter(|policy| policy.action == "ALLOW") {
        let reaches = |other: &&&Policy<'_>| is_about_one || may_meet(other, policy, &root_namespace);
        let others: Vec<&Policy<'_>> = taking.iter().filter(reaches).copied().collect();
        let to = describe(policy.resource, policy.namespace, &root_namespace);
        let matching = policy.rules.iter().enumerate().filter(|(_, rule)| !is_connection || http_field(rule).is_none());
        for (index, rule) in matching {
            for (row, given) in rows(rule, caller, is_connection) {
                if from.is_some_and(|caller| !is_by(&row, caller, trust_domain.as_deref())) {
                    continue;
                }
                let Some(taken) = taken_back(&others, &given) else { continue };
                access.push(Access {
                    to: to.clone(),
                    conditions: [row.conditions, taken].concat(),
                    policy: Some(policy.name()),
                    rule: Some(index),
                    span: Some(rule.first_span()),
                    ..row
                });
            }
        }
    }
    let has_allow = enforced.iter().any(|policy| policy.action == "ALLOW");
    let default = project.settings().default_action.clone().or_else(|| text(&["defaultAction"]));
    if is_about_one && !has_allow && default.as_deref() == Some("ALLOW") {
        let to = workload.as_ref().map_or_else(|| "*".to_owned(), |workload| workload.namespace.clone());
        access.extend(by_default(to, &taking, caller, is_connection));
    }
    access
}

/// Returns the access that the default action gives, where no ALLOW policy is.
fn by_default(to: String, taking: &[&Policy<'_>], caller: Option<&str>, is_connection: bool) -> Option<Access> {
    let given = Given { source: None, listed: None, caller, operation: None, conditions: &[], is_connection };
    taken_back(taking, &given).map(|conditions| Access { to, conditions, ..anyone() })
}

/// Returns what DENY and CUSTOM policies take back of an access, in words; `None` if nothing is left of it.
fn taken_back(policies: &[&Policy<'_>], given: &Given<'_>) -> Option<Vec<String>> {
    let mut conditions = Vec::new();
    for policy in policies {
        let name = policy.name();
        if given.is_connection && policy.action == "CUSTOM" {
            conditions.push(format!("where {name} does not apply (CUSTOM {name})"));
            continue;
        }
        for rule in policy.rules {
            let parts = match (policy.action, taken(rule, given)) {
                ("DENY", Taken::All) => return None,
                ("DENY", Taken::Part(parts)) => parts.iter().map(|part| format!("not {part} (DENY {name})")).collect(),
                ("CUSTOM", Taken::All) => vec![format!("{} allows it (CUSTOM {name})", provider(policy))],
                ("CUSTOM", Taken::Part(parts)) => {
                    let asked = provider(policy);
                    parts.iter().map(|part| format!("for {part} {asked} allows it (CUSTOM {name})")).collect()
                }
                _ => Vec::new(),
            };
            conditions.extend(parts);
        }
    }
    Some(conditions)
}

fn provider<'p>(policy: &Policy<'p>) -> &'p str {
    policy.resource.node.text_at(&["spec", "provider", "name"]).unwrap_or("the authorizer")
}

/// Reports whether a workload can be one that both policies select.
fn may_meet(one: &Policy<'_>, other: &Policy<'_>, root_namespace: &str) -> bool {
    let is_root = |policy: &Policy<'_>| policy.namespace == root_namespace;
    let (labels, others) = (one.labels().unwrap_or_default(), other.labels().unwrap_or_default());
    let differs =
        |(key, value): &(&str, &str)| others.iter().any(|(known, of_known)| known == key && of_known != value);
    (one.namespace == other.namespace || is_root(one) || is_root(other)) && !labels.iter().any(differs)
}

fn anyone() -> Access {
    Access {
        from: "anyone".to_owned(),
        to: String::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        hosts: Vec::new(),
        ports: Vec::new(),
        conditions: Vec::new(),
        policy: None,
        rule: None,
        span: None,
    }
}

/// Returns a row for each caller and operation of a rule, with the parts of the rule that it is made of.
fn rows<'n>(rule: &'n Node, caller: Option<&'n str>, is_connection: bool) -> Vec<(Access, Given<'n>)> {
    let conditions = rule.get("when").map_or(&[][..], Node::items);
    let described = conditions.iter().flat_map(|condition| {
        let key = condition.text_at(&["key"]).unwrap_or_default();
        let described = [("values", ""), ("notValues", "not ")].map(|(list, not)| {
            let values = texts(condition, list);
            (!values.is_empty()).then(|| format!("{key} {not}{}", values.join(" or ")))
        });
        described.into_iter().flatten().collect::<Vec<_>>()
    });
    let described: Vec<String> = described.collect();
    let mut callers: Vec<Listed<'n>> = blocks(rule, "from", "source").flat_map(callers).collect();
    if callers.is_empty() {
        callers.push(Listed { name: "anyone".to_owned(), conditions: Vec::new(), source: None, value: None });
    }
    let mut operations: Vec<Option<&Node>> = blocks(rule, "to", "operation").map(Some).collect();
    if operations.is_empty() {
        operations.push(None);
    }
    let mut rows = Vec::new();
    for listed in &callers {
        for of_rule in &operations {
            let operation = of_rule.map_or_else(anyone, operation);
            let given = Given {
                source: listed.source,
                listed: listed.value,
                caller,
                operation: *of_rule,
                conditions,
                is_connection,
            };
            let conditions = [listed.conditions.as_slice(), &operation.conditions, &described].concat();
            rows.push((Access { from: listed.name.clone(), conditions, ..operation }, given));
        }
    }
    rows
}

/// Caller that a source lists.
struct Listed<'n> {
    name: String,
    /// Further conditions.
    conditions: Vec<String>,
    source: Option<&'n Node>,
    /// Key of the source, and the value under it.
    value: Option<(&'n str, &'n str)>,
}

/// Returns the callers of a source.
fn callers(source: &Node) -> Vec<Listed<'_>> {
    let named = SOURCE_FIELDS.iter().find(|(key, _)| source.get(key).is_some());
    let mut conditions = Vec::new();
    for entry in source.entries().iter().filter(|entry| named.is_none_or(|(key, _)| entry.key != *key)) {
        conditions.push(format!("{} {}", entry.key, texts(source, &entry.key).join(" or ")));
    }
    let listed = |name: String, value| Listed { name, conditions: conditions.clone(), source: Some(source), value };
    match named {
        Some((key, word)) => {
            texts(source, key).iter().map(|value| listed(format!("{word}{value}"), Some((*key, *value)))).collect()
        }
        None => vec![listed("anyone".to_owned(), None)],
    }
}

fn operation(operation: &Node) -> Access {
    let list = |key| texts(operation, key).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let nots = ["notMethods", "notPaths", "notHosts", "notPorts"].into_iter().filter_map(|key| {
        let values = list(key);
        (!values.is_empty()).then(|| format!("{key} {}", values.join(" or ")))
    });
    Access {
        methods: list("methods"),
        paths: list("paths"),
        hosts: list("hosts"),
        ports: list("ports"),
        conditions: nots.collect(),
        ..anyone()
    }
}

/// Reports whether a row can be for a caller with this SPIFFE ID.
fn is_by(row: &Access, spiffe_id: &str, trust_domain: Option<&str>) -> bool {
    let id = spiffe_id.trim_start_matches("spiffe://");
    let Some((domain, path)) = id.split_once('/') else { return false };
    let parts: Vec<&str> = path.split('/').collect();
    let (namespace, account) = match parts.as_slice() {
        ["ns", namespace, "sa", account] => (Some(*namespace), Some(*account)),
        _ => (None, None),
    };
    if let Some(wanted) = row.from.strip_prefix("namespace ") {
        return namespace.is_some_and(|namespace| covers_pattern(wanted, namespace));
    }
    if let Some(wanted) = row.from.strip_prefix("service account ") {
        let in_namespace = wanted.split_once('/').unwrap_or((namespace.unwrap_or_default(), wanted));
        return Some(in_namespace) == namespace.zip(account);
    }
    if ["address ", "client address ", "token "].iter().any(|word| row.from.starts_with(word)) || row.from == "anyone" {
        return true;
    }
    let own = trust_domain.unwrap_or("cluster.local");
    let wanted = row.from.trim_start_matches("spiffe://");
    // The own trust domain is called cluster.local too.
    let renamed = wanted.strip_prefix("cluster.local/").filter(|_| domain == own).map(|rest| format!("{own}/{rest}"));
    covers_pattern(wanted, id) || renamed.is_some_and(|wanted| covers_pattern(&wanted, id))
}
