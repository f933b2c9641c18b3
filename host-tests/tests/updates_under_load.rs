//! Updates of a real Envoy while clients send requests: each answer is what some policy gives that may be in force then,
//! and none is lost.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use fastrand::Rng;
use host_tests::rows;
use serde_json::{Value, json};
use testbed::{Client, Configuration, Envoy, Http2Connection, Options, Stream, http2_request, round_trip, wait};

const LIMIT: Duration = Duration::from_secs(240);

/// Paths, or client addresses, that each policy allows half of.
const SUBJECTS: u8 = 100;

/// Clients at the same time.
const CLIENTS: u64 = 3;

/// Answers that each client gets between two updates, at least.
const ANSWERS: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
    /// Connections, decided at their first bytes.
    Layer4,
}

/// The policies of a run, by version: whether each allows a subject.
struct Versions(Vec<[bool; SUBJECTS as usize]>);

impl Versions {
    /// Subject `version` is allowed by this version, and by none before it.
    fn random(count: u8) -> Self {
        let mut rng = Rng::with_seed(7);
        let version = |number| {
            let mut allows = |subject| match subject {
                marker if marker < count => marker == number,
                _ => rng.bool(),
            };
            let mut allowed = [false; SUBJECTS as usize];
            (0..SUBJECTS).zip(allowed.iter_mut()).for_each(|(subject, allowed)| *allowed = allows(subject));
            allowed
        };
        Self((0..count).map(version).collect())
    }

    fn allows(&self, version: usize, subject: u8) -> bool {
        self.0.get(version).and_then(|allowed| allowed.get(usize::from(subject))).copied().unwrap_or_default()
    }

    /// The configuration of a version, with this number of rules.
    fn configuration(&self, version: usize, protocol: Protocol, rules: usize) -> Value {
        let rule = |subjects: &[Subject]| match protocol {
            Protocol::Layer4 => {
                let addresses: Vec<_> = subjects.iter().map(|subject| subject.address()).collect();
                json!({"from": [{"source": {"ipBlocks": addresses}}]})
            }
            Protocol::Http1 | Protocol::Http2 => {
                let paths: Vec<_> = subjects.iter().map(|subject| subject.path()).collect();
                json!({"to": [{"operation": {"paths": paths}}]})
            }
        };
        let allowed = (0..SUBJECTS).filter(|subject| self.allows(version, *subject)).map(Subject::Sent);
        let allowed: Vec<_> = allowed.collect();
        let mut listed: Vec<_> = allowed.chunks(allowed.len().div_ceil(rules)).map(rule).collect();
        let missing = u32::try_from(rules.saturating_sub(listed.len())).unwrap_or_default();
        listed.extend((0..missing).map(|number| rule(&[Subject::Other(number)])));
        let policies: Vec<_> = listed
            .chunks(500)
            .enumerate()
            .map(|(number, rules)| {
                json!({
                    "apiVersion": "security.istio.io/v1",
                    "kind": "AuthorizationPolicy",
                    "metadata": {"name": format!("p{number}"), "namespace": "shop"},
                    "spec": {"rules": rules}
                })
            })
            .collect();
        json!({"directRemoteAddress": "connection", "resources": policies})
    }
}

/// What a rule is about.
#[derive(Clone, Copy)]
enum Subject {
    Sent(u8),
    /// One that no client sends.
    Other(u32),
}

impl Subject {
    fn path(self) -> String {
        match self {
            Self::Sent(number) => format!("/sent/{number}"),
            Self::Other(number) => format!("/other/{number}"),
        }
    }

    fn address(self) -> Ipv4Addr {
        match self {
            Self::Sent(number) => Ipv4Addr::new(127, 0, 1, number),
            Self::Other(number) => Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number),
        }
    }
}

/// What one client has learned of the policies in force. A connection belongs to one worker, where policies follow each
/// other.
struct Observer<'v> {
    versions: &'v Versions,
    /// The number of versions that were written.
    written: &'v AtomicUsize,
    /// The oldest version that can be in force.
    oldest: usize,
    answers: usize,
    longest: Duration,
}

