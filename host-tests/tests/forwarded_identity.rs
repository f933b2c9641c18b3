//! Forwarded certificates: the settings of `docs/identity.md` in two Envoys, and attempts to forge an identity.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use host_tests::policy::allow_web;
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Client, Configuration, Envoy, Identity, Options, SubjectAltName, read_yaml};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// A URI SAN that Envoy copies into the header unescaped, where it reads as a further element.
const FORGED: &str =
    "spiffe://cluster.local/ns/dev/sa/x,By=spiffe://cluster.local/gw;URI=spiffe://cluster.local/ns/shop/sa/web";

/// Section of the page that has the settings.
const SECTION: &str = "\n### Forwarded certificates\n";

/// Returns the settings of the section: of the proxy that terminates TLS, of its certificate validation, and of the filter's
/// Envoy.
fn settings() -> Result<[Value; 3]> {
    let page = fs::read_to_string(testbed::root().join("docs/identity.md"))?;
    let (_, section) = page.split_once(SECTION).context("the page does not have the section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks = blocks.map(read_yaml).collect::<Result<Vec<_>>>()?;
    <[Value; 3]>::try_from(blocks).ok().context("the section does not have three blocks of settings")
}

fn merge(target: &mut Value, settings: &Value) -> Result<()> {
    let (target, settings) =
        (target.as_object_mut().context("no object")?, settings.as_object().context("no settings")?);
    target.extend(settings.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(())
}

/// Returns a connection manager that routes everything to `route`.
fn manager(settings: &Value, route: &Value, filters: &[Value]) -> Result<Value> {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    });
    let filters: Vec<_> = filters.iter().cloned().chain([router]).collect();
    let mut route = route.clone();
    merge(&mut route, &json!({"match": {"prefix": "/"}}))?;
    let mut configuration = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "hop",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": filters
    });
    merge(&mut configuration, settings)?;
    Ok(json!([{"name": "envoy.filters.network.http_connection_manager", "typed_config": configuration}]))
}

fn listener(name: &str, chain: Value) -> Value {
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [chain]
    })
}

fn run(bootstrap: Value, folder: &Path) -> Result<Envoy> {
    fs::create_dir(folder)?;
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 1, detached: false };
    Envoy::start(&Configuration::new(bootstrap), &options)
}

/// Starts the filter's Envoy, which trusts the header.
fn inner(folder: &Path, settings: &Value) -> Result<Envoy> {
    testbed::build_filters()?;
    let configuration = json!({"identity": {"source": "forwardedClientCert"}, "resources": [allow_web("")?]});
    let filter = json!({
        "name": "sallyport.identity_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": testbed::wasm_plugin(
                "identity_authz",
                "sallyport.identity_authz",
                &testbed::filter_path("identity-authz"),
                &testbed::string_value(&configuration.to_string())
            )
        }
    });
    let filters = manager(settings, &json!({"direct_response": {"status": 200}}), &[filter])?;
    run(json!({"static_resources": {"listeners": [listener("inner", json!({"filters": filters}))]}}), folder)
}

/// Starts the proxy that terminates TLS.
fn edge(
    folder: &Path,
    settings: &Value,
    certificates: &Value,
    inner: SocketAddr,
    authority: &CertificateAuthority,
) -> Result<Envoy> {
    let certificate = |identity: &Identity| {
        json!({
            "certificate_chain": {"inline_string": identity.certificate()},
            "private_key": {"inline_string": identity.key()}
        })
    };
    let server = authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?;
    let mut validation = json!({"trusted_ca": {"inline_string": authority.pem()}});
    merge(&mut validation, certificates)?;
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": {"tls_certificates": [certificate(&server)], "validation_context": validation}
    });
    let filters = manager(settings, &json!({"route": {"cluster": "inner"}}), &[])?;
    let chain = json!({
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "filters": filters
    });
    let address = json!({"socket_address": {"address": inner.ip().to_string(), "port_value": inner.port()}});
    let cluster = json!({
        "name": "inner",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "inner", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}
    });
    run(json!({"static_resources": {"listeners": [listener("edge", chain)], "clusters": [cluster]}}), folder)
}

/// Returns the status of a request, or 0 if there is no response.
fn status(edge: SocketAddr, identity: &Identity, header: Option<&str>) -> Result<u16> {
    let header = header.map_or_else(String::new, |value| format!("x-forwarded-client-cert: {value}\r\n"));
    let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{header}connection: close\r\n\r\n");
    Ok(Client::tls(edge, Some(identity))?.send(request.as_bytes()).map_or(0, |answer| answer.status))
}

#[test]
fn the_documented_settings_stop_forged_identities() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [edge_settings, certificates, inner_settings] = settings()?;
    let authority = CertificateAuthority::new("trusted")?;
    let issue = |uris: &[&str]| {
        authority.issue(&uris.iter().map(|uri| SubjectAltName::Uri((*uri).to_owned())).collect::<Vec<_>>())
    };
    let web = issue(&[WEB])?;
    let api = issue(&["spiffe://cluster.local/ns/pay/sa/api"])?;
    let forged = issue(&[FORGED])?;
    let inner = inner(&folder.path().join("inner"), &inner_settings)?;
    let inner = inner.listener("inner").map(|address| (inner, address))?;
    let start = |name: &str, settings: &Value, certificates: &Value| {
        let edge = edge(&folder.path().join(name), settings, certificates, inner.1, &authority)?;
        let address = edge.listener("edge")?;
        anyhow::Ok((edge, address))
    };

    let (_edge, at) = start("edge", &edge_settings, &certificates)?;
    let claim = format!("By=spiffe://cluster.local/gw;Hash=0;URI={WEB}");
    let open = "By=spiffe://cluster.local/gw;Hash=0;Subject=\"CN=";
    for (name, identity, header, expected) in [
        ("web", &web, None, 200),
        ("another", &api, None, 403),
        ("another that claims to be web", &api, Some(claim.as_str()), 403),
        ("web that claims to be another", &web, Some("Hash=0;URI=spiffe://cluster.local/ns/pay/sa/api"), 200),
        ("web after an open quote", &web, Some(open), 200),
        ("a URI that reads as an element", &forged, None, 0),
        ("two URIs", &issue(&["spiffe://cluster.local/ns/pay/sa/api", WEB])?, None, 403),
    ] {
        let status = status(at, identity, header)?;
        ensure!(status == expected, "{name} gets {status}, expected {expected}");
    }

    // Without each setting, the attack that it stops succeeds.
    let (_lenient, at) = start("lenient", &edge_settings, &json!({}))?;
    ensure!(status(at, &forged, None)? == 200, "the URI is not read as an element");
    let (_forwarding, at) =
        start("forwarding", &json!({"forward_client_cert_details": "FORWARD_ONLY"}), &certificates)?;
    ensure!(status(at, &api, Some(&claim))? == 200, "a client's header is dropped");
    let direct = Client::plaintext(inner.1).send(
        format!("GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-client-cert: {claim}\r\nconnection: close\r\n\r\n")
            .as_bytes(),
    )?;
    ensure!(direct.status == 200, "a client that bypasses the proxy is not trusted");
    Ok(())
}
