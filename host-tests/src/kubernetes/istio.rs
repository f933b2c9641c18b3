//! Configuration that istiod makes of WasmPlugin, TrafficExtension, PeerAuthentication, RequestAuthentication and
//! EnvoyFilter.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::listener::{bootstrap, jwt_authn, manager, merge, tls, to_the_service};
use super::{Manifest, items, module_of, text};

/// The proxy that a configuration is for.
#[derive(Clone, Copy, Debug)]
pub enum Proxy<'a> {
    /// The inbound side of a sidecar, of a pod with this label `app`.
    Sidecar(&'a str),
    /// A gateway that Istio makes of a Gateway of this name.
    Gateway(&'a str),
    /// A gateway with this label `istio`.
    LabelledGateway(&'a str),
    /// A waypoint, for requests to this Service.
    Waypoint(&'a str),
}

/// A plugin of a WasmPlugin or TrafficExtension.
struct Plugin {
    phase: String,
    priority: i64,
    name: String,
    is_network: bool,
    filter: Value,
}

impl Plugin {
    fn read(resource: &Value) -> Result<Self> {
        let spec = resource.get("spec").context("no spec")?;
        let plugin = spec.get("wasm").unwrap_or(spec);
        let name = format!("{}.{}", text(resource, "/metadata/namespace")?, text(resource, "/metadata/name")?);
        let is_network = plugin.get("type").and_then(Value::as_str) == Some("NETWORK");
        let url = text(plugin, "/url")?;
        let module = module_of(url.strip_prefix("oci://").context("another scheme than oci")?)?;
        let strategy = plugin.get("failStrategy").and_then(Value::as_str).unwrap_or("FAIL_CLOSE");
        let config = json!({
            "name": name,
            "root_id": plugin.get("pluginName"),
            "failure_policy": strategy.replace("FAIL_CLOSE", "FAIL_CLOSED"),
            "configuration": testbed::string_value(&plugin.get("pluginConfig").context("no pluginConfig")?.to_string()),
            // No vm_id. The agent beside Envoy pulls the image and writes the path of the module in place of its address.
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
                "environment_variables": {"key_values": {"ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1"}}
            }
        });
        let layer = if is_network { "network" } else { "http" };
        Ok(Self {
            phase: spec.get("phase").and_then(Value::as_str).unwrap_or_default().replace("UNSPECIFIED_PHASE", ""),
            priority: spec.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            filter: json!({"name": name, "typed_config": {
                "@type": format!("type.googleapis.com/envoy.extensions.filters.{layer}.wasm.v3.Wasm"), "config": config
            }}),
            name,
            is_network,
        })
    }
}

impl Proxy<'_> {
    /// Reports whether a resource is for this proxy. One without a selector is for all sidecars and gateways by label.
    fn is_selected(self, resource: &Value) -> bool {
        let references = items(resource, "/spec/targetRefs");
        let is_named = |kind: &str, name: &str| {
            let names = |one: &Value| one.get("kind") == Some(&json!(kind)) && one.get("name") == Some(&json!(name));
            references.iter().any(names)
        };
        let labels = ["/spec/selector/matchLabels", "/spec/workloadSelector/labels"];
        let labels = labels.iter().find_map(|pointer| resource.pointer(pointer)).and_then(Value::as_object);
        let has = |key: &str, value: &str| {
            references.is_empty()
                && labels.is_none_or(|labels| labels.iter().all(|(name, wanted)| name == key && wanted == value))
        };
        let is_in_direction = |direction: &str| {
            let matches = items(resource, "/spec/match");
            let mode = |one: &Value| one.get("mode").and_then(Value::as_str).map(str::to_owned);
            matches.is_empty()
                || matches
                    .iter()
                    .any(|one| mode(one).is_none_or(|mode| mode == direction || mode == "CLIENT_AND_SERVER"))
        };
        match self {
            Self::Sidecar(app) => has("app", app) && is_in_direction("SERVER"),
            Self::Gateway(name) => is_named("Gateway", name) && is_in_direction("CLIENT"),
            Self::LabelledGateway(name) => has("istio", name) && is_in_direction("CLIENT"),
            Self::Waypoint(service) => is_named("Service", service),
        }
    }

    /// The plugins for this proxy in their order: by phase, of one phase the higher priority first. What validates tokens
    /// stands behind the phase AUTHN.
    fn filters(self, manifest: &Manifest, is_network: bool, tokens: Option<Value>) -> Result<Vec<Value>> {
        let resources = manifest.of_kind("WasmPlugin").chain(manifest.of_kind("TrafficExtension"));
        let selected = resources.filter(|resource| self.is_selected(resource));
        let mut plugins = selected.map(Plugin::read).collect::<Result<Vec<_>>>()?;
        plugins.retain(|plugin| plugin.is_network == is_network);
        plugins.sort_by_key(|plugin| (-plugin.priority, plugin.name.clone()));
        let of = |phase: &str| -> Vec<Value> {
            let of_phase = plugins.iter().filter(|plugin| plugin.phase == phase);
            of_phase.map(|plugin| plugin.filter.clone()).collect()
        };
        Ok([of("AUTHN"), tokens.into_iter().collect(), of("AUTHZ"), of("STATS"), of("")].concat())
    }
}

/// Filter that validates tokens, of the RequestAuthentication for a proxy. istiod fetches the keys and writes them into it.
fn tokens(manifest: &Manifest, proxy: Proxy<'_>, keys: &str) -> Result<Option<Value>> {
    let mut selected = manifest.of_kind("RequestAuthentication").filter(|resource| proxy.is_selected(resource));
    let Some(resource) = selected.next() else { return Ok(None) };
    ensure!(items(resource, "/spec/jwtRules").len() == 1, "one rule is translated");
    let issuer = text(resource, "/spec/jwtRules/0/issuer")?;
    Ok(Some(jwt_authn("origins-0", issuer, "payload", keys, &["scope", "permission"])))
}

/// Returns the inbound listener of a sidecar before HTTP, or before TCP where `is_tcp`.
pub fn sidecar(manifest: &Manifest, app: &str, is_tcp: bool, folder: &Path, upstream: SocketAddr) -> Result<Value> {
    let proxy = Proxy::Sidecar(app);
    let filters = proxy.filters(manifest, is_tcp, None)?;
    let filters = if is_tcp {
        [filters, vec![tcp_proxy()]].concat()
    } else {
        let settings = json!({
            "normalize_path": true, "use_remote_address": false, "forward_client_cert_details": "APPEND_FORWARD",
            "set_current_client_cert_details": {"subject": true, "dns": true, "uri": true}
        });
        vec![manager(&settings, filters, &to_the_service())]
    };
    // TLS is asked for a certificate, which is validated, in both modes. Nothing is said of resumption.
    let mut chains = vec![json!({
        "filter_chain_match": {"transport_protocol": "tls"},
        "transport_socket": tls(folder, Some(json!({}))),
        "filters": filters
    })];
    let mut modes = manifest.of_kind("PeerAuthentication").filter(|resource| proxy.is_selected(resource));
    if modes.next().and_then(|one| one.pointer("/spec/mtls/mode")) != Some(&json!("STRICT")) {
        chains.push(json!({"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": filters}));
    }
    for resource in manifest.of_kind("EnvoyFilter").filter(|resource| proxy.is_selected(resource)) {
        items(resource, "/spec/configPatches").iter().try_for_each(|patch| apply(patch, &mut chains))?;
    }
    Ok(bootstrap(&chains, upstream))
}

/// Passes the bytes of connections on to the service.
fn tcp_proxy() -> Value {
    json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp", "cluster": "upstream"
    }})
}

