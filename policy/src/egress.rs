//! The configuration of the filter `egress-allowlist`, and what it decides.

pub(crate) mod authority;
pub(crate) mod cilium_network_policy;
pub(crate) mod client_hello;
pub(crate) mod compiled;
pub(crate) mod context;
pub(crate) mod decision;
pub(crate) mod dns_names;
pub(crate) mod entry;
pub(crate) mod explain;
pub(crate) mod fields;
pub(crate) mod fqdn_pattern;
pub(crate) mod host_index;
pub(crate) mod host_pattern;
#[cfg(any(test, feature = "linear-reading"))]
pub(crate) mod linear;
pub(crate) mod load_notes;
pub(crate) mod name_glob;
pub(crate) mod outbound;
pub(crate) mod port;
pub(crate) mod request;
pub(crate) mod rule;
pub(crate) mod service_addresses;
pub(crate) mod service_entry;
pub(crate) mod settings;
pub(crate) mod sources;
pub(crate) mod tunnel;
pub(crate) mod workloads;

use std::cell::{Cell, RefCell};

use crate::authz::resources::object_meta::{DefaultNamespace, read_default_namespace};
use crate::authz::resources::rules::RuleSizes;
use crate::authz::resources::{MAX_RESOURCES, ResourceReader};
use crate::collections::map::OrderedMap;
use crate::config::deny_response::DenyResponse;
use crate::config::diagnostics::{ConfigErrors, Diagnostics, MAX_ERRORS_KEPT};
use crate::config::document::StreamedList;
use crate::config::enforcement_mode::EnforcementMode;
use crate::config::error_code::ErrorCode;
use crate::config::load_report::LoadReport;
use crate::config::passed_over::PassedOver;
use crate::config::reader::{ConfigNode, Object};
use crate::config::value::Value;
use crate::egress::compiled::{EgressPolicy, RulesCompiler};
use crate::egress::context::{DefaultExport, EgressContext};
use crate::egress::decision::EgressDenial;
use crate::egress::rule::{OWN_KINDS, Rule, Rules};
use crate::egress::settings::EgressSettings;
use crate::egress::sources::{SourceItem, SourceMode, Sources};
use crate::egress::workloads::Workloads;
use crate::identity::settings::{
    CertificateValidation, DirectRemoteAddress, read_certificate_identity, read_remote_address, read_trust_domains,
};

/// Body of a denial. Clients take an answer for the server's, so it says whose it is.
const DENIED: &str =
    "The egress proxy does not let this client reach this host. This is the proxy's answer, not the server's.";

/// Body for a client that has too many connections open.
const LIMITED: &str =
    "This client has too many connections open through the egress proxy. This is the proxy's answer, not the server's.";

/// HTTP statuses.
const FORBIDDEN: u32 = 403;
const TOO_MANY_REQUESTS: u32 = 429;

/// Valid, compiled configuration of `egress-allowlist`.
pub struct EgressAllowlist {
    policy: EgressPolicy,
    reply: DenyResponse,
    limited_reply: DenyResponse,
    certificate_validation: CertificateValidation,
    direct_remote_address: DirectRemoteAddress,
    load_report: LoadReport,
}

impl EgressAllowlist {
    /// Reads and compiles a configuration. Fails with all its diagnostics, each with its path.
    ///
    /// ```
    /// use sallyport_policy::EgressAllowlist;
    /// let refusal = EgressAllowlist::parse(br#"{"rules": [{"name": "web", "hosts": ["*x.com"]}]}"#).err().unwrap();
    /// assert_eq!(
    ///     refusal.to_string(),
    ///     "rules[0].hosts[0]: bad host `*x.com`: a star stands for whole labels, or `evilx.com` would match too; write `*.x.com`",
    /// );
    /// ```
    pub fn parse(json: &[u8]) -> Result<Self, ConfigErrors> {
        Self::parse_keeping(json, MAX_ERRORS_KEPT)
    }

