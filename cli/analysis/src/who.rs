//! `who`: callers of a workload, and what a caller may reach.

use crate::lints::cover::{covers_pattern, covers_rule};
use crate::lints::policy::{Policy, blocks, texts};
use crate::project::Project;
use crate::selection::{describe, selects};
use crate::settings::Filter;
use crate::source::Span;
use crate::tree::Node;

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
/// A rule that a DENY rule takes back in whole is left out; other DENY policies are named among the conditions.
pub fn who(project: &Project, from: Option<&str>) -> Vec<Access> {
    let contents = project.contents();
    let settings = project.filter_settings(&contents, Filter::IdentityAuthz);
    let text = |keys: &[&str]| settings.section.and_then(|section| section.text_at(keys)).map(str::to_owned);
    let root_namespace = text(&["rootNamespace"]).unwrap_or_else(|| "istio-system".to_owned());
    let workload = project.settings().workload.clone();
    let applies = |policy: &&Policy<'_>| {
        let selects = |workload| selects(policy.resource, policy.namespace, &root_namespace, workload);
        workload.as_ref().is_none_or(selects)
    };
    let policies = Policy::all(&contents);
    let enforced: Vec<&Policy<'_>> = policies.iter().filter(applies).filter(|one| one.dry_run().is_none()).collect();
    let mut access = Vec::new();
    for policy in enforced.iter().filter(|policy| policy.action == "ALLOW") {
        let to = describe(policy.resource, policy.namespace, &root_namespace);
        let reaches = |other: &&&Policy<'_>| {
            workload.is_some() || other.target() == policy.target() && other.namespace == policy.namespace
        };
        let denying: Vec<&&Policy<'_>> = enforced.iter().filter(|one| one.action == "DENY").filter(reaches).collect();
        for (index, rule) in policy.rules.iter().enumerate() {
            if denying.iter().flat_map(|deny| deny.rules).any(|deny| covers_rule(deny, rule)) {
                continue;
            }
            let mut rows = rows(rule);
            for row in &mut rows {
                row.to.clone_from(&to);
                row.policy = Some(policy.name());
                row.rule = Some(index);
                row.span = Some(rule.first_span());
                row.conditions.extend(denying.iter().map(|deny| format!("not denied by {}", deny.name())));
            }
            access.extend(rows);
        }
    }
    let has_allow = enforced.iter().any(|policy| policy.action == "ALLOW");
    let default = project.settings().default_action.clone().or_else(|| text(&["defaultAction"]));
    if let Some(workload) = workload.as_ref().filter(|_| !has_allow && default.as_deref() == Some("ALLOW")) {
        let denying = enforced.iter().filter(|policy| policy.action == "DENY");
        let conditions = denying.map(|deny| format!("not denied by {}", deny.name())).collect();
        access.push(Access { to: workload.namespace.clone(), conditions, ..anyone() });
    }
    let trust_domain = project.settings().trust_domain.clone().or_else(|| text(&["trustDomain"]));
    match from {
        Some(caller) => access.into_iter().filter(|row| is_by(row, caller, trust_domain.as_deref())).collect(),
        None => access,
    }
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

/// Returns a row for each caller and operation of a rule.
fn rows(rule: &Node) -> Vec<Access> {
    let conditions = rule.get("when").map_or(&[][..], Node::items).iter().flat_map(|condition| {
        let key = condition.text_at(&["key"]).unwrap_or_default();
        let described = [("values", ""), ("notValues", "not ")].map(|(list, not)| {
            let values = texts(condition, list);
            (!values.is_empty()).then(|| format!("{key} {not}{}", values.join(" or ")))
        });
        described.into_iter().flatten().collect::<Vec<_>>()
    });
    let conditions: Vec<String> = conditions.collect();
    let mut callers: Vec<(String, Vec<String>)> = blocks(rule, "from", "source").flat_map(callers).collect();
    if callers.is_empty() {
        callers.push(("anyone".to_owned(), Vec::new()));
    }
    let mut operations: Vec<Access> = blocks(rule, "to", "operation").map(operation).collect();
    if operations.is_empty() {
        operations.push(anyone());
    }
    let row = |(from, of_source): &(String, Vec<String>), operation: &Access| Access {
        from: from.clone(),
        conditions: [of_source.as_slice(), operation.conditions.as_slice(), conditions.as_slice()].concat(),
        ..operation.clone()
    };
    callers.iter().flat_map(|caller| operations.iter().map(move |operation| row(caller, operation))).collect()
}

/// Returns the callers of a source, each with what else has to hold of it.
fn callers(source: &Node) -> Vec<(String, Vec<String>)> {
    let named = SOURCE_FIELDS.iter().find(|(key, _)| source.get(key).is_some());
    let mut conditions = Vec::new();
    for entry in source.entries().iter().filter(|entry| named.is_none_or(|(key, _)| entry.key != *key)) {
        conditions.push(format!("{} {}", entry.key, texts(source, &entry.key).join(" or ")));
    }
    match named {
        Some((key, word)) => {
            texts(source, key).iter().map(|value| (format!("{word}{value}"), conditions.clone())).collect()
        }
        None => vec![("anyone".to_owned(), conditions)],
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