/// Applies a patch of an EnvoyFilter to inbound filter chains.
fn apply(patch: &Value, chains: &mut [Value]) -> Result<()> {
    let kind = [text(patch, "/applyTo")?, text(patch, "/match/context")?, text(patch, "/patch/operation")?];
    ensure!(kind == ["FILTER_CHAIN", "SIDECAR_INBOUND", "MERGE"], "{kind:?} is not translated");
    let protocol = text(patch, "/match/listener/filterChain/transportProtocol")?;
    for chain in chains {
        if text(chain, "/filter_chain_match/transport_protocol")? != protocol {
            continue;
        }
        let Some(value) = patch.pointer("/patch/value") else { bail!("a patch without a value") };
        // A socket of another name is not the one that Istio has made.
        let name = value.pointer("/transport_socket/name");
        ensure!(name.is_none() || name == chain.pointer("/transport_socket/name"), "{name:?} is not merged");
        merge(chain, value);
    }
    Ok(())
}

/// Returns the listener of a gateway with TLS, and certificates of clients where a server of its Gateway says so.
pub fn gateway(manifest: &Manifest, proxy: Proxy<'_>, keys: &str, folder: &Path, to: SocketAddr) -> Result<Value> {
    let mut modes = manifest.of_kind("Gateway").filter_map(|one| one.pointer("/spec/servers/0/tls/mode"));
    let mode = modes.next();
    if mode == Some(&json!("PASSTHROUGH")) {
        // There is no HTTP: plugins for connections alone are inserted.
        let filters = [proxy.filters(manifest, true, None)?, vec![tcp_proxy()]].concat();
        return Ok(bootstrap(&[json!({"filters": filters})], to));
    }
    let is_mutual = mode == Some(&json!("ISTIO_MUTUAL"));
    let filters = proxy.filters(manifest, false, tokens(manifest, proxy, keys)?)?;
    let settings = json!({"normalize_path": true, "use_remote_address": true});
    let chain = json!({
        "transport_socket": tls(folder, is_mutual.then(|| json!({}))),
        "filters": [manager(&settings, filters, &to_the_service())]
    });
    Ok(bootstrap(&[chain], to))
}

