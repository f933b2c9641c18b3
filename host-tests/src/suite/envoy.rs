//! Plays cases against the same module in a real Envoy: one process, a listener a configuration, real TLS.

pub(crate) mod listener;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::{
    Authority, Client, Configuration, Ending, Envoy, Identity, Name, Options, TokenIssuer, access_log, client_hello,
    wait,
};

use super::case::{Answer, Caller, Case, FirstSpeaker, Passing, Sent, bytes, counter};
use super::check::{CLOSED, Happened, REACHED};
use crate::host::Connection;
use listener::{
    BEYOND, ECHO, GREETER, GREETING, bytes_listener, filter_configuration, listener, passing_listener, services,
};

/// How long Envoy may take to flush counters or to refuse listeners.
const LIMIT: Duration = Duration::from_secs(30);

/// The client's port of the first case; each has its own.
const FIRST_PORT: usize = 20_000;

/// The keys of filter state that a filter sets.
const KEYS: [&str; 5] = ["audit", "decision", "policy", "principal", "reason"];

/// A running Envoy with a listener for each configuration of the cases that it was started for.
pub struct Stage {
    envoy: Envoy,
    folder: PathBuf,
    counters: String,
    listeners: Vec<(Vec<u8>, String)>,
    trusted: Authority,
    untrusted: Authority,
    tokens: TokenIssuer,
    requests: AtomicUsize,
}

impl Stage {
    /// Starts Envoy with `filter`'s module and every configuration of `cases`, all of which it has to take.
    pub fn start(filter: &str, cases: &[Case], binary: PathBuf, folder: PathBuf) -> Result<Self> {
        let (trusted, untrusted) = (Authority::new("trusted")?, Authority::new("untrusted")?);
        fs::write(folder.join("trusted.pem"), trusted.pem())?;
        trusted.issue(&[Name::Dns("localhost".to_owned())])?.write(&folder, "server")?;
        let counters = filter.replace('-', "_");
        let mut listeners: Vec<(Vec<u8>, String)> = Vec::new();
        for case in cases {
            let configuration = case.configuration_bytes()?;
            if listeners.iter().all(|(known, _)| *known != configuration) {
                let name = format!("configuration-{}", listeners.len());
                listeners.push((configuration, name));
            }
        }
        let log = folder.join("access.log");
        let tokens = TokenIssuer::new("trusted");
        let mut resources = Vec::new();
        for (configuration, name) in &listeners {
            let filter_configuration = filter_configuration(filter, filter, configuration);
            resources.push(listener(name, &counters, &folder, &log, &filter_configuration, &tokens));
            let some = |is: &dyn Fn(&Case) -> bool| {
                cases.iter().any(|case| is(case) && case.configuration_bytes().is_ok_and(|own| own == *configuration))
            };
            if some(&|case| case.passing.is_some()) {
                resources.push(passing_listener(&passing_name(name), &counters, &log, &filter_configuration));
            }
            for (first, cluster) in [(FirstSpeaker::Client, ECHO), (FirstSpeaker::Server, GREETER)] {
                for tls in [true, false] {
                    if some(&|case| case.bytes == Some(first) && case.caller.speaks_tls() == tls) {
                        let name = bytes_name(name, first, tls);
                        let filter = &filter_configuration;
                        resources.push(bytes_listener(&name, &counters, &folder, &log, filter, cluster, tls));
                    }
                }
            }
        }
        let (listeners_of_services, clusters) = services(&folder);
        resources.extend(listeners_of_services);
        let bootstrap = json!({"static_resources": {"listeners": resources, "clusters": clusters}});
        let options = Options { binary, folder: folder.clone(), workers: 1, outlives: false };
        let envoy = Envoy::start(&Configuration::new(bootstrap), &options)?;
        let requests = AtomicUsize::new(0);
        Ok(Self { envoy, folder, counters, listeners, trusted, untrusted, tokens, requests })
    }

