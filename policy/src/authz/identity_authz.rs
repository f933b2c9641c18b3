//! The configuration of the filter `identity-authz`.

mod applicable;
mod identity;
#[cfg(any(test, feature = "linear-reading"))]
pub(crate) mod linear;
mod load_notes;
mod no_allow;
mod targets;

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::readings::path::spelling::one_spelling;
use crate::attributes::readings::path::{PathReadings, readings};
use crate::attributes::request::without_query;
use crate::authz::compiled::CompiledPolicy;
use crate::authz::custom::CustomPolicies;
use crate::authz::engine::rule::{Action, DefaultAction};
use crate::authz::fields::ALL_FIELDS;
use crate::authz::identity_authz::identity::read_identity;
use crate::authz::mtls_mode::{Applicable, MutualTls};
use crate::authz::resources::authorization_policy::{AuthorizationPolicy, Context};
use crate::authz::resources::kinds::OwnKinds;
use crate::authz::resources::object_meta::{DefaultNamespace, read_default_namespace, read_namespace};
use crate::authz::resources::peer_authentication::PeerAuthentication;
use crate::authz::resources::rules::RuleSizes;
use crate::authz::resources::workload::{Workload, transpose};
use crate::authz::resources::{Resource, ResourceReader};
use crate::authz::stage::{CustomSettings, Stage};
use crate::config::deny_response::DenyResponse;
use crate::config::diagnostics::{ConfigError, ConfigErrors, Diagnostics, MAX_ERRORS_KEPT};
use crate::config::document::StreamedList;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;
use crate::config::load_report::LoadReport;
use crate::config::passed_over::PassedOver;
use crate::config::reader::ConfigNode;
use crate::config::value::Value;
use crate::identity::settings::{
    CertificateValidation, DirectRemoteAddress, IdentitySource, REMOTE_ADDRESS, read_remote_address, read_trust_domains,
};

/// Valid, compiled configuration of `identity-authz`.
pub struct IdentityAuthz {
    policy: CompiledPolicy,
    /// Policy for TCP connections, if it differs from the one for HTTP requests.
    connections: Option<CompiledPolicy>,
    /// The CUSTOM policies by which requests are marked, for an instance with `stage: custom`.
    marking: Option<Rc<CustomPolicies>>,
    reply: DenyResponse,
    identity_source: IdentitySource,
    certificate_validation: CertificateValidation,
    direct_remote_address: DirectRemoteAddress,
    path_readings: PathReadings,
    load_report: LoadReport,
}

/// Maximum number of warnings about rules of one kind.
const MAX_WARNINGS: usize = 20;

/// The kinds of resources that it reads.
const OWN_KINDS: OwnKinds = OwnKinds(&["AuthorizationPolicy", "PeerAuthentication"]);

impl IdentityAuthz {
    /// Reads and compiles a configuration. Fails with all its diagnostics, each with its path.
    ///
    /// ```
    /// use sallyport_policy::IdentityAuthz;
    /// let refusal = IdentityAuthz::parse(br#"{"resources": [], "mode": "enforced", "defaultAction": "DENY"}"#).err().unwrap();
    /// assert_eq!(refusal.to_string(), "mode: unknown value `enforced`, did you mean \"enforce\"?");
    /// ```
    pub fn parse(json: impl AsRef<[u8]>) -> Result<Self, ConfigErrors> {
        Self::parse_keeping(json, MAX_ERRORS_KEPT)
    }

    /// Reads and compiles a configuration as [`parse`](Self::parse) does, and keeps up to `limit` errors. For tools.
    pub fn parse_keeping(json: impl AsRef<[u8]>, limit: usize) -> Result<Self, ConfigErrors> {
        let configuration = Configuration::parse(json.as_ref(), limit)?;
        // The memory of a VM does not shrink: what is made of the text goes where the text was.
        drop(json);
        configuration.compile(limit)
    }

