//! `envoy-config/layer4.yaml` in a real Envoy, in front of a real PostgreSQL and of a service that speaks first, with
//! `envoy-config/layer4-client.yaml` on the client's side.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postgres::NoTls;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    CertificateAuthority, Client, Configuration, Envoy, Identity, Options, Postgres, ReservedPort, SmtpServer,
    SubjectAltName, access_log, wait,
};

const LIMIT: Duration = Duration::from_secs(30);

const ORDERS: &str = "spiffe://cluster.local/ns/shop/sa/orders";
const FRONTEND: &str = "spiffe://cluster.local/ns/shop/sa/frontend";
const DATABASE_ADMINISTRATOR: &str = "spiffe://cluster.local/ns/operations/sa/dba";

/// What PostgreSQL's clients ask before they speak TLS, unless told otherwise (SSLRequest of its protocol).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How a record of TLS begins that says why the handshake ends (RFC 8446).
const TLS_ALERT: u8 = 21;

/// The services behind the Envoy of the file.
struct Scene {
    envoy: Envoy,
    postgres: Postgres,
    mail: SmtpServer,
    authority: CertificateAuthority,
    folder: TempDir,
    _port: ReservedPort,
}

impl Scene {
    /// The file with its folder, its ports and the services' addresses moved.
    fn start() -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let authority = CertificateAuthority::new("trusted")?;
        fs::write(folder.path().join("trusted.pem"), authority.pem())?;
        for service in ["postgres", "mail"] {
            issue(&authority, &format!("spiffe://cluster.local/ns/shop/sa/{service}"))?
                .write(folder.path(), service)?;
        }
        fs::copy(testbed::filter_path("identity-authz"), folder.path().join("identity-authz.wasm"))?;
        let (postgres, mail) = (Postgres::start(folder.path())?, SmtpServer::start()?);

        let mut configuration = Configuration::read(&testbed::root().join("envoy-config/layer4.yaml"))?;
        configuration.move_paths("/etc/sallyport", folder.path());
        // A policy names the port that the listener has.
        let port = ReservedPort::new()?;
        *configuration.at(LISTENING)? = address(SocketAddr::from((Ipv4Addr::LOCALHOST, port.number())));
        let wanted = configuration.at(WANTED_PORT)?;
        ensure!(*wanted == json!("5432"), "{wanted}");
        *wanted = json!(port.number().to_string());
        *configuration.at("/static_resources/listeners/1/address")? =
            address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        *upstream(&mut configuration, 0)? = json!({"pipe": {"path": postgres.socket()}});
        *upstream(&mut configuration, 1)? = address(mail.address());
        let envoy = run(&configuration, folder.path())?;
        Ok(Self { envoy, postgres, mail, authority, folder, _port: port })
    }

    fn identity(&self, uri: &str) -> Result<Identity> {
        issue(&self.authority, uri)
    }

    /// The Envoy of a client of this identity.
    fn client(&self, uri: &str) -> Result<(TempDir, Envoy)> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("trusted.pem"), self.authority.pem())?;
        self.identity(uri)?.write(folder.path(), "workload")?;
        let mut configuration = Configuration::read(&testbed::root().join("envoy-config/layer4-client.yaml"))?;
        configuration.move_paths("/etc/sallyport", folder.path());
        for (number, name) in ["postgres", "mail"].into_iter().enumerate() {
            *configuration.at(&format!("/static_resources/listeners/{number}/address"))? =
                address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            *upstream(&mut configuration, number)? = address(self.envoy.listener(name)?);
        }
        let envoy = run(&configuration, folder.path())?;
        Ok((folder, envoy))
    }

    /// The lines of the access log, once there are so many.
    fn access_log(&self, lines: usize) -> Result<Vec<Value>> {
        wait::until("the access log", LIMIT, || {
            let log = fs::read_to_string(self.folder.path().join("envoy.out"))?;
            let entries: Vec<_> = access_log::entries(&log).collect();
            Ok((entries.len() >= lines).then_some(entries))
        })
    }
}

const LISTENING: &str = "/static_resources/listeners/0/address";
const WANTED_PORT: &str = "/static_resources/listeners/0/filter_chains/0/filters/1/typed_config/config/configuration/value/resources/1/spec/rules/0/to/0/operation/ports/0";

fn issue(authority: &CertificateAuthority, uri: &str) -> Result<Identity> {
    authority.issue(&[SubjectAltName::Uri(uri.to_owned())])
}

fn address(of: SocketAddr) -> Value {
    json!({"socket_address": {"address": of.ip().to_string(), "port_value": of.port()}})
}

