//! Rules, explicit or from resources: sources, hosts and ports.

use std::rc::Rc;

use crate::attributes::readings::path::PathReadings;
use crate::authz::engine::field::FieldValues;
use crate::authz::engine::rule::{Action, Dnf, Predicate};
use crate::authz::fields::principal::{Principal, PrincipalPattern};
use crate::authz::fields::reader::FieldContext;
use crate::authz::policy_name::{PolicyName, RuleLabel, RuleName};
use crate::authz::resources::Resource;
use crate::authz::resources::field_reader::RuleFieldReader;
use crate::authz::resources::kinds::OwnKinds;
use crate::authz::resources::object_meta::label;
use crate::authz::resources::rules::{self, RuleSize};
use crate::collections::map::OrderedMap;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object};
use crate::config::string_list::read_listed;
use crate::egress::cilium_network_policy::CiliumNetworkPolicy;
use crate::egress::context::EgressContext;
use crate::egress::entry::Entry;
use crate::egress::fields::SOURCE_FIELDS;
use crate::egress::host_pattern::{DestinationPattern, HostSyntax};
use crate::egress::load_notes::LoadNotes;
use crate::egress::port::{PortPattern, ProtocolSet};
use crate::egress::service_addresses::ServiceAddressesBuilder;
use crate::egress::service_entry::{ExportedTo, ServiceEntry};
use crate::matcher::path_template::SegmentBytes;

