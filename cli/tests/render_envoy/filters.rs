//! Lists of filters and whole files.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{Client, read_yaml};

use crate::fixture::{Shop, output, plaintext, validate};

const WORKLOAD: [&str; 2] = ["--workload", "shop/app=orders,version=v2"];

fn status(client: &Client, request: &str) -> Result<u16> {
    let (line, headers) = request.split_once(' ').map_or((request, ""), |(path, headers)| (path, headers));
    Ok(client.send(format!("GET {line} HTTP/1.1\r\nhost: orders\r\n{headers}\r\n").as_bytes())?.status)
}

#[test]
fn a_list_of_filters_validates_tokens_and_decides() -> Result<()> {
    let shop = Shop::new()?;
    shop.write("more.yaml", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: local, namespace: shop}\nspec: {rules: [{from: [{source: {ipBlocks: [127.0.0.1]}}], to: [{operation: {paths: [/health]}}]}]}\n")?;
    let filters = output(shop.command("envoy-filter").args(WORKLOAD).arg(shop.policies()))?;
    let envoy = shop.start(plaintext(&read_yaml(&filters)?, shop.service.address(), true))?;
    let client = Client::plaintext(envoy.listener("ingress")?);
    let good = shop.issuer.token(&json!({"iss": "https://login.shop.example", "sub": "a", "scope": "orders refunds"}));
    let poor = shop.issuer.token(&json!({"iss": "https://login.shop.example", "sub": "a", "scope": "orders"}));
    let foreign = shop.issuer.token(&json!({"iss": "https://evil.example", "sub": "a", "scope": "refunds"}));
    let request = |path: &str, token: &str| format!("{path} authorization: Bearer {token}\r\nx-confirm: on\r\n");
    for (request, expected) in [
        (request("/refunds", &good), 200),
        (request("/refunds", &poor), 403),
        // Invalid tokens are refused by the filter before, and a missing one is none of its faults.
        (request("/health", &foreign), 401),
        (request("/health", "x"), 401),
        ("/health".to_owned(), 200),
        ("/refunds x-confirm: on\r\n".to_owned(), 403),
        (request("/refunds", &good).replace("confirm: on", "confirm: true"), 403),
    ] {
        let status = status(&client, &request)?;
        ensure!(status == expected, "{request}: {status}");
    }
    Ok(())
}

/// The rules of Istio: a token may be absent, and one that is there has to be valid for an issuer that reads that place.
#[test]
fn several_issuers_are_validated_each() -> Result<()> {
    let shop = Shop::new()?;
    let (other, stranger) = (testbed::TokenIssuer::new("other"), testbed::TokenIssuer::new("stranger"));
    shop.write("open.yaml", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: open, namespace: shop}\nspec: {rules: [{to: [{operation: {notPaths: [/partner]}}]}, {from: [{source: {requestPrincipals: [\"https://partner.example/*\"]}}]}]}\n")?;
    let ours = json!({"iss": "https://login.shop.example", "sub": "a"});
    let theirs = json!({"iss": "https://partner.example", "sub": "a"});
    let (good, partner) = (shop.issuer.token(&ours), other.token(&theirs));
    let forged = shop.issuer.token(&theirs);
    let unknown = stranger.token(&json!({"iss": "https://stranger.example", "sub": "a"}));
    let expired = shop.issuer.token(&json!({"iss": "https://login.shop.example", "sub": "a", "exp": 1_000_000_000}));
    for (own_header, rows) in [
        (
            true,
            vec![
                (format!("/ x-partner: Token {partner}\r\n"), 200),
                (format!("/partner x-partner: Token {partner}\r\n"), 200),
                (format!("/ authorization: Bearer {good}\r\nx-partner: Token {partner}\r\n"), 200),
                (format!("/ x-partner: Token {forged}\r\n"), 401),
                // The partner's tokens are not read from there.
                (format!("/ authorization: Bearer {partner}\r\n"), 401),
            ],
        ),
        (
            false,
            vec![
                (format!("/ authorization: Bearer {partner}\r\n"), 200),
                (format!("/partner authorization: Bearer {partner}\r\n"), 200),
                (format!("/ authorization: Bearer {forged}\r\n"), 401),
            ],
        ),
    ] {
        let mut jwt_rule = json!({"issuer": "https://partner.example", "jwks": other.key_set()});
        if own_header {
            jwt_rule["fromHeaders"] = json!([{"name": "x-partner", "prefix": "Token "}]);
        }
        let resource = json!({
            "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
            "metadata": {"name": "partner", "namespace": "istio-system"}, "spec": {"jwtRules": [jwt_rule]}
        });
        shop.write("partner.json", &resource.to_string())?;
        let filters = output(shop.command("envoy-filter").args(WORKLOAD).arg(shop.policies()))?;
        let envoy = shop.start(plaintext(&read_yaml(&filters)?, shop.service.address(), true))?;
        let client = Client::plaintext(envoy.listener("ingress")?);
        let of_both = [
            ("/ ".to_owned(), 200),
            ("/partner ".to_owned(), 403),
            (format!("/ authorization: Bearer {good}\r\n"), 200),
            (format!("/partner authorization: Bearer {good}\r\n"), 403),
            (format!("/ authorization: Bearer {unknown}\r\n"), 401),
            (format!("/ authorization: Bearer {expired}\r\n"), 401),
            ("/ authorization: Bearer x\r\n".to_owned(), 401),
        ];
        for (request, expected) in of_both.iter().chain(&rows) {
            let status = status(&client, request)?;
            ensure!(status == *expected, "a header of its own: {own_header}, {request}: {status}");
        }
    }
    Ok(())
}

#[test]
fn the_network_filter_decides_connections() -> Result<()> {
    let shop = Shop::new()?;
    for (address, is_allowed) in [("127.0.0.1", true), ("10.1.1.1", false)] {
        let file = shop.path(&format!("{address}.yaml"));
        fs::write(
            &file,
            format!(
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: local, namespace: shop}}\nspec: {{rules: [{{from: [{{source: {{ipBlocks: [{address}]}}}}]}}]}}\n"
            ),
        )?;
        let filters = output(shop.command("envoy-filter").args(WORKLOAD).args(["--layer", "tcp"]).arg(&file))?;
        let envoy = shop.start(plaintext(&read_yaml(&filters)?, shop.service.address(), false))?;
        let answer = Client::plaintext(envoy.listener("ingress")?).get("/");
        ensure!(answer.is_ok_and(|answer| answer.status == 200) == is_allowed, "{address}");
    }
    Ok(())
}

#[test]
fn one_whole_file_runs() -> Result<()> {
    let shop = Shop::new()?;
    let mut command = shop.command("bootstrap");
    let config = shop.path("sallyport.yaml");
    fs::write(&config, "identityAuthz: {}\nbaselineDeny: {presets: [scanners]}\n")?;
    command.args(WORKLOAD).args(shop.bootstrap_flags()).arg("--config").arg(&config).arg(shop.policies());
    let text = output(&mut command)?;
    let file = shop.path("whole.yaml");
    fs::write(&file, &text)?;
    validate(&file)?;
    let envoy = shop.start(read_yaml(&text)?)?;
    let (web, billing) = (shop.client(&envoy, "web")?, shop.client(&envoy, "billing")?);
    ensure!(status(&web, "/orders/1")? == 200);
    ensure!(status(&billing, "/orders/1")? == 403);
    ensure!(status(&web, "/orders/drafts/1")? == 403);
    ensure!(status(&web, "/orders/1 user-agent: sqlmap/1.8\r\n")? == 403);
    Ok(())
}