fn upstream(configuration: &mut Configuration, cluster: usize) -> Result<&mut Value> {
    configuration.at(&format!(
        "/static_resources/clusters/{cluster}/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address"
    ))
}

fn run(configuration: &Configuration, folder: &Path) -> Result<Envoy> {
    let options = Options { binary: testbed::envoy_binary()?, folder: folder.to_owned(), workers: 1, detached: false };
    Envoy::start(configuration, &options)
}

/// Asks PostgreSQL for a product.
fn query(at: SocketAddr) -> Result<i32> {
    let mut client = postgres::Config::new()
        .host(&at.ip().to_string())
        .port(at.port())
        .user(Postgres::USER)
        .dbname("postgres")
        .connect_timeout(LIMIT)
        .connect(NoTls)?;
    Ok(client.query_one("select 6 * 7", &[])?.try_get(0)?)
}

/// Greets PostgreSQL (StartupMessage of its protocol), and says whether it lets the user in.
fn is_let_in(client: &Client) -> Result<bool> {
    let mut message = vec![0, 3, 0, 0];
    message.extend(format!("user\0{}\0database\0postgres\0\0", Postgres::USER).bytes());
    let mut bytes = u32::try_from(message.len() + 4)?.to_be_bytes().to_vec();
    bytes.extend(message);
    let mut stream = client.connect()?;
    // A peer that closes at once may have done so before all was written.
    let _reset = stream.write_all(&bytes).and_then(|()| stream.flush());
    let mut answer = [0];
    Ok(stream.read_exact(&mut answer).is_ok() && answer == *b"R")
}

#[test]
fn programs_that_know_no_tls_use_postgres_by_an_envoy_of_their_own() -> Result<()> {
    let scene = Scene::start()?;
    let (_orders_folder, orders) = scene.client(ORDERS)?;
    let (_frontend_folder, frontend) = scene.client(FRONTEND)?;
    ensure!(query(orders.listener("postgres")?)? == 42);
    for _ in 0..3 {
        ensure!(query(frontend.listener("postgres")?).is_err(), "the frontend's query is answered");
    }
    ensure!(query(orders.listener("postgres")?)? == 42);
    let log = scene.access_log(5)?;
    let denied: Vec<_> = log.iter().filter(|entry| entry.get("decision") == Some(&json!("deny"))).collect();
    ensure!(denied.len() == 3, "{log:#?}");
    for entry in denied {
        ensure!(entry.get("principal") == Some(&json!("cluster.local/ns/shop/sa/frontend")), "{entry}");
        let reason = entry.get("reason").and_then(Value::as_str).context("no reason")?;
        ensure!(reason.starts_with("no ALLOW policy matches: "), "{reason}");
    }
    // The frontend's were before the last, so they would be in the log by now.
    let connections = wait::until("PostgreSQL's log", LIMIT, || {
        let connections = scene.postgres.connections()?;
        Ok((connections >= 2).then_some(connections))
    })?;
    ensure!(connections == 2, "PostgreSQL has had {connections} connections, 2 of them by orders");
    let counter = |name: &str| scene.envoy.stat(&format!("wasmcustom.sallyport.identity_authz.{name}"));
    wait::until("the counters", LIMIT, || {
        Ok(([counter("allowed")?, counter("denied")?, counter("errors")?] == [2, 3, 0]).then_some(()))
    })
}

#[test]
fn postgres_hears_of_nobody_whom_no_policy_lets_in() -> Result<()> {
    let scene = Scene::start()?;
    let at = scene.envoy.listener("postgres")?;
    let stranger = CertificateAuthority::new("stranger")?;
    let tls = |uri: &str| Client::tls(at, Some(&scene.identity(uri)?));
    let named = |client: Client| client.with_sni(Some("postgres.shop.internal"));
    let rows = [
        ("orders", named(tls(ORDERS)?), true),
        ("orders by another name", tls(ORDERS)?.with_sni(Some("db.shop.internal")), true),
        ("operations", named(tls(DATABASE_ADMINISTRATOR)?), true),
        ("operations in capitals", tls(DATABASE_ADMINISTRATOR)?.with_sni(Some("Postgres.Shop.Internal")), true),
        ("operations by another name", tls(DATABASE_ADMINISTRATOR)?.with_sni(Some("db.shop.internal")), false),
        ("operations by no name", tls(DATABASE_ADMINISTRATOR)?.with_sni(None), false),
        ("the frontend", named(tls(FRONTEND)?), false),
        ("orders of another namespace", named(tls("spiffe://cluster.local/ns/dev/sa/orders")?), false),
        ("orders from beyond", named(tls(ORDERS)?).with_source_address(Ipv4Addr::new(127, 0, 0, 2)), false),
        ("a forged orders", named(Client::tls(at, Some(&issue(&stranger, ORDERS)?))?), false),
        ("orders of a foreign trust domain", named(tls("spiffe://cluster.example/ns/shop/sa/orders")?), false),
        ("nobody", named(Client::tls(at, None)?), false),
        ("plaintext", Client::plaintext(at), false),
        ("plaintext that asks for TLS", Client::plaintext(at).with_preamble(SSL_REQUEST.to_vec()), false),
        ("orders once more", named(tls(ORDERS)?), true),
    ];
    for (who, client, expected) in &rows {
        ensure!(is_let_in(client)? == *expected, "{who} is {}let in", if *expected { "not " } else { "" });
    }
    let let_in = rows.iter().filter(|(_, _, expected)| *expected).count();
    let connections = wait::until("PostgreSQL's log", LIMIT, || {
        let connections = scene.postgres.connections()?;
        Ok((connections >= let_in).then_some(connections))
    })?;
    ensure!(connections == let_in, "PostgreSQL has had {connections} connections, {let_in} were let in");
    let log = scene.access_log(rows.len())?;
    let from_beyond = log.iter().find(|entry| entry.get("policy") == Some(&json!("shop/own-network")));
    ensure!(from_beyond.is_some(), "{log:#?}");
    Ok(())
}