    /// Plays `case`. Counters are shared by all cases, so [`check_counters`](Self::check_counters) looks at their sums.
    pub fn play(&self, case: &Case) -> Result<()> {
        let configuration = case.configuration_bytes()?;
        let (_, name) = self
            .listeners
            .iter()
            .find(|(known, _)| *known == configuration)
            .context("a configuration of another stage")?;
        let port = case.caller.destination_port.unwrap_or(443);
        let from = case.caller.address.unwrap_or(Connection::CLIENT);
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        // The client's port tells the connections of the cases apart.
        let preamble = format!("PROXY TCP4 {from} 192.0.2.1 {} {port}\r\n", FIRST_PORT + number).into_bytes();
        if let Some(passing) = &case.passing {
            let client = Client::plaintext(self.envoy.listener(&passing_name(name))?).with_preamble(preamble);
            let reached = client.is_echoed(&hello(passing)?)?;
            let entry = self.log_entry(&format!("{from}:{}", FIRST_PORT + number))?;
            let status = if reached { REACHED } else { CLOSED };
            return Happened { status, filter_state: filter_state(&entry), ..Happened::default() }.check(&case.expect);
        }
        let address = match case.bytes {
            Some(first) => self.envoy.listener(&bytes_name(name, first, case.caller.speaks_tls()))?,
            None => self.envoy.listener(name)?,
        };
        let identity = self.identity(&case.caller)?;
        let client = match (&identity, case.caller.tls) {
            (None, false) => Client::plaintext(address),
            (identity, _) => Client::tls(address, identity.as_ref())?.naming(case.caller.server_name.as_deref()),
        };
        let client = client.with_preamble(preamble);
        if let Some(first) = case.bytes {
            let reached = match first {
                FirstSpeaker::Client => client.is_echoed(SAID.as_bytes())?,
                FirstSpeaker::Server => client.is_greeted(GREETING.as_bytes())?,
            };
            let entry = self.log_entry(&format!("{from}:{}", FIRST_PORT + number))?;
            let status = if reached { REACHED } else { CLOSED };
            return Happened { status, filter_state: filter_state(&entry), ..Happened::default() }.check(&case.expect);
        }
        let number = number.to_string();
        if let Some(status) = case.expect.envoy {
            return self.answered_by_envoy(&client, &case.request, &number, status);
        }
        let sent = self.with_token(case);
        let mut happened = match case.request.http2 {
            true => self.ask_by_http2(&client, &sent, &number)?,
            false => {
                let answer = client.send(&wire(&sent, &number)?)?;
                Happened { status: answer.status, body: answer.body, headers: answer.headers, ..Happened::default() }
            }
        };
        let entry = self.log_entry(&number)?;
        happened.details = entry.get("details").and_then(Value::as_str).map(str::to_owned);
        happened.filter_state = filter_state(&entry);
        happened.check(&case.expect)
    }

    /// The request of `case`, with its token if it has one.
    fn with_token(&self, case: &Case) -> Sent {
        let mut sent = case.request.clone();
        if let Some(claims) = &case.caller.token {
            let issuer = if case.caller.forged_token { TokenIssuer::new("untrusted") } else { self.tokens };
            sent.headers.push(("authorization".to_owned(), format!("Bearer {}", issuer.token(claims))));
        }
        sent
    }

    fn ask_by_http2(&self, client: &Client, sent: &Sent, number: &str) -> Result<Happened> {
        let Ending::Answered(body) = send_http2(client, sent, number)? else { bail!("the stream was reset") };
        Ok(Happened { status: self.logged_status(number)?, body, ..Happened::default() })
    }

    /// The client of HTTP/2 does not read the status of an answer.
    fn logged_status(&self, number: &str) -> Result<u16> {
        let entry = self.log_entry(number)?;
        let status = entry.get("status").and_then(Value::as_u64).context("no status in the access log")?;
        Ok(u16::try_from(status)?)
    }

    /// Checks that Envoy turns a request away by itself: with this status, or 0 for no answer.
    fn answered_by_envoy(&self, client: &Client, sent: &Sent, number: &str, status: u16) -> Result<()> {
        let found = match sent.http2 {
            true => match send_http2(client, sent, number)? {
                Ending::Reset => CLOSED,
                Ending::Answered(_) => self.logged_status(number)?,
            },
            false => client.send(&wire(sent, number)?)?.status,
        };
        if found != status {
            bail!("Envoy answers {found}, expected {status}");
        }
        Ok(())
    }

    /// Waits until the upstream of passing connections has heard of those that `cases` let go on, and of no other.
    pub fn check_upstream(&self, cases: &[Case]) -> Result<()> {
        let reaches = |case: &&Case| case.passing.is_some() && case.expect.answer == Some(Answer::Reached);
        let expected = u64::try_from(cases.iter().filter(reaches).count())?;
        let found = self.envoy.stat(&format!("cluster.{BEYOND}.upstream_cx_total"))?;
        if found != expected {
            bail!("{found} connections to the upstream, expected {expected}");
        }
        let said =
            |case: &&Case| case.bytes == Some(FirstSpeaker::Client) && case.expect.answer == Some(Answer::Reached);
        let expected = u64::try_from(cases.iter().filter(said).count() * SAID.len())?;
        let found = self.envoy.stat(&format!("cluster.{ECHO}.upstream_cx_tx_bytes_total"))?;
        if found != expected {
            bail!("{found} bytes to the service, expected {expected}");
        }
        Ok(())
    }

    /// Waits until the counters are what all `cases` together have to leave, each played once.
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
                let name = counter(name.strip_prefix("wasmcustom.").unwrap_or(name), &self.counters)?;
                Some((name.to_owned(), value.parse::<u64>().ok()?))
            });
            found = counters.filter(|(_, value)| *value > 0).collect();
            Ok((found == expected).then_some(()))
        });
        met.with_context(|| format!("counters {found:#?}, expected {expected:#?}"))
    }

    fn identity(&self, caller: &Caller) -> Result<Option<Identity>> {
        let authority = if caller.untrusted { &self.untrusted } else { &self.trusted };
        let issue = |names: Vec<Name>| match caller.expired {
            true => authority.issue_expired(&names),
            false => authority.issue(&names),
        };
        caller.names()?.map(issue).transpose()
    }

    fn log_entry(&self, number: &str) -> Result<Value> {
        access_log::find(&self.folder.join("access.log"), |entry| {
            entry.get("case").and_then(Value::as_str) == Some(number)
        })
    }
}

