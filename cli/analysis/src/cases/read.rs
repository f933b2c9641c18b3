//! Case files.

use serde_json::{Map, Value as Json, json};

use crate::cases::fields::{Fields, Findings, fault};
use crate::finding::Finding;
use crate::json::write_json;
use crate::project::{Contents, Project};
use crate::settings::Workload;
use crate::simulated_request::{Caller, JWT_FILTER, SimulatedRequest};
use crate::source::Span;
use crate::tree::{Node, Value};

/// Cases of one document.
#[derive(Debug)]
pub struct Suite<'p> {
    /// Name of the case file.
    pub file: String,
    /// First line of the document.
    pub line: usize,
    /// Name of the file, with the line where the file has several documents with cases.
    pub name: String,
    /// Topic.
    pub about: Option<String>,
    /// Files and folders of policies, from the folder of the case file.
    pub policies: Vec<String>,
    /// Workload that the policies are for.
    pub workload: Option<Workload>,
    /// Configuration of `identity-authz` for cases without one of their own.
    pub(crate) configuration: Option<&'p Node>,
    /// Cases, in order.
    pub cases: Vec<Case<'p>>,
}

/// Request and what has to come of it.
#[derive(Debug)]
pub struct Case<'p> {
    /// Name.
    pub name: String,
    /// The name in the file.
    pub span: Span,
    pub(crate) configuration: Option<&'p Node>,
    pub(crate) request: SimulatedRequest,
    pub(crate) expect: Expectation,
}

/// Expected outcome of a request; an absent key is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// True if the request has to go on, false if it has to be denied.
    pub is_reached: Option<bool>,
    /// `would_deny` or `deny`.
    pub decision: Option<String>,
    /// Policy that decides.
    pub policy: Option<String>,
    /// Reason, word for word.
    pub reason: Option<String>,
}

/// Reports whether an object is a case file.
fn is_case_file(node: &Node) -> bool {
    node.get("cases").is_some() && node.get("kind").is_none()
}

/// Reads the case files of a project, with the faults in them. Each document of a file is a case file of its own.
pub fn read_suites<'p>(project: &'p Project, contents: &Contents<'p>) -> (Vec<Suite<'p>>, Vec<Finding>) {
    let findings = Findings::default();
    let suite = |node: &&'p Node| read_suite(project, node, &findings);
    let mut suites: Vec<Suite<'p>> =
        contents.others.iter().filter(|node| is_case_file(node)).filter_map(suite).collect();
    let files: Vec<String> = suites.iter().map(|suite| suite.file.clone()).collect();
    for suite in &mut suites {
        if files.iter().filter(|file| **file == suite.file).count() > 1 {
            suite.name = format!("{}:{}", suite.file, suite.line);
        }
    }
    (suites, findings.into_inner())
}

fn read_suite<'p>(project: &'p Project, node: &'p Node, findings: &Findings) -> Option<Suite<'p>> {
    let fields = Fields::of(node, findings)?;
    let source = project.sources().get(node.span.source)?;
    let (file, line) = (source.name.clone(), source.position(fields.span()).line);
    let about = fields.text("about");
    let workload = fields.get("workload").and_then(|node| read_workload(node, findings));
    let policies = fields.texts("policies").unwrap_or_default();
    let configuration = read_configuration(&fields);
    let cases = fields.get("cases").map_or(&[][..], Node::items);
    if cases.is_empty() {
        let help = "write a list with name, request and expect".to_owned();
        fault(findings, "empty-value", fields.span(), "there are no cases".to_owned(), help);
    }
    let cases: Vec<Case<'p>> = cases.iter().filter_map(|case| read_case(case, findings)).collect();
    for (index, case) in cases.iter().enumerate() {
        if cases.iter().take(index).any(|earlier| earlier.name == case.name) {
            let message = format!("an earlier case of this document has the name `{}` too", case.name);
            fault(findings, "conflict", case.span, message, "rename one of the two".to_owned());
        }
    }
    fields.finish();
    Some(Suite { name: file.clone(), file, line, about, policies, workload, configuration, cases })
}

