//! The built modules: small, with imports of the Proxy-Wasm ABI alone, and without unneeded callbacks.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use host_tests::rows;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The filters, each with its exports beyond [`EXPORTS`].
const FILTERS: [(&str, &[&str]); 3] = [
    (
        "identity-authz",
        &[
            "proxy_on_downstream_connection_close",
            "proxy_on_downstream_data",
            "proxy_on_new_connection",
            "proxy_on_upstream_data",
        ],
    ),
    // It serves HTTP alone, and rejects connections.
    ("baseline-deny", &["proxy_on_downstream_data", "proxy_on_new_connection"]),
    (
        "egress-allowlist",
        &[
            "proxy_on_delete",
            "proxy_on_downstream_connection_close",
            "proxy_on_downstream_data",
            "proxy_on_new_connection",
            "proxy_on_request_body",
            "proxy_on_request_trailers",
        ],
    ),
];

/// The limit of a module's size: every worker of Envoy compiles and keeps the module, and a ConfigMap has to hold it.
const MAX_BYTES: usize = 512 * 1024;

/// The host functions of ABI 0.2.1 that the filters import.
const IMPORTS: [&str; 15] = [
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_define_metric",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_property",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_tick_period_milliseconds",
];

/// The exports of an HTTP filter. Each further callback of a request would cost every request a call into the module.
const EXPORTS: [&str; 7] = [
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_tick",
];

rows! {
    a_module_is_small_and_imports_the_proxy_abi_alone: check_module;
    identity_authz: "identity-authz";
    baseline_deny: "baseline-deny";
    egress_allowlist: "egress-allowlist";
}

fn check_module(filter: &str) -> Result<()> {
    testbed::build_filters()?;
    let bytes = fs::read(testbed::filter_path(filter))?;
    ensure!(bytes.len() <= MAX_BYTES, "{} bytes, the limit is {MAX_BYTES}", bytes.len());
    let mut exports = BTreeSet::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let known = import.module == "env"
                        && IMPORTS.contains(&import.name)
                        && matches!(import.ty, TypeRef::Func(_));
                    ensure!(known, "it imports {}.{}, which Envoy may not provide", import.module, import.name);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        exports.insert(export.name.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    let (_, further) = FILTERS.iter().find(|(name, _)| *name == filter).context("not one of the filters")?;
    let expected: BTreeSet<_> = EXPORTS.iter().chain(*further).map(|name| (*name).to_owned()).collect();
    ensure!(exports == expected, "it exports {exports:?}, expected {expected:?}");
    Ok(())
}

#[test]
fn the_documentation_lists_the_capabilities_that_a_module_needs() -> Result<()> {
    let page = fs::read_to_string(testbed::root().join("docs/operations.md"))?;
    let (_, rest) = page
        .split_once("`capability_restriction_config`")
        .context("docs/operations.md does not mention capability_restriction_config")?;
    let paragraph = rest.split("\n\n").next().unwrap_or_default();
    let listed: BTreeSet<_> = paragraph.split('`').filter(|word| word.starts_with("proxy_")).collect();
    let always_granted = ["proxy_abi_version_0_2_1", "proxy_on_memory_allocate"];
    let callbacks = EXPORTS.iter().chain(FILTERS.iter().flat_map(|(_, further)| *further)).copied();
    let needed: BTreeSet<_> =
        callbacks.chain(IMPORTS).filter(|name| name.starts_with("proxy_") && !always_granted.contains(name)).collect();
    ensure!(listed == needed, "docs/operations.md lists {listed:?}, needed are {needed:?}");
    Ok(())
}