    /// Reads and compiles a configuration as [`parse`](Self::parse) does, and keeps up to `limit` errors. For tools.
    pub fn parse_keeping(json: &[u8], limit: usize) -> Result<Self, ConfigErrors> {
        let compiler = RefCell::new(RulesCompiler::default());
        let add = |rule| compiler.borrow_mut().add(rule);
        let Configuration {
            rules,
            written,
            passed_over,
            reply,
            certificate_validation,
            direct_remote_address,
            settings,
            sources,
        } = load(json, limit, &add)?;
        let sources = sources.map(|items| Sources::new(&items));
        let summary = summary(&rules, written, settings.mode, sources.as_ref()) + certificate_validation.note();
        let mut load_report = LoadReport::new(summary, passed_over);
        rules.notes.lines().iter().for_each(|line| load_report.note(line));
        rules.notes.warnings().iter().for_each(|line| load_report.warn(line));
        let addresses = rules.addresses.finish();
        let policy = EgressPolicy::new(compiler.into_inner(), addresses, sources, settings);
        policy.check_excess()?;
        let limited_reply = DenyResponse::new(TOO_MANY_REQUESTS, LIMITED);
        Ok(Self { policy, reply, limited_reply, certificate_validation, direct_remote_address, load_report })
    }

    /// Returns the policy for requests.
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Proof that the certificate of a connection was validated.
    pub fn certificate_validation(&self) -> CertificateValidation {
        self.certificate_validation
    }

    /// Returns the response to an HTTP client that is denied for this reason.
    pub fn reply(&self, denial: &EgressDenial<'_>) -> &DenyResponse {
        match denial {
            EgressDenial::TooManyConnections(_) => &self.limited_reply,
            _ => &self.reply,
        }
    }

    /// The source of the address of a connection's other end.
    pub fn direct_remote_address(&self) -> DirectRemoteAddress {
        self.direct_remote_address
    }

    /// Returns the lines for the log about what was loaded.
    pub fn load_report(&self) -> &LoadReport {
        &self.load_report
    }
}

/// Returns one line: rules, resources and hosts, and which only report.
fn summary(rules: &Rules<'_>, written: usize, mode: EnforcementMode, sources: Option<&Sources>) -> String {
    let Rules { resources, hosts, reported, .. } = rules;
    let count = |mode| sources.map_or(0, |sources| sources.count(mode));
    let mode = match (mode, count(SourceMode::Enforce)) {
        (EnforcementMode::Report, 0) => ", mode: report, nothing is denied",
        (EnforcementMode::Report, _) => ", mode: report",
        (EnforcementMode::Enforce, _) => "",
    };
    let sources = sources.map_or_else(String::new, |_| {
        let [enforce, report, open] = [SourceMode::Enforce, SourceMode::Report, SourceMode::Open].map(count);
        format!("; sources: {enforce} enforce, {report} report, {open} open")
    });
    format!(
        "loaded {written} rules and {resources} resources with {hosts} hosts, {reported} rules only report{mode}{sources}"
    )
}

struct Configuration<'r> {
    rules: Rules<'r>,
    /// Number of rules that are not derived from resources.
    written: usize,
    passed_over: PassedOver,
    reply: DenyResponse,
    direct_remote_address: DirectRemoteAddress,
    settings: EgressSettings,
    sources: Option<Vec<SourceItem>>,
    certificate_validation: CertificateValidation,
}

/// Reads a configuration. `consumer` gets each rule, also of one that is refused in the end.
fn load<'r>(json: &[u8], limit: usize, consumer: &'r dyn Fn(Rule)) -> Result<Configuration<'r>, ConfigErrors> {
    let (document, lists) = Value::parse_streaming_two(json, ["rules", "resources"])?;
    let diagnostics = Diagnostics::keeping(limit);
    let read = read(&ConfigNode::root(&document, &diagnostics), &lists, Rules::new(consumer));
    // The memory of a VM does not shrink: what is made of the tree goes where the tree was.
    drop(document);
    diagnostics.into_result(read)
}