/// Returns a configuration of `identity-authz`, whose keys the filter reads.
fn read_configuration<'p>(fields: &Fields<'p, '_>) -> Option<&'p Node> {
    let node = fields.get("configuration")?;
    if !matches!(node.value, Value::Object(_)) {
        fields.wrong(node, "configuration", "an object with keys of identity-authz");
    }
    Some(node)
}

fn read_workload(node: &Node, findings: &Findings) -> Option<Workload> {
    if let Some(text) = node.as_str() {
        let read = Workload::parse(text);
        return read.map_err(|error| fault(findings, "invalid-value", node.span, error, "correct it".to_owned())).ok();
    }
    let fields = Fields::of(node, findings)?;
    let labels = fields.get("labels").map(|labels| {
        let pair = |(key, value): (&String, Option<&str>)| (key.clone(), value.unwrap_or_default().to_owned());
        labels.entries().iter().map(|entry| pair((&entry.key, entry.value.as_str()))).collect()
    });
    let namespace = fields.text("namespace").unwrap_or_default();
    let (service, gateway) = (fields.text("service"), fields.text("gateway"));
    fields.finish();
    Some(Workload { namespace, labels, service, gateway })
}

fn read_case<'p>(node: &'p Node, findings: &Findings) -> Option<Case<'p>> {
    let fields = Fields::of(node, findings)?;
    let name_node = fields.get("name");
    let name = fields.text("name");
    fields.text("why");
    let configuration = read_configuration(&fields);
    let mut request = SimulatedRequest {
        source_ip: "198.51.100.1".parse().ok(),
        destination_ip: "192.0.2.1".parse().ok(),
        port: Some(443),
        method: b"GET".to_vec(),
        host: b"orders.shop".to_vec(),
        path: b"/".to_vec(),
        ..SimulatedRequest::default()
    };
    if let Some(caller) = fields.get("caller").and_then(|node| Fields::of(node, findings)) {
        read_caller(&caller, &mut request);
    }
    if let Some(spec) = fields.get("request").and_then(|node| Fields::of(node, findings)) {
        read_request(&spec, &mut request, findings);
    }
    request.is_connection = fields.word("speaksFirst", &["client", "server"]).is_some();
    request.mark = fields.text("mark").map(String::into_bytes);
    let expect = fields.get("expect").and_then(|node| Fields::of(node, findings)).and_then(|expect| {
        let read = read_expectation(&expect, findings);
        expect.finish();
        read
    });
    fields.finish();
    let missing = |key: &str| {
        let message = format!("the case has no {key}");
        fault(findings, "missing-field", fields.span(), message, format!("write {key}"));
    };
    if name.is_none() {
        missing("name");
    }
    if fields.get("expect").is_none() {
        missing("expect");
    }
    Some(Case {
        name: name?,
        span: name_node.map_or(node.first_span(), |name| name.span),
        configuration,
        request,
        expect: expect?,
    })
}

fn read_caller(fields: &Fields<'_, '_>, request: &mut SimulatedRequest) {
    let peer = fields.text("peer").map(|uri| vec![uri]);
    let names = fields
        .texts("certificate")
        .map(|names| names.iter().filter_map(|name| name.strip_prefix("uri:")).map(str::to_owned).collect());
    request.caller = Caller {
        certificate: peer.or(names),
        untrusted: fields.truth("untrusted"),
        expired: fields.truth("expired"),
        is_forwarded: false,
    };
    fields.truth("tls");
    request.server_name = fields.text("serverName").map(|name| name.to_ascii_lowercase().into_bytes());
    request.source_ip = fields.address("address").or(request.source_ip);
    request.port = fields.port("destinationPort").or(request.port);
    let (key, forged) = (fields.text("tokenKey"), fields.truth("forgedToken"));
    if let Some(token) = fields.get("token") {
        let content = match forged {
            true => json!({"failed_status": {"code": 16, "message": "Jwt verification fails"}}),
            false => json!({key.as_deref().unwrap_or("payload"): to_json(token)}),
        };
        request.metadata = Map::from_iter([(JWT_FILTER.to_owned(), content)]);
        if key.is_none() {
            request.headers.push(("authorization".to_owned(), b"Bearer a.token".to_vec()));
        }
    }
    fields.finish();
}

