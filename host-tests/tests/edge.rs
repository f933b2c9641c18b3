//! `envoy-config/edge.yaml` in a real Envoy: clients without certificates, and staff by a token.

use std::fs;

use anyhow::{Result, ensure};
use host_tests::config_file::{File, MANAGER, Proxy};
use serde_json::{Value, json};
use testbed::{Client, TokenIssuer, access_log};

fn start(issuer: &TokenIssuer) -> Result<Proxy> {
    let mut file = File::read("edge.yaml", &["server"])?;
    fs::write(file.folder.path().join("staff.jwks"), issuer.key_set())?;
    *file.configuration.at(&format!("{MANAGER}/route_config/virtual_hosts/0/routes/0"))? =
        json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    file.start()
}

fn ask(client: &Client, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<u16> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n");
    Ok(client.send(head.as_bytes())?.status)
}

#[test]
fn anyone_reads_staff_administers_and_attack_tools_get_nothing() -> Result<()> {
    let (issuer, other) = (TokenIssuer::new("issuer"), TokenIssuer::new("other"));
    let proxy = start(&issuer)?;
    let client = Client::tls(proxy.envoy.listener("ingress")?, None)?;
    let claims = |group: &str| json!({"iss": "https://login.example", "sub": "anna", "aud": "edge", "groups": [group]});
    let bearer = |issuer: &TokenIssuer, group: &str| format!("Bearer {}", issuer.token(&claims(group)));
    let (staff, guest, forged) = (bearer(&issuer, "staff"), bearer(&issuer, "guests"), bearer(&other, "staff"));
    let agent = ("user-agent", "curl/8.0");
    for (method, path, headers, expected) in [
        ("GET", "/", &[agent][..], 200),
        ("GET", "/api/items", &[agent], 200),
        ("POST", "/api/items", &[agent], 403),
        ("GET", "/", &[("user-agent", "sqlmap/1.8")], 403),
        ("GET", "/", &[], 403),
        ("GET", "/healthz", &[], 200),
        ("GET", "/admin/users", &[agent], 403),
        ("POST", "/admin/users", &[agent, ("authorization", staff.as_str())], 200),
        ("POST", "/admin/users", &[("user-agent", "sqlmap/1.8"), ("authorization", staff.as_str())], 403),
        ("GET", "/admin/users", &[agent, ("authorization", guest.as_str())], 403),
        ("GET", "/admin/users", &[agent, ("authorization", forged.as_str())], 401),
    ] {
        let status = ask(&client, method, path, headers)?;
        ensure!(status == expected, "{method} {path} {headers:?} gets {status}, expected {expected}");
    }
    let log = proxy.folder.path().join("envoy.out");
    let reason = |entry: &Value| entry.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
    for words in [
        ["staff-administers wants", "GET /admin/users without a token"],
        ["staff-administers wants", "with a token of iss https://login.example and sub anna"],
    ] {
        access_log::find(&log, |entry| words.iter().all(|words| reason(entry).contains(words)))?;
    }
    Ok(())
}
