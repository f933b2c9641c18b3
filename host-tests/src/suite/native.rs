//! Plays a case against the built module in wasmtime.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};
use serde_json::json;
use testbed::Name;

use super::case::{Caller, Case, FirstSpeaker, Passing, Sent, bytes, counter};
use super::check::{CLOSED, Happened, REACHED};
use super::surroundings::{
    DIRECT_ADDRESS, DIRECT_ADDRESS_KEY, JWT_FILTER, PAYLOAD, PEER_HEADER, PEER_KEY, other_metadata,
};
use crate::host::{Connection, First, Module, Passage, Request, Root, Vm, metadata};

/// Plays `case`, whose counters are under `sallyport.<counters>.`.
pub fn play(module: &Module, counters: &str, case: &Case) -> Result<()> {
    let mut vm = Vm::start(module)?;
    let configured = vm.configure(&case.configuration_bytes()?)?;
    if let Some(expected) = &case.expect.refused {
        let Err(refused) = configured else { bail!("the configuration was taken") };
        // The first line counts the faults, the others are the faults.
        let lines: Vec<_> = refused.log.into_iter().skip(1).map(|line| line.message).collect();
        if &lines != expected {
            bail!("refused with {lines:#?}, expected {expected:#?}");
        }
        return Ok(());
    }
    let root = configured?;
    let prefix = format!("wasm.sallyport.{counters}.");
    let happened = match (&case.passing, case.bytes) {
        (Some(passing), _) => pass(&mut vm, root, &prefix, case, passing)?,
        (None, Some(first)) => bytes_of(&mut vm, root, &prefix, case, first)?,
        (None, None) => request_of(&mut vm, root, &prefix, case)?,
    };
    vm.tick(root)?;
    happened.check(&case.expect)?;

    let found: BTreeMap<_, _> = vm
        .counters()
        .into_iter()
        .filter_map(|(name, value)| Some((counter(&name, counters)?.to_owned(), value)))
        .collect();
    let expected = case.counters(counters);
    if found != expected {
        bail!("counters {found:?}, expected {expected:?}");
    }
    Ok(())
}

/// The keys of filter state that are under `prefix`.
fn state(filter_state: BTreeMap<String, String>, prefix: &str) -> BTreeMap<String, String> {
    filter_state.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value))).collect()
}

fn request_of(vm: &mut Vm, root: Root, prefix: &str, case: &Case) -> Result<Happened> {
    let mut connection = connection(&case.caller)?;
    if let Some((_, peer)) = case.request.headers.iter().find(|(name, _)| name == PEER_HEADER) {
        connection.filter_state.insert(PEER_KEY.to_owned(), bytes(peer)?);
    }
    connection.source = client(&case.request).map_or(connection.source, |address| SocketAddr::from((address, 0)));
    let outcome = vm.request(root, connection, request(&case.request)?)?;
    let mut happened =
        Happened { status: REACHED, filter_state: state(outcome.filter_state, prefix), ..Happened::default() };
    match outcome.response {
        Some(response) => {
            happened.status = u16::try_from(response.status)?;
            happened.details = Some(response.details);
            happened.body = response.body;
            let text = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
            happened.headers = response.headers.into_iter().map(|(name, value)| (text(name), value)).collect();
            if is_grpc(&case.request) {
                // Envoy makes a gRPC answer of it: status 200, the message in a header.
                happened.headers.push(("grpc-status".to_owned(), response.grpc_status.to_string().into_bytes()));
                happened.status = 200;
                happened.body.clear();
            }
        }
        None if outcome.goes_on => {}
        None => bail!("the request hangs: it was paused without an answer"),
    }
    Ok(happened)
}

fn pass(vm: &mut Vm, root: Root, prefix: &str, case: &Case, passing: &Passing) -> Result<Happened> {
    let name = passing.server_name.as_deref().map(bytes).transpose()?;
    // What Envoy's TLS inspector tells: in lower case, and nothing of a name that is empty, too long or holds a NUL.
    let told = name.filter(|name| !name.is_empty() && name.len() <= 255 && !name.contains(&0));
    let connection = Connection {
        server_name: told.filter(|_| passing.bytes.is_none()).map(|name| name.to_ascii_lowercase()),
        ..connection(&case.caller)?
    };
    happened_to(vm.connection(root, connection, First::Client)?, prefix)
}

