//! The configuration of the filter `identity-authz`.

use std::borrow::Cow;

use crate::attributes::jwt_claims::ClaimSource;
use crate::authz::compiled::{CompiledPolicy, DefaultAction};
use crate::authz::fields::header::ISTIO_SYNTAX;
use crate::authz::mtls_mode::MutualTls;
use crate::authz::resources::authorization_policy::{Action, AuthorizationPolicy, Context};
use crate::authz::resources::object_meta::read_namespace;
use crate::authz::resources::workload::Workload;
use crate::authz::resources::{Resources, read_resources};
use crate::config::deny_response::DenyResponse;
use crate::config::diagnostics::{ConfigError, ConfigErrors, Diagnostics};
use crate::config::document::{StreamedList, Value};
use crate::config::enforcement_mode::Mode;
use crate::config::reader::ConfigNode;
use crate::identity::settings::{
    CertificateValidation, IdentitySource, PEER_PRINCIPAL, read_filter_state_key, read_trust_domains,
};

/// A configuration of `identity-authz`, read without a fault and compiled.
pub struct IdentityAuthz {
    policy: CompiledPolicy,
    /// What the policies mean for connections, where that is something else.
    connections: Option<CompiledPolicy>,
    connection_warnings: Vec<String>,
    reply: DenyResponse,
    identity_source: IdentitySource,
    certificate_validation: CertificateValidation,
    direct_remote_address: DirectRemoteAddress,
    summary: Summary,
}

/// `directRemoteAddress`: what tells the address of the connection's other end, which `source.ip` and `ipBlocks` are
/// about. Envoy's own attribute follows `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectRemoteAddress {
    /// The filter state `sallyport.direct_remote_address`, which the example configurations set. Where it is absent,
    /// what asks for the address is denied.
    #[default]
    FilterState,
    /// The connection: right only where `X-Forwarded-For` is not trusted.
    Connection,
}

/// How many lines are said about rules of one kind.
const MAX_WARNINGS: usize = 20;

/// What was loaded, for the log.
struct Summary {
    resources: usize,
    here: usize,
    dry_run: usize,
    report_only: bool,
    warnings: Vec<String>,
}

impl IdentityAuthz {
    /// Reads and compiles a configuration. Fails with all its diagnostics, each with its place.
    ///
    /// ```
    /// use sallyport_policy::IdentityAuthz;
    /// let refusal = IdentityAuthz::parse(br#"{"resources": [], "mode": "enforced", "defaultAction": "DENY"}"#).err().unwrap();
    /// assert_eq!(refusal.to_string(), "mode: unknown value `enforced`, did you mean \"enforce\"?");
    /// ```
    pub fn parse(json: impl AsRef<[u8]>) -> Result<Self, ConfigErrors> {
        let configuration = {
            let (document, resources) = Value::parse_streaming(json.as_ref(), "resources")?;
            let diagnostics = Diagnostics::default();
            let read = read(&ConfigNode::root(&document, &diagnostics), &resources);
            diagnostics.into_result(read)?
        };
        // The memory of a VM does not shrink: what is made of the text goes where the text was.
        drop(json);
        configuration.compile()
    }

    /// What decides requests.
    pub fn policy(&self) -> &CompiledPolicy {
        &self.policy
    }

    /// What decides connections at layer 4, where what only HTTP has does not count.
    pub fn connection_policy(&self) -> &CompiledPolicy {
        self.connections.as_ref().unwrap_or(&self.policy)
    }

    /// Lines about what policies do not mean for connections.
    pub fn connection_warnings(&self) -> &[String] {
        &self.connection_warnings
    }

    /// What a denied client is told.
    pub fn reply(&self) -> &DenyResponse {
        &self.reply
    }

    /// Where the proxy tells who asks.
    pub fn identity_source(&self) -> &IdentitySource {
        &self.identity_source
    }

    /// Proof that the certificate of a connection was validated.
    pub fn certificate_validation(&self) -> CertificateValidation {
        self.certificate_validation
    }

    /// What tells the address of a connection's other end.
    pub fn direct_remote_address(&self) -> DirectRemoteAddress {
        self.direct_remote_address
    }

    /// One line that says what was loaded: resources, how many apply here, what is enforced and what only reported.
    pub fn summary(&self) -> String {
        let Summary { resources, here, dry_run, report_only, .. } = &self.summary;
        let (enforced, reported) = match report_only {
            true => (0, *here),
            false => (here - dry_run, *dry_run),
        };
        let mode = if *report_only { ", mode: report, nothing is denied" } else { "" };
        let validation = self.certificate_validation.note();
        format!(
            "loaded {resources} resources, {here} apply here, {enforced} enforced, {reported} only reported{mode}{validation}"
        )
    }

    /// Lines about what is accepted and may surprise.
    pub fn warnings(&self) -> &[String] {
        &self.summary.warnings
    }
}

