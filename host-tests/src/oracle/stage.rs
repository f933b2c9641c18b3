//! One Envoy that has both filters, and many sets of policies in it.

mod listener;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;
use testbed::{Authority, Client, Configuration, Envoy, Identity, Name, Options, Response, Stream, TokenIssuer, talk};

use super::policy_set::PolicySet;
use super::question::{Caller, Peer, Question};
use super::translate::{Protocol, translate};
use listener::{ALLOW, ALLOW_ID, AUDIT, DENY, DENY_ID, DETAILS, HINT, bytes_listener, listener, module, own};

/// What one filter answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it lets the request through.
    pub allowed: bool,
    /// The rule by which it turns a request away, as both write it; `none` where no ALLOW policy matches. Of connections
    /// it is not told.
    pub rule: Option<String>,
    /// Whether an AUDIT policy marks the request.
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

/// What both filters answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// `envoy.filters.http.rbac`, with what Istio makes of the policies.
    pub istio: Verdict,
    /// `identity-authz`.
    pub sallyport: Verdict,
}

/// A running Envoy with a listener for each of its sets of policies.
///
/// For HTTP a listener has Envoy's RBAC as shadow rules, which decide and carry nothing out, and after it
/// `identity-authz`, which answers; so one request asks both, and both see the same of it. A connection has no answer to
/// tell two verdicts in: there each filter has a listener of its own, and both are asked alike.
pub struct Stage {
    protocol: Protocol,
    addresses: Vec<SocketAddr>,
    /// For connections, which are asked twice: the listeners of Envoy's own filter.
    of_istio: Vec<SocketAddr>,
    trusted: Authority,
    untrusted: Authority,
    identities: BTreeMap<Peer, Identity>,
    tokens: TokenIssuer,
    /// Ended when dropped.
    _envoy: Envoy,
}

impl Stage {
    /// Starts Envoy with all of these sets, which both filters have to take.
    pub fn start(protocol: Protocol, sets: &[PolicySet], binary: PathBuf, folder: PathBuf) -> Result<Self> {
        Self::start_with(protocol, sets, true, binary, folder)
    }

    /// Starts Envoy with these sets in its own HTTP filter alone: `identity-authz` refuses them, so it seems to allow all.
    pub fn start_istio_alone(sets: &[PolicySet], binary: PathBuf, folder: PathBuf) -> Result<Self> {
        Self::start_with(Protocol::Http, sets, false, binary, folder)
    }

