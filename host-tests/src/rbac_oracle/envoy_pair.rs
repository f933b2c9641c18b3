//! One Envoy that runs both filters under many sets of policies.

mod listener;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;
use testbed::{
    CertificateAuthority, Client, Configuration, Envoy, Identity, Options, Response, Stream, SubjectAltName,
    TokenIssuer, round_trip,
};

use super::policy_set::PolicySet;
use super::probe::{Caller, Peer, Probe};
use super::translate::{Protocol, translate};
use listener::{
    ALLOW, ALLOW_ID, AUDIT, DENY, DENY_ID, DETAILS, HINT, listener, rbac_network_filters, tcp_listener,
    wasm_network_filter,
};

/// The answer of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True if the request is allowed.
    pub allowed: bool,
    /// The rule that denies a request, in Envoy's notation; `none` if no ALLOW policy matches. `None` for connections.
    pub rule: Option<String>,
    /// True if an AUDIT policy matches.
    pub audited: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.allowed, &self.rule) {
            (true, _) => f.write_str("allowed")?,
            (false, None) => f.write_str("closed")?,
            (false, Some(rule)) => write!(f, "denied by {rule}")?,
        }
        if self.audited { f.write_str(", audited") } else { Ok(()) }
    }
}

/// The answers of both filters to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// `envoy.filters.http.rbac` with Istio's translation of the policies.
    pub istio: Verdict,
    /// `identity-authz`.
    pub sallyport: Verdict,
}

/// A running Envoy with a listener for each set of policies.
///
/// For HTTP, a listener has Envoy's RBAC filter with shadow rules, which decide without effect, and after it
/// `identity-authz`, which answers. So both filters decide the same request. A TCP connection has no response that
/// could carry two verdicts: there each filter has a listener of its own.
pub struct EnvoyPair {
    protocol: Protocol,
    addresses: Vec<SocketAddr>,
    /// For TCP, the listeners of Envoy's own filter.
    rbac_addresses: Vec<SocketAddr>,
    trusted: CertificateAuthority,
    untrusted: CertificateAuthority,
    identities: BTreeMap<Peer, Identity>,
    tokens: TokenIssuer,
    /// Stopped when dropped.
    _envoy: Envoy,
}

impl EnvoyPair {
    /// Starts Envoy with these sets. Fails if one of the filters refuses one.
    pub fn start(protocol: Protocol, sets: &[PolicySet], binary: PathBuf, folder: PathBuf) -> Result<Self> {
        Self::start_with(protocol, sets, true, binary, folder)
    }

    /// Starts Envoy with these sets in its own HTTP filter alone, for policies that `identity-authz` refuses. Its
    /// verdict is always allowed.
    pub fn start_rbac_alone(sets: &[PolicySet], binary: PathBuf, folder: PathBuf) -> Result<Self> {
        Self::start_with(Protocol::Http, sets, false, binary, folder)
    }