    /// Returns the CUSTOM policies by which to mark requests; `None` unless `stage` is `custom`. An instance that marks
    /// decides no request.
    pub fn marking(&self) -> Option<&CustomPolicies> {
        self.marking.as_deref()
    }

    /// Returns the policy for HTTP requests.
    pub fn policy(&self) -> &CompiledPolicy {
        &self.policy
    }

    /// Returns the policy for TCP connections, without HTTP-only fields.
    pub fn connection_policy(&self) -> &CompiledPolicy {
        self.connections.as_ref().unwrap_or(&self.policy)
    }

    /// Lines about what policies do not mean for connections.
    pub fn connection_warnings(&self) -> &[String] {
        self.connections.as_ref().map_or(&[], CompiledPolicy::connection_warnings)
    }

    /// Returns the response to a denied client.
    pub fn reply(&self) -> &DenyResponse {
        &self.reply
    }

    /// Returns the source of the caller's identity.
    pub fn identity_source(&self) -> &IdentitySource {
        &self.identity_source
    }

    /// Proof that the certificate of a connection was validated.
    pub fn certificate_validation(&self) -> CertificateValidation {
        self.certificate_validation
    }

    /// Returns the source of a connection's direct remote address.
    pub fn direct_remote_address(&self) -> DirectRemoteAddress {
        self.direct_remote_address
    }

    /// Returns the readings of a path that policies are compared with, the path in its one spelling first; for tools.
    pub fn readings_of_path(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let (path, _) = one_spelling(without_query(path));
        let further = readings(&path, self.path_readings).into_iter().map(|(_, reading)| reading);
        std::iter::once(path.to_vec()).chain(further).collect()
    }

    /// Returns the lines for the log about what was loaded.
    pub fn load_report(&self) -> &LoadReport {
        &self.load_report
    }
}

/// The resources of a configuration, by kind.
#[derive(Default)]
struct Resources {
    policies: Vec<AuthorizationPolicy>,
    peer_authentications: Vec<PeerAuthentication>,
    passed_over: PassedOver,
}

struct Configuration {
    loaded: Resources,
    reply: DenyResponse,
    identity_source: IdentitySource,
    certificate_validation: CertificateValidation,
    direct_remote_address: DirectRemoteAddress,
    remote_address_is_trusted: bool,
    path_readings: PathReadings,
    default_action: Option<DefaultAction>,
    mode: EnforcementMode,
    names_allowed: bool,
    custom: CustomSettings,
    workload: Option<Workload>,
    root_namespace: String,
}

impl Configuration {
    /// Reads a configuration, and keeps up to `limit` errors.
    fn parse(json: &[u8], limit: usize) -> Result<Self, ConfigErrors> {
        let (document, resources) = Value::parse_streaming(json, "resources")?;
        let diagnostics = Diagnostics::keeping(limit);
        let read = read(&ConfigNode::root(&document, &diagnostics), &resources);
        diagnostics.into_result(read)
    }