    fn start_with(
        protocol: Protocol,
        sets: &[PolicySet],
        both: bool,
        binary: PathBuf,
        folder: PathBuf,
    ) -> Result<Self> {
        let (trusted, untrusted) = (Authority::new("trusted")?, Authority::new("untrusted")?);
        fs::write(folder.join("trusted.pem"), trusted.pem())?;
        trusted.issue(&[Name::Dns("localhost".to_owned())])?.write(&folder, "server")?;
        let tokens = TokenIssuer::new("trusted");
        let mut listeners = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            let translation = translate(&set.policies, &set.mesh, protocol)?;
            let configuration = both.then(|| serde_json::to_vec(&set.configuration())).transpose()?;
            let configuration = configuration.as_deref();
            match protocol {
                Protocol::Http => {
                    listeners.push(listener(&name(number), &folder, &translation, configuration, &tokens));
                }
                Protocol::Tcp => {
                    listeners.push(bytes_listener(&name(number), &folder, &module(configuration)));
                    listeners.push(bytes_listener(&name_of_istio(number), &folder, &own(&translation)));
                }
            }
        }
        let bootstrap = json!({"static_resources": {"listeners": listeners}});
        let options = Options { binary, folder, workers: 1, outlives: false };
        let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
        let known = envoy.listeners()?;
        let addresses = |name: &dyn Fn(usize) -> String| {
            let address = |number| known.get(&name(number)).copied().with_context(|| format!("no {}", name(number)));
            (0..sets.len()).map(address).collect::<Result<Vec<_>>>()
        };
        let of_istio = if protocol == Protocol::Tcp { addresses(&name_of_istio)? } else { Vec::new() };
        let addresses = addresses(&name)?;
        Ok(Self {
            protocol,
            addresses,
            of_istio,
            trusted,
            untrusted,
            identities: BTreeMap::new(),
            tokens,
            _envoy: envoy,
        })
    }

    /// Opens a connection to the set of this number.
    pub fn connect(&mut self, number: usize, caller: &Caller) -> Result<Box<dyn Stream>> {
        let address = *self.addresses.get(number).context("a set of another stage")?;
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
        Ok(client.naming(caller.server_name.as_deref()).coming_from(caller.direct).with_preamble(preamble.into_bytes()))
    }

    /// Asks whether bytes of this connection come back.
    fn ask_connection(&mut self, number: usize, caller: &Caller) -> Result<Answers> {
        let none = "a set of another stage";
        let istio = self.of_istio.get(number).copied().context(none)?;
        let sallyport = self.addresses.get(number).copied().context(none)?;
        let mut verdict = |address| -> Result<Verdict> {
            let allowed = self.client(address, caller)?.is_echoed(b"is anybody there?\n")?;
            Ok(Verdict { allowed, rule: None, audited: false })
        };
        Ok(Answers { istio: verdict(istio)?, sallyport: verdict(sallyport)? })
    }

    /// Asks both filters by a connection of [`connect`](Self::connect): Envoy's own about the request in the spelling that
    /// `identity-authz` compares it in, and `identity-authz` about the request as it is.
    pub fn compare(&self, connection: &mut dyn Stream, question: &Question) -> Result<Answers> {
        let answers = self.ask(connection, question)?;
        match question.in_one_spelling() {
            spelled if spelled == *question => Ok(answers),
            spelled => Ok(Answers { istio: self.ask(connection, &spelled)?.istio, ..answers }),
        }
    }

    /// The same by a connection of its own.
    pub fn compare_alone(&mut self, number: usize, question: &Question) -> Result<Answers> {
        if self.protocol == Protocol::Tcp {
            return self.ask_connection(number, &question.caller);
        }
        let mut connection = self.connect(number, &question.caller)?;
        self.compare(&mut *connection, question)
    }

    /// Asks both filters by a connection of [`connect`](Self::connect).
    pub fn ask(&self, connection: &mut dyn Stream, question: &Question) -> Result<Answers> {
        let mut request = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", question.method, question.path, question.host);
        for (name, value) in &question.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(token) = &question.token {
            let issuer = if token.forged { TokenIssuer::new("untrusted") } else { self.tokens };
            request.push_str(&format!("authorization: Bearer {}\r\n", issuer.token(&token.payload()?)));
        }
        request.push_str("\r\n");
        answers(&talk(connection, request.as_bytes())?)
    }

    /// Asks by a connection of its own. Where connections are what is decided, that is all there is to ask.
    pub fn ask_alone(&mut self, number: usize, question: &Question) -> Result<Answers> {
        if self.protocol == Protocol::Tcp {
            return self.ask_connection(number, &question.caller);
        }
        let mut connection = self.connect(number, &question.caller)?;
        self.ask(&mut *connection, question)
    }

    fn identity(&mut self, peer: &Peer) -> Result<&Identity> {
        let (authority, subject) = match peer {
            Peer::Plaintext | Peer::NoCertificate => bail!("no certificate"),
            Peer::Spiffe(id) => (&self.trusted, Name::Uri(format!("spiffe://{id}"))),
            Peer::Untrusted(id) => (&self.untrusted, Name::Uri(format!("spiffe://{id}"))),
            Peer::Uri(uri) => (&self.trusted, Name::Uri(uri.clone())),
            Peer::Dns(name) => (&self.trusted, Name::Dns(name.clone())),
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

fn name_of_istio(number: usize) -> String {
    format!("istio-{number}")
}

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