/// A connection whose TLS ends at the proxy, established before the service is connected to.
fn bytes_of(vm: &mut Vm, root: Root, prefix: &str, case: &Case, first: FirstSpeaker) -> Result<Happened> {
    let first = match first {
        FirstSpeaker::Client => First::Client,
        FirstSpeaker::Server => First::Server { established: true },
    };
    happened_to(vm.connection(root, connection(&case.caller)?, first)?, prefix)
}

fn happened_to(passage: Passage, prefix: &str) -> Result<Happened> {
    if passage.closed == passage.bytes_go_on {
        bail!("a connection is closed or its bytes go on: {passage:?}");
    }
    let status = if passage.bytes_go_on { REACHED } else { CLOSED };
    Ok(Happened { status, filter_state: state(passage.filter_state, prefix), ..Happened::default() })
}

fn is_grpc(sent: &Sent) -> bool {
    sent.headers.iter().any(|(name, value)| name == "content-type" && value == "application/grpc")
}

/// The connection as Envoy 1.40 tells it.
fn connection(caller: &Caller) -> Result<Connection> {
    let names = caller.names()?;
    let uris = |names: &Vec<Name>| {
        let uri = |name: &Name| match name {
            Name::Uri(uri) => Some(uri.clone()),
            Name::Dns(_) => None,
        };
        names.iter().filter_map(uri).collect()
    };
    let mut connection = Connection {
        certificate: names.as_ref().map(uris),
        validated: Some(names.is_some() && !caller.untrusted),
        tls: caller.speaks_tls(),
        server_name: caller.server_name.as_ref().map(|name| name.to_ascii_lowercase().into_bytes()),
        filter_state: [(DIRECT_ADDRESS_KEY.to_owned(), DIRECT_ADDRESS.as_bytes().to_vec())].into(),
        metadata: metadata(caller),
        ..Connection::plaintext(1)
    };
    if let Some(address) = caller.address {
        connection.source.set_ip(address.into());
    }
    if let Some(port) = caller.destination_port {
        connection.destination.set_port(port);
    }
    Ok(connection)
}

/// What other filters have found out: the claims of a token that the JWT filter trusts, and what is always there.
fn metadata(caller: &Caller) -> Vec<u8> {
    let mut metadata = other_metadata();
    if let Some(claims) = caller.token.as_ref().filter(|_| !caller.forged_token) {
        metadata.insert(JWT_FILTER.to_owned(), json!({PAYLOAD: claims}));
    }
    metadata::encode(&metadata)
}

/// The client as Envoy finds it out where it trusts `X-Forwarded-For`: its last address.
fn client(sent: &Sent) -> Option<IpAddr> {
    let (_, value) = sent.headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"))?;
    value.rsplit(',').next()?.trim().parse().ok()
}

/// The request as Envoy shows it: of an absolute form its authority without user, of CONNECT the target, otherwise all
/// Host headers as one; by HTTP/2 `:authority` alone. Repeated User-Agent headers are one too, joined by commas.
fn request(sent: &Sent) -> Result<Request> {
    let joined = |name: &str, first: Option<&str>| -> Result<Option<Vec<u8>>> {
        let repeated =
            sent.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let values = first.into_iter().chain(repeated).map(bytes).collect::<Result<Vec<_>>>()?;
        Ok((!values.is_empty()).then(|| values.join(&b',')))
    };
    let host = match sent.http2 {
        true => bytes(&sent.host)?,
        false => joined("host", Some(&sent.host))?.unwrap_or_default(),
    };
    let absolute = sent.target.as_deref().and_then(|target| target.split_once("://"));
    let (authority, path) = match (absolute, &sent.target) {
        (Some((_, rest)), _) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            (bytes(host)?, format!("/{path}"))
        }
        (None, Some(target)) if sent.method == "CONNECT" => (bytes(target)?, String::new()),
        (None, Some(target)) => (host, target.clone()),
        (None, None) => (host, sent.path.clone()),
    };
    let mut request = Request::new(&sent.method, "", "").with_host(&authority).with_path(&bytes(&path)?);
    if let Some(user_agent) = joined("user-agent", None)? {
        request = request.with("user-agent", &user_agent);
    }
    for (name, value) in &sent.headers {
        if !["host", "user-agent"].contains(&name.to_ascii_lowercase().as_str()) {
            request = request.with(name, &bytes(value)?);
        }
    }
    Ok(request)
}
