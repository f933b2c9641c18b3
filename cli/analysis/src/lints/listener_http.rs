//! Settings of the HTTP connection manager, and the filters before those of this project.

use crate::finding::Finding;
use crate::lints::listener::{Member, any, is_on, span_of};
use crate::lints::plugins::FAIL_OPEN;
use crate::lints::{Lint, warning};
use crate::settings::Filter;
use crate::tree::{Entry, Node, Value};

pub(super) const PATH_NORMALIZATION: Lint = Lint {
    code: "path-normalization",
    title: "Policies compare paths, and the upstream gets them in other spellings than Envoy's normal one",
    fix: "write `normalize_path: true`, `merge_slashes: true` and `path_with_escaped_slashes_action: REJECT_REQUEST`",
};

pub(super) const CLIENT_ADDRESS: Lint = Lint {
    code: "client-address",
    title: "Policies compare an address that this listener does not hand over, or that clients can choose",
    fix: "put the filter `sallyport.direct_remote_address` of envoy-config/ingress.yaml first, or write \
          `use_remote_address: true`, as the message says",
};

pub(super) const TOKEN_PAYLOAD: Lint = Lint {
    code: "token-payload",
    title: "Policies ask for a token, and no filter before keeps its payload where they look for it",
    fix: "write `payload_in_metadata: payload` in each provider of `envoy.filters.http.jwt_authn`, before the filter",
};

pub(super) const MISSING_MARK: Lint = Lint {
    code: "missing-mark",
    title: "A filter with `customProviders` stands without an instance with `stage: custom` before it",
    fix: "put an instance with `stage: custom` and `ext_authz` before it, as in envoy-config/custom.yaml",
};

const NORMALIZE: [&str; 2] = ["normalize_path", "normalizePath"];
const MERGE: [&str; 2] = ["merge_slashes", "mergeSlashes"];
const ESCAPED: [&str; 2] = ["path_with_escaped_slashes_action", "pathWithEscapedSlashesAction"];

