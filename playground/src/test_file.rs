//! Requests as files for `sallyport test`.

use std::fmt::Write;

use sallyport_analysis::spiffe_id;
use serde_json::{Map, Value, json};

use crate::input::{Input, list, text};
use crate::request::{Asked, explain_all, is_outbound};

/// Writes the requests that have an answer as cases, a file for each workload. Values are JSON, which YAML includes.
pub(crate) fn write(input: &Input) -> Vec<Value> {
    let requests = input.list("requests");
    let answers = explain_all(input, Asked::Identity);
    let mut workloads: Vec<Option<&str>> = requests.iter().map(|request| text(request, "to")).collect();
    workloads.sort_unstable();
    workloads.dedup();
    let mut files = Vec::new();
    for workload in workloads {
        let own = requests.iter().zip(&answers).filter(|(request, _)| text(request, "to") == workload);
        let cases: Vec<Value> = own.filter_map(|(request, answer)| case(input, request, answer)).collect();
        if cases.is_empty() {
            continue;
        }
        let mut file = String::from("# Play these with: sallyport test THIS-FILE POLICIES\n");
        if let Some(workload) = workload {
            line(&mut file, "workload: ", &json!(workload));
        }
        file.push_str("cases:\n");
        for case in &cases {
            let mut lead = "- ";
            for (key, value) in case.as_object().into_iter().flatten() {
                line(&mut file, &format!("{lead}{key}: "), value);
                lead = "  ";
            }
        }
        files.push(json!({"name": file_name(workload), "text": file}));
    }
    files
}

/// Returns `requests.yaml` with the workload in it, if there is one.
fn file_name(workload: Option<&str>) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let workload: String = workload.unwrap_or_default().chars().map(plain).collect();
    let separator = if workload.is_empty() { "" } else { "-" };
    format!("requests{separator}{workload}.yaml")
}

fn line(file: &mut String, before: &str, value: &Value) {
    // Writing to a string does not fail.
    let _always_fits = writeln!(file, "{before}{value}");
}

/// Returns a request as a case; `None` where the filters gave no answer.
fn case(input: &Input, request: &Value, answer: &Value) -> Option<Value> {
    // Cases of `sallyport test` are requests to a workload.
    let decided = text(answer, "answer").filter(|_| !is_outbound(request))?;
    let own = |key: &str| text(request, key);
    let method = own("method").unwrap_or("GET");
    let path = own("path").unwrap_or("/");
    let caller = own("from").unwrap_or("no certificate");
    let name = own("name").map_or_else(|| format!("{method} {path} by {caller}"), str::to_owned);
    let project = input.project_for(own("to")).ok()?;
    let uri = own("from").and_then(|from| spiffe_id(&project, from).ok());
    let mut from = Map::new();
    put(&mut from, "peer", uri.as_deref().or(Some("")).filter(|uri| !uri.is_empty()));
    put(&mut from, "address", own("sourceIp"));
    put(&mut from, "serverName", own("sni"));
    if let Some(port) = own("port").and_then(|port| port.parse::<u16>().ok()) {
        from.insert("destinationPort".to_owned(), json!(port));
    }
    let claims = token(request);
    if !claims.is_empty() {
        from.insert("token".to_owned(), Value::Object(claims));
    }
    let mut headers: Vec<Value> = Vec::new();
    for header in list(request, "headers").iter().filter_map(Value::as_str) {
        let (header, value) = header.split_once(':').unwrap_or((header, ""));
        headers.push(json!([header.trim().to_ascii_lowercase(), value.trim()]));
    }
    if let Some(address) = own("remoteIp") {
        headers.push(json!(["x-forwarded-for", address]));
    }
    let mut sent = Map::from_iter([("method".to_owned(), json!(method)), ("path".to_owned(), json!(path))]);
    put(&mut sent, "host", own("host"));
    if !headers.is_empty() {
        sent.insert("headers".to_owned(), Value::Array(headers));
    }
    let word = if decided == "denied" { "denied" } else { "reached" };
    let mut expect = Map::from_iter([("answer".to_owned(), json!(word))]);
    if decided == "would-be-denied" {
        expect.insert("decision".to_owned(), json!("would_deny"));
    }
    let mut case = Map::from_iter([("name".to_owned(), json!(name))]);
    for (key, value) in [("caller", from), ("request", sent), ("expect", expect)] {
        if !value.is_empty() {
            case.insert(key.to_owned(), Value::Object(value));
        }
    }
    Some(Value::Object(case))
}

fn put(object: &mut Map<String, Value>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), json!(value));
    }
}

/// Returns the claims as the payload of a token; a claim that is given again becomes a list.
fn token(request: &Value) -> Map<String, Value> {
    let mut simulated = sallyport_analysis::SimulatedRequest::default();
    for claim in list(request, "claims").iter().filter_map(Value::as_str) {
        let (name, value) = claim.split_once('=').unwrap_or((claim, ""));
        simulated.add_claim(name.trim(), value.trim());
    }
    let payload = simulated.metadata.values().find_map(|of_filter| of_filter.get("payload")?.as_object().cloned());
    payload.unwrap_or_default()
}
