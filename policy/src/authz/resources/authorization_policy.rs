//! AuthorizationPolicy, as istio/api `security/v1beta1/authorization_policy.proto` has it.

use std::rc::Rc;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::names::{HeaderName, MetadataKey};
use crate::authz::fields::header::HeaderSyntax;
use crate::authz::fields::host::HostPattern;
use crate::authz::fields::ip_block::IpBlock;
use crate::authz::fields::metadata::MetadataPattern;
use crate::authz::fields::method::MethodPattern;
use crate::authz::fields::namespace::NamespacePattern;
use crate::authz::fields::path::PathPattern;
use crate::authz::fields::port::Port;
use crate::authz::fields::principal::PrincipalPattern;
use crate::authz::fields::request_principal::RequestPrincipalPattern;
use crate::authz::fields::server_name::ServerNamePattern;
use crate::authz::fields::service_account::ServiceAccount;
use crate::authz::fields::time::TimeWindow;
use crate::authz::fields::trust_domain::TrustDomainPattern;
use crate::authz::fields::{Address, Values};
use crate::authz::policy_name::{PolicyName, RuleLabel, RuleName};
use crate::authz::resources::object_meta::Metadata;
use crate::authz::resources::workload::Target;
use crate::config::reader::{ConfigNode, Object};
use crate::identity::settings::REMOTE_ADDRESS;
use crate::identity::trust_domains::TrustDomains;
use crate::matcher::path_template::SegmentBytes;

/// Istio's limit on `rules`, on `from` and on `to` (the CRD's `maxItems`).
const MAX_RULES: usize = 512;

/// Istio's limit on `serviceAccounts` (istio/api `security/v1beta1/authorization_policy.proto`).
const MAX_SERVICE_ACCOUNTS: usize = 16;

/// Sources of one rule times its operations: what a rule may expand to.
const MAX_CLAUSES: usize = 65_536;

/// So many values in one list are more than any policy needs, and fewer than would fill the memory of the VM.
const MAX_VALUES: usize = 1_000_000;

/// What reading a policy needs to know of the rest of the configuration.
pub(crate) struct Context<'c> {
    pub(crate) trust_domains: &'c TrustDomains,
    pub(crate) header_syntax: &'c HeaderSyntax,
    pub(crate) claims: &'c ClaimSource,
}

/// `spec.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
    /// Marks what matches, and decides nothing.
    Audit,
}

/// One match field with its values: the request's value is among them, or with `negated` it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Predicate {
    /// Shared by all clauses that a rule is multiplied out to.
    pub(crate) values: Rc<Values>,
    pub(crate) negated: bool,
}

/// One rule, multiplied out: it matches where all predicates of one clause hold.
pub(crate) type Clauses = Vec<Vec<Predicate>>;

