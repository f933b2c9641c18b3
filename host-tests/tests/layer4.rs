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

/// The SSLRequest with which PostgreSQL's clients ask for TLS by default.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The content type of a TLS alert (RFC 8446, section 5.1).
const TLS_ALERT: u8 = 21;

/// An Envoy with the file's configuration, and the services behind it.
struct Setup {
    envoy: Envoy,
    postgres: Postgres,
    mail: SmtpServer,
    authority: CertificateAuthority,
    folder: TempDir,
    _port: ReservedPort,
}

impl Setup {
    /// Starts Envoy with the file, its folder, ports and service addresses replaced.
    fn start() -> Result<Self> {
        Self::start_with(|_| Ok(()))
    }

    /// Starts Envoy with the file and a change.
    fn start_with(change: impl FnOnce(&mut Configuration) -> Result<()>) -> Result<Self> {
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
        // A policy names the listener's port, so this one has to be known before Envoy starts.
        let port = ReservedPort::new()?;
        *configuration.at(LISTENER_ADDRESS)? = address(SocketAddr::from((Ipv4Addr::LOCALHOST, port.number())));
        let policy_port = configuration.at(POLICY_PORT)?;
        ensure!(*policy_port == json!("5432"), "{policy_port}");
        *policy_port = json!(port.number().to_string());
        *configuration.at("/static_resources/listeners/1/address")? =
            address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        *upstream(&mut configuration, 0)? = json!({"pipe": {"path": postgres.socket()}});
        *upstream(&mut configuration, 1)? = address(mail.address());
        change(&mut configuration)?;
        let envoy = run(&configuration, folder.path())?;
        Ok(Self { envoy, postgres, mail, authority, folder, _port: port })
    }

    fn identity(&self, uri: &str) -> Result<Identity> {
        issue(&self.authority, uri)
    }

    /// Starts the Envoy of a client with this identity.
    fn client(&self, uri: &str) -> Result<(TempDir, Envoy)> {
        self.client_of(uri, "postgres")
    }

    /// Starts the Envoy of a client with this identity, which finds this service under PostgreSQL's name.
    fn client_of(&self, uri: &str, postgres: &str) -> Result<(TempDir, Envoy)> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("trusted.pem"), self.authority.pem())?;
        self.identity(uri)?.write(folder.path(), "workload")?;
        let mut configuration = Configuration::read(&testbed::root().join("envoy-config/layer4-client.yaml"))?;
        configuration.move_paths("/etc/sallyport", folder.path());
        for (number, name) in [postgres, "mail"].into_iter().enumerate() {
            *configuration.at(&format!("/static_resources/listeners/{number}/address"))? =
                address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            *upstream(&mut configuration, number)? = address(self.envoy.listener(name)?);
        }
        let envoy = run(&configuration, folder.path())?;
        Ok((folder, envoy))
    }

    /// Waits for this number of connections that ended in the access log, and returns their entries.
    fn access_log(&self, lines: usize) -> Result<Vec<Value>> {
        self.entries(lines, |entry| entry.get("event").is_none())
    }

    /// Waits for this number of connections that reached a service in the access log, and returns their entries.
    fn connected(&self, lines: usize) -> Result<Vec<Value>> {
        self.entries(lines, |entry| entry.get("event") == Some(&json!("connected")))
    }

    fn entries(&self, lines: usize, is_meant: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        wait::until("the access log", LIMIT, || {
            let log = fs::read_to_string(self.folder.path().join("envoy.out"))?;
            let entries: Vec<_> = access_log::entries(&log).filter(&is_meant).collect();
            Ok((entries.len() >= lines).then_some(entries))
        })
    }
}

const LISTENER_ADDRESS: &str = "/static_resources/listeners/0/address";
const POLICY_PORT: &str = "/static_resources/listeners/0/filter_chains/0/filters/1/typed_config/config/configuration/value/resources/1/spec/rules/0/to/0/operation/ports/0";

fn issue(authority: &CertificateAuthority, uri: &str) -> Result<Identity> {
    authority.issue(&[SubjectAltName::Uri(uri.to_owned())])
}