#[test]
fn a_client_that_speaks_tls_first_is_told_the_protocol() -> Result<()> {
    let scene = Scene::start()?;
    let orders = scene.identity(ORDERS)?;
    let client = Client::tls(scene.envoy.listener("postgres")?, Some(&orders))?.with_alpn("postgresql");
    ensure!(client.negotiated_alpn()?.as_deref() == Some(b"postgresql".as_slice()));
    ensure!(is_let_in(&client)?);
    Ok(())
}

#[test]
fn a_service_that_speaks_first_says_nothing_to_whom_no_policy_lets_in() -> Result<()> {
    let scene = Scene::start()?;
    let (_orders_folder, orders) = scene.client(ORDERS)?;
    let (_frontend_folder, frontend) = scene.client(FRONTEND)?;
    let at = scene.envoy.listener("mail")?;
    let tls = |uri: &str| Client::tls(at, Some(&scene.identity(uri)?));
    let stranger = issue(&CertificateAuthority::new("stranger")?, ORDERS)?;
    let rows = [
        ("orders by an Envoy of its own", Client::plaintext(orders.listener("mail")?), true),
        ("orders", tls(ORDERS)?, true),
        ("the frontend by an Envoy of its own", Client::plaintext(frontend.listener("mail")?), false),
        ("the frontend", tls(FRONTEND)?, false),
        ("another namespace", tls(DATABASE_ADMINISTRATOR)?, false),
        ("orders from beyond", tls(ORDERS)?.with_source_address(Ipv4Addr::new(127, 0, 0, 2)), false),
        ("a forged orders", Client::tls(at, Some(&stranger))?, false),
        ("nobody", Client::tls(at, None)?, false),
        ("plaintext", Client::plaintext(at).with_preamble(b"QUIT\r\n".to_vec()), false),
    ];
    for (who, client, expected) in rows {
        let mut stream = client.connect()?;
        match expected {
            true => {
                // Says nothing itself: the service's bytes are the first.
                let mut greeting = vec![0; SmtpServer::GREETING.len()];
                stream.read_exact(&mut greeting).with_context(|| format!("{who} is not greeted"))?;
                ensure!(greeting == SmtpServer::GREETING.as_bytes(), "{who}: {}", greeting.escape_ascii());
                stream.write_all(b"EHLO orders\r\n")?;
                stream.flush()?;
                let mut answer = [0; 8];
                stream.read_exact(&mut answer)?;
                ensure!(&answer == b"250 ok\r\n", "{who}: {}", answer.escape_ascii());
            }
            false => {
                let mut said = Vec::new();
                // A peer that closes at once may do so without the end that TLS has.
                let _cut = stream.read_to_end(&mut said);
                // TLS may say why it ends (an alert); the service's words are of another kind.
                ensure!(said.is_empty() || said.first() == Some(&TLS_ALERT), "{who} is told {}", said.escape_ascii());
            }
        }
    }
    // Those with a trusted certificate were worth a connection, which the service has greeted in vain.
    let greeted = wait::until("the mail server", LIMIT, || {
        let greeted = scene.mail.connections();
        Ok((greeted >= 6).then_some(greeted))
    })?;
    ensure!(greeted == 6, "{greeted} connections were greeted");
    ensure!(scene.mail.received_lines() == ["EHLO orders", "EHLO orders"], "{:?}", scene.mail.received_lines());
    Ok(())
}