/// A policy that was read without a fault.
#[derive(Clone)]
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
    /// What it means for connections at layer 4, where that is something else, with a line about each rule of which
    /// it is.
    ///
    /// Follows Istio (1.31, `pilot/pkg/security/authz/model/model.go`): of an ALLOW policy a rule that asks for what
    /// only HTTP has is dropped, of others what it asks of that is, so that they reach further.
    pub(crate) fn for_connections(&self) -> Option<(Self, Vec<String>)> {
        let mut warnings = Vec::new();
        let mut rules = Vec::with_capacity(self.rules.len());
        for (label, clauses) in self.rule_labels().zip(&self.rules) {
            let Some(field) = clauses.iter().flatten().find_map(|predicate| predicate.values.of_http()) else {
                rules.push(clauses.clone());
                continue;
            };
            let rule = RuleName::new(self.name.clone(), label).label();
            let said = format!("{field} of {} rule {rule} is of HTTP alone", self.name);
            match self.action {
                Action::Allow => {
                    warnings.push(format!("{said}, so the rule allows no connection"));
                    rules.push(Vec::new());
                }
                Action::Deny | Action::Audit => {
                    warnings.push(format!("{said} and does not count, so the rule reaches more connections"));
                    let kept = |clause: &Vec<Predicate>| {
                        clause.iter().filter(|predicate| predicate.values.of_http().is_none()).cloned().collect()
                    };
                    rules.push(clauses.iter().map(kept).collect());
                }
            }
        }
        if warnings.is_empty() {
            return None;
        }
        let policy = Self {
            name: self.name.clone(),
            dry_run: self.dry_run,
            action: self.action,
            target: self.target.clone(),
            rules,
            words: self.words.clone(),
        };
        Some((policy, warnings))
    }

    /// Whether a rule compares the address of the client, as `X-Forwarded-For` or the PROXY protocol tell it.
    pub(crate) fn asks_for_remote_address(&self) -> bool {
        let mut predicates = self.rules.iter().flatten().flatten();
        predicates.any(|predicate| matches!(*predicate.values, Values::Ips(Address::Remote, _)))
    }

    /// What each rule is called, in their order.
    pub(crate) fn rule_labels(&self) -> impl Iterator<Item = RuleLabel> {
        (0..self.rules.len()).map(|number| self.rule_label(number))
    }

    /// What the rule of a number is called.
    pub(crate) fn rule_label(&self, number: usize) -> RuleLabel {
        self.words.get(number).map_or(RuleLabel::Number(number), |word| RuleLabel::Name(word.clone()))
    }

    pub(crate) fn read(resource: &Object<'_>, context: &Context<'_>) -> Option<Self> {
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
            place: Place::Policy,
            namespace: namespace.as_deref(),
        };
        let rules = match spec.optional("rules") {
            Some(rules) => read_rules(&rules, &reading, action),
            None => Some(Vec::new()),
        };
        if action == Some(Action::Audit) && metadata.as_ref().is_some_and(|metadata| metadata.dry_run) {
            resource
                .error("an AUDIT policy changes nothing, so it has no dry run; remove the annotation istio.io/dry-run");
        }
        if action == Some(Action::Deny) && rules.as_ref().is_some_and(Vec::is_empty) {
            spec.error("a DENY without rules denies nothing; write rules: [{}] to deny everything");
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
        (Action::Allow, false) | (Action::Deny, true) | (Action::Audit, _) => SegmentBytes::Envoy,
        (Action::Allow, true) | (Action::Deny, false) => SegmentBytes::Any,
    }
}

fn read_action(spec: &Object<'_>, context: &Context<'_>) -> Option<Action> {
    let Some(node) = spec.optional("action") else {
        if context.header_syntax.client_asserted_only {
            spec.error("has no action, which means ALLOW, and this filter only denies; write action: DENY");
        }
        return Some(Action::Allow);
    };
    match node.text()? {
        "CUSTOM" => {
            node.error("CUSTOM is not supported; use envoy.filters.http.ext_authz before this filter");
            None
        }
        text @ ("ALLOW" | "AUDIT") if context.header_syntax.client_asserted_only => {
            node.error(format!("this filter only denies, use identity-authz for {text}"));
            None
        }
        _ => node.enum_value(&[("ALLOW", Action::Allow), ("DENY", Action::Deny), ("AUDIT", Action::Audit)]),
    }
}

struct Reading<'r> {
    context: &'r Context<'r>,
    bytes: SegmentBytes,
    place: Place,
    /// The policy's own namespace, if it has one.
    namespace: Option<&'r str>,
}

/// Where a `source` stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In an AuthorizationPolicy.
    Policy,
    /// In a rule of the filter `egress-allowlist`, whose clients are workloads.
    EgressRule { remote_address_is_trusted: bool },
}

/// Reads a list of `{source: …}` of an egress rule: one of them has to match.
pub(crate) fn read_sources(
    node: &ConfigNode<'_>,
    context: &Context<'_>,
    remote_address_is_trusted: bool,
) -> Option<Vec<Vec<Predicate>>> {
    let place = Place::EgressRule { remote_address_is_trusted };
    let reading = Reading { context, bytes: SegmentBytes::Any, place, namespace: None };
    read_alternatives(node, "from", "source", |source| read_source(source, &reading))
}