impl Observer<'_> {
    /// Takes an answer. Fails if no policy gives it that can be in force.
    fn take(&mut self, subject: u8, allowed: bool, elapsed: Duration) -> Result<()> {
        let newest = self.written.load(Ordering::SeqCst);
        let fits = |version: &usize| self.versions.allows(*version, subject) == allowed;
        let found = (self.oldest..newest).find(fits);
        self.oldest = found.with_context(|| {
            format!("subject {subject} was allowed: {allowed}, and versions {}..{newest} say otherwise", self.oldest)
        })?;
        self.answers += 1;
        self.longest = self.longest.max(elapsed);
        Ok(())
    }
}

/// Connections of one client.
enum Connections {
    Http1(Box<dyn Stream>),
    Http2(Box<Http2Connection>),
    Layer4(Client),
}

impl Connections {
    fn open(client: &Client, protocol: Protocol) -> Result<Self> {
        Ok(match protocol {
            Protocol::Http1 => Self::Http1(client.connect()?),
            Protocol::Http2 => Self::Http2(Box::new(client.http2()?)),
            Protocol::Layer4 => Self::Layer4(client.clone()),
        })
    }

    /// Says for each subject whether it is allowed; they are decided in this order.
    fn ask(&mut self, subjects: &[u8]) -> Result<Vec<bool>> {
        let path = |subject: &u8| Subject::Sent(*subject).path();
        match self {
            Self::Http1(stream) => subjects
                .iter()
                .map(|subject| {
                    let request = format!("GET {} HTTP/1.1\r\nhost: test\r\n\r\n", path(subject));
                    match round_trip(&mut **stream, request.as_bytes())?.status {
                        200 => Ok(true),
                        403 => Ok(false),
                        status => bail!("status {status}"),
                    }
                })
                .collect(),
            Self::Http2(connection) => {
                let header = |name: &str, value: String| (name.as_bytes().to_vec(), value.into_bytes());
                let request = |subject| {
                    http2_request(&[
                        header(":method", "GET".to_owned()),
                        header(":scheme", "http".to_owned()),
                        header(":authority", "test".to_owned()),
                        header(":path", path(subject)),
                    ])
                };
                let requests = subjects.iter().map(request).collect::<Result<Vec<_>>>()?;
                connection.are_ok(&requests.iter().map(Vec::as_slice).collect::<Vec<_>>())
            }
            Self::Layer4(client) => subjects
                .iter()
                .map(|subject| {
                    client.clone().with_source_address(Subject::Sent(*subject).address()).is_echoed(b"hello")
                })
                .collect(),
        }
    }
}

rows! {
    every_answer_is_that_of_a_policy_in_force: check;
    ten_rules_over_http_1: (Protocol::Http1, 10, 20);
    ten_rules_over_http_2: (Protocol::Http2, 10, 20);
    ten_rules_at_layer_4: (Protocol::Layer4, 10, 20);
    ten_thousand_rules_over_http_1: (Protocol::Http1, 10_000, 4);
    ten_thousand_rules_over_http_2: (Protocol::Http2, 10_000, 4);
    ten_thousand_rules_at_layer_4: (Protocol::Layer4, 10_000, 4);
}

fn check((protocol, rules, updates): (Protocol, usize, u8)) -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    let watched = folder.path().join("watched");
    fs::create_dir(&watched)?;
    let versions = Versions::random(updates + 1);
    let write = |version: usize| discover(&watched, protocol, &versions.configuration(version, protocol, rules));
    write(0)?;
    let workers = if protocol == Protocol::Layer4 { 1 } else { 2 };
    let options =
        Options { binary: testbed::envoy_binary()?, folder: folder.path().to_owned(), workers, detached: false };
    let envoy = Envoy::start(&Configuration::new(bootstrap(&watched, protocol)), &options)?;
    let client = Client::plaintext(envoy.listener("test")?);

    let (written, stopped) = (AtomicUsize::new(1), AtomicBool::new(false));
    let seen: Vec<_> = (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
    let observed = thread::scope(|scope| -> Result<Vec<(usize, Duration)>> {
        let run = |number: u64, seen| {
            let observer =
                Observer { versions: &versions, written: &written, oldest: 0, answers: 0, longest: Duration::ZERO };
            let result = observe(observer, &client, protocol, &mut Rng::with_seed(number), seen, &stopped);
            // The others need not go on where one fails.
            if result.is_err() {
                stopped.store(true, Ordering::SeqCst);
            }
            result
        };
        let clients: Vec<_> = (0..).zip(&seen).map(|(number, seen)| scope.spawn(move || run(number, seen))).collect();
        let served = |version: usize| {
            wait::until("all clients to be served by the policy", LIMIT, || {
                let all = seen.iter().all(|seen| seen.load(Ordering::SeqCst) == version);
                Ok((all || stopped.load(Ordering::SeqCst)).then_some(()))
            })
        };
        let updated = (1..=usize::from(updates)).try_for_each(|version| {
            served(version - 1)?;
            // An answer by the new policy can come as soon as the file is there.
            written.store(version + 1, Ordering::SeqCst);
            write(version)
        });
        let served = updated.and_then(|()| served(usize::from(updates)));
        stopped.store(true, Ordering::SeqCst);
        let observed = clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        let observed = observed.collect();
        served.and(observed)
    })?;
    let answers: usize = observed.iter().map(|(answers, _)| answers).sum();
    let longest = observed.iter().map(|(_, longest)| *longest).max().context("no client")?;
    println!("{protocol:?}, {rules} rules, {updates} updates: {answers} answers, the longest took {longest:?}");
    ensure!(answers >= ANSWERS * usize::from(updates), "{answers} answers only");
    Ok(())
}