/// Returns a waypoint: a listener ends the tunnel (HBONE) and keeps the caller in filter state, another one inside decides.
pub fn waypoint(manifest: &Manifest, service: &str, folder: &Path, upstream: SocketAddr) -> Result<Value> {
    let inside = manager(
        &json!({"normalize_path": true}),
        Proxy::Waypoint(service).filters(manifest, false, None)?,
        &to_the_service(),
    );
    let peer = json!({"name": "envoy.filters.http.set_filter_state", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
        "on_request_headers": [{
            "object_key": "io.istio.peer_principal", "factory_key": "envoy.string", "shared_with_upstream": "ONCE",
            "format_string": {"text_format_source": {"inline_string": "%DOWNSTREAM_PEER_URI_SAN%"}}
        }]
    }});
    let route = json!({
        "match": {"connect_matcher": {}},
        "route": {"cluster": "main_internal", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}
    });
    let terminate = manager(&json!({"upgrade_configs": [{"upgrade_type": "CONNECT"}]}), vec![peer], &route);
    let chain = json!({"transport_socket": tls(folder, Some(json!({}))), "filters": [terminate]});
    let mut whole = bootstrap(&[chain], upstream);
    let raw = json!({"name": "envoy.transport_sockets.raw_buffer", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
    }});
    let address = json!({"envoy_internal_address": {"server_listener_name": "main_internal"}});
    let internal = json!({
        "bootstrap_extensions": [{"name": "envoy.bootstrap.internal_listener", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
        }}],
        "static_resources": {
            "clusters": [{
                "name": "main_internal", "type": "STATIC",
                "load_assignment": {"cluster_name": "main_internal", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
                "transport_socket": {"name": "envoy.transport_sockets.internal_upstream", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
                    "transport_socket": raw
                }}
            }],
            "listeners": [{"name": "main_internal", "internal_listener": {}, "filter_chains": [{"filters": [inside]}]}]
        }
    });
    merge(&mut whole, &internal);
    Ok(whole)
}