/// The kinds of resources that rules come from.
pub(crate) const OWN_KINDS: OwnKinds =
    OwnKinds(&["ServiceEntry", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"]);

/// The namespace under which the rules of `rules` are reported.
const RULES: &str = "rules";

/// The name of entries in the error about too many combinations.
const LISTS: &str = "lists of hosts";

/// The most ports of a rule.
const MAX_PORTS: usize = 65_535;

/// Hosts that may be reached, or must not be, by some sources on some ports.
pub(crate) struct Rule {
    pub(crate) name: RuleName,
    pub(crate) action: Action,
    pub(crate) mode: EnforcementMode,
    /// Alternatives, each a conjunction of predicates; one without predicates matches any source.
    pub(crate) sources: Dnf,
    /// Alternatives, each for all sources.
    pub(crate) entries: Vec<Entry>,
}

/// Rules in the order in which they are reported. Each goes to the consumer as soon as it is read: all of them at once
/// would be most of the memory that a configuration takes.
pub(crate) struct Rules<'r> {
    consumer: &'r dyn Fn(Rule),
    /// Number of rules.
    pub(crate) count: usize,
    /// Number of rules in report mode.
    pub(crate) reported: usize,
    /// Number of listed hosts.
    pub(crate) hosts: usize,
    /// Size of the rules of the resource that is read.
    size: RuleSize,
    /// Number of resources that the rules come from.
    pub(crate) resources: usize,
    /// Parts of them that are left out.
    pub(crate) notes: LoadNotes,
    /// Addresses that ServiceEntries list.
    pub(crate) addresses: ServiceAddressesBuilder,
    /// The policies for the whole cluster.
    cluster_wide: OrderedMap<PolicyName, ()>,
}

impl Rule {
    pub(crate) fn read(node: &ConfigNode<'_>, number: usize, context: &EgressContext<'_>) -> Option<Self> {
        let object = node.object()?;
        let name = object.required("name", "name the rule; denials are reported under it");
        let name = name.and_then(|node| label(&node, 253, true));
        let action = match object.optional("action") {
            Some(node) => node.enum_value(&[("ALLOW", Action::Allow), ("DENY", Action::Deny)]),
            None => Some(Action::Allow),
        };
        let mode = EnforcementMode::read(object.optional("mode").as_ref());
        let sources = match object.optional("from") {
            Some(from) => read_sources(&from, context),
            None => Some(vec![Vec::new()]),
        };
        let denies = action == Some(Action::Deny);
        let hosts = object.required("hosts", "list the hosts, as in [\"api.x.com\", \"*.x.com\"]").and_then(|node| {
            read_listed(&node, "and the rule with it", |text| {
                let pattern = DestinationPattern::parse(text, HostSyntax::Rule, context.addresses)?;
                // Resources can allow names with `_`, so a denial covers them.
                Ok(if denies { pattern.with_underscores() } else { pattern })
            })
        });
        let ports = match object.optional("ports") {
            Some(node) => read_ports(&node),
            None if denies => Some(vec![PortPattern::Range { first: 1, last: u16::MAX, protocols: ProtocolSet::Any }]),
            None => Some(vec![PortPattern::DefaultPort]),
        };
        object.finish();
        let sources = sources?;
        let size = size_of(&sources, 1);
        context.rule_sizes.add(size, LISTS, &|problem| node.error_as(ErrorCode::LimitExceeded, problem))?;
        Some(Self {
            name: RuleName::new(PolicyName::of_resource(RULES, &name?), RuleLabel::Number(number)),
            action: action?,
            mode: mode?,
            sources,
            entries: vec![Entry { hosts: vec![hosts?], ports: ports? }],
        })
    }
}

/// The size of a rule whose entries are a list of hosts and one of ports each.
fn size_of(sources: &Dnf, entries: usize) -> RuleSize {
    RuleSize::of(rules::size_of(sources), [entries, 2 * entries], 0)
}

fn read_ports(node: &ConfigNode<'_>) -> Option<Vec<PortPattern>> {
    let items =
        node.non_empty_list(MAX_PORTS, "to mean 80 for HTTP and 443 for CONNECT and TLS, for a DENY every port")?;
    let ports: Vec<_> =
        items.map(|item| item.whole_number(1, 65_535).and_then(|port| u16::try_from(port).ok())).collect();
    let ports: Option<Vec<_>> = ports.into_iter().collect();
    Some(ports?.into_iter().map(|port| PortPattern::Number { port, protocols: ProtocolSet::Any }).collect())
}

impl<'r> Rules<'r> {
    /// Returns no rules, and a consumer for those to come.
    pub(crate) fn new(consumer: &'r dyn Fn(Rule)) -> Self {
        Self {
            consumer,
            count: 0,
            reported: 0,
            hosts: 0,
            size: RuleSize::default(),
            resources: 0,
            notes: LoadNotes::default(),
            addresses: ServiceAddressesBuilder::default(),
            cluster_wide: OrderedMap::default(),
        }
    }

    /// Adds a rule.
    pub(crate) fn add(&mut self, rule: Rule) {
        self.count += 1;
        self.reported += usize::from(rule.mode == EnforcementMode::Report);
        self.hosts += rule.entries.iter().flat_map(|entry| &entry.hosts).map(Vec::len).sum::<usize>();
        self.size = self.size.and(size_of(&rule.sources, rule.entries.len()));
        (self.consumer)(rule);
    }

    /// Reads a resource and adds its rules.
    pub(crate) fn add_resource(&mut self, resource: Resource<'_>, context: &EgressContext<'_>) -> Option<()> {
        let Resource { kind, object, metadata } = resource;
        let name = match kind {
            "CiliumClusterwideNetworkPolicy" => read_cluster_name(object),
            _ => metadata.map(|metadata| metadata.name),
        };
        if let Some(name) = name.as_ref().filter(|name| name.namespace().is_none())
            && self.cluster_wide.insert(name.clone(), ()).is_some()
        {
            object
                .error_as(ErrorCode::DuplicateResource, format!("duplicate {name}, which an earlier resource defines"));
        }
        // Without a name the rest is read for its errors.
        let (named, name) = (name.is_some(), name.unwrap_or_else(|| PolicyName::of_cluster_resource("")));
        self.size = RuleSize::default();
        let read = match kind {
            "ServiceEntry" => ServiceEntry::read(object, &name, context, &mut self.notes)
                .map(|entry| self.add_service_entry(entry, context)),
            _ => CiliumNetworkPolicy::read(object, &name, context, &mut self.notes)
                .map(|policy| self.add_network_policy(policy, context)),
        };
        self.resources += 1;
        context.rule_sizes.add(self.size, LISTS, &|problem| object.error_as(ErrorCode::LimitExceeded, problem))?;
        read.filter(|()| named)
    }

    fn add_service_entry(&mut self, entry: ServiceEntry, context: &EgressContext<'_>) {
        let ServiceEntry { name, hosts, addresses, ports, exported_to } = entry;
        self.addresses.add(&name, &hosts, addresses);
        let sources = match exported_to {
            _ if ports.is_empty() => return,
            ExportedTo::Public => vec![Vec::new()],
            ExportedTo::Namespaces(namespaces) if namespaces.is_empty() => return,
            ExportedTo::Namespaces(namespaces) => {
                let own = context.trust_domains.own();
                let principals = namespaces.iter().map(|namespace| format!("{own}/ns/{namespace}/*"));
                vec![vec![of_principals(principals, false, context)]]
            }
        };
        self.allow(name, 0, sources, vec![Entry { hosts: vec![hosts], ports }]);
    }

    fn add_network_policy(&mut self, policy: CiliumNetworkPolicy, context: &EgressContext<'_>) {
        let CiliumNetworkPolicy { name, specs } = policy;
        for (number, spec) in specs.into_iter().enumerate() {
            let tests = spec.tests.into_iter();
            let source = tests.map(|test| of_principals(test.principals.into_iter(), test.negated, context)).collect();
            self.allow(name.clone(), number, vec![source], spec.entries);
        }
    }

    fn allow(&mut self, name: PolicyName, number: usize, sources: Dnf, entries: Vec<Entry>) {
        let name = RuleName::new(name, RuleLabel::Number(number));
        self.add(Rule { name, action: Action::Allow, mode: EnforcementMode::Enforce, sources, entries });
    }
}

/// Returns the test for clients with one of these principals, or with `negated` with none of them.
fn of_principals(principals: impl Iterator<Item = String>, negated: bool, context: &EgressContext<'_>) -> Predicate {
    // An invalid principal matches no one, so dropping it allows nothing and keeps out nobody.
    let principals =
        principals.flat_map(|text| PrincipalPattern::parse(&text, context.trust_domains)).flatten().collect();
    Predicate { values: FieldValues::shared(Principal, principals), negated }
}

/// Reads `from`: a list of sources, one of which has to match.
pub(crate) fn read_sources(node: &ConfigNode<'_>, context: &EgressContext<'_>) -> Option<Dnf> {
    let reader = RuleFieldReader {
        registry: &SOURCE_FIELDS,
        action: None,
        fields: FieldContext {
            trust_domains: context.trust_domains,
            claims: &Rc::default(),
            path_readings: PathReadings::default(),
            trusts_remote_address: context.remote_address_is_trusted,
            namespace: None,
            operators: SegmentBytes::Any,
        },
    };
    reader.read_sources(node)
}

/// Reads the name of an object that is in no namespace.
fn read_cluster_name(resource: &Object<'_>) -> Option<PolicyName> {
    let node = resource.required("metadata", "write its name")?;
    let metadata = node.object()?;
    let name = metadata.required("name", "name the policy; denials are reported under it")?;
    Some(PolicyName::of_cluster_resource(&label(&name, 253, true)?))
}