struct Configuration {
    loaded: Resources,
    reply: DenyResponse,
    claims: ClaimSource,
    identity_source: IdentitySource,
    certificate_validation: CertificateValidation,
    direct_remote_address: DirectRemoteAddress,
    default_action: Option<DefaultAction>,
    mode: Mode,
    workload: Option<Workload>,
    root_namespace: String,
}

impl Configuration {
    /// Compiles what applies here. Fails with what only all resources together show to be wrong.
    fn compile(self) -> Result<IdentityAuthz, ConfigErrors> {
        let Configuration {
            loaded,
            reply,
            claims,
            identity_source,
            certificate_validation,
            direct_remote_address,
            default_action,
            mode,
            workload,
            root_namespace,
        } = self;
        let Resources { policies: loaded, peer_authentications } = loaded;
        let applies = |policy: &AuthorizationPolicy| {
            workload.as_ref().is_none_or(|workload| {
                policy
                    .name
                    .namespace()
                    .is_some_and(|namespace| policy.target.selects(namespace, &root_namespace, workload))
            })
        };
        let here: Vec<_> = loaded.iter().filter(|policy| applies(policy)).collect();
        let enforced_allow = here.iter().any(|policy| policy.action == Action::Allow && !policy.dry_run);
        let mut warnings = Vec::new();
        let diagnostics = Diagnostics::default();
        for (policy, missing) in
            workload.iter().flat_map(|workload| missing_attribute(&loaded, workload, &root_namespace))
        {
            let name = &policy.name;
            match policy.action {
                Action::Deny => diagnostics.add(ConfigError::new(missing, format!("missing, and without it cannot be told whether the DENY policy {name} is meant for this workload"))),
                // If it is meant for it, whoever it does not let in is denied.
                Action::Allow if default_action == Some(DefaultAction::Allow) && !enforced_allow && !policy.dry_run => diagnostics.add(ConfigError::new(missing, format!("missing, and without it cannot be told whether the ALLOW policy {name} is meant for this workload, or everybody is let in by defaultAction"))),
                Action::Allow | Action::Audit => warnings.push(format!("the policy {name} does not apply here: whom it picks cannot be told without {missing}")),
            }
        }
        for policy in &loaded {
            let name = &policy.name;
            if name.namespace().is_some_and(|namespace| policy.target.is_ignored(namespace, &root_namespace)) {
                diagnostics.add(ConfigError::new("resources", format!("{name} is for a GatewayClass, which Istio passes over outside the root namespace; write it in {root_namespace}")));
            }
        }
        let (mutual_tls, strict_here) =
            MutualTls::new(&peer_authentications, workload.as_ref(), &root_namespace, &diagnostics);
        diagnostics.into_result(Some(()))?;
        let default_action = match (default_action, enforced_allow) {
            (Some(action), _) => action,
            (None, true) => DefaultAction::Deny,
            (None, false) => return Err(ConfigErrors::of(no_allow_policy(loaded.is_empty(), here.is_empty()))),
        };
        let summary = Summary {
            resources: loaded.len() + peer_authentications.len(),
            here: here.len() + strict_here,
            dry_run: here.iter().filter(|policy| policy.dry_run).count(),
            report_only: mode == Mode::Report,
            warnings,
        };
        let compile = |policies: Vec<Cow<'_, AuthorizationPolicy>>, mutual_tls| {
            let report_only = mode == Mode::Report;
            CompiledPolicy::new(policies, &ISTIO_SYNTAX, claims.clone(), default_action, report_only)
                .with_mutual_tls(mutual_tls)
        };
        let (mut connection_warnings, mut unsaid) = (Vec::new(), 0);
        let mut narrow = |policy: &&AuthorizationPolicy| {
            let (narrowed, warnings) = policy.for_connections()?;
            let room = MAX_WARNINGS.saturating_sub(connection_warnings.len());
            unsaid += warnings.len().saturating_sub(room);
            connection_warnings.extend(warnings.into_iter().take(room));
            Some(narrowed)
        };
        let for_connections: Vec<_> = here.iter().map(&mut narrow).collect();
        if unsaid > 0 {
            connection_warnings.push(format!("so it is with {unsaid} rules more"));
        }
        let connections = (!connection_warnings.is_empty()).then(|| {
            let narrowed = for_connections.into_iter().zip(&here);
            let policies = narrowed.map(|(narrowed, policy)| narrowed.map_or(Cow::Borrowed(*policy), Cow::Owned));
            compile(policies.collect(), mutual_tls.clone())
        });
        let policy = compile(loaded.into_iter().filter(applies).map(Cow::Owned).collect(), mutual_tls);
        Ok(IdentityAuthz {
            policy,
            connections,
            connection_warnings,
            reply,
            identity_source,
            certificate_validation,
            direct_remote_address,
            summary,
        })
    }
}

