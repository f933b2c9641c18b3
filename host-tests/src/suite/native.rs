//! Plays a case against the built module in wasmtime.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, bail};
use testbed::Name;

use super::case::{Caller, Case, Sent, bytes, counter};
use super::check::Happened;
use crate::host::{Connection, Module, Request, Vm};

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
    let outcome = vm.request(root, connection(&case.caller)?, request(&case.request)?)?;
    vm.tick(root)?;

    let prefix = format!("wasm.sallyport.{counters}.");
    let last = |(key, value): (String, String)| Some((key.strip_prefix(&prefix)?.to_owned(), value));
    let mut happened = Happened {
        status: 200,
        filter_state: outcome.filter_state.into_iter().filter_map(last).collect(),
        ..Happened::default()
    };
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
    happened.check(&case.expect)?;

    let found: BTreeMap<_, _> = vm
        .counters()
        .into_iter()
        .filter_map(|(name, value)| Some((counter(&name, counters)?.to_owned(), value)))
        .collect();
    let expected = case.expect.counters();
    if found != expected {
        bail!("counters {found:?}, expected {expected:?}");
    }
    Ok(())
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
    let destination = SocketAddr::from(([192, 0, 2, 1], caller.destination_port.unwrap_or(443)));
    Ok(Connection {
        id: 1,
        certificate: names.as_ref().map(uris),
        validated: Some(names.is_some() && !caller.untrusted),
        source: SocketAddr::from(([198, 51, 100, 1], 40_000)),
        destination,
        server_name: None,
    })
}

/// The request as Envoy shows it: repeated Host headers are one authority, and repeated User-Agent headers one header,
/// joined by commas.
fn request(sent: &Sent) -> Result<Request> {
    let joined = |name: &str, first: Option<&str>| -> Result<Option<Vec<u8>>> {
        let repeated =
            sent.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        let values = first.into_iter().chain(repeated).map(bytes).collect::<Result<Vec<_>>>()?;
        Ok((!values.is_empty()).then(|| values.join(&b',')))
    };
    let mut request =
        Request::new(&sent.method, "", &sent.path).with_host(&joined("host", Some(&sent.host))?.unwrap_or_default());
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
