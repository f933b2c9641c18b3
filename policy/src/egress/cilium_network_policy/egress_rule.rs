//! An item of `egress`: the hosts that it opens, if it is about hosts.

use std::cell::Cell;

use crate::authz::policy_name::PolicyName;
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object};
use crate::config::value::Value;
use crate::egress::cilium_network_policy::to_ports::{Content, PortRule};
use crate::egress::entry::Entry;
use crate::egress::fqdn_pattern::{parse_name, parse_pattern};
use crate::egress::host_pattern::DestinationPattern;
use crate::egress::load_notes::{LoadNotes, Topic};
use crate::egress::port::{PortPattern, ProtocolSet};

/// The most items of a list.
const MAX_ITEMS: usize = 1_000_000;

/// Destinations that are no outside hosts.
const OTHER_PEERS: [&str; 7] =
    ["toEndpoints", "toServices", "toNodes", "toGroups", "toCIDR", "toCIDRSet", "toRequires"];

/// Whom an item of `egress` is about.
enum Peers {
    /// `toFQDNs`.
    Names(Vec<DestinationPattern>),
    /// Everyone outside, so that server names tell which of them.
    World,
    /// Not said: everyone on the ports that are given, and nobody without.
    Unsaid,
    /// All addresses of a family: only addresses tell who that is.
    Addresses,
    /// Something else, by the key that says so.
    Other(&'static str),
}

/// Reads an item of `egress` of the policy `name`. `repeated` counts the names that are repeated for lists of
/// `serverNames`.
pub(crate) fn read_egress(
    node: &ConfigNode<'_>,
    name: &PolicyName,
    notes: &mut LoadNotes,
    repeated: &Cell<usize>,
) -> Option<Vec<Entry>> {
    let rule = node.object()?;
    let peers = read_peers(node, &rule);
    let authentication = rule.optional("authentication").map_or(Some(false), |node| read_authentication(&node));
    let entries = match (peers, rule.optional("toPorts")) {
        (Some(Peers::Other(key)), _) => {
            // What is said of ports there is about the same.
            notes.pass_over_cilium(key);
            Some(Vec::new())
        }
        (peers, ports) => read_port_rules(ports.as_ref(), notes).zip(peers).and_then(|(rules, peers)| {
            let rules = match peers {
                Peers::Unsaid => rules,
                _ if rules.is_empty() => vec![PortRule::any()],
                _ => rules,
            };
            let entries: Vec<_> =
                rules.into_iter().filter_map(|rule| entry(&peers, rule, authentication?, name, notes)).collect();
            with_names(node, peers, entries, repeated)
        }),
    };
    rule.finish();
    authentication.and(entries)
}

/// Puts the names of `toFQDNs` before the server names of each entry; those without server names become one.
fn with_names(node: &ConfigNode<'_>, peers: Peers, entries: Vec<Entry>, repeated: &Cell<usize>) -> Option<Vec<Entry>> {
    let Peers::Names(names) = peers else { return Some(entries) };
    let (open, mut entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.hosts.is_empty());
    let in_all = repeated.get().saturating_add(names.len().saturating_mul(entries.len()));
    repeated.set(in_all);
    if in_all > MAX_ITEMS {
        node.error(format!(
            "has {} names for each of {} lists of serverNames, the limit is {MAX_ITEMS} in all; write a rule for each list",
            names.len(),
            entries.len()
        ));
        return None;
    }
    entries.iter_mut().for_each(|entry| entry.hosts.insert(0, names.clone()));
    let ports: Vec<_> = open.into_iter().flat_map(|entry| entry.ports).collect();
    if !ports.is_empty() {
        entries.push(Entry { hosts: vec![names], ports });
    }
    Some(entries)
}

fn read_port_rules(node: Option<&ConfigNode<'_>>, notes: &mut LoadNotes) -> Option<Vec<PortRule>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let rules: Vec<_> = node.items_up_to(MAX_ITEMS)?.map(|item| PortRule::read(&item, notes)).collect();
    rules.into_iter().collect()
}

/// Returns what a port rule opens toward `peers`, who have to prove who they are if they are `authenticated`: its server
/// names, if it has some. What it does not open is noted.
fn entry(
    peers: &Peers,
    rule: PortRule,
    authenticated: bool,
    name: &PolicyName,
    notes: &mut LoadNotes,
) -> Option<Entry> {
    let PortRule { ports, content, server_names } = rule;
    let names_hosts = match peers {
        Peers::Names(_) => true,
        Peers::World | Peers::Unsaid => server_names.is_some(),
        Peers::Addresses | Peers::Other(_) => false,
    };
    if content == Content::Dns || (!names_hosts && is_dns(&ports)) {
        notes.pass_over_cilium("DNS rules");
        return None;
    }
    if ports.is_empty() {
        return None;
    }
    if !names_hosts {
        notes.add(Topic::WithoutHosts, name);
        return None;
    }
    if authenticated || content == Content::Restricted {
        notes.add(Topic::Restricted, name);
        return None;
    }
    let protocols = match content {
        Content::Http => ProtocolSet::HttpOrConnect,
        Content::Tls => ProtocolSet::TlsAlone,
        Content::Any | Content::Dns | Content::Restricted => ProtocolSet::Any,
    };
    let port = |(first, last): (u16, u16)| match first == last {
        true => PortPattern::Number { port: first, protocols },
        false => PortPattern::Range { first, last, protocols },
    };
    Some(Entry { hosts: server_names.into_iter().collect(), ports: ports.into_iter().map(port).collect() })
}

fn is_dns(ports: &[(u16, u16)]) -> bool {
    !ports.is_empty() && ports.iter().all(|range| *range == (53, 53))
}

/// Reads the destinations of layer 3, of which Cilium takes one kind in a rule.
fn read_peers(node: &ConfigNode<'_>, rule: &Object<'_>) -> Option<Peers> {
    let names = rule.optional("toFQDNs");
    let entities = rule.optional("toEntities");
    let others = OTHER_PEERS.map(|key| rule.optional(key).map(|node| (key, node)));
    let icmps = rule.optional("icmps");
    let given = |node: &ConfigNode<'_>| !matches!(node.value(), Value::List(items) if items.is_empty());
    if names.as_ref().is_some_and(given) {
        let other = others.iter().flatten().find(|(_, node)| given(node)).map(|(key, _)| *key);
        if let Some(key) = other.or_else(|| entities.as_ref().filter(|node| given(node)).map(|_| "toEntities")) {
            node.error_as(
                ErrorCode::Conflict,
                format!("has toFQDNs and {key}, and Cilium takes one of them in a rule; write a rule for each"),
            );
            return None;
        }
    }
    if icmps.as_ref().is_some_and(given) {
        return Some(Peers::Other("icmps"));
    }
    if let Some(names) = names {
        // An empty list picks nothing, as in Cilium.
        return match given(&names) {
            true => read_names(&names).map(Peers::Names),
            false => Some(Peers::Other("toFQDNs")),
        };
    }
    if let Some((key, node)) = others.iter().flatten().next() {
        return Some(if is_everyone(key, node) { Peers::Addresses } else { Peers::Other(key) });
    }
    entities.map_or(Some(Peers::Unsaid), |node| read_entities(&node))
}

fn read_names(node: &ConfigNode<'_>) -> Option<Vec<DestinationPattern>> {
    let names: Vec<_> = node.items_up_to(MAX_ITEMS)?.map(|item| read_name(&item)).collect();
    names.into_iter().collect()
}

fn read_name(node: &ConfigNode<'_>) -> Option<DestinationPattern> {
    let object = node.object()?;
    let parse = |node: ConfigNode<'_>, parse: fn(&str) -> Result<DestinationPattern, String>| {
        parse(node.non_empty_str()?).map_err(|problem| node.error(problem)).ok()
    };
    let read = match (object.optional("matchName"), object.optional("matchPattern")) {
        (Some(name), None) => parse(name, parse_name),
        (None, Some(pattern)) => parse(pattern, parse_pattern),
        _ => {
            node.error("needs one of matchName and matchPattern");
            None
        }
    };
    object.finish();
    read
}

