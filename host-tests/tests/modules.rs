//! What the built modules are: small, with imports of the Proxy-Wasm ABI alone, and with no callback to spare.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The filters, each with what it exports beyond what an HTTP filter does.
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
    // It is there to refuse connections.
    ("baseline-deny", &["proxy_on_new_connection"]),
    (
        "egress-allowlist",
        &["proxy_on_downstream_connection_close", "proxy_on_downstream_data", "proxy_on_new_connection"],
    ),
];

/// The most bytes that a module may have: it has to fit a Kubernetes ConfigMap, and Envoy compiles it at every start.
const MOST_BYTES: usize = 512 * 1024;

/// The host functions of ABI 0.2.1 that filters here may need.
const IMPORTS: [&str; 14] = [
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
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_property",
    "proxy_set_tick_period_milliseconds",
];

/// What an HTTP filter exports. Each callback of a request beyond these is a crossing more for every request.
const EXPORTS: [&str; 7] = [
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_tick",
];

#[test]
fn a_module_is_small_and_touches_the_proxy_abi_alone() -> Result<()> {
    testbed::build_filters()?;
    for (filter, more) in FILTERS {
        let bytes = fs::read(testbed::filter_path(filter))?;
        ensure!(bytes.len() <= MOST_BYTES, "{filter} has {} bytes, the limit is {MOST_BYTES}", bytes.len());
        let mut exports = BTreeSet::new();
        for payload in Parser::new(0).parse_all(&bytes) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let known = import.module == "env"
                            && IMPORTS.contains(&import.name)
                            && matches!(import.ty, TypeRef::Func(_));
                        ensure!(known, "{filter} imports {}.{}, which Envoy may not have", import.module, import.name);
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
        let expected: BTreeSet<_> = EXPORTS.iter().chain(more).map(|name| (*name).to_owned()).collect();
        ensure!(exports == expected, "{filter} exports {exports:?}, expected {expected:?}");
    }
    Ok(())
}

#[test]
fn the_readme_lists_what_a_module_has_to_be_allowed() -> Result<()> {
    let readme = fs::read_to_string(testbed::root().join("README.md"))?;
    let (_, rest) = readme.split_once("`capability_restriction_config`").context("README.md says nothing of it")?;
    let paragraph = rest.split("\n\n").next().unwrap_or_default();
    let listed: BTreeSet<_> = paragraph.split('`').filter(|word| word.starts_with("proxy_")).collect();
    let asked_of_every_module = ["proxy_abi_version_0_2_1", "proxy_on_memory_allocate"];
    let callbacks = EXPORTS.iter().chain(FILTERS.iter().flat_map(|(_, more)| *more)).copied();
    let needed: BTreeSet<_> = callbacks
        .chain(IMPORTS)
        .filter(|name| name.starts_with("proxy_") && !asked_of_every_module.contains(name))
        .collect();
    ensure!(listed == needed, "README.md lists {listed:?}, needed are {needed:?}");
    Ok(())
}
