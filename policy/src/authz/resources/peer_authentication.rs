//! PeerAuthentication (istio/api `security/v1beta1/peer_authentication.proto`).

use crate::authz::policy_name::PolicyName;
use crate::authz::resources::object_meta::Metadata;
use crate::authz::resources::workload::Target;
use crate::config::reader::{ConfigNode, Object};

/// `mode` of mTLS. `UNSET` is none: what is around decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MtlsMode {
    /// A validated client certificate is required.
    Strict,
    /// mTLS and plaintext are both taken.
    Permissive,
    /// Certificates are not required. Whether TLS is spoken at all is for the listener to say.
    Disable,
}

/// Valid PeerAuthentication.
pub(crate) struct PeerAuthentication {
    pub(crate) name: PolicyName,
    pub(crate) target: Target,
    pub(crate) mode: Option<MtlsMode>,
    /// Modes by destination port.
    pub(crate) ports: Vec<(u16, Option<MtlsMode>)>,
}

impl PeerAuthentication {
    pub(crate) fn read(resource: &Object<'_>) -> Option<Self> {
        let metadata = Metadata::read(resource);
        let node = resource.required("spec", "write spec: {mtls: {mode: STRICT}} to require mTLS")?;
        let spec = node.object()?;
        let target = Target::read_selector(&spec);
        let mode = match spec.optional("mtls") {
            Some(node) => read_mode(&node),
            None => Some(None),
        };
        let ports = match spec.optional("portLevelMtls") {
            Some(node) => read_ports(&node, target.as_ref()),
            None => Some(Vec::new()),
        };
        spec.finish();
        let name = metadata.map(|metadata| metadata.name.into_peer_authentication());
        Some(Self { name: name?, target: target?, mode: mode?, ports: ports? })
    }
}

fn read_ports(node: &ConfigNode<'_>, target: Option<&Target>) -> Option<Vec<(u16, Option<MtlsMode>)>> {
    if target == Some(&Target::All) {
        node.error("needs a selector, as in Istio: ports are those of a workload");
        return None;
    }
    let object = node.object()?;
    if object.is_empty() {
        node.error("empty, name a port, or remove the key");
        return None;
    }
    let ports: Vec<_> = object
        .all()
        .map(|(key, node)| {
            let port = key.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == key);
            if port.is_none() {
                node.error(format!("bad port `{key}`: expected a whole number of 1 to 65535, as in 8080"));
            }
            Some((port?, read_mode(&node)?))
        })
        .collect();
    ports.into_iter().collect()
}

/// `{mode: …}`.
fn read_mode(node: &ConfigNode<'_>) -> Option<Option<MtlsMode>> {
    let object = node.object()?;
    let mode = match object.optional("mode") {
        None => Some(None),
        Some(mode) => mode.enum_value(&[
            ("STRICT", Some(MtlsMode::Strict)),
            ("PERMISSIVE", Some(MtlsMode::Permissive)),
            ("DISABLE", Some(MtlsMode::Disable)),
            ("UNSET", None),
        ]),
    };
    object.finish();
    mode
}
