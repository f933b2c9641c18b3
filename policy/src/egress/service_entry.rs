//! ServiceEntry for hosts outside the mesh (istio/api `networking/v1/service_entry.proto`).
//!
//! Its hosts and ports count, and the addresses by which clients know a host. Where a host is and what proves it are for
//! the clusters of the proxy.

use crate::authz::fields::ip_block::IpBlock;
use crate::authz::policy_name::PolicyName;
use crate::authz::resources::object_meta::label;
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, Object};
use crate::config::string_list::read_listed;
use crate::egress::context::{DefaultExport, EgressContext};
use crate::egress::host_pattern::{DestinationPattern, HostSyntax};
use crate::egress::load_notes::{LoadNotes, Topic};
use crate::egress::port::{PortPattern, ProtocolSet};

/// The CRD's `maxItems` for ports, and more than `exportTo` needs.
const MAX_ITEMS: usize = 256;

/// Keys that say where Envoy sends to, or what the other end has to prove.
const FOR_ENVOY: [&str; 3] = ["endpoints", "workloadSelector", "subjectAltNames"];

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
    /// Addresses by which clients know the hosts.
    pub(crate) addresses: Vec<IpBlock>,
    /// Empty where the entry opens nothing.
    pub(crate) ports: Vec<PortPattern>,
    pub(crate) exported_to: ExportedTo,
}

impl ServiceEntry {
    /// Reads the object of a resource whose kind is known.
    pub(crate) fn read(
        resource: &Object<'_>,
        name: &PolicyName,
        context: &EgressContext<'_>,
        notes: &mut LoadNotes,
    ) -> Option<Self> {
        let node = resource.required("spec", "write the hosts and ports that it declares")?;
        let spec = node.object()?;
        let hosts = spec
            .required("hosts", "list the hosts that may be reached")
            .and_then(|node| read_hosts(&node, context.addresses));
        let mut reader = EntryReader { name, notes };
        let ports = reader.read_ports(spec.optional("ports").as_ref());
        let exported_to = reader.read_exported_to(spec.optional("exportTo").as_ref(), context.default_export);
        let external = spec
            .optional("location")
            .map_or(Some(true), |node| node.enum_value(&[("MESH_EXTERNAL", true), ("MESH_INTERNAL", false)]));
        let resolution = spec.optional("resolution").map_or(Some(false), |node| {
            node.enum_value(&[
                ("NONE", false),
                ("DNS", false),
                ("DNS_ROUND_ROBIN", false),
                ("DYNAMIC_DNS", false),
                ("STATIC", true),
            ])
        });
        let addresses = reader.read_addresses(spec.optional("addresses").as_ref(), context.leads_to_hosts);
        for key in FOR_ENVOY {
            if spec.optional(key).is_some() {
                reader.for_envoy(key);
            }
        }
        if resolution? {
            reader.for_envoy("resolution: STATIC");
        }
        spec.finish();
        let mut ports = ports?;
        if !external? {
            reader.notes.pass_over_entry("with location: MESH_INTERNAL");
            ports.clear();
        }
        Some(Self { name: name.clone(), hosts: hosts?, addresses: addresses?, ports, exported_to: exported_to? })
    }
}

fn read_hosts(node: &ConfigNode<'_>, addresses: bool) -> Option<Vec<DestinationPattern>> {
    read_listed(node, "and the entry with it", |text| {
        DestinationPattern::parse(text, HostSyntax::ServiceEntry, addresses)
    })
}

/// Reader of the parts of one entry.
struct EntryReader<'r> {
    name: &'r PolicyName,
    notes: &'r mut LoadNotes,
}