/// Sends requests until all versions are seen, and returns the number of answers and the longest time that one took.
fn observe(
    mut observer: Observer<'_>,
    client: &Client,
    protocol: Protocol,
    rng: &mut Rng,
    seen: &AtomicUsize,
    stopped: &AtomicBool,
) -> Result<(usize, Duration)> {
    let mut connections = Connections::open(client, protocol)?;
    let mut since = 0;
    while !stopped.load(Ordering::SeqCst) {
        let newest = u8::try_from(observer.written.load(Ordering::SeqCst))? - 1;
        // The last of them tells whether the newest version is in force.
        let subjects: Vec<u8> = (0..9).map(|_| rng.u8(0..SUBJECTS)).chain([newest]).collect();
        let at_once = if protocol == Protocol::Http2 { subjects.len() } else { 1 };
        for subjects in subjects.chunks(at_once) {
            let start = Instant::now();
            let answers = connections.ask(subjects)?;
            let elapsed = start.elapsed();
            since += answers.len();
            for (subject, allowed) in subjects.iter().zip(answers) {
                observer.take(*subject, allowed, elapsed)?;
            }
        }
        if since >= ANSWERS && observer.oldest == usize::from(newest) {
            seen.store(observer.oldest, Ordering::SeqCst);
            since = 0;
        }
    }
    Ok((observer.answers, observer.longest))
}

fn kind(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Layer4 => "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
        Protocol::Http1 | Protocol::Http2 => "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
    }
}

/// Writes a discovery file and moves it into place: Envoy watches for moves.
fn discover(watched: &Path, protocol: Protocol, configuration: &Value) -> Result<()> {
    let plugin = testbed::wasm_plugin(
        "identity_authz",
        "identity_authz",
        &testbed::filter_path("identity-authz"),
        &testbed::string_value(&configuration.to_string()),
    );
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "filter",
        "typed_config": {"@type": kind(protocol), "config": plugin}
    });
    let new = watched.join("filter.json.new");
    fs::write(&new, serde_json::to_vec(&json!({"resources": [resource]}))?)?;
    Ok(fs::rename(new, watched.join("filter.json"))?)
}

/// Returns a bootstrap with a plaintext listener whose filter is discovered.
fn bootstrap(watched: &Path, protocol: Protocol) -> Value {
    let filter = json!({"name": "filter", "config_discovery": {
        "config_source": {
            "resource_api_version": "V3",
            "path_config_source": {"path": watched.join("filter.json"), "watched_directory": {"path": watched}}
        },
        "type_urls": [kind(protocol)]
    }});
    let filters = match protocol {
        Protocol::Layer4 => json!([filter, {"name": "echo", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"
        }}]),
        Protocol::Http1 | Protocol::Http2 => json!([{"name": "http", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "test",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                "match": {"prefix": "/"}, "direct_response": {"status": 200}
            }]}]},
            "http_filters": [filter, {"name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
            }}]
        }}]),
    };
    json!({
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {"listeners": [{
            "name": "test",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": filters}]
        }]}
    })
}
