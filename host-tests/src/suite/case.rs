//! The format of a suite file.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use testbed::{SubjectAltName, read_yaml};

use super::first_bytes::Passthrough;
use super::tunnel::Tunnel;

/// A suite file: cases about one topic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Suite {
    /// The topic, in a sentence.
    pub about: String,
    /// The default configuration of the cases.
    #[serde(default)]
    pub configuration: Option<Value>,
    /// The cases. Their names are unique within the file.
    pub cases: Vec<Case>,
}

/// One request or connection under one configuration, or one configuration that is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Case {
    /// The name: what happens, in a few words.
    pub name: String,
    /// The reason, where the name does not give it.
    #[serde(default)]
    pub why: Option<String>,
    /// The plugin configuration. A string is passed to the filter as it is, anything else as JSON.
    #[serde(default)]
    pub configuration: Option<Value>,
    /// The client and its connection. Default: a client without TLS.
    #[serde(default)]
    pub caller: Caller,
    /// The request.
    #[serde(default)]
    pub request: RequestSpec,
    /// The mark that an instance with `stage: custom` has left for `identity-authz`. Absent: none.
    #[serde(default)]
    pub mark: Option<String>,
    /// A TLS connection instead of a request, in a network filter in front of a proxy that does not terminate TLS.
    #[serde(default)]
    pub passthrough: Option<Passthrough>,
    /// The bytes of the client in the tunnel that the request, a CONNECT, opens.
    #[serde(default)]
    pub tunnel: Option<Tunnel>,
    /// A TCP connection instead of a request, in a network filter that sees its bytes, decrypted if it uses TLS.
    #[serde(default)]
    pub speaks_first: Option<FirstSpeaker>,
    /// The expected result.
    pub expect: Expectation,
}

/// A client and its connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Caller {
    /// The URI SAN of the client's certificate, if it has just this one: short for `certificate: [uri:…]`.
    #[serde(default)]
    pub peer: Option<String>,
    /// The SANs of the client's certificate: `uri:…` or `dns:…`. Empty: a certificate without SANs.
    #[serde(default)]
    pub certificate: Option<Vec<String>>,
    /// True if the certificate is signed by an authority that Envoy does not trust. The listener accepts it all the
    /// same.
    #[serde(default)]
    pub untrusted: bool,
    /// True if the certificate has expired. The listener accepts it all the same.
    #[serde(default)]
    pub expired: bool,
    /// True for TLS without a client certificate.
    #[serde(default)]
    pub tls: bool,
    /// The SNI. Absent: none is sent.
    #[serde(default)]
    pub server_name: Option<String>,
    /// The client's address. Default: 198.51.100.1.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The destination port. Default: 443.
    #[serde(default)]
    pub destination_port: Option<u16>,
    /// The claims of the request's JWT, which Envoy's JWT filter validates. Absent: no token.
    #[serde(default)]
    pub token: Option<Value>,
    /// The metadata key under which the JWT filter keeps the claims, `payload` or `corp`: each is that of one provider.
    /// Default: `payload`.
    #[serde(default)]
    pub token_key: Option<String>,
    /// True if the token is signed by an issuer that the JWT filter does not trust. The request passes that filter all
    /// the same.
    #[serde(default)]
    pub forged_token: bool,
}

impl Caller {
    /// Returns true if the connection uses TLS, with a client certificate or without.
    pub fn speaks_tls(&self) -> bool {
        self.tls || self.peer.is_some() || self.certificate.is_some()
    }

    /// Returns the SANs of the client's certificate, if there is one.
    pub fn sans(&self) -> Result<Option<Vec<SubjectAltName>>> {
        if let Some(peer) = &self.peer {
            return Ok(Some(vec![SubjectAltName::Uri(peer.clone())]));
        }
        let Some(certificate) = &self.certificate else { return Ok(None) };
        let name = |text: &String| match text.split_once(':') {
            Some(("uri", uri)) => Ok(SubjectAltName::Uri(uri.to_owned())),
            Some(("dns", host)) => Ok(SubjectAltName::Dns(host.to_owned())),
            _ => bail!("{text} is not a SAN: write uri:… or dns:…"),
        };
        certificate.iter().map(name).collect::<Result<Vec<_>>>().map(Some)
    }
}

