//! `sallyport explain` against the built filters in wasmtime: answer, policy, rule and reason of random policies and
//! requests, and of each configuration of the suites with random requests of theirs.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use host_tests::filter;
use host_tests::rbac_oracle::{Caller as ProbeCaller, Peer, PolicySet, Probe, Protocol};
use host_tests::suite::{self, Case, native};
use host_tests::wasm_host::{Connection, Request, Root, Speaker, Vm, metadata};
use sallyport_analysis::{Caller, Deciders, Explanation, Project, Settings, SimulatedRequest};
use serde_json::{Map, Value, json};

/// Filter state in which both hosts leave the address of the connection's other end.
const DIRECT_ADDRESS: &str = "sallyport.direct_remote_address";

/// Filter state with the mark of `stage: custom`.
const MARK: &str = "wasm.sallyport.identity_authz.custom";

/// Metadata namespace of Envoy's JWT filter.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";

/// A request or, without headers, a connection.
#[derive(Debug)]
struct Asked {
    connection: Connection,
    request: Option<Request>,
    metadata: Map<String, Value>,
}

/// Answer about a request.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    answer: &'static str,
    policy: Option<String>,
    /// `None` also for a rule that has a name instead of a number.
    rule: Option<usize>,
    /// `None` for what is allowed, of which a filter gives no reason.
    reason: Option<String>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = self.policy.as_deref().unwrap_or("none");
        write!(f, "{} by {policy} rule {:?}: {}", self.answer, self.rule, self.reason.as_deref().unwrap_or_default())
    }
}

/// A configuration that both have loaded.
struct Loaded<'p> {
    filter: &'static str,
    vm: Vm,
    root: Root,
    deciders: Deciders<'p>,
    is_direct_by_connection: bool,
}

/// Returns the configuration as the command reads it: the settings as its configuration file, the resources as a list.
fn project(key: &str, configuration: &Value) -> Result<Project> {
    let mut settings = configuration.clone();
    let keys = settings.as_object_mut().context("the configuration is no object")?;
    let resources = keys.remove("resources").filter(|resources| !resources.is_null());
    let mut project = Project::new(Settings::default());
    project.add("sallyport.yaml", &json!({key: settings}).to_string());
    if let Some(resources) = resources {
        project.add("policies.json", &json!({"apiVersion": "v1", "kind": "List", "items": resources}).to_string());
    }
    Ok(project)
}

/// Plays requests against one configuration. Returns their number, none where the filter refuses the configuration.
fn compare(filter: &'static str, key: &str, configuration: &Value, asked: &[Asked]) -> Result<usize> {
    let mut vm = Vm::start(&filter::load(filter)?)?;
    let project = project(key, configuration)?;
    let contents = project.contents();
    let deciders = match filter {
        "egress-allowlist" => Deciders::for_egress(&project, &contents),
        _ => Deciders::load(&project, &contents),
    };
    let (root, deciders) = match (vm.configure(&serde_json::to_vec(configuration)?)?, deciders) {
        (Ok(root), Ok(deciders)) => (root, deciders),
        (Err(_), Err(_)) => return Ok(0),
        (Ok(_), Err(findings)) => bail!("explain alone refuses {configuration}: {findings:#?}"),
        (Err(refused), Ok(_)) => bail!("the filter alone refuses {configuration}: {refused}"),
    };
    let is_direct_by_connection = configuration.get("directRemoteAddress") == Some(&json!("connection"));
    let mut loaded = Loaded { filter, vm, root, deciders, is_direct_by_connection };
    for asked in asked {
        let by_filter = loaded.ask_filter(asked)?;
        let by_command = loaded.ask_command(asked);
        ensure!(
            by_filter == by_command,
            "{filter} and explain differ\nfilter:  {by_filter}\nexplain: {by_command}\nunder {configuration}\nabout {asked:?}"
        );
    }
    Ok(asked.len())
}

