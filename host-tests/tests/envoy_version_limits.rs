//! What a version of Envoy cannot do: the filters deny and name the setting, or Envoy refuses the setting.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_tests::envoy_version::{EnvoyVersion, EnvoyVersions};
use host_tests::policy::only_allow_web;
use host_tests::suite::Case;
use host_tests::suite::envoy::EnvoyFixture;
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Configuration, Envoy, Options, SubjectAltName, wait};

const LIMIT: Duration = Duration::from_secs(30);

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

const SINCE_1_39: &str = "this proxy does not tell whether its certificate is validated; run Envoy 1.39 or later, or set \
                          identity.validation: listener if this listener verifies certificates \
                          (require_client_certificate and a validation_context without ACCEPT_UNTRUSTED) \
                          (docs/listener-settings.md)";

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(keys) = object {
        keys.insert(key.to_owned(), value);
    }
}

/// Returns the versions of the table before `version`.
fn before(version: &str) -> Result<Vec<EnvoyVersion>> {
    let version: EnvoyVersion = version.parse()?;
    let older: Vec<_> = EnvoyVersions::load()?.versions.into_iter().filter(|known| *known < version).collect();
    ensure!(!older.is_empty(), "no version before {version}");
    Ok(older)
}

/// A client with a valid certificate of the principal web, which the policy lets in.
fn web(name: &str, policy: &Value, more: &Value, expect: &Value) -> Result<Case> {
    let mut case = json!({"name": name, "configuration": policy, "caller": {"peer": WEB}, "expect": expect});
    if let (Value::Object(case), Value::Object(more)) = (&mut case, more) {
        case.extend(more.clone());
    }
    Ok(serde_json::from_value(case)?)
}

#[test]
fn before_1_39_identity_needs_a_listener_that_vouches_and_the_denial_says_so() -> Result<()> {
    testbed::build_filters()?;
    let policy: Value = serde_json::from_str(&only_allow_web("")?)?;
    let mut vouched = policy.clone();
    set(&mut vouched, "identity", json!({"validation": "listener"}));
    let by_web = "by a client without identity (this proxy does not tell whether its certificate is validated)";
    let reason = |of: &str| format!("caller identity unavailable: {SINCE_1_39}: {of} {by_web}");
    let plaintext = json!({"connection.plaintext": 1, "connection.mtls": 0, "denied": 1});
    let denied = json!({"answer": "denied", "reason": reason("GET /"), "counters": plaintext});
    let closed = json!({"answer": "closed", "reason": reason("a connection to port 443"), "counters": plaintext});
    let first = json!({"speaksFirst": "client"});
    let cases = [
        web("a request", &policy, &json!({}), &denied)?,
        web("a connection", &policy, &first, &closed)?,
        web("a request where the listener vouches", &vouched, &json!({}), &json!({"answer": "reached"}))?,
        web("a connection where the listener vouches", &vouched, &first, &json!({"answer": "reached"}))?,
    ];
    for version in before("1.39.0")? {
        let folder = tempfile::tempdir()?;
        let binary = testbed::envoy_binary_of(&version.to_string())?;
        let fixture = EnvoyFixture::start("identity-authz", &cases, binary, folder.path().to_owned())?;
        for case in &cases {
            fixture.play(case).with_context(|| format!("{} in Envoy {version}", case.name))?;
        }
        fixture.check_counters(&cases).with_context(|| format!("Envoy {version}"))?;
    }
    Ok(())
}

/// A listener that terminates TLS, before a service that speaks first.
fn before_a_greeter(folder: &std::path::Path) -> Result<Value> {
    let mut policy: Value = serde_json::from_str(&only_allow_web("")?)?;
    set(&mut policy, "identity", json!({"validation": "listener"}));
    let plugin = testbed::wasm_plugin(
        "identity_authz",
        "identity_authz",
        &testbed::filter_path("identity-authz"),
        &testbed::string_value(&policy.to_string()),
    );
    let network = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.network.{name}");
    let tls = json!({"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": testbed::common_tls_context(folder)
    }});
    let pipe = json!({"pipe": {"path": folder.join("greeter.socket")}});
    Ok(json!({"static_resources": {
        "listeners": [
            {
                "name": "mail",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "filter_chains": [{"transport_socket": tls, "filters": [
                    {"name": "filter", "typed_config": {"@type": network("wasm.v3.Wasm"), "config": plugin}},
                    {"name": "proxy", "typed_config":
                        {"@type": network("tcp_proxy.v3.TcpProxy"), "stat_prefix": "mail", "cluster": "greeter"}}
                ]}]
            },
            {
                "name": "greeter",
                "address": pipe,
                "filter_chains": [{"filters": [{"name": "service", "typed_config":
                    {"@type": network("direct_response.v3.Config"), "response": {"inline_string": "welcome\n"}}}]}]
            }
        ],
        "clusters": [{"name": "greeter", "type": "STATIC", "load_assignment": {
            "cluster_name": "greeter", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": pipe}}]}]
        }}]
    }}))
}

#[test]
fn before_1_37_a_service_that_speaks_first_greets_nobody_whom_a_rule_asks_for() -> Result<()> {
    testbed::build_filters()?;
    for version in before("1.37.0")? {
        let folder = tempfile::tempdir()?;
        let authority = CertificateAuthority::new("trusted")?;
        fs::write(folder.path().join("trusted.pem"), authority.pem())?;
        authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(folder.path(), "server")?;
        let bootstrap = Configuration::new(before_a_greeter(folder.path())?);
        let binary = testbed::envoy_binary_of(&version.to_string())?;
        let options = Options { binary, folder: folder.path().to_owned(), workers: 1, detached: false };
        let envoy = Envoy::start(&bootstrap, &options)?;
        // The service speaks before the client begins its handshake.
        let mut client = TcpStream::connect(envoy.listener("mail")?)?;
        client.set_read_timeout(Some(LIMIT))?;
        let mut received = Vec::new();
        client.read_to_end(&mut received)?;
        ensure!(received.is_empty(), "Envoy {version}: {}", received.escape_ascii());
        let reason = "upstream_connect_mode: ON_DOWNSTREAM_TLS_HANDSHAKE in tcp_proxy (Envoy 1.37 and later)";
        wait::until("the denial in the log", LIMIT, || Ok(envoy.log()?.contains(reason).then_some(())))?;
    }
    Ok(())
}

/// Envoy's error where a file of `envoy-config/` has a setting that it does not know.
fn refusal(file: &str, version: EnvoyVersion) -> Result<String> {
    let configuration = Configuration::read(&testbed::root().join("envoy-config").join(file))?;
    let folder = tempfile::tempdir()?;
    let binary = testbed::envoy_binary_of(&version.to_string())?;
    let options = Options { binary, folder: folder.path().to_owned(), workers: 1, detached: false };
    let error = Envoy::start(&configuration, &options).err();
    Ok(format!("{:#}", error.with_context(|| format!("Envoy {version} takes {file}"))?))
}

#[test]
fn an_older_envoy_does_not_start_with_a_setting_that_it_lacks() -> Result<()> {
    for (file, setting, since) in
        [("egress.yaml", "resolved_address_filter", "1.39.0"), ("layer4.yaml", "max_early_data_bytes", "1.37.0")]
    {
        for version in before(since)? {
            // Envoy breaks the line anywhere between words.
            let error = refusal(file, version)?.split_whitespace().collect::<Vec<_>>().join(" ");
            ensure!(error.contains(&format!("no such field: '{setting}'")), "{file} in Envoy {version}: {error}");
        }
    }
    Ok(())
}