/// The side of a connection that speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FirstSpeaker {
    /// The client.
    Client,
    /// The server, with a greeting.
    Server,
}

/// A request, as the client writes it. A character up to U+00FF stands for the byte with that value, so `\xff` is a
/// byte that is not UTF-8.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RequestSpec {
    /// The method. Default: GET.
    pub method: String,
    /// The path with its query. Default: `/`.
    pub path: String,
    /// The target of the request line, instead of the path: an absolute form, or a CONNECT target that differs from the
    /// Host. HTTP/1.1 only.
    pub target: Option<String>,
    /// True for HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// The version in the request line. Default: `HTTP/1.1`.
    pub version: String,
    /// The Host or `:authority`. Default: `orders.shop`.
    pub host: String,
    /// Further headers in order, each a pair of name and value. A name may be repeated.
    pub headers: Vec<(String, String)>,
}

impl Default for RequestSpec {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            target: None,
            http2: false,
            version: "HTTP/1.1".to_owned(),
            host: "orders.shop".to_owned(),
            headers: Vec::new(),
        }
    }
}

/// The expected result of a case: exactly one of `answer`, `envoy` and `refused`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expectation {
    /// The answer that the client gets.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// The status with which Envoy itself answers before any filter runs; 0 means that the connection or stream ends
    /// without an answer. The case runs in Envoy alone.
    #[serde(default)]
    pub envoy: Option<u16>,
    /// The lines with which the configuration is refused: all of them, in order.
    #[serde(default)]
    pub refused: Option<Vec<String>>,
    /// Lines that the filter logs when it loads the configuration, without `sallyport <filter>: ` before them; others may
    /// stand beside them.
    #[serde(default)]
    pub loaded: Vec<String>,
    /// `%RESPONSE_CODE_DETAILS%` of a denial. Absent: not checked.
    #[serde(default)]
    pub details: Option<String>,
    /// The filter state `decision`. Default: `deny` for a denial, otherwise none.
    #[serde(default)]
    pub decision: Option<String>,
    /// The filter state `policy`. Absent: there is none.
    #[serde(default)]
    pub policy: Option<String>,
    /// The filter state `principal`. Absent: not checked.
    #[serde(default)]
    pub principal: Option<String>,
    /// The filter state `reason`. Absent: not checked.
    #[serde(default)]
    pub reason: Option<String>,
    /// The filter state `host`, `port` and `way` of `egress-allowlist`, in this order. Absent: not checked.
    #[serde(default)]
    pub destination: Option<[String; 3]>,
    /// The host and the port that Envoy is to connect to instead of those of the authority. Absent: there are none.
    #[serde(default)]
    pub leads_to: Option<[String; 2]>,
    /// The filter state `audit`. Absent: there is none.
    #[serde(default)]
    pub audit: Option<String>,
    /// The mark that `identity-authz` sets with `stage: custom`. Absent: not checked.
    #[serde(default)]
    pub mark: Option<String>,
    /// The body of a denial. Default: the filter's own.
    #[serde(default)]
    pub body: Option<String>,
    /// A response header of a denial.
    #[serde(default)]
    pub header: Option<(String, String)>,
    /// All counters of the filter that are not zero afterwards, without `sallyport.<filter>.`. Default: `allowed: 1`,
    /// or for a denial `denied: 1` and the counter of `policy` if that is given, or for a mark that of its provider.
    /// Counters of connections that are not given follow from the caller, and are none for a mark.
    #[serde(default)]
    pub counters: Option<BTreeMap<String, u64>>,
}

/// The answer that a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The request reaches the service, or the connection's bytes do.
    Reached,
    /// The connection is closed before a byte reaches the upstream. A tunnel is closed after it was opened.
    Closed,
    /// The filter answers with 403.
    Denied,
    /// The filter answers with this status.
    #[serde(untagged)]
    Status(u16),
}