impl EntryReader<'_> {
    fn for_envoy(&mut self, key: &'static str) {
        self.notes.add_for_envoy(key, self.name);
    }

    /// Reads `addresses`: addresses and networks.
    fn read_addresses(&mut self, node: Option<&ConfigNode<'_>>, leads_to_hosts: bool) -> Option<Vec<IpBlock>> {
        let items = items(node)?;
        if node.is_some() && !leads_to_hosts {
            self.for_envoy("addresses");
        }
        let read = |item: &ConfigNode<'_>| {
            let block = IpBlock::parse(item.non_empty_str()?);
            block.map_err(|problem| item.error(problem)).ok()
        };
        items.iter().map(read).collect::<Vec<_>>().into_iter().collect()
    }

    /// Reads `ports`; Istio takes an entry without them, which declares no port.
    fn read_ports(&mut self, node: Option<&ConfigNode<'_>>) -> Option<Vec<PortPattern>> {
        let items = items(node)?;
        if items.is_empty() {
            self.notes.pass_over_entry("without ports");
        }
        let ports: Vec<_> = items.iter().map(|item| self.read_port(item)).collect();
        Some(ports.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Reads a port; `Some(None)` is one of UDP.
    fn read_port(&mut self, node: &ConfigNode<'_>) -> Option<Option<PortPattern>> {
        let object = node.object()?;
        let number = object.required("number", "write the port that clients name");
        let number = number.and_then(|node| node.whole_number(1, 65_535)).and_then(|number| u16::try_from(number).ok());
        if let Some(name) = object.optional("name") {
            name.text();
        }
        // Without one Istio looks at the bytes.
        let protocol = object.optional("protocol").map_or(Some(Some(ProtocolSet::Any)), |node| read_protocol(&node));
        if let Some(target) = object.optional("targetPort")
            && target.whole_number(0, 65_535)? > 0
        {
            self.for_envoy("targetPort");
        }
        object.finish();
        let (port, protocol) = (number?, protocol?);
        if protocol.is_none() {
            self.notes.pass_over_entry("ports of UDP");
        }
        Some(protocol.map(|protocols| PortPattern::Number { port, protocols }))
    }

    /// Reads `exportTo`: `*`, `.` for the entry's own namespace, `~` for nobody, or names.
    fn read_exported_to(&mut self, node: Option<&ConfigNode<'_>>, default: DefaultExport) -> Option<ExportedTo> {
        let own = self.name.namespace().map(str::to_owned);
        let items = items(node)?;
        let mut namespaces = Vec::new();
        let mut everyone = false;
        let mut complete = true;
        for item in &items {
            match item.non_empty_str() {
                Some("*") => everyone = true,
                Some(".") => namespaces.extend(own.clone()),
                Some("~") => {}
                Some(_) => match label(item, 63, false) {
                    Some(namespace) => namespaces.push(namespace),
                    None => complete = false,
                },
                None => complete = false,
            }
        }
        if items.is_empty() {
            everyone = default == DefaultExport::All;
            namespaces.extend(own);
            if !everyone {
                self.notes.add(Topic::OwnNamespace, self.name);
            }
        }
        if complete && !everyone && namespaces.is_empty() {
            self.notes.pass_over_entry("exported to nobody");
        }
        complete.then_some(if everyone { ExportedTo::Public } else { ExportedTo::Namespaces(namespaces) })
    }
}

/// Returns the items of a list that may be absent.
fn items<'n>(node: Option<&'n ConfigNode<'_>>) -> Option<Vec<ConfigNode<'n>>> {
    match node {
        Some(node) => Some(node.items_up_to(MAX_ITEMS)?.collect()),
        None => Some(Vec::new()),
    }
}

/// Protocols that Istio knows (1.31, `pkg/config/protocol/instance.go`), in any letter case. `Some(None)` is UDP, by
/// which no request or connection of this filter goes.
fn read_protocol(node: &ConfigNode<'_>) -> Option<Option<ProtocolSet>> {
    let text = node.text()?;
    Some(Some(match text.to_ascii_lowercase().as_str() {
        "" => ProtocolSet::Any,
        "http" | "http2" | "grpc" | "grpc-web" | "http_proxy" => ProtocolSet::HttpOrConnect,
        // Istio leads these by the server name, which nothing but TLS has.
        "https" | "tls" => ProtocolSet::TlsAlone,
        "tcp" | "mongo" | "mysql" | "redis" => ProtocolSet::ConnectOrTls,
        "udp" => return Some(None),
        _ => {
            node.error_as(ErrorCode::UnknownValue, format!("unknown value `{text}`, expected one of Istio's protocols: HTTP, HTTP2, HTTP_PROXY, HTTPS, GRPC, GRPC-WEB, TLS, TCP, MONGO, MYSQL, REDIS or UDP"));
            return None;
        }
    }))
}