fn read_request(fields: &Fields<'_, '_>, request: &mut SimulatedRequest, findings: &Findings) {
    let mut set = |text: Option<String>, slot: fn(&mut SimulatedRequest) -> &mut Vec<u8>| {
        if let Some(text) = text {
            *slot(request) = bytes(&text);
        }
    };
    set(fields.text("method"), |request| &mut request.method);
    set(fields.text("host"), |request| &mut request.host);
    set(fields.text("path"), |request| &mut request.path);
    fields.truth("http2");
    if let Some(node) = fields.get("headers") {
        let pair = |pair: &Node| match pair.items() {
            [name, value] => Some((name.as_str()?.to_owned(), value.as_str()?.to_owned())),
            _ => None,
        };
        let headers: Option<Vec<(String, String)>> = match &node.value {
            Value::List(pairs) => pairs.iter().map(pair).collect(),
            Value::Object(entries) => {
                entries.iter().map(|entry| Some((entry.key.clone(), entry.value.as_str()?.to_owned()))).collect()
            }
            _ => None,
        };
        match headers {
            Some(headers) => headers.into_iter().for_each(|(name, value)| add_header(request, &name, &value)),
            None => fault(
                findings,
                "wrong-type",
                node.first_span(),
                "`headers` is no list of pairs".to_owned(),
                "write each as [name, value]".to_owned(),
            ),
        }
    }
    fields.finish();
}

/// Adds a header as Envoy shows it: repeated Host and User-Agent headers are joined, and the last address of
/// X-Forwarded-For is the client's.
fn add_header(request: &mut SimulatedRequest, name: &str, value: &str) {
    let name = name.to_ascii_lowercase();
    let value = bytes(value);
    if name == "host" {
        request.host.push(b',');
        request.host.extend(value);
        return;
    }
    if name == "x-forwarded-for" {
        let last = String::from_utf8_lossy(&value).rsplit(',').next().and_then(|address| address.trim().parse().ok());
        request.remote_ip = last.or(request.remote_ip);
    }
    let joined = request.headers.iter_mut().find(|(known, _)| name == "user-agent" && *known == name);
    match joined {
        Some((_, known)) => {
            known.push(b',');
            known.extend(value);
        }
        None => request.headers.push((name, value)),
    }
}

/// Returns the bytes of a text: a character up to U+00FF stands for the byte of that value.
fn bytes(text: &str) -> Vec<u8> {
    let narrow: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    narrow.unwrap_or_else(|_| text.as_bytes().to_vec())
}

fn read_expectation(fields: &Fields<'_, '_>, findings: &Findings) -> Option<Expectation> {
    let answer = fields.get("answer");
    let is_reached = match answer.map(|node| (&node.value, node)) {
        None => None,
        Some((Value::Text(word), _)) if word == "reached" || word == "allowed" => Some(true),
        Some((Value::Text(word), _)) if word == "denied" || word == "closed" => Some(false),
        Some((_, node)) => {
            let message = "unknown value of `answer`".to_owned();
            fault(findings, "unknown-value", node.first_span(), message, "expected reached or denied".to_owned());
            return None;
        }
    };
    if answer.is_none() {
        let message = "the case expects no answer".to_owned();
        fault(findings, "missing-field", fields.span(), message, "write answer: reached or denied".to_owned());
        return None;
    }
    let (decision, policy, reason) =
        (fields.word("decision", &["allow", "would_deny", "deny"]), fields.text("policy"), fields.text("reason"));
    Some(Expectation { is_reached, decision, policy, reason })
}

/// Returns a value as one of `serde_json`.
fn to_json(node: &Node) -> Json {
    let mut text = String::new();
    write_json(node, &mut text);
    serde_json::from_str(&text).unwrap_or(Json::Null)
}