    /// Compiles what applies here. Fails with the errors that only all resources together show.
    fn compile(mut self, limit: usize) -> Result<IdentityAuthz, ConfigErrors> {
        let diagnostics = Diagnostics::keeping(limit);
        let passed_over = std::mem::take(&mut self.loaded.passed_over);
        let is_needed: Vec<bool> = self.loaded.policies.iter().map(|policy| self.needs(policy)).collect();
        let policies = &self.loaded.policies;
        let needed: Vec<_> = policies.iter().zip(&is_needed).filter(|(_, needed)| **needed).map(|(it, _)| it).collect();
        let is_enforced_allow =
            |policy: &&AuthorizationPolicy| policy.action == Action::Allow && policy.mode == EnforcementMode::Enforce;
        let enforced_allow = needed.iter().any(is_enforced_allow);
        let warnings = self.check_targets(enforced_allow, &diagnostics);
        self.check_remote_address(&needed, &diagnostics);
        self.custom.check(&needed, self.mode, &diagnostics);
        let peer_authentications = &self.loaded.peer_authentications;
        let for_mutual_tls =
            Applicable::new(peer_authentications, self.workload.as_ref(), &self.root_namespace, &diagnostics);
        diagnostics.into_result(Some(()))?;
        let is_marking = self.custom.stage == Stage::Custom;
        let default_action = match (self.default_action, enforced_allow || is_marking) {
            (Some(action), _) => action,
            (None, true) => DefaultAction::Deny,
            (None, false) => return Err(ConfigErrors::of(self.no_allow_policy(&needed))),
        };
        let load_report = self.load_report(&needed, &for_mutual_tls, &warnings, passed_over);
        let mutual_tls = MutualTls::new(&for_mutual_tls);
        let compile = |policies: Vec<Cow<'_, AuthorizationPolicy>>, mutual_tls| {
            let policy = CompiledPolicy::new(policies, default_action, self.mode).with_mutual_tls(mutual_tls);
            if self.names_allowed { policy.naming_allowed() } else { policy }
        };
        let (for_connections, connection_warnings) = for_connections(&needed);
        let connections = for_connections
            .map(|policies| compile(policies, mutual_tls.clone()).with_connection_warnings(connection_warnings));
        // Each policy is dropped as soon as it is compiled.
        let owned = self.loaded.policies.into_iter().zip(is_needed).filter(|(_, needed)| *needed).map(|(it, _)| it);
        let (custom, decisive): (Vec<_>, Vec<_>) = owned.partition(|policy| policy.action == Action::Custom);
        let policy = compile(decisive.into_iter().map(Cow::Owned).collect(), mutual_tls);
        let custom = Rc::new(CustomPolicies::new(custom, self.custom.providers));
        let with_custom = |policy: CompiledPolicy| match is_marking || !custom.is_empty() {
            true => policy.with_custom(Rc::clone(&custom)),
            false => policy,
        };
        let policy = with_custom(policy);
        policy.check_excess()?;
        Ok(IdentityAuthz {
            policy,
            connections: connections.map(with_custom),
            marking: is_marking.then_some(custom),
            reply: self.reply,
            identity_source: self.identity_source,
            certificate_validation: self.certificate_validation,
            direct_remote_address: self.direct_remote_address,
            path_readings: self.path_readings,
            load_report,
        })
    }

    /// Reports whether a policy concerns the stage: only CUSTOM policies mark requests.
    fn concerns(&self, policy: &AuthorizationPolicy) -> bool {
        self.custom.stage == Stage::Decide || policy.action == Action::Custom
    }

    /// Reports whether a policy applies to this workload and concerns the stage.
    fn needs(&self, policy: &AuthorizationPolicy) -> bool {
        let applies = self.workload.as_ref().is_none_or(|workload| {
            let selects = |namespace| policy.target.selects(namespace, &self.root_namespace, workload);
            policy.name.namespace().is_some_and(selects)
        });
        applies && self.concerns(policy)
    }

    /// Reports policies that compare the client's address without `remoteAddress: trusted`.
    fn check_remote_address(&self, applicable: &[&AuthorizationPolicy], diagnostics: &Diagnostics) {
        if self.remote_address_is_trusted {
            return;
        }
        for policy in applicable.iter().filter(|policy| policy.compares_remote_address()) {
            let name = &policy.name;
            diagnostics.add(ConfigError::new(
                "remoteAddress",
                format!(
                    "missing, and {name} compares the client's address (remoteIpBlocks, remote.ip); {REMOTE_ADDRESS}"
                ),
            ).with_code(ErrorCode::UntrustedAddress));
        }
    }
}

