//! Settings of a configuration beside its rules.

use crate::config::enforcement_mode::EnforcementMode;
use crate::config::reader::{ConfigNode, Object};
use crate::egress::authority::Host;

/// The most names of the gateway itself: each is compared with a server name that is not the request's host.
const MAX_GATEWAY_NAMES: usize = 100;

/// The highest limit of open connections: more than one worker of a proxy holds.
const MAX_CONNECTIONS: u64 = 1_000_000;

/// Settings of what is compared, whatever the rules say.
pub(crate) struct EgressSettings {
    pub(crate) mode: EnforcementMode,
    pub(crate) server_name_must_match: bool,
    /// Names by which clients know the gateway itself.
    pub(crate) gateway_names: Vec<Host>,
    pub(crate) inspects_tunnels: bool,
    /// True if a CONNECT to an address that one ServiceEntry lists goes to its host.
    pub(crate) leads_to_hosts: bool,
    pub(crate) tells_allowed: bool,
    /// The most connections that one client may have open at the same time.
    pub(crate) max_connections_per_client: Option<u32>,
}

impl EgressSettings {
    pub(crate) fn read(object: &Object<'_>) -> Option<Self> {
        let mode = EnforcementMode::read(object.optional("mode").as_ref());
        let server_name_must_match = match object.optional("sniMustMatchHost") {
            Some(node) => node.bool(),
            None => Some(true),
        };
        let gateway_names = match object.optional("gatewayNames") {
            Some(node) => read_gateway_names(&node),
            None => Some(Vec::new()),
        };
        let inspects_tunnels = match object.optional("tunnels") {
            Some(node) => node.enum_value(&[("inspect", true), ("trust", false)]),
            None => Some(true),
        };
        let leads_to_hosts = match object.optional("serviceEntryAddresses") {
            Some(node) => node.enum_value(&[("refuse", false), ("host", true)]),
            None => Some(false),
        };
        let tells_allowed = match object.optional("allowedPolicy") {
            Some(node) => node.bool(),
            None => Some(false),
        };
        let max_connections_per_client = match object.optional("maxConnectionsPerClient") {
            Some(node) => node.whole_number(1, MAX_CONNECTIONS).and_then(|most| u32::try_from(most).ok()).map(Some),
            None => Some(None),
        };
        Some(Self {
            mode: mode?,
            server_name_must_match: server_name_must_match?,
            gateway_names: gateway_names?,
            inspects_tunnels: inspects_tunnels?,
            leads_to_hosts: leads_to_hosts?,
            tells_allowed: tells_allowed?,
            max_connections_per_client: max_connections_per_client?,
        })
    }

    /// Reports whether the TLS with this proxy, with this server name, may carry a request for `host`.
    pub(crate) fn permits_server_name(&self, name: &[u8], host: &Host) -> bool {
        Host::parse(name).is_ok_and(|name| name == *host || self.gateway_names.contains(&name))
    }
}

fn read_gateway_names(node: &ConfigNode<'_>) -> Option<Vec<Host>> {
    let read = |item: ConfigNode<'_>| {
        let text = item.non_empty_str()?;
        let name = Host::parse(text.as_bytes());
        name.map_err(|problem| item.error(format!("bad host `{text}`: {problem}"))).ok()
    };
    let names: Vec<_> = node.non_empty_list(MAX_GATEWAY_NAMES, "to mean none")?.map(read).collect();
    names.into_iter().collect()
}