impl Loaded<'_> {
    fn ask_filter(&mut self, asked: &Asked) -> Result<Said> {
        let connection = asked.connection.clone();
        let (is_reached, details, state) = match &asked.request {
            Some(request) => {
                let outcome = self.vm.request(self.root, connection, request.clone())?;
                (outcome.continues, outcome.response.map(|response| response.details), outcome.filter_state)
            }
            None => {
                let outcome = self.vm.connection(self.root, connection, Speaker::Client)?;
                (outcome.data_forwarded, None, outcome.filter_state)
            }
        };
        let prefix = format!("wasm.sallyport.{}.", self.filter.replace('-', "_"));
        let state = |key: &str| state.get(&format!("{prefix}{key}")).cloned();
        let answer = match (is_reached, state("decision").as_deref()) {
            (false, _) => "denied",
            (true, Some("would_deny")) => "would-be-denied",
            (true, _) => "allowed",
        };
        let rule = details.as_deref().and_then(|details| details.rsplit_once("-rule[")).map(|(_, rule)| rule);
        Ok(Said {
            answer,
            policy: state("policy").map(|policy| policy.trim_start_matches("PeerAuthentication ").to_owned()),
            rule: rule.and_then(|rule| rule.trim_end_matches(']').parse().ok()),
            reason: state("reason").filter(|_| answer != "allowed"),
        })
    }

    fn ask_command(&self, asked: &Asked) -> Said {
        let Explanation { answer, policy, rule, reason, .. } = self.deciders.explain(&self.simulated(asked));
        let answer = answer.as_str();
        Said {
            answer,
            // The filters tell the rule by the details of a response.
            rule: rule.filter(|_| answer == "denied" && asked.request.is_some()),
            policy,
            reason: (answer != "allowed").then_some(reason),
        }
    }

    fn simulated(&self, asked: &Asked) -> SimulatedRequest {
        let connection = &asked.connection;
        let direct = connection.filter_state.get(DIRECT_ADDRESS).map(|address| String::from_utf8_lossy(address));
        let direct = direct.and_then(|address| address.parse().ok());
        let mut request = SimulatedRequest {
            caller: Caller {
                certificate: connection.certificate.clone(),
                untrusted: connection.validated == Some(false),
                expired: connection.peer_certificate.is_some(),
                is_forwarded: false,
            },
            is_connection: asked.request.is_none(),
            source_ip: if self.is_direct_by_connection { Some(connection.source.ip()) } else { direct },
            remote_ip: Some(connection.source.ip()),
            destination_ip: Some(connection.destination.ip()),
            port: Some(connection.destination.port()),
            server_name: connection.server_name.clone(),
            time: SystemTime::now().duration_since(UNIX_EPOCH).ok(),
            metadata: asked.metadata.clone(),
            mark: connection.filter_state.get(MARK).cloned(),
            ..SimulatedRequest::default()
        };
        for (name, value) in asked.request.iter().flat_map(|request| &request.0) {
            match name.as_slice() {
                b":method" => request.method.clone_from(value),
                b":authority" => request.host.clone_from(value),
                b":path" => request.path.clone_from(value),
                name => request.headers.push((String::from_utf8_lossy(name).into_owned(), value.clone())),
            }
        }
        request
    }
}

/// Returns a random request as Envoy shows it to filters, on a connection of its own.
fn asked(id: u64, probe: &Probe, protocol: Protocol) -> Result<Asked> {
    let ProbeCaller { peer, server_name, direct_address, source, destination } = &probe.caller;
    let spiffe = |id: &String| format!("spiffe://{id}");
    let certificate = match peer {
        Peer::Plaintext | Peer::NoCertificate => None,
        Peer::Spiffe(id) | Peer::Untrusted(id) => Some(vec![spiffe(id)]),
        Peer::Uri(uri) => Some(vec![uri.clone()]),
        Peer::Dns(_) => Some(Vec::new()),
    };
    let suite = json!({"tier": "gold", "regions": ["eu", "us"], "weight": 1});
    let mut values = Map::from_iter([("envoy.filters.http.suite".to_owned(), suite)]);
    if let (Some(token), Protocol::Http) = (probe.token.as_ref().filter(|token| !token.forged), protocol) {
        values.insert(JWT_FILTER.to_owned(), json!({"payload": token.payload()?}));
    }
    let mut connection = Connection {
        validated: Some(certificate.is_some() && !matches!(peer, Peer::Untrusted(_))),
        certificate,
        tls: *peer != Peer::Plaintext,
        server_name: server_name.as_ref().map(|name| name.clone().into_bytes()),
        filter_state: [(DIRECT_ADDRESS.to_owned(), direct_address.to_string().into_bytes())].into(),
        metadata: metadata::encode(&values),
        ..Connection::plaintext(id)
    };
    let forwarded = probe.headers.iter().find(|(name, _)| name == "x-forwarded-for");
    let forwarded = forwarded.and_then(|(_, value)| value.rsplit(',').next()?.trim().parse().ok());
    let forwarded = forwarded.filter(|_| protocol == Protocol::Http);
    connection.source.set_ip(forwarded.map_or_else(|| source.parse(), Ok)?);
    connection.destination.set_ip(destination.0.parse()?);
    connection.destination.set_port(destination.1);
    let mut request = Request::new(&probe.method, &probe.host, &probe.path);
    for (name, value) in &probe.headers {
        request = request.with(name, value.as_bytes());
    }
    let request = (protocol == Protocol::Http).then_some(request);
    Ok(Asked { connection, request, metadata: values })
}

/// Returns a configuration with which the filter also tells by which policy it allows.
fn telling(configuration: &Value) -> Value {
    let mut configuration = configuration.clone();
    if let Some(keys) = configuration.as_object_mut() {
        keys.insert("allowedPolicy".to_owned(), json!(true));
    }
    configuration
}