    fn start_with(
        protocol: Protocol,
        sets: &[PolicySet],
        with_wasm: bool,
        binary: PathBuf,
        folder: PathBuf,
    ) -> Result<Self> {
        let (trusted, untrusted) = (CertificateAuthority::new("trusted")?, CertificateAuthority::new("untrusted")?);
        fs::write(folder.join("trusted.pem"), trusted.pem())?;
        trusted.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(&folder, "server")?;
        let tokens = TokenIssuer::new("trusted");
        let mut listeners = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            let translation = translate(&set.policies, &set.mesh, protocol)?;
            let configuration = with_wasm.then(|| serde_json::to_vec(&set.configuration())).transpose()?;
            let configuration = configuration.as_deref();
            match protocol {
                Protocol::Http => {
                    listeners.push(listener(&name(number), &folder, &translation, configuration, &tokens));
                }
                Protocol::Tcp => {
                    listeners.push(tcp_listener(&name(number), &folder, &wasm_network_filter(configuration)));
                    listeners.push(tcp_listener(&rbac_name(number), &folder, &rbac_network_filters(&translation)));
                }
            }
        }
        let bootstrap = json!({"static_resources": {"listeners": listeners}});
        let options = Options { binary, folder, workers: 1, detached: false };
        let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
        let known = envoy.listeners()?;
        let addresses = |name: &dyn Fn(usize) -> String| {
            let address = |number| known.get(&name(number)).copied().with_context(|| format!("no {}", name(number)));
            (0..sets.len()).map(address).collect::<Result<Vec<_>>>()
        };
        let rbac_addresses = if protocol == Protocol::Tcp { addresses(&rbac_name)? } else { Vec::new() };
        let addresses = addresses(&name)?;
        Ok(Self {
            protocol,
            addresses,
            rbac_addresses,
            trusted,
            untrusted,
            identities: BTreeMap::new(),
            tokens,
            _envoy: envoy,
        })
    }

    /// Opens a connection to the listener of the set with this index.
    pub fn connect(&mut self, number: usize, caller: &Caller) -> Result<Box<dyn Stream>> {
        let address = *self.addresses.get(number).context("a set of another Envoy")?;
        self.client(address, caller)?.connect()
    }

    fn client(&mut self, address: SocketAddr, caller: &Caller) -> Result<Client> {
        let client = match &caller.peer {
            Peer::Plaintext => Client::plaintext(address),
            Peer::NoCertificate => Client::tls(address, None)?,
            peer => Client::tls(address, Some(self.identity(peer)?))?,
        };
        let (destination, port) = &caller.destination;
        let family = if caller.source.contains(':') { "TCP6" } else { "TCP4" };
        let preamble = format!("PROXY {family} {} {destination} 40000 {port}\r\n", caller.source);
        Ok(client
            .with_sni(caller.server_name.as_deref())
            .with_source_address(caller.direct_address)
            .with_preamble(preamble.into_bytes()))
    }

    /// Asks both filters about a connection: whether its bytes are echoed.
    fn ask_connection(&mut self, number: usize, caller: &Caller) -> Result<Answers> {
        let unknown = "a set of another Envoy";
        let istio = self.rbac_addresses.get(number).copied().context(unknown)?;
        let sallyport = self.addresses.get(number).copied().context(unknown)?;
        let mut verdict = |address| -> Result<Verdict> {
            let allowed = self.client(address, caller)?.is_echoed(b"ping\n")?;
            Ok(Verdict { allowed, rule: None, audited: false })
        };
        Ok(Answers { istio: verdict(istio)?, sallyport: verdict(sallyport)? })
    }

    /// Asks both filters on a connection of [`connect`](Self::connect): `identity-authz` about the request as it is, and
    /// Envoy's own filter about the request with the path in the spelling that `identity-authz` compares.
    pub fn compare(&self, connection: &mut dyn Stream, probe: &Probe) -> Result<Answers> {
        let answers = self.ask(connection, probe)?;
        let normalized = probe.normalized();
        if normalized == *probe {
            return Ok(answers);
        }
        Ok(Answers { istio: self.ask(connection, &normalized)?.istio, ..answers })
    }

    /// As [`compare`](Self::compare) on a new connection; for TCP only opens the connection.
    pub fn compare_alone(&mut self, number: usize, probe: &Probe) -> Result<Answers> {
        if self.protocol == Protocol::Tcp {
            return self.ask_connection(number, &probe.caller);
        }
        let mut connection = self.connect(number, &probe.caller)?;
        self.compare(&mut *connection, probe)
    }

    /// Sends a request on a connection of [`connect`](Self::connect).
    pub fn ask(&self, connection: &mut dyn Stream, probe: &Probe) -> Result<Answers> {
        let mut request = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", probe.method, probe.path, probe.host);
        for (name, value) in &probe.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(token) = &probe.token {
            let issuer = if token.forged { TokenIssuer::new("untrusted") } else { self.tokens };
            request.push_str(&format!("authorization: Bearer {}\r\n", issuer.token(&token.payload()?)));
        }
        request.push_str("\r\n");
        answers(&round_trip(connection, request.as_bytes())?)
    }

    /// Sends a request on a new connection; for TCP only opens the connection.
    pub fn ask_alone(&mut self, number: usize, probe: &Probe) -> Result<Answers> {
        if self.protocol == Protocol::Tcp {
            return self.ask_connection(number, &probe.caller);
        }
        let mut connection = self.connect(number, &probe.caller)?;
        self.ask(&mut *connection, probe)
    }

    fn identity(&mut self, peer: &Peer) -> Result<&Identity> {
        let (authority, subject) = match peer {
            Peer::Plaintext | Peer::NoCertificate => bail!("no certificate"),
            Peer::Spiffe(id) => (&self.trusted, SubjectAltName::Uri(format!("spiffe://{id}"))),
            Peer::Untrusted(id) => (&self.untrusted, SubjectAltName::Uri(format!("spiffe://{id}"))),
            Peer::Uri(uri) => (&self.trusted, SubjectAltName::Uri(uri.clone())),
            Peer::Dns(name) => (&self.trusted, SubjectAltName::Dns(name.clone())),
        };
        if !self.identities.contains_key(peer) {
            self.identities.insert(peer.clone(), authority.issue(&[subject])?);
        }
        self.identities.get(peer).context("just issued")
    }
}

fn name(number: usize) -> String {
    format!("set-{number}")
}

fn rbac_name(number: usize) -> String {
    format!("rbac-{number}")
}

/// Reads both verdicts from a response.
fn answers(response: &Response) -> Result<Answers> {
    let header = |name: &str| response.header(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let allowed = match response.status {
        200 => true,
        403 => false,
        status => bail!("Envoy answers {status}: {response:?}"),
    };
    let details = header(DETAILS).context("no details")?;
    let rule = details.strip_prefix("rbac_access_denied_matched_policy[").and_then(|rest| rest.strip_suffix(']'));
    if rule.is_some() == allowed {
        bail!("{} with details {details}", response.status);
    }
    let sallyport = Verdict { allowed, rule: rule.map(str::to_owned), audited: header(AUDIT).is_some() };
    let denies = |name: &str| header(name).is_some_and(|result| result == "denied");
    let id = |name: &str| Some(header(name).unwrap_or_else(|| "none".to_owned()));
    let rule = match (denies(DENY), denies(ALLOW)) {
        (true, _) => id(DENY_ID),
        (false, true) => id(ALLOW_ID),
        (false, false) => None,
    };
    let audited = header(HINT).is_some_and(|hint| hint == "true");
    Ok(Answers { istio: Verdict { allowed: rule.is_none(), rule, audited }, sallyport })
}
