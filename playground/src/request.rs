//! Requests of a call, and their answers.

use std::time::Duration;

use sallyport_analysis::{Caller, Deciders, Project, SimulatedRequest, spiffe_id};
use serde_json::{Value, json};

use crate::input::{Input, list, text};
use crate::{faults, output};

/// Answers all requests, in order. The filters load once for each workload.
pub(crate) fn explain_all(input: &Input) -> Vec<Value> {
    let requests = input.list("requests");
    let mut answers: Vec<Value> = vec![Value::Null; requests.len()];
    let mut workloads: Vec<Option<&str>> = Vec::new();
    for request in requests {
        let workload = text(request, "to");
        if !workloads.contains(&workload) {
            workloads.push(workload);
        }
    }
    for workload in workloads {
        let own = requests.iter().zip(&mut answers).filter(|(request, _)| text(request, "to") == workload);
        explain_for(input, workload, own);
    }
    answers
}

/// Answers the requests to one workload.
fn explain_for<'r>(input: &Input, workload: Option<&str>, requests: impl Iterator<Item = (&'r Value, &'r mut Value)>) {
    let project = match input.project_for(workload) {
        Ok(project) => project,
        Err(error) => {
            requests.for_each(|(_, answer)| *answer = json!({"error": error}));
            return;
        }
    };
    let contents = project.contents();
    let deciders = Deciders::load(&project, &contents);
    for (request, answer) in requests {
        *answer = match (&deciders, simulated(&project, request)) {
            (_, Err(error)) => json!({"error": error}),
            (Err(findings), Ok(_)) => faults(findings.clone(), &project),
            (Ok(deciders), Ok(request)) => output::explanation(&deciders.explain(&request), project.sources()),
        };
    }
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
        server_name: text(spec, "sni").map(|name| name.as_bytes().to_vec()),
        time: seconds.map(Duration::from_secs),
        source_ip: address("sourceIp")?,
        remote_ip: address("remoteIp")?,
        port: port(spec)?,
        ..SimulatedRequest::default()
    };
    for header in list(spec, "headers").iter().filter_map(Value::as_str) {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| format!("header `{header}` has no colon, write it as in x-tenant: blue"))?;
        request.headers.push((name.trim().to_ascii_lowercase(), value.trim().as_bytes().to_vec()));
    }
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