/// Plays random policies, each with `requests` random requests.
fn play_random(protocol: Protocol, policies: usize, requests: usize) -> Result<usize> {
    let seed = seed()?;
    let mut random = Rng::with_seed(seed);
    let mut count = 0;
    for number in 0..policies {
        let set = PolicySet::random(number, protocol, &mut random);
        let configuration = telling(&set.configuration());
        let ask = |(id, random): (u64, &mut Rng)| {
            let caller = ProbeCaller::random(&set, random);
            asked(id, &Probe::random(&caller, &set, random), protocol)
        };
        let asked: Vec<_> = (1..).take(requests).map(|id| ask((id, &mut random))).collect::<Result<_>>()?;
        let played = compare("identity-authz", "identityAuthz", &configuration, &asked);
        let played = played.with_context(|| format!("EXPLAIN_SEED={seed}, policies {number}"))?;
        ensure!(played > 0, "refused: {configuration}");
        count += played;
    }
    Ok(count)
}

fn seed() -> Result<u64> {
    let text = std::env::var("EXPLAIN_SEED").ok();
    let seed = text.map_or_else(|| Ok(fastrand::u64(..)), |text| text.parse().context("EXPLAIN_SEED"))?;
    println!("EXPLAIN_SEED={seed}");
    Ok(seed)
}

#[test]
fn random_policies_have_one_answer_for_requests() -> Result<()> {
    ensure!(play_random(Protocol::Http, 300, 15)? == 4_500);
    Ok(())
}

#[test]
fn random_policies_have_one_answer_for_connections() -> Result<()> {
    ensure!(play_random(Protocol::Tcp, 100, 10)? == 1_000);
    Ok(())
}

/// Plays each configuration of a filter's suites with `requests` random requests of these suites.
fn play_suites(filter: &'static str, key: &str, requests: usize) -> Result<usize> {
    let mut random = Rng::with_seed(seed()?);
    let cases = suite::load(&testbed::root().join("host-tests/suites").join(filter))?;
    let is_played = |case: &&Case| {
        let is_passthrough = case.passthrough.as_ref().is_some_and(|passthrough| passthrough.bytes.is_none());
        (case.passthrough.is_none() || is_passthrough) && case.tunnel.is_none() && case.expect.envoy.is_none()
    };
    let of_filter: Vec<&Case> = cases.iter().filter(is_played).collect();
    let mut configurations: Vec<&Value> = Vec::new();
    for configuration in cases.iter().filter_map(|case| case.configuration.as_ref()) {
        // An identity in filter state, which another filter sets, is no certificate.
        let is_of_proxy = configuration.pointer("/identity/source") == Some(&json!("filterState"));
        let is_object = configuration.is_object() && !configurations.contains(&configuration);
        // With `stage: custom` an instance answers nothing.
        let decides = configuration.get("stage") != Some(&json!("custom"));
        // With a PeerAuthentication among the files the command asks `identity-authz` as well.
        let is_of_two = filter == "baseline-deny" && configuration.to_string().contains("PeerAuthentication");
        if is_object && decides && !is_of_proxy && !is_of_two {
            configurations.push(configuration);
        }
    }
    let mut count = 0;
    for configuration in configurations {
        let configuration = if filter == "baseline-deny" { configuration.clone() } else { telling(configuration) };
        let chosen = random.choose_multiple(of_filter.iter(), requests);
        let asked: Vec<_> = (1..).zip(chosen).map(|(id, case)| of_case(id, filter, case)).collect::<Result<_>>()?;
        count += compare(filter, key, &configuration, &asked)?;
    }
    Ok(count)
}

/// Returns the request of a case; of a filter that decides nothing about connections, always a request.
fn of_case(id: u64, filter: &str, case: &Case) -> Result<Asked> {
    let (mut connection, request) = native::described(case)?;
    connection.id = id;
    // Without a mark the command takes all authorizers for asked, and a filter none.
    connection.filter_state.entry(MARK.to_owned()).or_insert_with(|| b"none".to_vec());
    if let Some(passthrough) = &case.passthrough {
        connection.server_name = passthrough.server_name.as_ref().map(|name| name.to_ascii_lowercase().into_bytes());
    }
    let is_connection = match filter {
        "identity-authz" => case.speaks_first.is_some(),
        "egress-allowlist" => case.passthrough.is_some(),
        _ => false,
    };
    Ok(Asked { connection, request: (!is_connection).then_some(request), metadata: native::metadata_of(&case.caller) })
}

#[test]
fn configurations_of_the_suites_have_one_answer() -> Result<()> {
    for (filter, key, requests, least) in [
        ("identity-authz", "identityAuthz", 8, 2_000),
        ("baseline-deny", "baselineDeny", 20, 500),
        ("egress-allowlist", "egressAllowlist", 20, 1_000),
    ] {
        let count = play_suites(filter, key, requests)?;
        println!("{filter}: {count}");
        ensure!(count >= least, "{filter}: {count} requests alone");
    }
    Ok(())
}
