//! Configuration that Envoy Gateway makes of EnvoyExtensionPolicy, ClientTrafficPolicy and SecurityPolicy.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::listener::{UPSTREAM, bootstrap, jwt_authn, manager, merge, tls};
use super::{Manifest, items, module_of, text};

/// Returns the HTTPS listener of a Gateway, with one route.
pub fn gateway(manifest: &Manifest, name: &str, keys: &str, folder: &Path, upstream: SocketAddr) -> Result<Value> {
    let is_for =
        |resource: &&Value| items(resource, "/spec/targetRefs").iter().any(|one| one.get("name") == Some(&json!(name)));
    let find = |kind: &str| manifest.of_kind(kind).find(is_for);
    let traffic = find("ClientTrafficPolicy").context("no ClientTrafficPolicy")?;

    let mut socket = tls(folder, validation(traffic)?);
    // Sessions are not resumed unless the policy says so.
    let resumed = |kind: &str| traffic.pointer(&format!("/spec/tls/session/resumption/{kind}")).is_some();
    let off = json!({"typed_config": {
        "disable_stateless_session_resumption": !resumed("stateless"),
        "disable_stateful_session_resumption": !resumed("stateful")
    }});
    merge(&mut socket, &off);

    // Tokens are validated before Wasm filters, whose order is that of the policy.
    let mut filters = Vec::new();
    if let Some(provider) = find("SecurityPolicy").and_then(|policy| policy.pointer("/spec/jwt/providers/0")) {
        let name = text(provider, "/name")?;
        filters.push(jwt_authn(name, text(provider, "/issuer")?, name, keys, &["scope"]));
    }
    // A policy for the route takes the place of the Gateway's.
    let is_for_a_route = |policy: &&Value| {
        items(policy, "/spec/targetRefs").iter().any(|one| one.get("kind") == Some(&json!("HTTPRoute")))
    };
    let of_route = manifest.of_kind("EnvoyExtensionPolicy").find(is_for_a_route);
    let mut enabled = serde_json::Map::new();
    if let Some(policy) = of_route.or_else(|| find("EnvoyExtensionPolicy")) {
        for (index, plugin) in items(policy, "/spec/wasm").iter().enumerate() {
            let filter = wasm(policy, index, plugin)?;
            // The filter is off in the listener, and on in each route that the policy is for.
            let on = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}});
            enabled.insert(text(&filter, "/name")?.to_owned(), on);
            filters.push(filter);
        }
    }
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": UPSTREAM}, "typed_per_filter_config": enabled});
    let path = traffic.pointer("/spec/path").unwrap_or(&Value::Null);
    let settings = json!({
        "normalize_path": true,
        "merge_slashes": path.get("disableMergeSlashes") != Some(&json!(true)),
        "path_with_escaped_slashes_action": match path.get("escapedSlashesAction").and_then(Value::as_str) {
            Some("RejectRequest") => "REJECT_REQUEST",
            Some("KeepUnchanged") => "KEEP_UNCHANGED",
            Some("UnescapeAndForward") => "UNESCAPE_AND_FORWARD",
            Some("UnescapeAndRedirect") | None => "UNESCAPE_AND_REDIRECT",
            Some(other) => bail!("{other} is not translated"),
        },
        "use_remote_address": true
    });
    let chain = json!({"transport_socket": socket, "filters": [manager(&settings, filters, &route)]});
    Ok(bootstrap(&[chain], upstream))
}

/// Requirements of certificates of clients; none where they are not asked for one.
fn validation(traffic: &Value) -> Result<Option<Value>> {
    let Some(asked) = traffic.pointer("/spec/tls/clientValidation") else { return Ok(None) };
    let trust = match asked.get("mode").and_then(Value::as_str) {
        None | Some("RequireAndVerify") => "VERIFY_TRUST_CHAIN",
        Some("RequireAny") => "ACCEPT_UNTRUSTED",
        Some(other) => bail!("{other} is not translated"),
    };
    let names = items(asked, "/subjectAltNames/uris");
    let matchers = names.iter().map(|name| {
        ensure!(text(name, "/type")? == "Prefix", "{name} is not translated");
        Ok(json!({"san_type": "URI", "matcher": {"prefix": text(name, "/value")?}}))
    });
    let matchers = matchers.collect::<Result<Vec<_>>>()?;
    Ok(Some(json!({"trust_chain_verification": trust, "match_typed_subject_alt_names": matchers})))
}

/// A filter of a policy, with a VM of its own.
fn wasm(policy: &Value, index: usize, plugin: &Value) -> Result<Value> {
    let [namespace, name] = ["/metadata/namespace", "/metadata/name"].map(|pointer| text(policy, pointer));
    let id = format!("envoyextensionpolicy/{}/{}/wasm/{index}", namespace?, name?);
    Ok(json!({
        "name": format!("envoy.filters.http.wasm/{id}"),
        "disabled": true,
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": {
            "name": text(plugin, "/name")?,
            "root_id": plugin.get("rootID"),
            "fail_open": plugin.get("failOpen").unwrap_or(&json!(false)),
            "configuration": testbed::string_value(&plugin.get("config").context("no config")?.to_string()),
            // Envoy fetches the module from Envoy Gateway, which pulls the image.
            "vm_config": {
                "vm_id": id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module_of(text(plugin, "/code/image/url")?)?}}
            }
        }}
    }))
}
