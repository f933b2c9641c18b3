//! PeerAuthentication (istio/api `security/v1beta1/peer_authentication.proto`).

use crate::authz::policy_name::PolicyName;
use crate::authz::resources::object_meta::{CreationTime, Metadata};
use crate::authz::resources::workload::Target;
use crate::config::error_code::ErrorCode;
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
    pub(crate) created: Option<CreationTime>,
    pub(crate) target: Target,
    pub(crate) mode: Option<MtlsMode>,
    /// Modes by destination port.
    pub(crate) ports: Vec<(u16, Option<MtlsMode>)>,
}

impl PeerAuthentication {
    /// Reads the object of a resource whose kind is known. Without `spec` it sets no mode.
    pub(crate) fn read(resource: &Object<'_>, metadata: Option<Metadata>) -> Option<Self> {
        let (mut target, mut mode, mut ports) = (Some(Target::All), Some(None), Some(Vec::new()));
        if let Some(node) = resource.optional("spec") {
            let spec = node.object()?;
            target = Target::read_selector(&spec);
            if let Some(node) = spec.optional("mtls") {
                mode = read_mode(&node);
            }
            if let Some(node) = spec.optional("portLevelMtls") {
                ports = read_ports(&node, target.as_ref());
            }
            spec.finish();
        }
        let Metadata { name, created, .. } = metadata?;
        Some(Self { name: name.into_peer_authentication(), created, target: target?, mode: mode?, ports: ports? })
    }
}

fn read_ports(node: &ConfigNode<'_>, target: Option<&Target>) -> Option<Vec<(u16, Option<MtlsMode>)>> {
    if target == Some(&Target::All) {
        node.error("needs a selector, as in Istio: ports are those of a workload");
        return None;
    }
    let object = node.object()?;
    if object.is_empty() {
        node.error_as(ErrorCode::EmptyValue, "empty, name a port, or remove the key");
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
