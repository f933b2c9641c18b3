//! AuthorizationPolicy, as istio/api `security/v1beta1/authorization_policy.proto` has it.

use std::rc::Rc;

use super::metadata::Metadata;
use super::{PolicyName, Target};
use crate::decision::RuleLabel;
use crate::field::{
    HeaderDialect, HeaderName, HeaderPattern, HostPattern, IpBlock, MethodPattern, NamespacePattern, PathPattern, Port,
    PrincipalPattern, ServiceAccount, TrustDomains, Values,
};
use crate::pattern::SegmentBytes;
use crate::reader::{Node, Object};

/// Istio's limit on `rules`, on `from` and on `to` (the CRD's `maxItems`).
const MOST_RULES: usize = 512;

/// Sources of one rule times its operations: what a rule may expand to.
const MOST_CLAUSES: usize = 65_536;

/// So many values in one list are more than any policy needs, and fewer than would fill the memory of the VM.
const MOST_VALUES: usize = 1_000_000;

/// What reading a policy needs to know of the rest of the configuration.
pub(crate) struct Context<'c> {
    pub(crate) trust_domains: &'c TrustDomains,
    pub(crate) dialect: HeaderDialect,
}

/// `spec.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
}

/// One match field with its values: the request's value is among them, or with `negated` it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// Shared by all clauses that a rule is multiplied out to.
    pub(crate) values: Rc<Values>,
    pub(crate) negated: bool,
}

/// One rule, multiplied out: it matches where all terms of one clause hold.
pub(crate) type Clauses = Vec<Vec<Term>>;

/// A policy that was read without a fault.
pub(crate) struct AuthorizationPolicy {
    pub(crate) name: PolicyName,
    pub(crate) dry_run: bool,
    pub(crate) action: Action,
    pub(crate) target: Target,
    pub(crate) rules: Vec<Clauses>,
    /// What the rules are called, where not by their numbers.
    pub(crate) words: Vec<String>,
}

impl AuthorizationPolicy {
    /// What each rule is called, in their order.
    pub(crate) fn rule_labels(&self) -> impl Iterator<Item = RuleLabel> {
        (0..self.rules.len()).map(|number| {
            self.words.get(number).map_or(RuleLabel::Number(number), |word| RuleLabel::Word(word.clone()))
        })
    }

    pub(super) fn read(resource: &Object<'_>, context: &Context<'_>) -> Option<Self> {
        let metadata = Metadata::read(resource);
        let node = resource.required("spec", "write spec: {} to allow nothing")?;
        let spec = node.object()?;
        let action = read_action(&spec, context);
        let target = Target::read(&spec);
        spec.refused(
            "provider",
            "is for the action CUSTOM, which is not supported; use envoy.filters.http.ext_authz before this filter",
        );
        let namespace = metadata.as_ref().and_then(|metadata| metadata.name.namespace()).map(str::to_owned);
        let reading = Reading {
            context,
            bytes: action.map_or(SegmentBytes::Any, |action| operator_bytes(action, false)),
            source_ip_is_direct: false,
            namespace: namespace.as_deref(),
        };
        let rules = match spec.optional("rules") {
            Some(rules) => read_rules(&rules, &reading, action),
            None => Some(Vec::new()),
        };
        if action == Some(Action::Deny) && rules.as_ref().is_some_and(Vec::is_empty) {
            spec.fault("a DENY without rules denies nothing; write rules: [{}] to deny everything");
        }
        spec.finish();
        let Metadata { name, dry_run } = metadata?;
        Some(Self { name, dry_run, action: action?, target: target?, rules: rules?, words: Vec::new() })
    }
}

/// What a template's operators stand for: Envoy's class where a match lets a request in, any byte where a match
/// keeps it out.
fn operator_bytes(action: Action, negated: bool) -> SegmentBytes {
    match (action, negated) {
        (Action::Allow, false) | (Action::Deny, true) => SegmentBytes::Envoy,
        (Action::Allow, true) | (Action::Deny, false) => SegmentBytes::Any,
    }
}