fn read<'r>(
    node: &ConfigNode<'_>,
    [rule_items, items]: &[StreamedList<'_>; 2],
    rules: Rules<'r>,
) -> Option<Configuration<'r>> {
    let object = node.object()?;
    let trust_domains = read_trust_domains(&object);
    let certificate_validation = match object.optional("identity") {
        Some(identity) => read_certificate_identity(&identity),
        None => Some(CertificateValidation::default()),
    };
    let direct_remote_address = DirectRemoteAddress::read(&object);
    let remote_address_is_trusted = read_remote_address(&object);
    let settings = EgressSettings::read(&object);
    let addresses = match object.optional("ipAddresses") {
        Some(node) => node.enum_value(&[("deny", false), ("allow", true)]),
        None => Some(false),
    };
    let reply = DenyResponse::read(object.optional("deny").as_ref(), DenyResponse::new(FORBIDDEN, DENIED));
    let workloads = object
        .optional("workloads")
        .map_or_else(|| Some(Workloads::default()), |node| Workloads::read(&node, trust_domains.as_ref()));
    let default_export = read_default_export(&object);
    let written = object.optional("rules");
    let resources = object.optional("resources");
    if written.is_none() && resources.is_none() {
        object.error_as(ErrorCode::MissingField, "has neither rules nor resources; list the hosts that may be reached, or write rules: [] to deny everything");
    }
    let context = trust_domains.as_ref().zip(workloads.as_ref()).map(|(trust_domains, workloads)| EgressContext {
        trust_domains,
        workloads,
        // Where such a key is unreadable, what it would allow is no further error.
        addresses: addresses.unwrap_or(true),
        remote_address_is_trusted: remote_address_is_trusted.unwrap_or(true),
        default_export: default_export.unwrap_or(DefaultExport::All),
        leads_to_hosts: settings.as_ref().is_some_and(|settings| settings.leads_to_hosts),
        repeated_names: Cell::default(),
        rule_sizes: RuleSizes::default(),
    });
    let sources = object.optional("sources").map(|node| SourceItem::read_all(&node, context.as_ref()?));
    let default_namespace = read_default_namespace(&object, None);
    let default = DefaultNamespace::new(default_namespace.as_ref(), "defaultNamespace");
    let resources = resources.as_ref().map(|node| (node, items, default));
    let written = written.as_ref().map(|node| (node, rule_items));
    let rules = context.as_ref().and_then(|context| read_all(written, resources, context, rules));
    object.finish();
    default_namespace.as_ref()?;
    remote_address_is_trusted?;
    default_export?;
    let sources = match sources {
        Some(items) => Some(items?),
        None => None,
    };
    let (rules, written, passed_over) = rules?;
    Some(Configuration {
        rules,
        written,
        passed_over,
        reply: reply?,
        direct_remote_address: direct_remote_address?,
        settings: settings?,
        sources,
        certificate_validation: certificate_validation?,
    })
}

fn read_default_export(object: &Object<'_>) -> Option<DefaultExport> {
    match object.optional("serviceEntryExport") {
        Some(node) => node.enum_value(&[("namespace", DefaultExport::Namespace), ("all", DefaultExport::All)]),
        None => Some(DefaultExport::Namespace),
    }
}

/// Returns the rules and those of resources, in the order in which they are reported, the number of the first, and counts
/// of resources of other kinds.
fn read_all<'r>(
    rules: Option<(&ConfigNode<'_>, &StreamedList<'_>)>,
    resources: Option<(&ConfigNode<'_>, &StreamedList<'_>, DefaultNamespace<'_>)>,
    context: &EgressContext<'_>,
    read: Rules<'r>,
) -> Option<(Rules<'r>, usize, PassedOver)> {
    let read = RefCell::new(read);
    let complete = rules.is_none_or(|(node, items)| read_rules(node, items, context, &read).is_some());
    let written = read.borrow().count;
    let passed_over = match resources {
        Some((node, items, default_namespace)) => ResourceReader {
            own_kinds: &OWN_KINDS,
            default_namespace,
            read: &|resource| read.borrow_mut().add_resource(resource, context).is_some(),
        }
        .read_all(node, items),
        None => Some(PassedOver::default()),
    };
    complete.then_some((read.into_inner(), written, passed_over?))
}

fn read_rules(
    node: &ConfigNode<'_>,
    items: &StreamedList<'_>,
    context: &EgressContext<'_>,
    read: &RefCell<Rules<'_>>,
) -> Option<()> {
    // If it is not a list, that is reported, and there are no items.
    let _empty = node.items()?;
    if items.count() > MAX_RESOURCES {
        let problem = format!("has {} items, the limit is {MAX_RESOURCES}", items.count());
        node.error_as(ErrorCode::LimitExceeded, problem);
        return None;
    }
    let names = RefCell::new(OrderedMap::default());
    let complete = Cell::new(true);
    let all_came = node.for_each_item(items, &|position, item| {
        // What an item holds is read with it.
        if position.within.is_some() {
            return;
        }
        let Some(rule) = Rule::read(item, position.index, context) else {
            complete.set(false);
            return;
        };
        if let Some(earlier) = names.borrow_mut().insert(rule.name.policy().clone(), position.index) {
            item.error_as(
                ErrorCode::DuplicateResource,
                format!(
                    "the name {} is that of {}[{earlier}] already, denials are reported under it",
                    rule.name.policy().name(),
                    node.path()
                ),
            );
        }
        read.borrow_mut().add(rule);
    });
    (all_came && complete.get()).then_some(())
}

#[cfg(test)]
mod tests;
