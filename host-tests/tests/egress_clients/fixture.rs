//! The gateway of `envoy-config/egress.yaml` before two web servers, for one client.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use testbed::{
    CertificateAuthority, ClientMessage, EgressGateway, Outside, Printed, SubjectAltName, WebServer, client_messages,
    run_program,
};

/// A host that every client may reach.
pub(crate) const PUBLIC: &str = "updates.example.org";
/// A host that only payments may reach.
pub(crate) const PARTNER: &str = "api.partner.example";
/// The workloads of which there are certificates.
pub(crate) const PAYMENTS: &str = "payments";
pub(crate) const FRONTEND: &str = "frontend";

/// A way to a host, as `docs/egress.md` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Http,
    Connect,
    ConnectInMtls,
    NoCertificate,
    Sni,
    AnotherSni,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Http, Self::Connect, Self::ConnectInMtls, Self::NoCertificate, Self::Sni, Self::AnotherSni];

    /// The name in the table of `docs/egress.md`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Connect => "CONNECT",
            Self::ConnectInMtls => "CONNECT in mTLS",
            Self::NoCertificate => "mTLS without a certificate",
            Self::Sni => "TLS by SNI",
            Self::AnotherSni => "another SNI in a tunnel",
        }
    }

    /// A host that no rule lists. Each way has its own, so that log entries are told apart.
    pub(crate) fn undeclared(self) -> String {
        format!("{}.evil.example", self.name().to_ascii_lowercase().replace(' ', "-"))
    }
}

pub(crate) struct Fixture {
    pub(crate) gateway: EgressGateway,
    client: String,
    http: WebServer,
    https: WebServer,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// Starts the gateway for a client. Every host resolves to the two web servers, the undeclared ones too.
    pub(crate) fn start(client: &str) -> Result<Self> {
        testbed::build_filters()?;
        let folder = tempfile::tempdir()?;
        let site = folder.path().join("site");
        fs::create_dir(&site)?;
        let undeclared = Way::ALL.map(Way::undeclared);
        let hosts: Vec<_> = [PUBLIC, PARTNER].into_iter().chain(undeclared.iter().map(String::as_str)).collect();
        let outside = CertificateAuthority::new("outside authority")?;
        fs::write(folder.path().join("outside.pem"), outside.pem())?;
        let names: Vec<_> = hosts.iter().map(|host| SubjectAltName::Dns((*host).to_owned())).collect();
        let (http, https) = (WebServer::start(&site, None)?, WebServer::start(&site, Some(&outside.issue(&names)?))?);
        let ports = Outside::new(http.port(), https.port());
        let names: Vec<_> = hosts.iter().map(|host| (*host, Ipv4Addr::LOCALHOST)).collect();
        let gateway_folder = folder.path().join("gateway");
        let gateway = EgressGateway::start_before(testbed::envoy_binary()?, &gateway_folder, &names, ports)?;
        for workload in [PAYMENTS, FRONTEND] {
            gateway.identity(&format!("cluster.local/ns/shop/sa/{workload}"))?.write(folder.path(), workload)?;
        }
        Ok(Self { gateway, client: client.to_owned(), http, https, folder })
    }

    /// The folder that programs run in. `outside.pem` is the authority of the web servers, `gateway/trusted.pem` that of
    /// the gateway, `payments.pem` and `payments.key` are a workload's certificate, `site` is what the web servers serve.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port of a listener of the gateway.
    pub(crate) fn port(&self, listener: &str) -> Result<u16> {
        Ok(self.gateway.listener(listener)?.port())
    }

    /// The URL of a file on a host; without TLS for HTTP.
    pub(crate) fn url(&self, way: Way, host: &str, path: &str) -> String {
        let (scheme, port) = match way {
            Way::Http => ("http", self.http.port()),
            _ => ("https", self.https.port()),
        };
        format!("{scheme}://{host}:{port}/{path}")
    }

    /// The authority of the HTTPS server.
    pub(crate) fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.https.port())
    }

    /// Runs the client in the folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Printed> {
        run_program(&self.client, arguments, "", self.folder())
    }

    /// Checks that the client printed what the page says of this way, that the log has the reason, and that no server
    /// got the request.
    pub(crate) fn expect_denied(&self, way: Way, printed: &Printed) -> Result<()> {
        let all = printed.all();
        let message = message(program_name(&self.client), way)?;
        ensure!(message.is_in(&all), "{}, {}: expected {:?}, got\n{all}", self.client, way.name(), message.texts);
        let host = way.undeclared();
        let (key, expected) = match way {
            Way::NoCertificate => ("refused_handshake", "CERTIFICATE"),
            Way::AnotherSni => ("reason", "the TLS inside the tunnel is for SNI"),
            _ => ("reason", "no rule lists this host"),
        };
        let wanted = match way {
            Way::Http => vec![("host", host.as_str()), ("way", "http"), ("decision", "deny")],
            Way::Connect | Way::ConnectInMtls => {
                vec![("host", host.as_str()), ("way", "connect"), ("decision", "deny")]
            }
            Way::Sni => vec![("server_name", host.as_str()), ("way", "tls"), ("decision", "deny")],
            Way::AnotherSni => vec![("host", PUBLIC), ("way", "connect"), ("decision", "deny")],
            Way::NoCertificate => Vec::new(),
        };
        let entry = if wanted.is_empty() {
            self.gateway.handshake_failure(expected)?
        } else {
            self.gateway.log_entry(&wanted)?
        };
        ensure!(entry.get(key).is_some_and(|text| text.to_string().contains(expected)), "{entry}");
        let status = match way {
            Way::Http | Way::Connect | Way::ConnectInMtls => Some(403),
            Way::AnotherSni => Some(200),
            Way::Sni | Way::NoCertificate => None,
        };
        let found = entry.get("status").and_then(serde_json::Value::as_u64).filter(|status| *status != 0);
        ensure!(found == status, "{}: {entry}", way.name());
        for request in self.http.requests().iter().chain(&self.https.requests()) {
            ensure!(!request.contains("evil.example"), "a server got {request}");
        }
        Ok(())
    }

    /// Checks that the client printed this, and that it succeeded.
    pub(crate) fn expect_reached(&self, way: Way, printed: &Printed, expected: &str) -> Result<()> {
        let reached = printed.succeeded && printed.output.contains(expected);
        ensure!(reached, "{}, {}: expected {expected:?}, got {printed:#?}", self.client, way.name());
        Ok(())
    }
}

/// The name of a program in the table.
fn program_name(client: &str) -> &str {
    client.rsplit('/').next().unwrap_or(client)
}

/// The row of the table for a program and a way.
fn message(client: &str, way: Way) -> Result<ClientMessage> {
    let mut messages = client_messages()?.into_iter();
    let row = messages.find(|row| row.way == way.name() && row.clients.iter().any(|name| name == client));
    row.with_context(|| format!("docs/egress.md does not say what {client} prints for {}", way.name()))
}
