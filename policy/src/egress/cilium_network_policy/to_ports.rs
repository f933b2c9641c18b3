//! An item of `toPorts`: ports, server names and rules of layer 7.

use crate::config::error_code::ErrorCode;
use crate::config::reader::ConfigNode;
use crate::config::string_list::read_listed;
use crate::config::value::Value;
use crate::egress::fqdn_pattern::parse_pattern;
use crate::egress::host_pattern::DestinationPattern;
use crate::egress::load_notes::LoadNotes;

/// The most items of a list.
const MAX_ITEMS: usize = 1_000_000;

/// Traffic that may be sent to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Any,
    /// Any HTTP request: `http: [{}]`.
    Http,
    /// TLS, by its server name.
    Tls,
    /// Requests for names.
    Dns,
    /// Traffic that passes rules or a proxy which this filter does not have.
    Restricted,
}

/// Ports with what may be sent there.
pub(crate) struct PortRule {
    /// TCP ports, each the first and the last of a range. Empty: the ports are of other protocols.
    pub(crate) ports: Vec<(u16, u16)>,
    pub(crate) content: Content,
    pub(crate) server_names: Option<Vec<DestinationPattern>>,
}

impl PortRule {
    /// Returns what an absent `toPorts` is.
    pub(crate) fn any() -> Self {
        Self { ports: vec![ANY_PORT], content: Content::Any, server_names: None }
    }

    pub(crate) fn read(node: &ConfigNode<'_>, notes: &mut LoadNotes) -> Option<Self> {
        let object = node.object()?;
        let mut intercepts = false;
        for key in ["terminatingTLS", "originatingTLS"] {
            if let Some(node) = object.optional(key) {
                node.error_as(ErrorCode::Unsupported, "has Cilium read what is inside of TLS and deny by it, which this filter cannot; keep the policy in the cluster and remove it here");
                intercepts = true;
            }
        }
        let server_names = match object.optional("serverNames") {
            Some(node) if node.items()?.next().is_some() => Some(read_listed(&node, "", parse_pattern)),
            Some(_) | None => None,
        };
        let listener = object.optional("listener");
        let content = match object.optional("rules") {
            Some(node) => read_rules(&node),
            None => Some(Content::Any),
        };
        let ports = match object.optional("ports") {
            Some(node) if node.items()?.next().is_some() => read_ports(&node, notes),
            // As in Cilium (1.19, `pkg/policy/rule.go`): without toPorts every port is open, and an item of it opens those
            // that it lists, for egress as for ingress.
            Some(_) | None => {
                notes.pass_over_cilium("items of toPorts without ports");
                Some(Vec::new())
            }
        };
        let redirected = listener.is_some();
        object.finish();
        let content = match content? {
            _ if redirected => Content::Restricted,
            Content::Any if server_names.is_some() => Content::Tls,
            Content::Http if server_names.is_some() => Content::Restricted,
            content => content,
        };
        let server_names = match server_names {
            Some(names) => Some(names?),
            None => None,
        };
        Some(Self { ports: ports?, content, server_names }).filter(|_| !intercepts)
    }
}

/// Every port.
const ANY_PORT: (u16, u16) = (1, u16::MAX);

/// Reads rules of layer 7, one kind at most.
fn read_rules(node: &ConfigNode<'_>) -> Option<Content> {
    let object = node.object()?;
    let http = object.optional("http");
    let dns = object.optional("dns");
    let others = ["kafka", "l7proto", "l7"].map(|key| object.optional(key).is_some());
    let is_empty = |item: ConfigNode<'_>| matches!(item.value(), Value::Object(keys) if keys.is_empty());
    let content = match (http, dns) {
        _ if others.contains(&true) => Content::Restricted,
        (None, None) => Content::Any,
        (None, Some(_)) => Content::Dns,
        // One rule that asks for nothing lets every request through.
        (Some(http), None) if http.items().is_some_and(|mut items| items.any(is_empty)) => Content::Http,
        (Some(_), _) => Content::Restricted,
    };
    object.finish();
    Some(content)
}

/// Reads the TCP ports of a list; the others are counted.
fn read_ports(node: &ConfigNode<'_>, notes: &mut LoadNotes) -> Option<Vec<(u16, u16)>> {
    let mut ports = Vec::new();
    let mut complete = true;
    for item in node.items_up_to(MAX_ITEMS)? {
        match read_port(&item) {
            Some(Port::Tcp(first, last)) => ports.push((first, last)),
            Some(Port::PassedOver(what)) => notes.pass_over_cilium(what),
            None => complete = false,
        }
    }
    complete.then_some(ports)
}

enum Port {
    Tcp(u16, u16),
    PassedOver(&'static str),
}

fn read_port(node: &ConfigNode<'_>) -> Option<Port> {
    let object = node.object()?;
    let is_tcp = object.optional("protocol").map_or(Some(true), |node| read_protocol(&node));
    let port = match is_tcp {
        // Some of the others have no ports.
        Some(false) => object.optional("port"),
        Some(true) | None => object.required("port", "write the port, as in \"443\""),
    };
    let number = match (&port, is_tcp) {
        (None, Some(false)) => Some(None),
        (port, _) => port.as_ref().and_then(read_number),
    };
    let end = object.optional("endPort").map_or(Some(0), |node| node.whole_number(0, 65_535));
    object.finish();
    let (number, is_tcp) = (number?, is_tcp?);
    let end = u16::try_from(end?).ok()?;
    Some(match number {
        _ if !is_tcp => Port::PassedOver("ports of UDP and the like"),
        None => Port::PassedOver("ports by name"),
        // 0 alone is every port, as in Cilium.
        Some(0) => Port::Tcp(1, if end == 0 { u16::MAX } else { end }),
        Some(first) if end == 0 => Port::Tcp(first, first),
        Some(first) if end >= first => Port::Tcp(first, end),
        Some(first) => {
            node.error(format!("endPort {end} is below port {first}"));
            return None;
        }
    })
}

/// Reads a port; `Some(None)` is a name, which only workloads of the cluster give to ports.
fn read_number(node: &ConfigNode<'_>) -> Option<Option<u16>> {
    if let Value::Number(_) = node.value() {
        return node.whole_number(0, 65_535).and_then(|number| u16::try_from(number).ok()).map(Some);
    }
    let text = node.non_empty_str()?;
    let number = text.parse::<u16>().ok().filter(|number| number.to_string() == text);
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && text.bytes().any(|byte| byte.is_ascii_alphabetic());
    if number.is_none() && !is_name {
        node.error(format!("bad port `{text}`: expected a number of 0 to 65535, as in \"443\", or a name"));
        return None;
    }
    Some(number)
}

/// Reports whether a protocol has TCP in it. Cilium takes any letter case.
fn read_protocol(node: &ConfigNode<'_>) -> Option<bool> {
    let text = node.text()?;
    match text.to_ascii_uppercase().as_str() {
        "" | "ANY" | "TCP" => Some(true),
        "UDP" | "SCTP" | "ICMP" | "ICMPV6" | "VRRP" | "IGMP" => Some(false),
        _ => {
            node.error_as(ErrorCode::UnknownValue, format!("unknown value `{text}`, expected TCP, UDP, SCTP or ANY"));
            None
        }
    }
}