fn read_rules(node: &ConfigNode<'_>, reading: &Reading<'_>, action: Option<Action>) -> Option<Vec<Clauses>> {
    let rules: Vec<_> = node.items_up_to(MAX_RULES)?.map(|rule| read_rule(&rule, reading, action)).collect();
    rules.into_iter().collect()
}

/// Reads `from`, `to` and `when`: one of the sources and one of the operations and all conditions have to match.
fn read_rule(node: &ConfigNode<'_>, reading: &Reading<'_>, action: Option<Action>) -> Option<Clauses> {
    let rule = node.object()?;
    let from = rule.optional("from");
    let to = rule.optional("to");
    let when = rule.optional("when");
    if let Some(from) = &from
        && reading.context.header_syntax.client_asserted_only
    {
        from.error("this filter knows no identities, use identity-authz for policies with from");
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
    if sources.len() * operations.len() > MAX_CLAUSES {
        node.error(format!(
            "{} sources times {} operations are more than {MAX_CLAUSES}, split the rule",
            sources.len(),
            operations.len()
        ));
        return None;
    }
    let product = sources.iter().flat_map(|source| operations.iter().map(move |operation| (source, operation)));
    let mut clauses = Vec::with_capacity(sources.len() * operations.len());
    clauses.extend(product.map(|(source, operation)| [source.as_slice(), operation, &conditions].concat()));
    Some(clauses)
}

/// Reads a list of objects that hold one key each. Alternatives that differ in the values of one same field only are
/// joined: a hundred sources of one principal each are one source of a hundred.
fn read_alternatives(
    node: &ConfigNode<'_>,
    list: &str,
    key: &'static str,
    read: impl Fn(&Object<'_>) -> Option<Vec<Predicate>>,
) -> Option<Vec<Vec<Predicate>>> {
    let mut alternatives: Vec<Vec<Predicate>> = Vec::new();
    let mut complete = true;
    for item in node.non_empty_list(MAX_RULES, &format!("to mean any {key}"))? {
        let Some(object) = item.object() else {
            complete = false;
            continue;
        };
        let inner = object.required(key, &format!("an item of {list} is written {key}: {{…}}"));
        let predicates = inner.as_ref().and_then(|inner| {
            let inner_object = inner.object()?;
            if inner_object.is_empty() {
                inner.error(format!("empty, add a field, or remove {list} to mean any {key}"));
                return None;
            }
            let predicates = read(&inner_object);
            inner_object.finish();
            predicates
        });
        object.finish();
        match predicates {
            Some(predicates) => add_alternative(&mut alternatives, predicates),
            None => complete = false,
        }
    }
    complete.then_some(alternatives)
}

fn add_alternative(alternatives: &mut Vec<Vec<Predicate>>, predicates: Vec<Predicate>) {
    if let [Predicate { values, negated: false }] = predicates.as_slice() {
        for other in alternatives.iter_mut() {
            if let [Predicate { values: known, negated: false }] = other.as_mut_slice()
                && Rc::get_mut(known).is_some_and(|known| known.merge_values(values))
            {
                return;
            }
        }
    }
    alternatives.push(predicates);
}

/// Reads a field and its `not` twin into `predicates`; false where a fault was reported.
fn read_pair(
    object: &Object<'_>,
    keys: [&'static str; 2],
    predicates: &mut Vec<Predicate>,
    read: &dyn Fn(&ConfigNode<'_>, bool) -> Option<Values>,
) -> bool {
    let mut complete = true;
    for (key, negated) in keys.into_iter().zip([false, true]) {
        let Some(node) = object.optional(key) else { continue };
        match read(&node, negated) {
            Some(values) => predicates.push(Predicate { values: Rc::new(values), negated }),
            None => complete = false,
        }
    }
    complete
}

/// Reads the strings of a list, each with `parse`, whose error is reported at the string's place.
pub(crate) fn read_values<P>(node: &ConfigNode<'_>, parse: impl Fn(&str) -> Result<P, String>) -> Option<Vec<P>> {
    read_listed(node, "to mean any", parse)
}

/// The same; `meaning` says what leaving the key out would mean.
pub(crate) fn read_listed<P>(
    node: &ConfigNode<'_>,
    meaning: &str,
    parse: impl Fn(&str) -> Result<P, String>,
) -> Option<Vec<P>> {
    let mut values = Vec::new();
    let complete = each_text(node, meaning, &mut |text| parse(text).map(|value| values.push(value)));
    // Lists of one are the most: room for more would be most of the memory.
    values.shrink_to_fit();
    complete.then_some(values)
}

/// Gives each string of a list to `take`; whether there were some and all were taken.
fn each_text(node: &ConfigNode<'_>, meaning: &str, take: &mut dyn FnMut(&str) -> Result<(), String>) -> bool {
    let Some(items) = node.non_empty_list(MAX_VALUES, meaning) else { return false };
    let mut complete = true;
    for item in items {
        match item.non_empty_str().map(&mut *take) {
            Some(Ok(())) => {}
            Some(Err(problem)) => {
                item.error(problem);
                complete = false;
            }
            None => complete = false,
        }
    }
    complete
}

/// Reads the strings of a list of which each can stand for several values.
fn read_expanded<P>(node: &ConfigNode<'_>, parse: &dyn Fn(&str) -> Result<Vec<P>, String>) -> Option<Vec<P>> {
    let mut values = Vec::new();
    let complete = each_text(node, "to mean any", &mut |text| parse(text).map(|parsed| values.extend(parsed)));
    values.shrink_to_fit();
    complete.then_some(values)
}

fn read_principals(node: &ConfigNode<'_>, reading: &Reading<'_>) -> Option<Values> {
    read_expanded(node, &|text| PrincipalPattern::parse(text, reading.context.trust_domains)).map(Values::Principals)
}

fn read_trust_domains(node: &ConfigNode<'_>, reading: &Reading<'_>) -> Option<Values> {
    read_expanded(node, &|text| TrustDomainPattern::parse(text, reading.context.trust_domains))
        .map(Values::TrustDomains)
}

fn read_service_accounts(node: &ConfigNode<'_>, reading: &Reading<'_>) -> Option<Values> {
    let accounts = read_values(node, |text| ServiceAccount::parse(text, reading.namespace))?;
    if accounts.len() > MAX_SERVICE_ACCOUNTS {
        node.error(format!(
            "has {} service accounts, Istio's limit is {MAX_SERVICE_ACCOUNTS}; use principals",
            accounts.len()
        ));
        return None;
    }
    Some(Values::ServiceAccounts(accounts))
}

fn read_source(source: &Object<'_>, reading: &Reading<'_>) -> Option<Vec<Predicate>> {
    let mut predicates = Vec::new();
    let mut complete = true;
    let mut pair = |keys: [&'static str; 2], read: &dyn Fn(&ConfigNode<'_>) -> Option<Values>| {
        complete &= read_pair(source, keys, &mut predicates, &|node, _| read(node));
    };
    pair(["principals", "notPrincipals"], &|node| read_principals(node, reading));
    pair(["namespaces", "notNamespaces"], &|node| read_values(node, NamespacePattern::parse).map(Values::Namespaces));
    pair(["serviceAccounts", "notServiceAccounts"], &|node| read_service_accounts(node, reading));
    pair(["trustDomains", "notTrustDomains"], &|node| read_trust_domains(node, reading));
    pair(["ipBlocks", "notIpBlocks"], &|node| read_ips(node, Address::Source));
    pair(["remoteIpBlocks", "notRemoteIpBlocks"], &|node| match reading.place {
        Place::EgressRule { remote_address_is_trusted: false } => {
            node.error(format!("compares the client's address, and {REMOTE_ADDRESS}, or use ipBlocks"));
            None
        }
        Place::Policy | Place::EgressRule { .. } => read_ips(node, Address::Remote),
    });
    match reading.place {
        Place::Policy => {
            pair(["requestPrincipals", "notRequestPrincipals"], &read_request_principals);
        }
        Place::EgressRule { .. } => {
            for key in ["requestPrincipals", "notRequestPrincipals"] {
                source.refused(key, "what leaves carries tokens for others, use principals");
            }
        }
    }
    let has = |is: fn(&Values) -> bool| predicates.iter().any(|predicate| is(&predicate.values));
    if reading.place == Place::Policy
        && has(|values| matches!(values, Values::ServiceAccounts(_)))
        && has(|values| matches!(values, Values::Principals(_) | Values::Namespaces(_)))
    {
        source
            .error("has serviceAccounts beside principals or namespaces, which Istio refuses; use principals for both");
        return None;
    }
    complete.then_some(predicates)
}

fn read_ips(node: &ConfigNode<'_>, of: Address) -> Option<Values> {
    read_values(node, IpBlock::parse).map(|blocks| Values::Ips(of, blocks))
}

fn read_request_principals(node: &ConfigNode<'_>) -> Option<Values> {
    read_values(node, RequestPrincipalPattern::parse).map(Values::RequestPrincipals)
}

fn read_operation(operation: &Object<'_>, reading: &Reading<'_>, action: Option<Action>) -> Option<Vec<Predicate>> {
    let mut predicates = Vec::new();
    let mut complete = read_pair(operation, ["hosts", "notHosts"], &mut predicates, &|node, _| {
        read_values(node, HostPattern::parse).map(Values::Hosts)
    });
    complete &= read_pair(operation, ["ports", "notPorts"], &mut predicates, &|node, _| {
        read_values(node, Port::parse).map(Values::Ports)
    });
    complete &= read_pair(operation, ["methods", "notMethods"], &mut predicates, &|node, _| {
        read_values(node, MethodPattern::parse).map(Values::Methods)
    });
    complete &= read_pair(operation, ["paths", "notPaths"], &mut predicates, &|node, negated| {
        let bytes = action.map_or(reading.bytes, |action| operator_bytes(action, negated));
        read_values(node, |text| PathPattern::parse(text, bytes)).map(Values::Paths)
    });
    complete.then_some(predicates)
}

/// Reads `when`: all of its conditions have to hold.
fn read_conditions(node: &ConfigNode<'_>, reading: &Reading<'_>) -> Option<Vec<Predicate>> {
    let mut complete = true;
    let mut predicates = Vec::new();
    for item in node.non_empty_list(MAX_RULES, "to mean always")? {
        let Some(condition) = item.object() else {
            complete = false;
            continue;
        };
        let key = condition.required("key", "name what is compared, as in source.principal");
        if !condition.is_empty() && condition.optional("values").is_none() && condition.optional("notValues").is_none()
        {
            item.error("has neither values nor notValues, write what is compared");
            complete = false;
        }
        let key = key.as_ref().and_then(|key| read_key(key, reading));
        complete &= key.is_some_and(|key| {
            read_pair(&condition, ["values", "notValues"], &mut predicates, &|node, _| key.read_values(node, reading))
        });
        condition.finish();
    }
    complete.then_some(predicates)
}

/// What a condition of `when` compares.
enum Key {
    Header(HeaderName),
    Metadata(MetadataKey),
    /// One of [`KEYS`].
    Plain(ReadValues),
}

type ReadValues = fn(&ConfigNode<'_>, &Reading<'_>) -> Option<Values>;

/// The keys of `when` that take no name in brackets (istio/istio `pilot/pkg/security/authz/model/model.go`), and
/// `request.time`, which Istio does not have.
const KEYS: [(&str, ReadValues); 13] = [
    ("source.ip", |node, _| read_ips(node, Address::Source)),
    ("remote.ip", |node, _| read_ips(node, Address::Remote)),
    ("source.namespace", |node, _| read_values(node, NamespacePattern::parse).map(Values::Namespaces)),
    ("source.serviceAccount", read_service_accounts),
    ("source.trustDomain", read_trust_domains),
    ("source.principal", read_principals),
    ("request.auth.principal", |node, _| read_request_principals(node)),
    ("request.auth.audiences", |node, reading| read_metadata(node, MetadataKey::claim("aud"), reading)),
    ("request.auth.presenter", |node, reading| read_metadata(node, MetadataKey::claim("azp"), reading)),
    ("destination.ip", |node, _| read_ips(node, Address::Destination)),
    ("destination.port", |node, _| read_values(node, Port::parse).map(Values::Ports)),
    ("connection.sni", |node, _| read_values(node, |text| Ok(ServerNamePattern::parse(text))).map(Values::ServerNames)),
    ("request.time", |node, _| read_values(node, TimeWindow::parse).map(Values::Times)),
];

fn read_metadata(node: &ConfigNode<'_>, key: MetadataKey, reading: &Reading<'_>) -> Option<Values> {
    let patterns = read_values(node, |text| MetadataPattern::parse(text, &key, reading.context.claims))?;
    Some(Values::Metadata(key, patterns))
}

impl Key {
    fn read_values(&self, node: &ConfigNode<'_>, reading: &Reading<'_>) -> Option<Values> {
        match self {
            Self::Header(name) => {
                let patterns = read_values(node, |text| (reading.context.header_syntax.parse)(text))?;
                Some(Values::Header(name.clone(), patterns))
            }
            Self::Metadata(key) => read_metadata(node, key.clone(), reading),
            Self::Plain(read) => read(node, reading),
        }
    }
}

fn read_key(key: &ConfigNode<'_>, reading: &Reading<'_>) -> Option<Key> {
    let text = key.non_empty_str()?;
    let bracketed = header_of(text)
        .map(|name| name.map(Key::Header))
        .or_else(|| MetadataKey::parse(text).map(|key| key.map(Key::Metadata)));
    let found = match bracketed {
        Some(found) => found,
        None => match KEYS.iter().find(|(known, _)| *known == text) {
            Some((_, read)) => Ok(Key::Plain(*read)),
            None => Err(unknown_key(text)),
        },
    };
    match found {
        Ok(Key::Header(_)) => {}
        Ok(_) if reading.context.header_syntax.client_asserted_only && text != "destination.port" => {
            key.error(format!("this filter looks at what clients announce, use identity-authz for `{text}`"));
            return None;
        }
        _ => {}
    }
    found.map_err(|problem| key.error(problem)).ok()
}

/// The header of a key `request.headers[…]`.
fn header_of(key: &str) -> Option<Result<HeaderName, String>> {
    let bracketed = key.strip_prefix("request.headers[")?;
    Some(match bracketed.strip_suffix(']') {
        Some(name) => HeaderName::parse(name),
        None => Err(format!("bad key `{key}`: expected request.headers[user-agent]")),
    })
}

/// Keys that Istio has taken back (istio/istio `pkg/config/security/security.go`).
const TAKEN_BACK: [&str; 4] = ["destination.labels", "destination.namespace", "destination.name", "destination.user"];

fn unknown_key(text: &str) -> String {
    let plain = text.split('[').next().unwrap_or(text);
    if TAKEN_BACK.contains(&plain) {
        return format!("Istio has taken `{plain}` back; write the policy in that namespace, with a selector");
    }
    let keys = || KEYS.iter().map(|(key, _)| *key).chain(["request.headers[user-agent]", "request.auth.claims[group]"]);
    match crate::config::reader::nearest(text, keys()) {
        Some(name) => format!("unknown key `{text}`, did you mean \"{name}\"?"),
        None => format!("unknown key `{text}`, expected {}", crate::config::reader::one_of(keys())),
    }
}