fn read_action(spec: &Object<'_>, context: &Context<'_>) -> Option<Action> {
    let Some(node) = spec.optional("action") else {
        if context.dialect == HeaderDialect::Baseline {
            spec.fault("has no action, which means ALLOW, and this filter only denies; write action: DENY");
        }
        return Some(Action::Allow);
    };
    match node.text()? {
        "AUDIT" => {
            node.fault("AUDIT is not supported yet; use mode: report or the annotation istio.io/dry-run to see what a policy would do");
            None
        }
        "CUSTOM" => {
            node.fault("CUSTOM is not supported; use envoy.filters.http.ext_authz before this filter");
            None
        }
        "ALLOW" if context.dialect == HeaderDialect::Baseline => {
            node.fault("this filter only denies, use identity-authz for ALLOW");
            None
        }
        _ => node.word(&[("ALLOW", Action::Allow), ("DENY", Action::Deny)]),
    }
}

struct Reading<'r> {
    context: &'r Context<'r>,
    bytes: SegmentBytes,
    /// Whether the proxy's source address is the peer's own, whatever a request says of addresses.
    source_ip_is_direct: bool,
    /// The policy's own namespace, if it has one.
    namespace: Option<&'r str>,
}

/// Reads a list of `{source: …}`: one of them has to match.
pub(crate) fn read_sources(node: &Node<'_>, context: &Context<'_>) -> Option<Vec<Vec<Term>>> {
    let reading = Reading { context, bytes: SegmentBytes::Any, source_ip_is_direct: true, namespace: None };
    read_alternatives(node, "from", "source", |source| read_source(source, &reading))
}

fn read_rules(node: &Node<'_>, reading: &Reading<'_>, action: Option<Action>) -> Option<Vec<Clauses>> {
    let rules: Vec<_> = node.items_up_to(MOST_RULES)?.map(|rule| read_rule(&rule, reading, action)).collect();
    rules.into_iter().collect()
}

/// Reads `from`, `to` and `when`: one of the sources and one of the operations and all conditions have to match.
fn read_rule(node: &Node<'_>, reading: &Reading<'_>, action: Option<Action>) -> Option<Clauses> {
    let rule = node.object()?;
    let from = rule.optional("from");
    let to = rule.optional("to");
    let when = rule.optional("when");
    if let Some(from) = &from
        && reading.context.dialect == HeaderDialect::Baseline
    {
        from.fault("this filter knows no identities, use identity-authz for policies with from");
    }
    let sources = match &from {
        Some(from) => read_alternatives(from, "from", "source", |source| read_source(source, reading)),
        None => Some(vec![Vec::new()]),
    };
    let operations = match &to {
        Some(to) => read_alternatives(to, "to", "operation", |operation| read_operation(operation, reading, action)),
        None => Some(vec![Vec::new()]),
    };
    let conditions = match &when {
        Some(when) => read_conditions(when, reading),
        None => Some(Vec::new()),
    };
    rule.finish();
    let (sources, operations, conditions) = (sources?, operations?, conditions?);
    if sources.len() * operations.len() > MOST_CLAUSES {
        node.fault(format!(
            "{} sources times {} operations are more than {MOST_CLAUSES}, split the rule",
            sources.len(),
            operations.len()
        ));
        return None;
    }
    let product = sources.iter().flat_map(|source| operations.iter().map(move |operation| (source, operation)));
    Some(product.map(|(source, operation)| [source.as_slice(), operation, &conditions].concat()).collect())
}