/// Finds what a connection manager lacks for the filters in it.
pub(super) fn check(
    manager: &Node,
    http_filters: &Entry,
    members: &[Member<'_>],
    has_proxy_protocol: bool,
    findings: &mut Vec<Finding>,
) {
    let span = manager.entry("stat_prefix").map_or(http_filters.key_span, |entry| entry.key_span);
    let needs = || members.iter().filter_map(|member| member.needs.as_ref());
    let compares_paths = members
        .iter()
        .filter(|member| member.filter != Some(Filter::EgressAllowlist))
        .any(|member| member.needs.as_ref().is_some_and(|needs| needs.paths));
    if compares_paths {
        let action = any(manager, &ESCAPED).and_then(|entry| entry.value.as_str());
        let is_decided = action.is_some_and(|action| action == "REJECT_REQUEST" || action.starts_with("UNESCAPE_AND_"));
        let settings = [
            (is_on(manager, &NORMALIZE), NORMALIZE, "normalize_path: true"),
            (is_on(manager, &MERGE), MERGE, "merge_slashes: true"),
            (is_decided, ESCAPED, "path_with_escaped_slashes_action: REJECT_REQUEST"),
        ];
        let missing: Vec<&str> = settings.iter().filter(|(set, ..)| !set).map(|(.., text)| *text).collect();
        if let Some((_, keys, _)) = settings.iter().find(|(set, ..)| !set) {
            let message = format!(
                "without {} the upstream gets paths as clients write them, which it may read differently",
                missing.join(", ")
            );
            let help = format!("write {}", missing.join(", "));
            findings.push(warning(PATH_NORMALIZATION, span_of(manager, keys, span), message, help));
        }
    }
    if needs().any(|needs| needs.trusts_remote_address) && !has_proxy_protocol && !knows_client(manager) {
        let message = "remoteAddress: trusted is written, and with these settings a client chooses its own address";
        let help = "write use_remote_address: true, or xff_num_trusted_hops with the number of proxies before this one";
        findings.push(warning(CLIENT_ADDRESS, span, message, help));
    }
    for (index, member) in members.iter().enumerate() {
        let before = members.get(..index).unwrap_or_default();
        if member.filter == Some(Filter::IdentityAuthz) {
            tokens(member, before, findings);
            mark(member, before, findings);
        }
    }
}

/// Reports whether the connection manager takes the client's address from the connection or a known number of proxies.
fn knows_client(manager: &Node) -> bool {
    is_on(manager, &["use_remote_address", "useRemoteAddress"])
        || any(manager, &["xff_num_trusted_hops", "xffNumTrustedHops"])
            .is_some_and(|entry| !matches!(entry.value.value, Value::Whole(0)))
        || any(manager, &["original_ip_detection_extensions", "originalIpDetectionExtensions"]).is_some()
}

/// Finds policies by the connection's address without the filter that hands it over.
pub(super) fn direct_address(members: &[Member<'_>], findings: &mut Vec<Finding>) {
    const KEY: &str = "sallyport.direct_remote_address";
    let sets = |member: &Member<'_>| {
        let mut json = String::new();
        if member.filter.is_none() {
            crate::json::write_json(member.node, &mut json);
        }
        json.contains(KEY)
    };
    for (index, member) in members.iter().enumerate() {
        let is_given = members.iter().take(index).any(sets);
        if member.needs.as_ref().is_some_and(|needs| needs.direct_address) && !is_given {
            let message = format!("rules with ipBlocks or source.ip deny: no filter before this one sets `{KEY}`");
            let help = "put the filter sallyport.direct_remote_address of envoy-config/ingress.yaml before it";
            findings.push(warning(CLIENT_ADDRESS, member.node.first_span(), message, help));
        }
    }
}

fn tokens(member: &Member<'_>, before: &[Member<'_>], findings: &mut Vec<Finding>) {
    let Some(needs) = member.needs.as_ref().filter(|needs| needs.tokens) else { return };
    let providers: Vec<&Entry> = before
        .iter()
        .filter_map(|one| any(one.node, &["typed_config", "typedConfig"])?.value.entry("providers"))
        .flat_map(|providers| providers.value.entries())
        .collect();
    let discovers = |one: &Member<'_>| one.node.text_at(&["name"]).is_some_and(|name| name.contains("jwt"));
    if providers.is_empty() && !before.iter().any(discovers) {
        let message = "policies ask for a token, and no jwt_authn before this filter validates one";
        findings.push(warning(TOKEN_PAYLOAD, member.node.first_span(), message, TOKEN_PAYLOAD.fix));
    }
    for provider in providers {
        let kept = any(&provider.value, &["payload_in_metadata", "payloadInMetadata"]);
        match kept.and_then(|kept| kept.value.as_str()) {
            None => {
                let message = format!("the provider `{}` keeps no payload, so there is no token", provider.key);
                findings.push(warning(TOKEN_PAYLOAD, provider.key_span, message, "write payload_in_metadata: payload"));
            }
            Some(name) if !needs.metadata_keys.iter().any(|key| key == name) => {
                let message = format!("the payload is kept as `{name}`, where the filter does not look");
                let help =
                    format!("write payload_in_metadata: payload, or identity: {{jwt: {{metadataKeys: [{name}]}}}}");
                findings.push(warning(
                    TOKEN_PAYLOAD,
                    span_of(&provider.value, &["payload_in_metadata", "payloadInMetadata"], provider.key_span),
                    message,
                    help,
                ));
            }
            Some(_) => {}
        }
    }
}

fn mark(member: &Member<'_>, before: &[Member<'_>], findings: &mut Vec<Finding>) {
    if !member.needs.as_ref().is_some_and(|needs| needs.needs_mark) {
        return;
    }
    if !before.iter().any(|one| one.needs.as_ref().is_some_and(|needs| needs.is_mark)) {
        let message = "every request is denied: no instance with stage: custom before this one sets the mark";
        findings.push(warning(MISSING_MARK, member.node.first_span(), message, MISSING_MARK.fix));
    }
    for one in before {
        let Some(settings) = any(one.node, &["typed_config", "typedConfig"]) else { continue };
        let mut open = vec![&settings.value];
        while let Some(node) = open.pop() {
            if let Some(entry) = any(node, &["failure_mode_allow", "failureModeAllow"])
                && matches!(entry.value.value, Value::Bool(true))
            {
                let message = "an authorizer that does not answer lets requests through";
                findings.push(warning(FAIL_OPEN, entry.value.span, message, "remove it, or write false"));
            }
            open.extend(node.items());
            open.extend(node.entries().iter().map(|entry| &entry.value));
        }
    }
}