/// The policies as they are for TCP connections, where one of them differs, and the warnings about those.
fn for_connections<'p>(
    policies: &[&'p AuthorizationPolicy],
) -> (Option<Vec<Cow<'p, AuthorizationPolicy>>>, Vec<String>) {
    let (mut connection_warnings, mut omitted) = (Vec::new(), 0);
    let mut narrow = |policy: &&'p AuthorizationPolicy| match policy.for_connections() {
        Some((narrowed, warnings)) => {
            let room = MAX_WARNINGS.saturating_sub(connection_warnings.len());
            omitted += warnings.len().saturating_sub(room);
            connection_warnings.extend(warnings.into_iter().take(room));
            Cow::Owned(narrowed)
        }
        None => Cow::Borrowed(*policy),
    };
    // With a CUSTOM policy every connection is denied.
    let decisive = policies.iter().filter(|policy| policy.action != Action::Custom);
    let narrowed: Vec<_> = decisive.map(&mut narrow).collect();
    if omitted > 0 {
        connection_warnings.push(format!("{omitted} more rules are affected"));
    }
    ((!connection_warnings.is_empty()).then_some(narrowed), connection_warnings)
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
    let direct_remote_address = DirectRemoteAddress::read(&object);
    let remote_address_is_trusted = read_remote_address(&object);
    let default_action = object
        .optional("defaultAction")
        .map(|node| node.enum_value(&[("ALLOW", DefaultAction::Allow), ("DENY", DefaultAction::Deny)]));
    let path_readings = PathReadings::read(object.optional("pathReadings").as_ref());
    let mode = EnforcementMode::read(object.optional("mode").as_ref());
    let reply = DenyResponse::read(object.optional("deny").as_ref(), DenyResponse::default());
    let names_allowed = object.optional("allowedPolicy").map_or(Some(false), |node| node.bool());
    let custom = CustomSettings::read(&object);
    // Where they could not be read, that is an error already.
    let claims = Rc::new(claims.unwrap_or_default());
    let known = workload.as_ref().and_then(Option::as_ref);
    let own_namespace = known.map(|workload| workload.namespace.as_str());
    let default_namespace = read_default_namespace(&object, own_namespace);
    let resources = object.required("resources", "list the policies, or write [] for none");
    let loaded = resources.as_ref().zip(trust_domains.as_ref()).and_then(|(node, trust_domains)| {
        let context = Context {
            trust_domains,
            claims: &claims,
            path_readings: path_readings.unwrap_or_default(),
            // Checked later, for the policies that apply.
            trusts_remote_address: true,
            registry: &ALL_FIELDS,
            rule_sizes: RuleSizes::default(),
            denies_only: false,
        };
        let default_namespace =
            DefaultNamespace::new(default_namespace.as_ref(), "defaultNamespace or workload.namespace");
        read_resources(node, items, &context, default_namespace)
    });
    object.finish();
    default_namespace?;
    Some(Configuration {
        loaded: loaded?,
        reply: reply?,
        identity_source: identity_source?,
        certificate_validation: certificate_validation?,
        direct_remote_address: direct_remote_address?,
        remote_address_is_trusted: remote_address_is_trusted?,
        default_action: transpose(default_action)?,
        path_readings: path_readings?,
        mode: mode?,
        names_allowed: names_allowed?,
        custom: custom?,
        workload: transpose(workload)?,
        root_namespace: root_namespace?,
    })
}

/// Reads the streamed resources.
fn read_resources(
    node: &ConfigNode<'_>,
    items: &StreamedList<'_>,
    context: &Context<'_>,
    default_namespace: DefaultNamespace<'_>,
) -> Option<Resources> {
    let read = RefCell::new(Resources::default());
    let reader = ResourceReader {
        own_kinds: &OWN_KINDS,
        default_namespace,
        read: &|Resource { kind, object, metadata }| match kind {
            "PeerAuthentication" => PeerAuthentication::read(object, metadata)
                .map(|one| read.borrow_mut().peer_authentications.push(one))
                .is_some(),
            _ => AuthorizationPolicy::read(object, metadata, context)
                .map(|policy| read.borrow_mut().policies.push(policy))
                .is_some(),
        },
    };
    let passed_over = reader.read_all(node, items)?;
    Some(Resources { passed_over, ..read.into_inner() })
}

#[cfg(test)]
mod tests;
