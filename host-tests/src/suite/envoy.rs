//! Cases in a real Envoy, against the same module: one process, a listener for each configuration, real TLS.

mod all_cases;
pub(crate) mod listener;
mod refusals;
mod tunnel;
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{
    CertificateAuthority, Client, Configuration, Envoy, Identity, Options, StreamOutcome, SubjectAltName, TokenIssuer,
    access_log, wait,
};

use super::case::{Answer, Caller, Case, FirstSpeaker, RequestSpec, checked_counter, denial_body};
use super::environment::{CORP_HEADER, CORP_PROVIDER, MARK_HEADER};
use super::observed::{CLOSED, DYNAMIC_KEYS, Observed};
use crate::envoy_version::{EnvoyVersion, EnvoyVersions};
use crate::suite::first_bytes::first_bytes;
use crate::wasm_host::Connection;
use listener::{
    ECHO, GREETER, GREETING, PASSTHROUGH_UPSTREAM, TUNNEL, filter_configuration, listener, passthrough_listener,
    services, tcp_listener,
};
use tunnel::send_tunnel;
use wire::{http1_request, send_http2};

pub use all_cases::{TOGETHER, play_all};
pub use refusals::refusals;

/// The time that Envoy may take to flush counters or to refuse listeners.
const LIMIT: Duration = Duration::from_secs(30);

/// The client's port of the first case. Each case has its own, by which the access log tells connections apart.
const FIRST_PORT: usize = 20_000;

/// The keys of the filter state that a filter sets.
const STATE_KEYS: [&str; 9] = ["audit", "custom", "decision", "host", "policy", "port", "principal", "reason", "way"];

/// The bytes of clients that speak first.
const PING: &str = "ping\n";

/// A running Envoy with a listener for each configuration of the cases that it was started for.
pub struct EnvoyFixture {
    envoy: Envoy,
    folder: PathBuf,
    counters: String,
    listeners: Vec<(Vec<u8>, String)>,
    trusted: CertificateAuthority,
    untrusted: CertificateAuthority,
    tokens: TokenIssuer,
    /// True if this Envoy connects to the upstream only when the filter has decided.
    connects_late: bool,
    /// The number of cases played so far.
    played: AtomicUsize,
}

impl EnvoyFixture {
    /// Starts Envoy with a filter and every configuration of `cases`. Fails if the filter refuses one of them.
    pub fn start(filter: &str, cases: &[Case], binary: PathBuf, folder: PathBuf) -> Result<Self> {
        let (trusted, untrusted) = (CertificateAuthority::new("trusted")?, CertificateAuthority::new("untrusted")?);
        fs::write(folder.join("trusted.pem"), trusted.pem())?;
        trusted.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(&folder, "server")?;
        let counters = filter.replace('-', "_");
        let mut listeners: Vec<(Vec<u8>, String)> = Vec::new();
        for case in cases {
            let configuration = case.configuration_bytes()?;
            if listeners.iter().all(|(known, _)| *known != configuration) {
                let name = format!("configuration-{}", listeners.len());
                listeners.push((configuration, name));
            }
        }
        let tokens = TokenIssuer::new("trusted");
        let mut resources = Vec::new();
        for (configuration, name) in &listeners {
            let filter_configuration = filter_configuration(filter, filter, configuration);
            let own_cases: Vec<_> = cases
                .iter()
                .filter(|case| case.configuration_bytes().is_ok_and(|bytes| bytes == *configuration))
                .collect();
            resources.extend(listeners_for(&own_cases, name, &counters, &folder, &filter_configuration, &tokens));
        }
        let (service_listeners, clusters) = services(&folder);
        resources.extend(service_listeners);
        let mut bootstrap = json!({"static_resources": {"listeners": resources, "clusters": clusters}});
        let (versions, version) = (EnvoyVersions::load()?, EnvoyVersion::of(&binary)?);
        versions.remove_unknown_settings(version, &mut bootstrap);
        let connects_late = versions.has_setting(version, "upstream_connect_mode");
        let options = Options { binary, folder: folder.clone(), workers: 1, detached: false };
        let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
        let played = AtomicUsize::new(0);
        Ok(Self { envoy, folder, counters, listeners, trusted, untrusted, tokens, connects_late, played })
    }

