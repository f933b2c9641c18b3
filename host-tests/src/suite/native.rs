//! Cases in wasmtime, against the built module.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use testbed::{CertificateAuthority, SubjectAltName};

use super::case::{Caller, Case, FirstSpeaker, RequestSpec, checked_counter, denial_body};
use super::environment::{
    DIRECT_ADDRESS, DIRECT_ADDRESS_KEY, JWT_FAILED_STATUS, JWT_FILTER, JWT_PAYLOAD, MARK_KEY, PEER_HEADER, PEER_KEY,
    fixed_metadata,
};
use super::first_bytes::{Passthrough, bytes};
use super::observed::{CLOSED, DYNAMIC_KEYS, Observed, REACHED};
use super::refusal::is_expected;
use super::tunnel::{Tunnel, TunnelEnd};
use crate::wasm_host::{
    Connection, ConnectionOutcome, Module, Request, RequestOutcome, Root, Speaker, TunnelEvent, Vm, metadata,
};

/// Plays `case`, whose counters are under `sallyport.<counters>.`.
pub fn play(module: &Module, counters: &str, case: &Case) -> Result<()> {
    play_and_record(module, counters, case).map(|_| ())
}

/// Plays `case` as [`play`] does. Returns the attributes that the module has asked for.
pub fn play_and_record(module: &Module, counters: &str, case: &Case) -> Result<BTreeSet<String>> {
    let mut vm = Vm::start(module)?;
    let configured = vm.configure(&case.configuration_bytes()?)?;
    if let Some(expected) = &case.expect.refused {
        let Err(refused) = configured else { bail!("the configuration was accepted") };
        // The first line gives the number of errors, the others are the errors.
        let lines: Vec<_> = refused.log.into_iter().skip(1).map(|line| line.message).collect();
        if !is_expected(case, &lines) {
            bail!("refused with {lines:#?}, expected {expected:#?}");
        }
        return Ok(BTreeSet::new());
    }
    let root = configured?;
    for line in &case.expect.loaded {
        let expected = format!(" {counters}: {line}");
        if !vm.log().iter().any(|logged| logged.message.ends_with(&expected)) {
            bail!("loaded with {:#?}, expected {expected}", vm.log());
        }
    }
    let prefix = format!("wasm.sallyport.{counters}.");
    let observed = match (&case.passthrough, case.speaks_first, &case.tunnel) {
        (Some(passthrough), _, _) => run_passthrough(&mut vm, root, &prefix, case, passthrough)?,
        (None, Some(first), _) => run_connection(&mut vm, root, &prefix, case, first)?,
        (None, None, Some(tunnel)) => run_tunnel(&mut vm, root, &prefix, case, tunnel)?,
        (None, None, None) => run_request(&mut vm, root, &prefix, case)?,
    };
    vm.tick(root)?;
    observed.check(&case.expect, denial_body(counters))?;

    let found: BTreeMap<_, _> = vm
        .counters()
        .into_iter()
        .filter_map(|(name, value)| Some((checked_counter(&name, counters)?.to_owned(), value)))
        .collect();
    let expected = case.counters(counters);
    if found != expected {
        bail!("counters {found:?}, expected {expected:?}");
    }
    Ok(vm.attributes().clone())
}

/// Returns the filter state under `prefix`, without it, and that of Envoy's own that a filter sets.
fn filter_state(all: BTreeMap<String, String>, prefix: &str) -> BTreeMap<String, String> {
    let name =
        |key: &str| key.strip_prefix(prefix).or(DYNAMIC_KEYS.into_iter().find(|own| *own == key)).map(str::to_owned);
    all.into_iter().filter_map(|(key, value)| Some((name(&key)?, value))).collect()
}

/// Returns the connection of a case and its request as Envoy shows them to filters.
pub fn described(case: &Case) -> Result<(Connection, Request)> {
    let mut connection = connection(&case.caller)?;
    if let Some((_, peer)) = case.request.headers.iter().find(|(name, _)| name == PEER_HEADER) {
        connection.filter_state.insert(PEER_KEY.to_owned(), bytes(peer)?);
    }
    if let Some(mark) = &case.mark {
        connection.filter_state.insert(MARK_KEY.to_owned(), bytes(mark)?);
    }
    connection.source =
        forwarded_for(&case.request).map_or(connection.source, |address| SocketAddr::from((address, 0)));
    let mut request = request(&case.request)?;
    if case.caller.token.is_some() && case.caller.token_key.is_none() {
        // The JWT filter forwards the header, whether it validated the token or not.
        request = request.with("authorization", b"Bearer a.token");
    }
    Ok((connection, request))
}