fn read(node: &ConfigNode<'_>, items: &StreamedList<'_>) -> Option<Configuration> {
    let object = node.object()?;
    let workload = object.optional("workload").map(|node| Workload::read(&node));
    let root_namespace = match object.optional("rootNamespace") {
        Some(node) => read_namespace(&node),
        None => Some("istio-system".to_owned()),
    };
    let trust_domains = read_trust_domains(&object);
    let (claims, identity_source, certificate_validation) = match object.optional("identity") {
        Some(identity) => read_identity(&identity),
        None => (Some(ClaimSource::default()), Some(IdentitySource::default()), Some(CertificateValidation::default())),
    };
    let direct_remote_address = match object.optional("directRemoteAddress") {
        Some(node) => node.enum_value(&[
            ("filterState", DirectRemoteAddress::FilterState),
            ("connection", DirectRemoteAddress::Connection),
        ]),
        None => Some(DirectRemoteAddress::default()),
    };
    let default_action = object
        .optional("defaultAction")
        .map(|node| node.enum_value(&[("ALLOW", DefaultAction::Allow), ("DENY", DefaultAction::Deny)]));
    let mode = Mode::read(object.optional("mode").as_ref());
    let reply = DenyResponse::read(object.optional("deny").as_ref());
    let resources = object.required("resources", "list the policies, or write [] for none");
    let loaded = resources.as_ref().zip(trust_domains.as_ref()).and_then(|(node, trust_domains)| {
        read_resources(node, items, &Context { trust_domains, header_syntax: &ISTIO_SYNTAX })
    });
    object.finish();
    Some(Configuration {
        loaded: loaded?,
        reply: reply?,
        claims: claims?,
        identity_source: identity_source?,
        certificate_validation: certificate_validation?,
        direct_remote_address: direct_remote_address?,
        default_action: match default_action {
            Some(action) => Some(action?),
            None => None,
        },
        mode: mode?,
        workload: match workload {
            Some(workload) => Some(workload?),
            None => None,
        },
        root_namespace: root_namespace?,
    })
}

/// Reads `identity`.
fn read_identity(
    node: &ConfigNode<'_>,
) -> (Option<ClaimSource>, Option<IdentitySource>, Option<CertificateValidation>) {
    let Some(object) = node.object() else { return (None, None, None) };
    let claims = ClaimSource::read(&object);
    let source = match object.optional("source") {
        None => Some("peerCertificate"),
        Some(source) => {
            source.enum_value(&["peerCertificate", "filterState", "forwardedClientCert"].map(|source| (source, source)))
        }
    };
    let source = match source {
        Some("filterState") => match object.optional("key") {
            None => Some(IdentitySource::FilterState(PEER_PRINCIPAL.to_owned())),
            Some(key) => read_filter_state_key(&key).map(IdentitySource::FilterState),
        },
        other => {
            object.refused("key", "is for the source filterState, remove it");
            match other {
                Some("forwardedClientCert") => Some(IdentitySource::ForwardedClientCert),
                other => other.map(|_| IdentitySource::PeerCertificate),
            }
        }
    };
    let validation = match source {
        Some(IdentitySource::FilterState(_) | IdentitySource::ForwardedClientCert) => {
            object.refused("validation", "is for the source peerCertificate, remove it");
            Some(CertificateValidation::default())
        }
        Some(IdentitySource::PeerCertificate) | None => CertificateValidation::read(&object),
    };
    object.finish();
    (claims, source, validation)
}

fn no_allow_policy(none_loaded: bool, none_here: bool) -> ConfigError {
    let why = match (none_loaded, none_here) {
        (true, _) => "there are no policies",
        (false, true) => "none of the policies is meant for this workload",
        (false, false) => "none of the policies for this workload is an enforced ALLOW",
    };
    ConfigError::new(
        "defaultAction",
        format!("missing, and {why}; say what happens to a request then, DENY or ALLOW (Istio would let it through)"),
    )
}

/// The policies within reach of a workload of which it cannot be told whether they are meant for it, with what the
/// workload would have to say.
fn missing_attribute<'p>(
    policies: &'p [AuthorizationPolicy],
    workload: &'p Workload,
    root_namespace: &'p str,
) -> impl Iterator<Item = (&'p AuthorizationPolicy, &'static str)> {
    let in_reach = move |policy: &&AuthorizationPolicy| {
        policy.name.namespace().is_some_and(|namespace| {
            let in_reach = [root_namespace, workload.namespace.as_str()].contains(&namespace);
            in_reach && !policy.target.selects(namespace, root_namespace, workload)
        })
    };
    policies.iter().filter(in_reach).filter_map(|policy| Some((policy, policy.target.missing_attribute(workload)?)))
}

#[cfg(test)]
mod tests;