/// Reads a list of objects that hold one key each. Alternatives that differ in the values of one same field only are
/// joined: a hundred sources of one principal each are one source of a hundred.
fn read_alternatives(
    node: &Node<'_>,
    list: &str,
    key: &'static str,
    read: impl Fn(&Object<'_>) -> Option<Vec<Term>>,
) -> Option<Vec<Vec<Term>>> {
    let mut alternatives: Vec<Vec<Term>> = Vec::new();
    let mut complete = true;
    for item in node.some_items(MOST_RULES, &format!("to mean any {key}"))? {
        let Some(object) = item.object() else {
            complete = false;
            continue;
        };
        let inner = object.required(key, &format!("an item of {list} is written {key}: {{…}}"));
        let terms = inner.as_ref().and_then(|inner| {
            let inner_object = inner.object()?;
            if inner_object.is_empty() {
                inner.fault(format!("empty, add a field, or remove {list} to mean any {key}"));
                return None;
            }
            let terms = read(&inner_object);
            inner_object.finish();
            terms
        });
        object.finish();
        match terms {
            Some(terms) => add_alternative(&mut alternatives, terms),
            None => complete = false,
        }
    }
    complete.then_some(alternatives)
}

fn add_alternative(alternatives: &mut Vec<Vec<Term>>, terms: Vec<Term>) {
    if let [Term { values, negated: false }] = terms.as_slice() {
        for other in alternatives.iter_mut() {
            if let [Term { values: known, negated: false }] = other.as_mut_slice()
                && Rc::get_mut(known).is_some_and(|known| known.absorb(values))
            {
                return;
            }
        }
    }
    alternatives.push(terms);
}

/// Reads a field and its `not` twin into `terms`; false where a fault was reported.
fn read_pair(
    object: &Object<'_>,
    keys: [&'static str; 2],
    terms: &mut Vec<Term>,
    read: &dyn Fn(&Node<'_>, bool) -> Option<Values>,
) -> bool {
    let mut complete = true;
    for (key, negated) in keys.into_iter().zip([false, true]) {
        let Some(node) = object.optional(key) else { continue };
        match read(&node, negated) {
            Some(values) => terms.push(Term { values: Rc::new(values), negated }),
            None => complete = false,
        }
    }
    complete
}

/// Reads the strings of a list, each with `parse`, whose error is reported at the string's place.
pub(crate) fn read_values<P>(node: &Node<'_>, parse: impl Fn(&str) -> Result<P, String>) -> Option<Vec<P>> {
    read_listed(node, "to mean any", parse)
}

/// The same; `meaning` says what leaving the key out would mean.
pub(crate) fn read_listed<P>(
    node: &Node<'_>,
    meaning: &str,
    parse: impl Fn(&str) -> Result<P, String>,
) -> Option<Vec<P>> {
    let mut values = Vec::new();
    let complete = each_text(node, meaning, &mut |text| parse(text).map(|value| values.push(value)));
    complete.then_some(values)
}

/// Gives each string of a list to `take`; whether there were some and all were taken.
fn each_text(node: &Node<'_>, meaning: &str, take: &mut dyn FnMut(&str) -> Result<(), String>) -> bool {
    let Some(items) = node.some_items(MOST_VALUES, meaning) else { return false };
    let mut complete = true;
    for item in items {
        match item.some_text().map(&mut *take) {
            Some(Ok(())) => {}
            Some(Err(problem)) => {
                item.fault(problem);
                complete = false;
            }
            None => complete = false,
        }
    }
    complete
}

fn read_principals(node: &Node<'_>, reading: &Reading<'_>) -> Option<Values> {
    let parse = |text: &str| PrincipalPattern::parse(text, reading.context.trust_domains);
    Some(Values::Principals(read_values(node, parse)?.into_iter().flatten().collect()))
}

fn read_source(source: &Object<'_>, reading: &Reading<'_>) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    let mut complete =
        read_pair(source, ["principals", "notPrincipals"], &mut terms, &|node, _| read_principals(node, reading));
    complete &= read_pair(source, ["namespaces", "notNamespaces"], &mut terms, &|node, _| {
        read_values(node, NamespacePattern::parse).map(Values::Namespaces)
    });
    complete &= read_pair(source, ["serviceAccounts", "notServiceAccounts"], &mut terms, &|node, _| {
        read_values(node, |text| ServiceAccount::parse(text, reading.namespace)).map(Values::ServiceAccounts)
    });
    match reading.source_ip_is_direct {
        true => {
            complete &= read_pair(source, ["ipBlocks", "notIpBlocks"], &mut terms, &|node, _| {
                read_values(node, IpBlock::parse).map(Values::SourceIps)
            });
        }
        false => ["ipBlocks", "notIpBlocks"].into_iter().for_each(|key| source.refused(key, "not supported yet")),
    }
    for key in [
        "requestPrincipals",
        "notRequestPrincipals",
        "trustDomains",
        "notTrustDomains",
        "remoteIpBlocks",
        "notRemoteIpBlocks",
    ] {
        source.refused(key, "not supported yet");
    }
    complete.then_some(terms)
}

fn read_operation(operation: &Object<'_>, reading: &Reading<'_>, action: Option<Action>) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    let mut complete = read_pair(operation, ["hosts", "notHosts"], &mut terms, &|node, _| {
        read_values(node, HostPattern::parse).map(Values::Hosts)
    });
    complete &= read_pair(operation, ["ports", "notPorts"], &mut terms, &|node, _| {
        read_values(node, Port::parse).map(Values::Ports)
    });
    complete &= read_pair(operation, ["methods", "notMethods"], &mut terms, &|node, _| {
        read_values(node, MethodPattern::parse).map(Values::Methods)
    });
    complete &= read_pair(operation, ["paths", "notPaths"], &mut terms, &|node, negated| {
        let bytes = action.map_or(reading.bytes, |action| operator_bytes(action, negated));
        read_values(node, |text| PathPattern::parse(text, bytes)).map(Values::Paths)
    });
    complete.then_some(terms)
}

/// The keys of `when` that are other names for fields of `source` and `operation`.
fn read_conditions(node: &Node<'_>, reading: &Reading<'_>) -> Option<Vec<Term>> {
    let mut complete = true;
    let mut terms = Vec::new();
    for item in node.some_items(MOST_RULES, "to mean always")? {
        let Some(condition) = item.object() else {
            complete = false;
            continue;
        };
        let key = condition.required("key", "name what is compared, as in source.principal");
        if !condition.is_empty() && condition.optional("values").is_none() && condition.optional("notValues").is_none()
        {
            item.fault("has neither values nor notValues, write what is compared");
            complete = false;
        }
        let before = terms.len();
        let read = key.as_ref().and_then(|key| {
            let text = key.some_text()?;
            let keys = ["values", "notValues"];
            if reading.context.dialect == HeaderDialect::Baseline && text.starts_with("source.") {
                key.fault(format!("this filter knows no identities, use identity-authz for `{text}`"));
            }
            Some(match text {
                "source.principal" => {
                    read_pair(&condition, keys, &mut terms, &|node, _| read_principals(node, reading))
                }
                "source.namespace" => read_pair(&condition, keys, &mut terms, &|node, _| {
                    read_values(node, NamespacePattern::parse).map(Values::Namespaces)
                }),
                "destination.port" => read_pair(&condition, keys, &mut terms, &|node, _| {
                    read_values(node, Port::parse).map(Values::Ports)
                }),
                _ => match header_of(text) {
                    Some(Ok(name)) => read_pair(&condition, keys, &mut terms, &|node, _| {
                        let patterns = read_values(node, |text| HeaderPattern::parse(text, reading.context.dialect))?;
                        Some(Values::Header(name.clone(), patterns))
                    }),
                    Some(Err(problem)) => {
                        key.fault(problem);
                        false
                    }
                    None => {
                        key.fault(unsupported_key(text));
                        false
                    }
                },
            })
        });
        condition.finish();
        complete &= read == Some(true) && terms.len() > before;
    }
    complete.then_some(terms)
}

/// The header of a key `request.headers[…]`.
fn header_of(key: &str) -> Option<Result<HeaderName, String>> {
    let bracketed = key.strip_prefix("request.headers[")?;
    Some(match bracketed.strip_suffix(']') {
        Some(name) => HeaderName::parse(name),
        None => Err(format!("bad key `{key}`: expected request.headers[user-agent]")),
    })
}

/// Istio's other keys by name, so that a misspelt one is told from one that is still to come.
fn unsupported_key(text: &str) -> String {
    const LATER: [&str; 10] = [
        "source.ip",
        "remote.ip",
        "source.serviceAccount",
        "source.trustDomain",
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
        "destination.ip",
        "connection.sni",
        "request.time",
    ];
    let bare = text.split('[').next().unwrap_or_default();
    if LATER.contains(&bare)
        || bare.starts_with("request.auth.claims")
        || bare.starts_with("experimental.envoy.filters.")
    {
        return format!("the key `{text}` is not supported yet");
    }
    let known = ["source.principal", "source.namespace", "destination.port", "request.headers[user-agent]"];
    match crate::reader::nearest(text, known.into_iter().chain(LATER)) {
        Some(name) => format!("unknown key `{text}`, did you mean \"{name}\"?"),
        None => format!("unknown key `{text}`, expected {}", crate::reader::one_of(known.into_iter())),
    }
}
