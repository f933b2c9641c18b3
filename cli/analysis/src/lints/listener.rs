//! Settings of Envoy's listeners that the filters in them depend on (docs/listener-settings.md).

use std::collections::HashSet;

use crate::finding::Finding;
use crate::lints::needs::Needs;
use crate::lints::{Lint, Linter, listener_http, listener_tls, warning};
use crate::plugin::{find_plugins, named_filter};
use crate::settings::Filter;
use crate::source::Span;
use crate::tree::{Entry, Node};

pub(super) const MISSING_TLS_INSPECTOR: Lint = Lint {
    code: "missing-tls-inspector",
    title: "A listener passes TLS through and does not read the server name, so every connection is closed",
    fix: "add `envoy.filters.listener.tls_inspector` to `listener_filters`",
};

pub(super) const FILTER_DISABLED: Lint = Lint {
    code: "filter-disabled",
    title: "A filter is switched off, for a listener, a host or a route",
    fix: "remove `disabled: true`, or let a policy allow what has to pass",
};

/// Filter in a chain of filters.
pub(super) struct Member<'n> {
    pub(super) node: &'n Node,
    /// The filter, if it is one of this project.
    pub(super) filter: Option<Filter>,
    /// Attributes that its configuration compares; `None` if the configuration is elsewhere.
    pub(super) needs: Option<Needs>,
}

impl<'n> Member<'n> {
    /// Returns the filters of a list.
    pub(super) fn all(linter: &Linter<'_>, filters: &'n Node) -> Vec<Self> {
        filters.items().iter().map(|node| Self::new(linter, node)).collect()
    }

    fn new(linter: &Linter<'_>, node: &'n Node) -> Self {
        let source = linter.project.sources().get(node.span.source);
        let plugin = source.and_then(|source| find_plugins(node, node.span.source, source).into_iter().next());
        if let Some(plugin) = plugin {
            let needs = plugin.configuration.as_ref().map(Needs::of);
            return Self { node, filter: Some(plugin.filter), needs };
        }
        let discovered = any(node, &["config_discovery", "configDiscovery"]).and_then(|_| node.get("name"));
        let filter = discovered.and_then(|name| named_filter(&[name]));
        // It is given where one other file has it.
        let mut others = linter.project.plugins().iter().filter(|plugin| Some(plugin.filter) == filter);
        let needs = match (others.next(), others.next()) {
            (Some(only), None) => only.configuration.as_ref().map(Needs::of),
            _ => None,
        };
        Self { node, filter, needs }
    }
}

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut open: Vec<&Node> = linter.contents.others.clone();
    open.extend(linter.contents.resources.iter().filter(|one| one.kind() == Some("EnvoyFilter")).map(|one| one.node));
    while let Some(node) = open.pop() {
        if any(node, &["filter_chains", "filterChains"]).is_some() {
            let mut of_listener = Vec::new();
            listener(linter, node, &mut of_listener);
            // The filter chains of a proxy in a mesh are alike: each fault once.
            let mut said = HashSet::new();
            of_listener.retain(|finding: &Finding| said.insert((finding.code.clone(), finding.message.clone())));
            findings.extend(of_listener);
        }
        if let Some(filters) = any(node, &["http_filters", "httpFilters"]) {
            let members = Member::all(linter, &filters.value);
            findings.extend(members.iter().filter(|member| member.filter.is_some()).filter_map(disabled));
        }
        if let Some(overrides) = any(node, &["typed_per_filter_config", "typedPerFilterConfig"]) {
            let is_ours = |name: &str| {
                Filter::ALL.iter().any(|filter| name.replace('-', "_").contains(&filter.name().replace('-', "_")))
            };
            let of_filters = overrides.value.entries().iter().filter(|entry| is_ours(&entry.key));
            findings.extend(of_filters.filter_map(|entry| switched_off(&entry.value)));
        }
        open.extend(node.items());
        open.extend(node.entries().iter().map(|entry| &entry.value));
    }
    findings
}

/// Returns the first of these keys that is given.
pub(super) fn any<'n>(node: &'n Node, keys: &[&str]) -> Option<&'n Entry> {
    keys.iter().find_map(|key| node.entry(key))
}

/// Returns the value of a switch with either spelling.
pub(super) fn is_on(node: &Node, keys: &[&str]) -> bool {
    any(node, keys).is_some_and(|entry| matches!(entry.value.value, crate::Value::Bool(true)))
}

fn disabled(member: &Member<'_>) -> Option<Finding> {
    switched_off(member.node)
}

fn switched_off(node: &Node) -> Option<Finding> {
    let entry = node.entry("disabled").filter(|_| is_on(node, &["disabled"]))?;
    let message = "the filter is switched off here, so nothing is decided by its policies";
    Some(warning(FILTER_DISABLED, entry.key_span, message, FILTER_DISABLED.fix))
}

fn listener(linter: &Linter<'_>, node: &Node, findings: &mut Vec<Finding>) {
    let listener_filters = any(node, &["listener_filters", "listenerFilters"]);
    let has_filter = |name: &str| {
        let named = |filter: &Node| filter.text_at(&["name"]).is_some_and(|text| text.contains(name));
        listener_filters.is_some_and(|entry| entry.value.items().iter().any(named))
    };
    let (inspects_tls, has_proxy_protocol) = (has_filter("tls_inspector"), has_filter("proxy_protocol"));
    let chains = any(node, &["filter_chains", "filterChains"]).map_or(&[][..], |entry| entry.value.items());
    let default = any(node, &["default_filter_chain", "defaultFilterChain"]).map(|entry| &entry.value);
    for chain in chains.iter().chain(default) {
        let Some(filters) = chain.entry("filters") else { continue };
        let network = Member::all(linter, &filters.value);
        let tls = any(chain, &["transport_socket", "transportSocket"]);
        let tls_context = tls.and_then(|socket| any(&socket.value, &["typed_config", "typedConfig"]));
        let mut of_chain: Vec<Member<'_>> = Vec::new();
        for member in network {
            let settings = any(member.node, &["typed_config", "typedConfig"]).map(|entry| &entry.value);
            let manager =
                settings.and_then(|settings| Some((settings, any(settings, &["http_filters", "httpFilters"])?)));
            match manager {
                Some((settings, http_filters)) => {
                    let members = Member::all(linter, &http_filters.value);
                    listener_http::check(settings, http_filters, &members, has_proxy_protocol, findings);
                    of_chain.extend(members);
                }
                None => {
                    let is_egress = member.filter == Some(Filter::EgressAllowlist);
                    if is_egress && tls.is_none() && !inspects_tls {
                        let message =
                            "without tls_inspector the filter is not told the server name, and closes every connection";
                        findings.push(warning(
                            MISSING_TLS_INSPECTOR,
                            filters.key_span,
                            message,
                            MISSING_TLS_INSPECTOR.fix,
                        ));
                    }
                    of_chain.push(member);
                }
            }
        }
        listener_http::direct_address(&of_chain, findings);
        if let Some(context) = tls_context {
            let span = tls.map_or(context.key_span, |socket| socket.key_span);
            listener_tls::check(&context.value, span, &of_chain, findings);
        }
    }
}

/// Returns the position of a setting, or where it is absent that of `span`.
pub(super) fn span_of(node: &Node, keys: &[&str], span: Span) -> Span {
    any(node, keys).map_or(span, |entry| entry.value.span)
}