fn run_request(vm: &mut Vm, root: Root, prefix: &str, case: &Case) -> Result<Observed> {
    let (connection, request) = described(case)?;
    observe_request(vm.request(root, connection, request)?, prefix, case)
}

fn observe_request(outcome: RequestOutcome, prefix: &str, case: &Case) -> Result<Observed> {
    let string = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
    let mut observed = Observed {
        status: REACHED,
        headers: outcome.response_headers.into_iter().map(|(name, value)| (string(name), value)).collect(),
        filter_state: filter_state(outcome.filter_state, prefix),
        ..Observed::default()
    };
    match outcome.response {
        Some(response) => {
            observed.status = u16::try_from(response.status)?;
            observed.details = Some(response.details);
            observed.body = response.body;
            if is_grpc(&case.request) {
                // Envoy turns the response into a gRPC one: status 200, grpc-status and message in headers.
                observed.headers.push(("grpc-status".to_owned(), response.grpc_status.to_string().into_bytes()));
                observed.status = 200;
                observed.body.clear();
            }
        }
        None if outcome.continues => {}
        None => bail!("the request hangs: the filter paused it without a response"),
    }
    Ok(observed)
}

fn run_tunnel(vm: &mut Vm, root: Root, prefix: &str, case: &Case, tunnel: &Tunnel) -> Result<Observed> {
    let mut events: Vec<_> = tunnel.writes()?.into_iter().map(TunnelEvent::Bytes).collect();
    if !tunnel.early && !case.request.http2 {
        events.insert(0, TunnelEvent::Bytes(Vec::new()));
    }
    match (tunnel.end, events.pop()) {
        (Some(TunnelEnd::Stream), Some(TunnelEvent::Bytes(last))) => events.push(TunnelEvent::LastBytes(last)),
        (end, last) => {
            events.extend(last);
            events.extend(end.map(|_| TunnelEvent::Trailers));
        }
    }
    let outcome = vm.tunnel(root, connection(&case.caller)?, request(&case.request)?, &events)?;
    let forwarded = outcome.forwarded.concat();
    let mut observed = observe_request(outcome.request, prefix, case)?;
    match observed.status {
        REACHED if forwarded == tunnel.bytes()? => {}
        REACHED => bail!("{} went on", forwarded.escape_ascii()),
        _ if !forwarded.is_empty() => bail!("denied after {} went on", forwarded.escape_ascii()),
        // The tunnel was opened, so its status is no longer the filter's.
        _ if !tunnel.early => observed.status = CLOSED,
        _ => {}
    }
    Ok(observed)
}

fn run_passthrough(vm: &mut Vm, root: Root, prefix: &str, case: &Case, passthrough: &Passthrough) -> Result<Observed> {
    let name = passthrough.server_name.as_deref().map(bytes).transpose()?;
    // Envoy's TLS inspector lowers the SNI, and ignores one that is empty, longer than 255 bytes or holds a NUL.
    let inspected = name.filter(|name| !name.is_empty() && name.len() <= 255 && !name.contains(&0));
    let connection = Connection {
        server_name: inspected.filter(|_| passthrough.bytes.is_none()).map(|name| name.to_ascii_lowercase()),
        ..connection(&case.caller)?
    };
    observe(vm.connection(root, connection, Speaker::Client)?, prefix)
}

/// Runs a TCP connection. Its handshake is complete before the proxy connects to the server.
fn run_connection(vm: &mut Vm, root: Root, prefix: &str, case: &Case, first: FirstSpeaker) -> Result<Observed> {
    let first = match first {
        FirstSpeaker::Client => Speaker::Client,
        FirstSpeaker::Server => Speaker::Server { established: true },
    };
    observe(vm.connection(root, connection(&case.caller)?, first)?, prefix)
}

fn observe(outcome: ConnectionOutcome, prefix: &str) -> Result<Observed> {
    if outcome.closed == outcome.data_forwarded {
        bail!("a connection has to be closed or its data forwarded, not both or neither: {outcome:?}");
    }
    Ok(Observed::connection(outcome.data_forwarded, filter_state(outcome.filter_state, prefix)))
}

