//! `envoy-config/layer4.yaml` under connections that are let through, closed and reported.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use host_tests::config_file::{File, Proxy};
use serde_json::json;
use testbed::{CertificateAuthority, Client, SmtpServer, SubjectAltName};

use crate::example::{Filters, LIMIT, Observed, log_with, scrape_when};
use crate::rules::{Scene, scenes};
use crate::samples::Samples;

const ORDERS: &str = "spiffe://cluster.local/ns/shop/sa/orders";
const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";

const FILTER: &str = "sallyport.identity_authz";
const ALLOWED: &str = "wasmcustom.sallyport.identity_authz.allowed";
const DENIED: &str = "wasmcustom.sallyport.identity_authz.denied";
const WOULD_DENY: &str = "wasmcustom.sallyport.identity_authz.would_deny";
const PLAINTEXT: &str = "wasmcustom.sallyport.identity_authz.connection.plaintext";
const REFUSED: &str = "extension_config_discovery.network_filter.sallyport.identity_authz.config_fail";

/// Denials that are a jump.
const MANY: u64 = 30;

/// The file before a mail server, and with nothing where PostgreSQL would be.
fn file(mail: &SmtpServer) -> Result<File> {
    let mut file = File::read("layer4.yaml", &["postgres", "mail"])?;
    let address = json!({"address": "127.0.0.1", "port_value": mail.address().port()});
    *file.configuration.at(
        "/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address",
    )? = address;
    Ok(file)
}

/// Opens a connection to the mail server; tells whether it greets.
fn is_greeted(proxy: &Proxy, uri: &str) -> Result<bool> {
    let client = Client::tls(proxy.envoy.listener("mail")?, Some(&proxy.identity(uri)?))?.with_sni(Some("mail.test"));
    let mut greeting = vec![0; SmtpServer::GREETING.len()];
    let is_read = client.connect()?.read_exact(&mut greeting).is_ok();
    Ok(is_read && greeting == SmtpServer::GREETING.as_bytes())
}

/// Plays `layer4.yaml`.
pub(crate) fn layer4() -> Result<Observed> {
    let mail = SmtpServer::start()?;
    let mut file = file(&mail)?;
    let mut filters = Filters::discovered(&mut file.configuration, file.folder.path())?;
    let proxy = file.start()?;
    ensure!(is_greeted(&proxy, ORDERS)?, "the shop gets no mail server");
    ensure!(!is_greeted(&proxy, FRONTEND)?, "the frontend gets a mail server");
    let healthy = scrape_when(&proxy.envoy, &[ALLOWED, DENIED], 2)?;

    let stranger = CertificateAuthority::new("stranger")?.issue(&[SubjectAltName::Uri(ORDERS.to_owned())])?;
    let forged = Client::tls(proxy.envoy.listener("postgres")?, Some(&stranger))?;
    ensure!(!forged.is_greeted(b"x").unwrap_or_default(), "a forged certificate");
    // From an address that a DENY policy is about.
    let elsewhere = Client::tls(proxy.envoy.listener("mail")?, Some(&proxy.identity(ORDERS)?))?;
    let elsewhere = elsewhere.with_source_address(Ipv4Addr::new(127, 0, 0, 2));
    ensure!(!elsewhere.is_greeted(b"x").unwrap_or_default(), "an address outside of the network");
    log_with(proxy.folder.path(), &["refused_handshake", "policy"])?;
    let quiet = Samples::scrape(&proxy.envoy)?;

    for _ in 0..MANY {
        ensure!(!is_greeted(&proxy, FRONTEND)?, "the frontend gets a mail server");
    }
    let jump = scrape_when(&proxy.envoy, &[DENIED], MANY + 2)?;

    filters.spoil(FILTER)?;
    let refused = scrape_when(&proxy.envoy, &[REFUSED], 1)?;

    filters.change(FILTER, |configuration| {
        configuration.as_object_mut().context("no object")?.insert("mode".to_owned(), json!("report"));
        Ok(())
    })?;
    testbed::wait::until("the filter to report", LIMIT, || Ok(is_greeted(&proxy, FRONTEND)?.then_some(())))?;
    let changed = scrape_when(&proxy.envoy, &[WOULD_DENY], 1)?;

    let log = log_with(proxy.folder.path(), &["refused_handshake", "decision"])?;
    let samples = changed.clone();
    let mut scenes = scenes("a refused handshake", [healthy, quiet, jump, refused, changed]);
    scenes.extend([plaintext()?, refused_at_start()?]);
    Ok(Observed { samples, log, scenes })
}

/// `layer4.yaml` without its TLS, as who opens the listener by mistake.
fn plaintext() -> Result<Scene> {
    let mail = SmtpServer::start()?;
    let file = file(&mail)?.without("/static_resources/listeners/0/filter_chains/0", "transport_socket")?;
    let proxy = file.start()?;
    let before = Samples::scrape(&proxy.envoy)?;
    let client = Client::plaintext(proxy.envoy.listener("postgres")?);
    ensure!(!client.is_echoed(b"SELECT").unwrap_or_default(), "plaintext gets an answer");
    let after = scrape_when(&proxy.envoy, &[PLAINTEXT], 1)?;
    Ok(Scene { condition: "plaintext", before, after, alerts: &["PlaintextSeen"] })
}

/// `layer4.yaml` with policies that are refused from the first.
fn refused_at_start() -> Result<Scene> {
    let mail = SmtpServer::start()?;
    let mut file = file(&mail)?;
    Filters::discovered(&mut file.configuration, file.folder.path())?.spoil(FILTER)?;
    let proxy = file.start()?;
    let after = scrape_when(&proxy.envoy, &[REFUSED], 1)?;
    ensure!(!is_greeted(&proxy, ORDERS)?, "a connection passes without a policy");
    Ok(Scene { condition: "no policy", before: Samples::default(), after, alerts: &["FilterFailedToLoad"] })
}
