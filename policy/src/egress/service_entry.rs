//! ServiceEntry for hosts outside the mesh (istio/api `networking/v1/service_entry.proto`).

use crate::authz::policy_name::PolicyName;
use crate::authz::resources::object_meta::{Metadata, label};
use crate::config::reader::{ConfigNode, Object};
use crate::config::string_list::read_listed;
use crate::egress::host_pattern::{DestinationPattern, WildcardScope};
use crate::egress::port::{PortPattern, ProtocolSet};

/// The CRD's `maxItems` for ports, and more than `exportTo` needs.
const MAX_ITEMS: usize = 256;

/// Visibility of an entry (`exportTo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExportedTo {
    /// Whoever asks.
    Public,
    /// Workloads of these namespaces.
    Namespaces(Vec<String>),
}

/// Hosts outside the mesh, with their ports and permitted sources.
pub(crate) struct ServiceEntry {
    pub(crate) name: PolicyName,
    pub(crate) hosts: Vec<DestinationPattern>,
    pub(crate) ports: Vec<PortPattern>,
    pub(crate) exported_to: ExportedTo,
}

impl ServiceEntry {
    /// Reads the object of a resource whose kind is known. `addresses` is whether IP literals may be listed.
    pub(crate) fn read(resource: &Object<'_>, metadata: Option<Metadata>, addresses: bool) -> Option<Self> {
        let node = resource.required("spec", "write the hosts and ports that it declares")?;
        let spec = node.object()?;
        let hosts =
            spec.required("hosts", "list the hosts that may be reached").and_then(|node| read_hosts(&node, addresses));
        let ports = spec.required("ports", "list the ports that may be reached").and_then(|node| read_ports(&node));
        let exported_to = match spec.optional("exportTo") {
            Some(node) => read_exported_to(&node, metadata.as_ref().and_then(|metadata| metadata.name.namespace())),
            None => metadata
                .as_ref()
                .and_then(|metadata| Some(ExportedTo::Namespaces(vec![metadata.name.namespace()?.to_owned()]))),
        };
        if let Some(location) = spec.optional("location")
            && location.enum_value(&[("MESH_EXTERNAL", true), ("MESH_INTERNAL", false)]) == Some(false)
        {
            location.error(
                "MESH_INTERNAL is a part of the mesh, and this filter decides what leaves it; leave the entry out here",
            );
        }
        if let Some(resolution) = spec.optional("resolution") {
            let words =
                [("DNS", true), ("DNS_ROUND_ROBIN", true), ("DYNAMIC_DNS", true), ("NONE", true), ("STATIC", false)];
            if resolution.enum_value(&words) == Some(false) {
                resolution.error("STATIC sends to endpoints of its own, which no filter can; the gateway resolves the host, write DNS");
            }
        }
        // Istio's proxies use these to capture traffic; they do not affect which hosts are allowed.
        if let Some(addresses) = spec.optional("addresses") {
            read_texts(&addresses);
        }
        spec.unsupported(
            "endpoints",
            "the gateway resolves the host itself and sends to nothing else; remove it, and route in Envoy",
        );
        spec.unsupported(
            "workloadSelector",
            "picks workloads of the mesh, and this filter decides what leaves it; remove it",
        );
        spec.unsupported(
            "subjectAltNames",
            "no filter sees the server's certificate; check it in the upstream TLS context, and remove it here",
        );
        spec.finish();
        Some(Self { name: metadata?.name, hosts: hosts?, ports: ports?, exported_to: exported_to? })
    }
}

fn read_hosts(node: &ConfigNode<'_>, addresses: bool) -> Option<Vec<DestinationPattern>> {
    read_listed(node, "and the entry with it", |text| {
        DestinationPattern::parse(text, WildcardScope::AnyDepth, addresses)
    })
}

fn read_texts(node: &ConfigNode<'_>) -> Option<()> {
    node.items()?.for_each(|item| {
        item.non_empty_str();
    });
    Some(())
}

fn read_ports(node: &ConfigNode<'_>) -> Option<Vec<PortPattern>> {
    let ports: Vec<_> = node.non_empty_list(MAX_ITEMS, "and the entry with it")?.map(|item| read_port(&item)).collect();
    ports.into_iter().collect()
}

fn read_port(node: &ConfigNode<'_>) -> Option<PortPattern> {
    let object = node.object()?;
    let number = object.required("number", "write the port that clients name");
    let number = number.and_then(|node| node.whole_number(1, 65_535)).and_then(|number| u16::try_from(number).ok());
    if let Some(name) = object.optional("name") {
        name.non_empty_str();
    }
    let protocols = match object.optional("protocol") {
        // Without one Istio looks at the bytes.
        None => Some(ProtocolSet::Any),
        Some(node) => node.enum_value(&[
            ("HTTP", ProtocolSet::HttpOrConnect),
            ("HTTP2", ProtocolSet::HttpOrConnect),
            ("GRPC", ProtocolSet::HttpOrConnect),
            ("GRPC-WEB", ProtocolSet::HttpOrConnect),
            ("HTTPS", ProtocolSet::ConnectOrTls),
            ("TLS", ProtocolSet::ConnectOrTls),
            ("TCP", ProtocolSet::ConnectOrTls),
            ("MONGO", ProtocolSet::ConnectOrTls),
            ("MYSQL", ProtocolSet::ConnectOrTls),
            ("REDIS", ProtocolSet::ConnectOrTls),
        ]),
    };
    if let Some(target) = object.optional("targetPort")
        && let Some(target_number) = target.whole_number(1, 65_535)
        && number.is_some_and(|number| u64::from(number) != target_number)
    {
        target.error("the gateway sends to the port that the client names; remove it, and route in Envoy");
    }
    object.finish();
    Some(PortPattern::Number { port: number?, protocols: protocols? })
}

/// `exportTo`: `*`, `.` for the entry's own namespace, or names.
fn read_exported_to(node: &ConfigNode<'_>, own: Option<&str>) -> Option<ExportedTo> {
    let mut namespaces = Vec::new();
    let mut everyone = false;
    let mut complete = true;
    for item in node.non_empty_list(MAX_ITEMS, "to mean the entry's own namespace")? {
        match item.non_empty_str() {
            Some("*") => everyone = true,
            Some(".") => namespaces.extend(own.map(str::to_owned)),
            Some("~") => {
                item.error("`~` shows it to nobody; leave the entry out");
                complete = false;
            }
            Some(_) => match label(&item, 63, false) {
                Some(namespace) => namespaces.push(namespace),
                None => complete = false,
            },
            None => complete = false,
        }
    }
    complete.then_some(if everyone { ExportedTo::Public } else { ExportedTo::Namespaces(namespaces) })
}
