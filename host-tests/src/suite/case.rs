//! The form of a suite file.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use testbed::{Name, read_yaml};

/// A file of cases about one topic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Suite {
    /// What the cases show, in a sentence.
    pub about: String,
    /// The configuration of the cases that have none of their own.
    #[serde(default)]
    pub configuration: Option<Value>,
    /// The cases; their names are unique within the file.
    pub cases: Vec<Case>,
}

/// One request under one configuration, or one configuration that is refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Case {
    /// What happens, in a few words.
    pub name: String,
    /// Why it has to, where the name does not say.
    #[serde(default)]
    pub why: Option<String>,
    /// The plugin configuration. Text is handed over as it is, anything else as JSON.
    #[serde(default)]
    pub configuration: Option<Value>,
    /// Who sends the request. Default: a client without TLS.
    #[serde(default)]
    pub caller: Caller,
    /// What is sent.
    #[serde(default)]
    pub request: Sent,
    /// Instead of a request: a connection whose bytes pass through a network filter.
    #[serde(default)]
    pub passing: Option<Passing>,
    /// Instead of a request: a connection of which the network filter sees bytes, after TLS if there is any.
    #[serde(default)]
    pub bytes: Option<FirstSpeaker>,
    /// What has to come of it.
    pub expect: Expectation,
}

/// The connection that a request comes by.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Caller {
    /// Shorthand for a certificate with this one URI.
    #[serde(default)]
    pub peer: Option<String>,
    /// The SANs of the client's certificate: `uri:…` or `dns:…`. Empty: a certificate without any.
    #[serde(default)]
    pub certificate: Option<Vec<String>>,
    /// The certificate is of an authority that Envoy does not trust, and the listener takes it all the same.
    #[serde(default)]
    pub untrusted: bool,
    /// The certificate has ended, and the listener takes it all the same.
    #[serde(default)]
    pub expired: bool,
    /// TLS without a client certificate.
    #[serde(default)]
    pub tls: bool,
    /// The server name of the client's TLS. Absent: none is sent.
    #[serde(default)]
    pub server_name: Option<String>,
    /// The address that the client comes from. Default: 198.51.100.1.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// The port that the connection is addressed to. Default: 443.
    #[serde(default)]
    pub destination_port: Option<u16>,
    /// The claims of the request's token, which Envoy's JWT filter has validated. Absent: there is no token.
    #[serde(default)]
    pub token: Option<Value>,
    /// The token is of an issuer that the JWT filter does not trust, and goes on all the same.
    #[serde(default)]
    pub forged_token: bool,
}

impl Caller {
    /// Whether the connection is of TLS, with a certificate or without.
    pub fn speaks_tls(&self) -> bool {
        self.tls || self.peer.is_some() || self.certificate.is_some()
    }

    /// The SANs of the certificate that is presented, if one is.
    pub fn names(&self) -> Result<Option<Vec<Name>>> {
        if let Some(peer) = &self.peer {
            return Ok(Some(vec![Name::Uri(peer.clone())]));
        }
        let Some(certificate) = &self.certificate else { return Ok(None) };
        let name = |text: &String| match text.split_once(':') {
            Some(("uri", uri)) => Ok(Name::Uri(uri.to_owned())),
            Some(("dns", host)) => Ok(Name::Dns(host.to_owned())),
            _ => bail!("{text} is neither uri:… nor dns:…"),
        };
        certificate.iter().map(name).collect::<Result<Vec<_>>>().map(Some)
    }
}

/// The first bytes of a connection that passes through. A character up to U+00FF stands for the byte of that number.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Passing {
    /// The server name of the ClientHello. Absent: it has none.
    pub server_name: Option<String>,
    /// Bytes that are no TLS, in place of a ClientHello.
    pub bytes: Option<String>,
}

/// Who speaks first on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FirstSpeaker {
    /// The client.
    Client,
    /// The service, which greets it.
    Server,
}