    /// Plays a case and compares the result with what it expects. The cases share Envoy's counters, so these are
    /// compared by [`check_counters`](Self::check_counters) once all are played.
    pub fn play(&self, case: &Case) -> Result<()> {
        let configuration = case.configuration_bytes()?;
        for line in &case.expect.loaded {
            let expected = format!(" {}: {line}", self.counters);
            if !self.envoy.log()?.lines().any(|logged| logged.ends_with(&expected)) {
                bail!("not logged at load: {expected}");
            }
        }
        let (_, listener) = self
            .listeners
            .iter()
            .find(|(known, _)| *known == configuration)
            .context("the configuration is not one that this Envoy was started with")?;
        let client_address = case.caller.address.unwrap_or(Connection::CLIENT.into());
        let number = self.played.fetch_add(1, Ordering::Relaxed);
        let client = SocketAddr::new(client_address, u16::try_from(FIRST_PORT + number)?);
        let preamble = proxy_preamble(client, case.caller.destination_port.unwrap_or(443));
        let connection_id = client.to_string();
        let observed = match (&case.passthrough, case.speaks_first) {
            (Some(passthrough), _) => {
                let address = self.envoy.listener(&passthrough_name(listener))?;
                let client = Client::plaintext(address).with_preamble(preamble);
                let reached = client.is_echoed(&first_bytes(passthrough)?)?;
                if case.expect.envoy == Some(CLOSED) {
                    ensure!(!reached, "Envoy lets the connection through");
                    return Ok(());
                }
                self.observed_connection(reached, &connection_id)?
            }
            (None, Some(speaker)) => {
                let address = self.envoy.listener(&tcp_name(listener, speaker, case.caller.speaks_tls()))?;
                let client = self.client(address, &case.caller, preamble)?;
                let reached = match speaker {
                    FirstSpeaker::Client => client.is_echoed(PING.as_bytes())?,
                    FirstSpeaker::Server => client.is_greeted(GREETING.as_bytes())?,
                };
                self.observed_connection(reached, &connection_id)?
            }
            (None, None) => {
                let client = self.client(self.envoy.listener(listener)?, &case.caller, preamble)?;
                match case.expect.envoy {
                    Some(status) => return self.check_rejected(&client, &case.request, &number.to_string(), status),
                    None => self.send(&client, case, &number.to_string())?,
                }
            }
        };
        observed.check(&case.expect, denial_body(&self.counters))
    }

    fn client(&self, address: SocketAddr, caller: &Caller, preamble: Vec<u8>) -> Result<Client> {
        let authority = if caller.untrusted { &self.untrusted } else { &self.trusted };
        let issue = |sans: Vec<SubjectAltName>| match caller.expired {
            true => authority.issue_expired(&sans),
            false => authority.issue(&sans),
        };
        let identity: Option<Identity> = caller.sans()?.map(issue).transpose()?;
        let client = match (&identity, caller.tls) {
            (None, false) => Client::plaintext(address),
            (identity, _) => Client::tls(address, identity.as_ref())?.with_sni(caller.server_name.as_deref()),
        };
        Ok(client.with_preamble(preamble))
    }

    fn observed_connection(&self, reached: bool, connection_id: &str) -> Result<Observed> {
        Ok(Observed::connection(reached, filter_state(&self.log_entry(connection_id)?)))
    }

    /// Sends the request of `case`, with its token if it has one.
    fn send(&self, client: &Client, case: &Case, id: &str) -> Result<Observed> {
        let mut request = case.request.clone();
        if let Some(claims) = &case.caller.token {
            let issuer = if case.caller.forged_token { TokenIssuer::new("untrusted") } else { self.tokens };
            let token = issuer.token(claims);
            request.headers.push(match case.caller.token_key.as_deref() {
                Some(CORP_PROVIDER) => (CORP_HEADER.to_owned(), token),
                _ => ("authorization".to_owned(), format!("Bearer {token}")),
            });
        }
        request.headers.extend(case.mark.clone().map(|mark| (MARK_HEADER.to_owned(), mark)));
        let mut observed = match (&case.tunnel, request.http2) {
            (Some(tunnel), _) => {
                let (status, body) = send_tunnel(client, &request, tunnel, id)?;
                Observed { status: status.map_or_else(|| self.logged_status(id), Ok)?, body, ..Observed::default() }
            }
            (None, true) => {
                let StreamOutcome::Complete(body) = send_http2(client, &request, id)? else {
                    bail!("the stream was reset")
                };
                Observed { status: self.logged_status(id)?, body, ..Observed::default() }
            }
            (None, false) => {
                let response = client.send(&http1_request(&request, id)?)?;
                let (status, headers, body) = (response.status, response.headers, response.body);
                Observed { status, headers, body, ..Observed::default() }
            }
        };
        let entry = self.log_entry(id)?;
        observed.details = entry.get("details").and_then(Value::as_str).map(str::to_owned);
        observed.filter_state = filter_state(&entry);
        Ok(observed)
    }

    /// Reads the status from the access log, since the HTTP/2 client does not decode it.
    fn logged_status(&self, id: &str) -> Result<u16> {
        let entry = self.log_entry(id)?;
        let status = entry.get("status").and_then(Value::as_u64).context("no status in the access log")?;
        Ok(u16::try_from(status)?)
    }

    /// Checks that Envoy itself rejects a request with this status; 0 means without an answer.
    fn check_rejected(&self, client: &Client, request: &RequestSpec, id: &str, expected: u16) -> Result<()> {
        let status = match request.http2 {
            true => match send_http2(client, request, id)? {
                StreamOutcome::Reset => CLOSED,
                StreamOutcome::Complete(_) => self.logged_status(id)?,
            },
            false => client.send(&http1_request(request, id)?)?.status,
        };
        if status != expected {
            bail!("Envoy answers {status}, expected {expected}");
        }
        Ok(())
    }

