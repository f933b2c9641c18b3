//! Requests of a call, and their answers.

use std::time::Duration;

use sallyport_analysis::{Caller, Deciders, Explanation, Project, SimulatedRequest, Source, formats, spiffe_id};
use serde_json::{Value, json};

use crate::faults;
use crate::input::{Input, list, text};
use crate::place::put_place;

/// Filters that are asked about requests to a workload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Those that `sallyport explain` asks.
    #[cfg(feature = "answers")]
    All,
    /// `identity-authz` alone, as `sallyport test` does.
    #[cfg(feature = "files")]
    Identity,
}

/// Workload that requests are for, and whether they are to an outside host.
type Way<'r> = (Option<&'r str>, bool);

/// Answers all requests, in order. The filters load once for each workload.
pub(crate) fn explain_all(input: &Input, asked: Asked) -> Vec<Value> {
    let requests = input.list("requests");
    let mut answers: Vec<Value> = vec![Value::Null; requests.len()];
    let mut ways: Vec<Way<'_>> = Vec::new();
    for way in requests.iter().map(way) {
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    for own in ways {
        let requests = requests.iter().zip(&mut answers).filter(|(request, _)| way(request) == own);
        explain_for(input, asked, own, requests);
    }
    answers
}

fn way(request: &Value) -> Way<'_> {
    (text(request, "to"), is_outbound(request))
}

/// Reports whether a request is to an outside host.
pub(crate) fn is_outbound(request: &Value) -> bool {
    text(request, "way") == Some("out")
}

/// Answers the requests to one workload, or those to outside hosts with its settings.
fn explain_for<'r>(
    input: &Input,
    asked: Asked,
    (workload, is_outbound): Way<'_>,
    requests: impl Iterator<Item = (&'r Value, &'r mut Value)>,
) {
    let project = match input.project_for(workload) {
        Ok(project) => project,
        Err(error) => {
            requests.for_each(|(_, answer)| *answer = json!({"error": error}));
            return;
        }
    };
    let contents = project.contents();
    let deciders = match asked {
        _ if is_outbound => Deciders::for_egress(&project, &contents),
        #[cfg(feature = "answers")]
        Asked::All => Deciders::load(&project, &contents),
        #[cfg(feature = "files")]
        Asked::Identity => Deciders::for_identity(&project, &contents),
    };
    for (request, answer) in requests {
        *answer = match (&deciders, simulated(&project, request)) {
            (_, Err(error)) => json!({"error": error}),
            (Err(findings), Ok(_)) => faults(findings.clone(), &project),
            (Ok(deciders), Ok(request)) => explanation(&deciders.explain(&request), project.sources()),
        };
    }
}

/// Returns an explanation as the command prints it, with `column`, and the place of the rule that came nearest.
fn explanation(explanation: &Explanation, sources: &[Source]) -> Value {
    let mut json = formats::json::explanation(explanation, sources);
    put_place(&mut json, explanation.span, sources);
    if let Some(nearest) = json.get_mut("nearest").filter(|nearest| nearest.is_object()) {
        put_place(nearest, explanation.nearest.as_ref().and_then(|nearest| nearest.span), sources);
    }
    json
}

/// Reads one request.
fn simulated(project: &Project, spec: &Value) -> Result<SimulatedRequest, String> {
    let bytes = |key: &str| text(spec, key).unwrap_or_default().as_bytes().to_vec();
    let address = |key: &str| {
        let read = |text: &str| text.parse().map_err(|_| format!("`{text}` is no address, write it as in 192.0.2.7"));
        text(spec, key).map(read).transpose()
    };
    let seconds = spec.get("time").and_then(Value::as_u64);
    let mut request = SimulatedRequest {
        method: text(spec, "method").unwrap_or("GET").as_bytes().to_vec(),
        host: bytes("host"),
        path: text(spec, "path").unwrap_or("/").as_bytes().to_vec(),
        server_name: text(spec, "sni").map(|name| name.to_ascii_lowercase().into_bytes()),
        time: seconds.map(Duration::from_secs),
        source_ip: address("sourceIp")?,
        remote_ip: address("remoteIp")?,
        port: port(spec)?,
        ..SimulatedRequest::default()
    };
    if let Some(path) = text(spec, "path").filter(|path| !path.starts_with('/') && *path != "*") {
        return Err(format!("path `{path}` does not begin with a slash, write /{path}"));
    }
    for header in list(spec, "headers").iter().filter_map(Value::as_str) {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("header `{header}` has no colon, write it as in x-tenant: blue"))?;
        request.add_header(&name.trim().to_ascii_lowercase(), value.trim());
    }
    request.is_host_unknown = request.host.is_empty();
    if let Some(from) = text(spec, "from") {
        let uri = spiffe_id(project, from)?;
        request.caller = Caller { certificate: Some(vec![uri]), is_forwarded: true, ..Caller::default() };
    }
    for claim in list(spec, "claims").iter().filter_map(Value::as_str) {
        let (name, value) = claim
            .split_once('=')
            .ok_or_else(|| format!("claim `{claim}` has no equals sign, write it as in group=admin"))?;
        request.add_claim(name.trim(), value.trim());
    }
    Ok(request)
}

fn port(spec: &Value) -> Result<Option<u16>, String> {
    let read = |text: &str| text.parse().map_err(|_| format!("`{text}` is no port, write a number up to 65535"));
    text(spec, "port").map(read).transpose()
}