fn address(socket: SocketAddr) -> Value {
    json!({"socket_address": {"address": socket.ip().to_string(), "port_value": socket.port()}})
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

/// Runs a query in PostgreSQL.
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

/// Sends PostgreSQL a StartupMessage. Returns true if it lets the user in.
fn is_let_in(client: &Client) -> Result<bool> {
    let mut message = vec![0, 3, 0, 0];
    message.extend(format!("user\0{}\0database\0postgres\0\0", Postgres::USER).bytes());
    let mut bytes = u32::try_from(message.len() + 4)?.to_be_bytes().to_vec();
    bytes.extend(message);
    let mut stream = client.connect()?;
    // A denied connection may be closed before everything is written.
    let _reset = stream.write_all(&bytes).and_then(|()| stream.flush());
    let mut answer = [0];
    Ok(stream.read_exact(&mut answer).is_ok() && answer == *b"R")
}

#[test]
fn programs_without_tls_use_postgres_through_an_envoy_of_their_own() -> Result<()> {
    let setup = Setup::start()?;
    let (_orders_folder, orders) = setup.client(ORDERS)?;
    let (_frontend_folder, frontend) = setup.client(FRONTEND)?;
    ensure!(query(orders.listener("postgres")?)? == 42);
    for _ in 0..3 {
        ensure!(query(frontend.listener("postgres")?).is_err(), "the frontend's query succeeds");
    }
    ensure!(query(orders.listener("postgres")?)? == 42);
    let log = setup.access_log(5)?;
    let denied: Vec<_> = log.iter().filter(|entry| entry.get("decision") == Some(&json!("deny"))).collect();
    ensure!(denied.len() == 3, "{log:#?}");
    for entry in denied {
        ensure!(entry.get("principal") == Some(&json!("cluster.local/ns/shop/sa/frontend")), "{entry}");
        let reason = entry.get("reason").and_then(Value::as_str).context("no reason")?;
        ensure!(reason.starts_with("no ALLOW policy matches: "), "{reason}");
    }
    // The frontend's attempts precede the last query, so PostgreSQL would have logged them by now.
    let connections = wait::until("PostgreSQL's log", LIMIT, || {
        let connections = setup.postgres.connections()?;
        Ok((connections >= 2).then_some(connections))
    })?;
    ensure!(connections == 2, "PostgreSQL has had {connections} connections, 2 of them by orders");
    let counter = |name: &str| setup.envoy.stat(&format!("wasmcustom.sallyport.identity_authz.{name}"));
    wait::until("the counters", LIMIT, || {
        Ok(([counter("allowed")?, counter("denied")?, counter("errors")?] == [2, 3, 0]).then_some(()))
    })
}

#[test]
fn postgres_hears_of_nobody_whom_no_policy_lets_in() -> Result<()> {
    let setup = Setup::start()?;
    let at = setup.envoy.listener("postgres")?;
    let stranger = CertificateAuthority::new("stranger")?;
    let tls = |uri: &str| Client::tls(at, Some(&setup.identity(uri)?));
    let named = |client: Client| client.with_sni(Some("postgres.shop.internal"));
    let rows = [
        ("orders", named(tls(ORDERS)?), true),
        ("orders with another SNI", tls(ORDERS)?.with_sni(Some("db.shop.internal")), true),
        ("operations", named(tls(DATABASE_ADMINISTRATOR)?), true),
        (
            "operations with the SNI in capitals",
            tls(DATABASE_ADMINISTRATOR)?.with_sni(Some("Postgres.Shop.Internal")),
            true,
        ),
        ("operations with another SNI", tls(DATABASE_ADMINISTRATOR)?.with_sni(Some("db.shop.internal")), false),
        ("operations without an SNI", tls(DATABASE_ADMINISTRATOR)?.with_sni(None), false),
        ("the frontend", named(tls(FRONTEND)?), false),
        ("orders of another namespace", named(tls("spiffe://cluster.local/ns/dev/sa/orders")?), false),
        ("orders from another network", named(tls(ORDERS)?).with_source_address(Ipv4Addr::new(127, 0, 0, 2)), false),
        ("orders with a forged certificate", named(Client::tls(at, Some(&issue(&stranger, ORDERS)?))?), false),
        ("orders of a foreign trust domain", named(tls("spiffe://cluster.example/ns/shop/sa/orders")?), false),
        ("TLS without a certificate", named(Client::tls(at, None)?), false),
        ("plaintext", Client::plaintext(at), false),
        ("plaintext that asks for TLS", Client::plaintext(at).with_preamble(SSL_REQUEST.to_vec()), false),
        ("orders again", named(tls(ORDERS)?), true),
    ];
    for (name, client, expected) in &rows {
        ensure!(is_let_in(client)? == *expected, "{name} is {}let in", if *expected { "not " } else { "" });
    }
    let let_in = rows.iter().filter(|(_, _, expected)| *expected).count();
    let connections = wait::until("PostgreSQL's log", LIMIT, || {
        let connections = setup.postgres.connections()?;
        Ok((connections >= let_in).then_some(connections))
    })?;
    ensure!(connections == let_in, "PostgreSQL has had {connections} connections, {let_in} were let in");
    let log = setup.access_log(rows.len())?;
    let other_network = log.iter().find(|entry| entry.get("policy") == Some(&json!("shop/own-network")));
    ensure!(other_network.is_some(), "{log:#?}");
    Ok(())
}

#[test]
fn a_client_that_starts_with_tls_negotiates_the_protocol() -> Result<()> {
    let setup = Setup::start()?;
    let orders = setup.identity(ORDERS)?;
    let client = Client::tls(setup.envoy.listener("postgres")?, Some(&orders))?.with_alpn("postgresql");
    ensure!(client.negotiated_alpn()?.as_deref() == Some(b"postgresql".as_slice()));
    ensure!(is_let_in(&client)?);
    Ok(())
}

#[test]
fn a_server_that_speaks_first_sends_nothing_to_denied_clients() -> Result<()> {
    let setup = Setup::start()?;
    let (_orders_folder, orders) = setup.client(ORDERS)?;
    let (_frontend_folder, frontend) = setup.client(FRONTEND)?;
    let at = setup.envoy.listener("mail")?;
    let tls = |uri: &str| Client::tls(at, Some(&setup.identity(uri)?));
    let stranger = issue(&CertificateAuthority::new("stranger")?, ORDERS)?;
    let rows = [
        ("orders through its own Envoy", Client::plaintext(orders.listener("mail")?), true),
        ("orders", tls(ORDERS)?, true),
        ("the frontend through its own Envoy", Client::plaintext(frontend.listener("mail")?), false),
        ("the frontend", tls(FRONTEND)?, false),
        ("another namespace", tls(DATABASE_ADMINISTRATOR)?, false),
        ("orders from another network", tls(ORDERS)?.with_source_address(Ipv4Addr::new(127, 0, 0, 2)), false),
        ("orders with a forged certificate", Client::tls(at, Some(&stranger))?, false),
        ("TLS without a certificate", Client::tls(at, None)?, false),
        ("plaintext", Client::plaintext(at).with_preamble(b"QUIT\r\n".to_vec()), false),
    ];
    for (name, client, expected) in rows {
        let mut stream = client.connect()?;
        match expected {
            true => {
                // The client waits: the server speaks first.
                let mut greeting = vec![0; SmtpServer::GREETING.len()];
                stream.read_exact(&mut greeting).with_context(|| format!("{name} is not greeted"))?;
                ensure!(greeting == SmtpServer::GREETING.as_bytes(), "{name}: {}", greeting.escape_ascii());
                stream.write_all(b"EHLO orders\r\n")?;
                stream.flush()?;
                let mut answer = [0; 8];
                stream.read_exact(&mut answer)?;
                ensure!(&answer == b"250 ok\r\n", "{name}: {}", answer.escape_ascii());
            }
            false => {
                let mut received = Vec::new();
                // A denied connection may be closed without a close_notify.
                let _cut = stream.read_to_end(&mut received);
                // TLS may end with an alert, which is not from the server.
                ensure!(
                    received.is_empty() || received.first() == Some(&TLS_ALERT),
                    "{name} receives {}",
                    received.escape_ascii()
                );
            }
        }
    }
    // Envoy connects upstream for each client with a trusted certificate; the greetings for denied ones go nowhere.
    let greeted = wait::until("the mail server", LIMIT, || {
        let greeted = setup.mail.connections();
        Ok((greeted >= 6).then_some(greeted))
    })?;
    ensure!(greeted == 6, "{greeted} connections were greeted");
    ensure!(setup.mail.received_lines() == ["EHLO orders", "EHLO orders"], "{:?}", setup.mail.received_lines());
    Ok(())
}

#[test]
fn the_log_names_who_is_behind_a_connection_that_the_service_sees() -> Result<()> {
    let setup = Setup::start()?;
    let mut streams = Vec::new();
    for uri in [ORDERS, DATABASE_ADMINISTRATOR] {
        // Operations may not send mail: the service sees the connection of a server-first protocol, and no byte passes.
        let mut stream = Client::tls(setup.envoy.listener("mail")?, Some(&setup.identity(uri)?))?.connect()?;
        let mut greeting = vec![0; SmtpServer::GREETING.len()];
        ensure!(stream.read_exact(&mut greeting).is_ok() == (uri == ORDERS), "{uri}");
        streams.push(stream);
    }
    // The connection of orders is open still.
    let connected = setup.connected(2)?;
    let mut seen: Vec<String> = setup.mail.peers().iter().map(SocketAddr::to_string).collect();
    let mut logged = Vec::new();
    for entry in &connected {
        let service = entry.get("service").and_then(Value::as_str).context("no service")?;
        ensure!(service == setup.mail.address().to_string(), "{entry}");
        logged.push(entry.get("service_sees").and_then(Value::as_str).context("no address")?.to_owned());
    }
    seen.sort_unstable();
    logged.sort_unstable();
    ensure!(seen == logged, "the service sees {seen:?}, the log has {logged:?}");
    let of_orders = connected.iter().filter(|entry| entry.get("peer") == Some(&json!(ORDERS)));
    ensure!(of_orders.count() == 1, "{connected:#?}");
    Ok(())
}

#[test]
fn a_connection_that_lasts_too_long_is_decided_anew() -> Result<()> {
    let setup = Setup::start_with(|configuration| {
        let proxy = "/static_resources/listeners/1/filter_chains/0/filters/2/typed_config";
        let proxy = configuration.at(proxy)?.as_object_mut().context("no tcp_proxy")?;
        proxy.insert("max_downstream_connection_duration".to_owned(), json!("0.5s"));
        Ok(())
    })?;
    let mut stream = Client::tls(setup.envoy.listener("mail")?, Some(&setup.identity(ORDERS)?))?.connect()?;
    let mut received = Vec::new();
    // Ends without a word of the client: the reader has a time limit of its own.
    let _end = stream.read_to_end(&mut received);
    ensure!(received.starts_with(SmtpServer::GREETING.as_bytes()), "{}", received.escape_ascii());
    let ended = setup.access_log(1)?;
    ensure!(ended.iter().all(|entry| entry.get("decision") == Some(&Value::Null)), "{ended:#?}");
    Ok(())
}

#[test]
fn the_log_of_the_clients_envoy_says_that_another_server_answered() -> Result<()> {
    let setup = Setup::start()?;
    let (folder, orders) = setup.client_of(ORDERS, "mail")?;
    ensure!(query(orders.listener("postgres")?).is_err(), "the mail server's certificate passes for PostgreSQL's");
    wait::until("the log of the client's Envoy", LIMIT, || {
        let log = fs::read_to_string(folder.path().join("envoy.out"))?;
        let refused = access_log::entries(&log).any(|entry| {
            let reason = entry.get("refused_handshake").and_then(Value::as_str);
            reason.is_some_and(|reason| reason.contains("CERTIFICATE_VERIFY_FAILED"))
        });
        Ok(refused.then_some(()))
    })
}