/// Gives every refused configuration of `cases` to one Envoy as a listener each, and says what the filter has logged
/// about each, by the case's name. None of the listeners may come to be.
pub fn refusals(
    filter: &str,
    cases: &[Case],
    binary: PathBuf,
    folder: PathBuf,
) -> Result<BTreeMap<String, Vec<String>>> {
    let authority = Authority::new("trusted")?;
    fs::write(folder.join("trusted.pem"), authority.pem())?;
    authority.issue(&[Name::Dns("localhost".to_owned())])?.write(&folder, "server")?;
    let log = folder.join("access.log");
    let mut resources = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let name = format!("refused-{number}");
        let configuration = filter_configuration(filter, &name, &case.configuration_bytes()?);
        let mut listener = listener(&name, "none", &folder, &log, &configuration, &TokenIssuer::new("trusted"));
        if let Value::Object(keys) = &mut listener {
            keys.insert("@type".to_owned(), json!("type.googleapis.com/envoy.config.listener.v3.Listener"));
        }
        resources.push(listener);
    }
    let discovery = folder.join("listeners.json");
    fs::write(&discovery, serde_json::to_vec(&json!({"version_info": "1", "resources": resources}))?)?;
    let bootstrap = json!({
        "node": {"id": "suite", "cluster": "suite"},
        "dynamic_resources": {"lds_config": {"resource_api_version": "V3", "path_config_source": {"path": discovery}}}
    });
    let envoy = Envoy::start(&Configuration::new(bootstrap), &Options { binary, folder, workers: 1, outlives: false })?;
    wait::until("the listeners to be refused", LIMIT, || {
        Ok((envoy.stat("listener_manager.lds.update_rejected")? > 0).then_some(()))
    })?;
    if envoy.admin_get("/listeners")?.contains("refused-") {
        bail!("Envoy took a configuration that the filter refuses:\n{}", envoy.admin_get("/listeners")?);
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in envoy.log()?.lines() {
        // `wasm log <vm_id>: <line>`, where the VM is named after the case's number.
        let Some((_, rest)) = line.split_once("wasm log refused-") else { continue };
        let Some((number, message)) = rest.split_once(": ") else { continue };
        let number: usize =
            number.split(' ').next().unwrap_or_default().parse().with_context(|| format!("in the line {line}"))?;
        let case = cases.get(number).context("a case that is not there")?;
        if !message.starts_with("sallyport ") {
            found.entry(case.name.clone()).or_default().push(message.to_owned());
        }
    }
    Ok(found)
}

/// What clients say that speak first.
const SAID: &str = "ping\n";

fn bytes_name(name: &str, first: FirstSpeaker, tls: bool) -> String {
    format!("{name}-{first:?}-first-{}", if tls { "tls" } else { "plaintext" })
}

fn passing_name(name: &str) -> String {
    format!("passing-{name}")
}

fn filter_state(entry: &Value) -> BTreeMap<String, String> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    KEYS.iter().filter_map(|key| Some(((*key).to_owned(), text(key)?))).collect()
}

fn hello(passing: &Passing) -> Result<Vec<u8>> {
    match &passing.bytes {
        Some(text) => bytes(text),
        None => client_hello(passing.server_name.as_deref().map(bytes).transpose()?.as_deref()),
    }
}

/// A request as bytes for the wire.
fn wire(sent: &Sent, number: &str) -> Result<Vec<u8>> {
    let target = match (&sent.target, sent.method.as_str()) {
        (Some(target), _) => target,
        (None, "CONNECT") => &sent.host,
        (None, _) => &sent.path,
    };
    let mut text = bytes(&format!("{} {target} HTTP/1.1\r\nhost: {}\r\n", sent.method, sent.host))?;
    for (name, value) in &sent.headers {
        text.extend(bytes(&format!("{name}: {value}\r\n"))?);
    }
    text.extend(format!("x-case: {number}\r\nconnection: close\r\n\r\n").into_bytes());
    Ok(text)
}

fn send_http2(client: &Client, sent: &Sent, number: &str) -> Result<Ending> {
    let headers = http2_headers(sent, number)?;
    client.send_http2(&headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect::<Vec<_>>())
}

/// A request as headers of HTTP/2. CONNECT has neither scheme nor path (RFC 9113, section 8.5).
fn http2_headers(sent: &Sent, number: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut headers = vec![(":method", bytes(&sent.method)?), (":authority", bytes(&sent.host)?)];
    if sent.method != "CONNECT" {
        headers.extend([(":scheme", b"http".to_vec()), (":path", bytes(&sent.path)?)]);
    }
    headers.push(("x-case", number.as_bytes().to_vec()));
    let mut headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value)).collect();
    for (name, value) in &sent.headers {
        headers.push((bytes(name)?, bytes(value)?));
    }
    Ok(headers)
}