/// Returns a counter's name without `sallyport.<filter>.`, or `None` for a counter that cases do not check.
pub(super) fn checked_counter<'n>(name: &'n str, filter: &str) -> Option<&'n str> {
    let name = name.strip_prefix("sallyport.")?.strip_prefix(filter)?.strip_prefix('.')?;
    let counts_connections = filter == CONNECTION_COUNTING_FILTER || !name.starts_with("connection.");
    // `unmatched` follows from the reason, which cases check; the gauges are no counters.
    (counts_connections && !name.starts_with("unmatched.") && !["loaded", "version", "commit"].contains(&name))
        .then_some(name)
}

/// Returns the body of a denial by `filter`, by default.
pub(super) fn denial_body(filter: &str) -> &'static str {
    match filter {
        "egress_allowlist" => {
            "The egress proxy does not let this client reach this host. This is the proxy's answer, not the server's."
        }
        _ => "RBAC: access denied",
    }
}

/// The filter that counts connections by whether they are mTLS.
const CONNECTION_COUNTING_FILTER: &str = "identity_authz";

impl Case {
    /// Returns the expected counters of `filter`.
    pub fn counters(&self, filter: &str) -> BTreeMap<String, u64> {
        let mut counters = self.expect.counters();
        if filter == CONNECTION_COUNTING_FILTER && self.expect.answer.is_some() && self.expect.mark.is_none() {
            let caller = &self.caller;
            let mutual =
                (caller.peer.is_some() || caller.certificate.is_some()) && !caller.untrusted && !caller.expired;
            counters.entry(format!("connection.{}", if mutual { "mtls" } else { "plaintext" })).or_insert(1);
            counters.retain(|_, count| *count > 0);
        }
        counters
    }
}

impl Expectation {
    /// Returns the counters that are given or follow from the answer.
    fn counters(&self) -> BTreeMap<String, u64> {
        if let Some(counters) = &self.counters {
            return counters.clone();
        }
        if let Some(mark) = &self.mark {
            return mark.split(',').map(|provider| (format!("custom.{provider}"), 1)).collect();
        }
        match self.answer {
            None => BTreeMap::new(),
            Some(Answer::Reached) => BTreeMap::from([("allowed".to_owned(), 1)]),
            Some(Answer::Denied | Answer::Closed | Answer::Status(_)) => {
                let policy =
                    self.policy.as_ref().map(|policy| (format!("policy.{}.denied", policy.replace('/', ".")), 1));
                [("denied".to_owned(), 1)].into_iter().chain(policy).collect()
            }
        }
    }
}

/// Reads the suites of a folder in the order of their file names, and names each case `<file>: <name>`.
pub fn load(folder: &Path) -> Result<Vec<Case>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in files {
        let topic = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file)?;
        let suite: Suite = read_yaml(&text)
            .and_then(|value| Ok(serde_json::from_value(value)?))
            .with_context(|| format!("in {}", file.display()))?;
        for mut case in suite.cases {
            case.name = format!("{topic}: {}", case.name);
            if case.configuration.is_none() {
                case.configuration.clone_from(&suite.configuration);
            }
            if cases.iter().any(|known| known.name == case.name) {
                bail!("two cases are named {}", case.name);
            }
            let expected = &case.expect;
            let expectations = [expected.answer.is_some(), expected.envoy.is_some(), expected.refused.is_some()];
            if expectations.into_iter().filter(|given| *given).count() != 1 {
                bail!("{} has to expect exactly one of answer, envoy and refused", case.name);
            }
            cases.push(case);
        }
    }
    Ok(cases)
}

impl Case {
    /// Returns the plugin configuration as the proxy passes it to the filter.
    pub fn configuration_bytes(&self) -> Result<Vec<u8>> {
        match &self.configuration {
            None => bail!("{} has no configuration", self.name),
            Some(Value::String(text)) => Ok(text.as_bytes().to_vec()),
            Some(value) => Ok(serde_json::to_vec(value)?),
        }
    }
}