/// A request, as it is written to the wire. A character up to U+00FF stands for the byte of that number, so `\xff` is
/// a byte that is not UTF-8.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sent {
    /// Default: GET.
    pub method: String,
    /// Default: `/`.
    pub path: String,
    /// The target of the request line, in place of the path: an absolute form, or a target of CONNECT that is not its
    /// Host. HTTP/1.1 only.
    pub target: Option<String>,
    /// Whether it is sent by HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// Default: `orders.shop`.
    pub host: String,
    /// Further headers in their order, each a pair of name and value; a name can come several times.
    pub headers: Vec<(String, String)>,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            target: None,
            http2: false,
            host: "orders.shop".to_owned(),
            headers: Vec::new(),
        }
    }
}

/// The bytes that a text of a suite stands for.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    text.chars()
        .map(|character| u8::try_from(character).with_context(|| format!("{character} is beyond U+00FF")))
        .collect()
}

/// What has to come of a case: exactly one of `answer`, `envoy` and `refused`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expectation {
    /// What the client gets.
    #[serde(default)]
    pub answer: Option<Answer>,
    /// Envoy itself answers before any filter is asked, with this status; 0 is a connection or stream that ends without
    /// an answer. Played in Envoy alone.
    #[serde(default)]
    pub envoy: Option<u16>,
    /// The configuration is refused with these lines, all of them, in this order.
    #[serde(default)]
    pub refused: Option<Vec<String>>,
    /// `%RESPONSE_CODE_DETAILS%` of a denial. Default: not looked at for what goes on.
    #[serde(default)]
    pub details: Option<String>,
    /// The filter state `…decision`. Default: `deny` for a denial, none otherwise.
    #[serde(default)]
    pub decision: Option<String>,
    /// The filter state `…policy`. Absent: there is none.
    #[serde(default)]
    pub policy: Option<String>,
    /// The filter state `…principal`. Absent: not looked at.
    #[serde(default)]
    pub principal: Option<String>,
    /// The filter state `…reason`. Absent: not looked at.
    #[serde(default)]
    pub reason: Option<String>,
    /// The filter state `…audit`. Absent: there is none.
    #[serde(default)]
    pub audit: Option<String>,
    /// The body of a denial. Default: `RBAC: access denied`.
    #[serde(default)]
    pub body: Option<String>,
    /// A response header that a denial has to carry.
    #[serde(default)]
    pub header: Option<(String, String)>,
    /// All counters of the filter that are not zero afterwards, without `sallyport.<filter>.`. Default: `allowed: 1`
    /// for what goes on, `denied: 1` for a denial, and the policy's own where `policy` is given. Those of connections
    /// follow from the caller where they are not given.
    #[serde(default)]
    pub counters: Option<BTreeMap<String, u64>>,
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The request reaches the service.
    Reached,
    /// The connection is closed, and the upstream never hears of it.
    Closed,
    /// The filter answers, with 403 unless the configuration says otherwise.
    Denied,
    /// As `denied`, with this status.
    #[serde(untagged)]
    Status(u16),
}

/// A counter's name without `sallyport.<filter>.`, if cases look at it.
pub(super) fn counter<'n>(name: &'n str, filter: &str) -> Option<&'n str> {
    let name = name.strip_prefix("sallyport.")?.strip_prefix(filter)?.strip_prefix('.')?;
    (filter == MUTUAL_TLS_FILTER || !name.starts_with("connection.")).then_some(name)
}

/// The filter that counts connections, each once.
const MUTUAL_TLS_FILTER: &str = "identity_authz";

impl Case {
    /// All counters of `filter` that have to stand at the end.
    pub fn counters(&self, filter: &str) -> BTreeMap<String, u64> {
        let mut counters = self.expect.counters();
        if filter == MUTUAL_TLS_FILTER && self.expect.answer.is_some() {
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
    /// The counters that have to stand at the end.
    fn counters(&self) -> BTreeMap<String, u64> {
        if let Some(counters) = &self.counters {
            return counters.clone();
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

/// Reads the suites of a folder in the order of their file names. Cases come with `<file>: <name>` as their name.
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
                bail!("{} expects none or several of answer, envoy and refused", case.name);
            }
            cases.push(case);
        }
    }
    Ok(cases)
}

impl Case {
    /// The plugin configuration as the proxy hands it over.
    pub fn configuration_bytes(&self) -> Result<Vec<u8>> {
        match &self.configuration {
            None => bail!("{} has no configuration", self.name),
            Some(Value::String(text)) => Ok(text.as_bytes().to_vec()),
            Some(value) => Ok(serde_json::to_vec(value)?),
        }
    }
}