fn is_grpc(spec: &RequestSpec) -> bool {
    spec.headers.iter().any(|(name, value)| name == "content-type" && value == "application/grpc")
}

/// Returns the connection as Envoy 1.40 describes it to filters.
fn connection(caller: &Caller) -> Result<Connection> {
    let sans = caller.sans()?;
    let uris = |sans: &Vec<SubjectAltName>| {
        let uri = |san: &SubjectAltName| match san {
            SubjectAltName::Uri(uri) => Some(uri.clone()),
            SubjectAltName::Dns(_) => None,
        };
        sans.iter().filter_map(uri).collect()
    };
    let mut connection = Connection {
        certificate: sans.as_ref().map(uris),
        validated: Some(sans.is_some() && !caller.untrusted && !caller.expired),
        peer_certificate: match (&sans, caller.expired) {
            (Some(sans), true) => {
                Some(CertificateAuthority::new("trusted")?.issue_expired(sans)?.certificate().to_owned())
            }
            // The end of certificates that are good is read when Envoy plays the case.
            _ => None,
        },
        tls: caller.speaks_tls(),
        server_name: caller.server_name.as_ref().map(|name| name.to_ascii_lowercase().into_bytes()),
        filter_state: [(DIRECT_ADDRESS_KEY.to_owned(), DIRECT_ADDRESS.as_bytes().to_vec())].into(),
        metadata: metadata::encode(&metadata_of(caller)),
        ..Connection::plaintext(1)
    };
    if let Some(address) = caller.address {
        connection.source.set_ip(address);
    }
    if let Some(port) = caller.destination_port {
        connection.destination.set_port(port);
    }
    Ok(connection)
}

/// Returns the dynamic metadata: the fixed one, and what the JWT filter says of a token: its claims, or why they are not
/// valid.
pub fn metadata_of(caller: &Caller) -> Map<String, Value> {
    let mut metadata = fixed_metadata();
    if let Some(claims) = &caller.token {
        let outcome = match caller.forged_token {
            true => json!({JWT_FAILED_STATUS: {"code": 16, "message": "Jwt verification fails"}}),
            false => json!({caller.token_key.as_deref().unwrap_or(JWT_PAYLOAD): claims}),
        };
        metadata.insert(JWT_FILTER.to_owned(), outcome);
    }
    metadata
}

/// Returns the last address of `X-Forwarded-For`, which Envoy takes for the client's where it trusts that header.
fn forwarded_for(spec: &RequestSpec) -> Option<IpAddr> {
    let (_, value) = spec.headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"))?;
    value.rsplit(',').next()?.trim().parse().ok()
}

/// Returns the request as Envoy shows it to filters. `:authority` is the authority of an absolute form without its
/// userinfo, the target of CONNECT, otherwise the Host headers joined by commas, or for HTTP/2 `:authority` alone.
/// Repeated User-Agent headers are joined by commas too.
fn request(spec: &RequestSpec) -> Result<Request> {
    let joined = |name: &str, first: Option<&str>| -> Result<Option<Vec<u8>>> {
        let repeated =
            spec.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let values = first.into_iter().chain(repeated).map(bytes).collect::<Result<Vec<_>>>()?;
        Ok((!values.is_empty()).then(|| values.join(&b',')))
    };
    let host = match spec.http2 {
        true => bytes(&spec.host)?,
        false => joined("host", Some(&spec.host))?.unwrap_or_default(),
    };
    let absolute = spec.target.as_deref().and_then(|target| target.split_once("://"));
    let (authority, path) = match (absolute, &spec.target) {
        (Some((_, rest)), _) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            (bytes(host)?, format!("/{path}"))
        }
        (None, Some(target)) if spec.method == "CONNECT" => (bytes(target)?, String::new()),
        (None, Some(target)) => (host, target.clone()),
        (None, None) => (host, spec.path.clone()),
    };
    let mut request = Request::new(&spec.method, "", "").with_host(&authority).with_path(&bytes(&path)?);
    if let Some(user_agent) = joined("user-agent", None)? {
        request = request.with("user-agent", &user_agent);
    }
    for (name, value) in &spec.headers {
        if !["host", "user-agent"].contains(&name.to_ascii_lowercase().as_str()) {
            request = request.with(name, &bytes(value)?);
        }
    }
    Ok(request)
}
