//! The answers of the library behind `sallyport explain` are those of the built filter: random policies and requests.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use host_tests::filter;
use host_tests::rbac_oracle::{Caller, Peer, PolicySet, Probe, Protocol};
use host_tests::wasm_host::{Connection, Module, Request, Vm, metadata};
use sallyport_analysis::{Answer, Caller as AnalysisCaller, Deciders, Project, Settings, SimulatedRequest};
use serde_json::{Map, Value, json};

/// The filter state of `identity-authz`.
const STATE: &str = "wasm.sallyport.identity_authz.";
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
const CALLERS: usize = 3;
const PROBES: usize = 4;

/// What one side says: the answer, the policy of a denial and its reason.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    answer: Answer,
    policy: Option<String>,
    reason: Option<String>,
}

/// The environment variables `COMMAND_PAIRS` and `COMMAND_SEED` set the number of pairs and the seed.
#[test]
fn random_policies_are_explained_as_the_filter_decides() -> Result<()> {
    let setting = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    };
    let wanted = usize::try_from(setting("COMMAND_PAIRS", 600)?)?;
    let seed = setting("COMMAND_SEED", fastrand::u64(..))?;
    println!("COMMAND_SEED={seed}");
    let module = filter::load("identity-authz")?;
    let mut random = Rng::with_seed(seed);
    let (mut pairs, mut denied, mut number) = (0, 0, 0);
    while pairs < wanted {
        let set = PolicySet::random(number, Protocol::Http, &mut random);
        number += 1;
        for _ in 0..CALLERS {
            let caller = Caller::random(&set, &mut random);
            for _ in 0..PROBES {
                let probe = Probe::random(&caller, &set, &mut random);
                let (of_filter, of_command) = (decided(&module, &set, &probe)?, explained(&set, &probe)?);
                ensure!(
                    of_filter == of_command,
                    "COMMAND_SEED={seed}: the filter says {of_filter:#?}, the command {of_command:#?} about {:#}",
                    json!([set.configuration(), probe])
                );
                pairs += 1;
                denied += usize::from(of_filter.answer == Answer::Denied);
            }
        }
    }
    ensure!(denied * 5 > pairs && denied * 20 < pairs * 19, "{denied} of {pairs} are denied: the requests say little");
    Ok(())
}

/// The filter's answer.
fn decided(module: &Module, set: &PolicySet, probe: &Probe) -> Result<Said> {
    let (mut vm, root) = Vm::configured(module, &set.configuration().to_string())?;
    let (uris, validated) = certificate(&probe.caller.peer);
    let address = |text: &str| text.parse::<IpAddr>().with_context(|| text.to_owned());
    let (destination, port) = &probe.caller.destination;
    let direct = probe.caller.direct_address.to_string().into_bytes();
    let connection = Connection {
        certificate: uris,
        validated: Some(validated),
        tls: probe.caller.peer != Peer::Plaintext,
        source: SocketAddr::from((address(&probe.caller.source)?, 40_000)),
        destination: SocketAddr::from((address(destination)?, *port)),
        server_name: server_name(probe),
        filter_state: [("sallyport.direct_remote_address".to_owned(), direct)].into(),
        metadata: metadata::encode(&token(probe)?),
        ..Connection::plaintext(1)
    };
    let mut request = Request::new(&probe.method, &probe.host, &probe.path);
    for (name, value) in &probe.headers {
        request = request.with(name, value.as_bytes());
    }
    let outcome = vm.request(root, connection, request)?;
    let state = |key: &str| outcome.filter_state.get(&format!("{STATE}{key}")).cloned();
    let answer = match (outcome.response.is_some(), state("decision").as_deref()) {
        (true, _) => Answer::Denied,
        (false, Some("would_deny")) => Answer::WouldBeDenied,
        (false, _) => Answer::Allowed,
    };
    Ok(Said { answer, policy: state("policy"), reason: state("reason") })
}

/// The command's answer.
fn explained(set: &PolicySet, probe: &Probe) -> Result<Said> {
    let mut configuration = set.configuration();
    let resources = configuration.as_object_mut().and_then(|keys| keys.remove("resources"));
    let mut project = Project::new(Settings::default());
    project.add_config("sallyport.yaml", &json!({"identityAuthz": configuration}).to_string());
    for (number, resource) in resources.iter().flat_map(|list| list.as_array()).flatten().enumerate() {
        project.add(&format!("{number}.json"), &resource.to_string());
    }
    let contents = project.contents();
    let deciders = Deciders::load(&project, &contents).map_err(|faults| anyhow::anyhow!("{faults:#?}"))?;
    let (certificate, validated) = certificate(&probe.caller.peer);
    let (destination, port) = &probe.caller.destination;
    let request = SimulatedRequest {
        caller: AnalysisCaller { certificate, untrusted: !validated, ..AnalysisCaller::default() },
        source_ip: Some(probe.caller.direct_address.into()),
        remote_ip: Some(probe.caller.source.parse()?),
        destination_ip: Some(destination.parse()?),
        port: Some(*port),
        server_name: server_name(probe),
        time: Some(Duration::ZERO),
        metadata: token(probe)?,
        method: probe.method.clone().into_bytes(),
        host: probe.host.clone().into_bytes(),
        path: probe.path.clone().into_bytes(),
        headers: probe
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone().into_bytes()))
            .collect(),
        ..SimulatedRequest::default()
    };
    let explanation = deciders.explain(&request);
    let is_denial = explanation.answer != Answer::Allowed;
    Ok(Said {
        answer: explanation.answer,
        policy: explanation.policy.filter(|_| is_denial),
        reason: Some(explanation.reason).filter(|_| is_denial),
    })
}

/// The URIs of the client's certificate, and whether it is validated.
fn certificate(peer: &Peer) -> (Option<Vec<String>>, bool) {
    match peer {
        Peer::Plaintext | Peer::NoCertificate => (None, false),
        Peer::Spiffe(id) => (Some(vec![format!("spiffe://{id}")]), true),
        Peer::Uri(uri) => (Some(vec![uri.clone()]), true),
        Peer::Dns(_) => (Some(Vec::new()), true),
        Peer::Untrusted(id) => (Some(vec![format!("spiffe://{id}")]), false),
    }
}

fn server_name(probe: &Probe) -> Option<Vec<u8>> {
    probe.caller.server_name.as_ref().map(|name| name.to_ascii_lowercase().into_bytes())
}

/// The metadata of the JWT filter.
fn token(probe: &Probe) -> Result<Map<String, Value>> {
    let Some(token) = &probe.token else { return Ok(Map::new()) };
    let content = match token.forged {
        true => json!({"failed_status": {"code": 16, "message": "Jwt verification fails"}}),
        false => json!({"payload": token.payload()?}),
    };
    Ok(Map::from_iter([(JWT_FILTER.to_owned(), content)]))
}