    /// Checks that exactly the connections and bytes that `cases` let through have reached the upstreams.
    pub fn check_upstream(&self, cases: &[Case]) -> Result<()> {
        let passes = |case: &&Case| case.passthrough.is_some() && case.expect.answer == Some(Answer::Reached);
        let passed: Vec<_> = cases.iter().filter(passes).filter_map(|case| case.passthrough.as_ref()).collect();
        let expected = u64::try_from(passed.len())?;
        let found = self.envoy.stat(&format!("cluster.{PASSTHROUGH_UPSTREAM}.upstream_cx_total"))?;
        if self.connects_late && found != expected {
            bail!("{found} connections to the upstream, expected {expected}");
        }
        let bytes: Vec<_> = passed.into_iter().map(first_bytes).collect::<Result<_>>()?;
        self.check_bytes(PASSTHROUGH_UPSTREAM, u64::try_from(bytes.concat().len())?)?;
        let pings = |case: &&Case| {
            case.speaks_first == Some(FirstSpeaker::Client) && case.expect.answer == Some(Answer::Reached)
        };
        let expected = u64::try_from(cases.iter().filter(pings).count() * PING.len())?;
        self.check_bytes(ECHO, expected)?;
        let passed = cases.iter().filter(|case| case.expect.answer == Some(Answer::Reached));
        let tunnels: Vec<_> =
            passed.filter_map(|case| case.tunnel.as_ref()).map(|it| it.bytes()).collect::<Result<_>>()?;
        self.check_bytes(TUNNEL, u64::try_from(tunnels.concat().len())?)
    }

    /// Checks that a service has got this number of bytes.
    fn check_bytes(&self, service: &str, expected: u64) -> Result<()> {
        let found = self.envoy.stat(&format!("cluster.{service}.upstream_cx_tx_bytes_total"))?;
        if found != expected {
            bail!("{found} bytes to the service {service}, expected {expected}");
        }
        Ok(())
    }

    /// Waits until the counters are the sums of those that `cases` expect, each played once.
    pub fn check_counters(&self, cases: &[Case]) -> Result<()> {
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for case in cases {
            for (name, value) in case.counters(&self.counters) {
                *expected.entry(name).or_default() += value;
            }
        }
        let mut found = BTreeMap::new();
        let met = wait::until("the counters", LIMIT, || {
            let page = self.envoy.admin_get("/stats")?;
            let counters = page.lines().filter_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let name = checked_counter(name.strip_prefix("wasmcustom.").unwrap_or(name), &self.counters)?;
                Some((name.to_owned(), value.parse::<u64>().ok()?))
            });
            found = counters.filter(|(_, value)| *value > 0).collect();
            Ok((found == expected).then_some(()))
        });
        met.with_context(|| format!("counters {found:#?}, expected {expected:#?}"))
    }

    /// Waits for the access-log entry of a request by its `x-case`, or of a connection by the client's address.
    fn log_entry(&self, id: &str) -> Result<Value> {
        access_log::find(&access_log_path(&self.folder), |entry| entry.get("case").and_then(Value::as_str) == Some(id))
    }
}

/// Returns the PROXY protocol header of a connection from `client`.
fn proxy_preamble(client: SocketAddr, destination_port: u16) -> Vec<u8> {
    let (family, destination) = if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {destination} {} {destination_port}\r\n", client.ip(), client.port()).into_bytes()
}

/// Returns the listeners that cases of one configuration need.
fn listeners_for(
    cases: &[&Case],
    name: &str,
    counters: &str,
    folder: &Path,
    filter: &Value,
    tokens: &TokenIssuer,
) -> Vec<Value> {
    let log = access_log_path(folder);
    let mut listeners = vec![listener(name, counters, folder, &log, filter, tokens)];
    if cases.iter().any(|case| case.passthrough.is_some()) {
        listeners.push(passthrough_listener(&passthrough_name(name), counters, &log, filter));
    }
    for (speaker, cluster) in [(FirstSpeaker::Client, ECHO), (FirstSpeaker::Server, GREETER)] {
        for tls in [true, false] {
            if cases.iter().any(|case| case.speaks_first == Some(speaker) && case.caller.speaks_tls() == tls) {
                let name = tcp_name(name, speaker, tls);
                listeners.push(tcp_listener(&name, counters, folder, &log, filter, cluster, tls));
            }
        }
    }
    listeners
}

fn access_log_path(folder: &Path) -> PathBuf {
    folder.join("access.log")
}

fn tcp_name(listener: &str, speaker: FirstSpeaker, tls: bool) -> String {
    format!("{listener}-{speaker:?}-first-{}", if tls { "tls" } else { "plaintext" })
}

fn passthrough_name(listener: &str) -> String {
    format!("passthrough-{listener}")
}

fn filter_state(entry: &Value) -> BTreeMap<String, String> {
    let string = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    STATE_KEYS.iter().chain(&DYNAMIC_KEYS).filter_map(|key| Some(((*key).to_owned(), string(key)?))).collect()
}