/// Reports whether a list of networks holds all addresses of a family.
fn is_everyone(key: &str, node: &ConfigNode<'_>) -> bool {
    let is_all = |text: &str| matches!(text, "0.0.0.0/0" | "::/0");
    let network = |item: ConfigNode<'_>| match (key, item.value()) {
        ("toCIDR", Value::Text(text)) => is_all(text),
        ("toCIDRSet", Value::Object(entries)) => {
            entries.iter().any(|(key, value)| key == "cidr" && value.as_str().is_some_and(is_all))
        }
        _ => false,
    };
    node.items().is_some_and(|mut items| items.any(network))
}

/// Cilium's entities (`pkg/policy/api/entity.go`); those that are not outside are `None`.
const ENTITIES: [(&str, Option<Outside>); 13] = [
    ("world", Some(Outside::All)),
    ("all", Some(Outside::All)),
    ("world-ipv4", Some(Outside::OneFamily)),
    ("world-ipv6", Some(Outside::OneFamily)),
    ("cluster", None),
    ("host", None),
    ("remote-node", None),
    ("kube-apiserver", None),
    ("ingress", None),
    ("init", None),
    ("health", None),
    ("unmanaged", None),
    ("none", None),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outside {
    All,
    OneFamily,
}

fn read_entities(node: &ConfigNode<'_>) -> Option<Peers> {
    let read: Vec<_> = node.items_up_to(MAX_ITEMS)?.map(|item| item.enum_value(&ENTITIES)).collect();
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    Some(match () {
        () if read.contains(&Some(Outside::All)) => Peers::World,
        () if read.contains(&Some(Outside::OneFamily)) => Peers::Addresses,
        () => Peers::Other("toEntities"),
    })
}

/// Reports whether both ends have to prove who they are, which outside hosts cannot.
fn read_authentication(node: &ConfigNode<'_>) -> Option<bool> {
    let object = node.object()?;
    let mode = object.required("mode", "write required or disabled");
    let words = [("disabled", false), ("required", true), ("test-always-fail", true)];
    let required = mode.and_then(|mode| mode.enum_value(&words));
    object.finish();
    required
}
