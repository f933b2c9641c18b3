//! Providers of tokens: the `jwtRules` of a RequestAuthentication.

use sallyport_policy::ErrorCode;

use crate::finding::{Finding, Severity};
use crate::render::yaml::{entry, list, node, object, text};
use crate::tree::{Entry, Node, Value};

/// The keys of a rule (istio/api `security/v1beta1/request_authentication.proto`).
const KEYS: [&str; 14] = [
    "audiences",
    "forwardOriginalToken",
    "fromCookies",
    "fromHeaders",
    "fromParams",
    "issuer",
    "jwks",
    "jwksUri",
    "jwks_uri",
    "outputClaimToHeaders",
    "outputPayloadToHeader",
    "presence",
    "spaceDelimitedClaims",
    "timeout",
];

/// Time that fetching keys may take where a rule does not say.
const FETCH_TIMEOUT: &str = "5s";

/// Time for which fetched keys are used.
const CACHE_DURATION: &str = "300s";

/// Issuer of tokens.
pub(crate) struct Provider {
    /// Name in the filter: `NAMESPACE/NAME/INDEX` of the rule.
    pub(crate) name: String,
    pub(crate) issuer: String,
    /// True if a request without its token is refused.
    pub(crate) is_required: bool,
    /// Claims that are lists of words, if the rule says so.
    pub(crate) space_delimited: Option<Vec<String>>,
    /// URI of its keys, unless they are given.
    pub(crate) cluster: Option<Cluster>,
    /// The fields that only the rule decides.
    fields: Vec<Entry>,
}

/// Host from which keys are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// `jwks-HOST-PORT`.
    pub(crate) name: String,
    host: String,
    port: u16,
    is_tls: bool,
}

impl Cluster {
    /// Reads the host of an HTTP or HTTPS URI; `None` if it has none.
    fn of_uri(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let (is_tls, usual) = match scheme {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return None,
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, usual),
        };
        let is_host =
            |host: &str| !host.is_empty() && host.chars().all(|one| one.is_ascii_alphanumeric() || ".-_".contains(one));
        is_host(host).then(|| Self { name: format!("jwks-{host}-{port}"), host: host.to_owned(), port, is_tls })
    }

    /// Returns the cluster for a bootstrap.
    pub(crate) fn node(&self) -> Node {
        let address = object([("address", text(&self.host)), ("port_value", node(Value::Whole(self.port.into())))]);
        let endpoint = object([("endpoint", object([("address", object([("socket_address", address)]))]))]);
        let endpoints = list(vec![object([("lb_endpoints", list(vec![endpoint]))])]);
        let mut cluster = vec![
            entry("name", text(&self.name)),
            entry("type", text("STRICT_DNS")),
            entry("load_assignment", object([("cluster_name", text(&self.name)), ("endpoints", endpoints)])),
        ];
        if self.is_tls {
            let authorities = object([("filename", text("/etc/ssl/certs/ca-certificates.crt"))]);
            let name = object([("san_type", text("DNS")), ("matcher", object([("exact", text(&self.host))]))]);
            let validation = object([("trusted_ca", authorities), ("match_typed_subject_alt_names", list(vec![name]))]);
            let context = object([
                ("@type", text("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")),
                ("sni", text(&self.host)),
                ("common_tls_context", object([("validation_context", validation)])),
            ]);
            let socket = object([("name", text("envoy.transport_sockets.tls")), ("typed_config", context)]);
            cluster.push(entry("transport_socket", socket));
        }
        node(Value::Object(cluster))
    }
}

impl Provider {
    /// Reads a rule; `None` if `findings` got faults.
    pub(crate) fn read(name: &str, rule: &Node, findings: &mut Vec<Finding>) -> Option<Self> {
        let before = findings.len();
        for entry in rule.entries().iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
            let message = format!("unknown field `{}` of a rule for tokens", entry.key);
            let help = "remove the key, or write the one that is meant";
            findings
                .push(Finding { span: Some(entry.key_span), ..fault(ErrorCode::UnknownField, message, help, rule) });
        }
        let (mut fields, mut cluster) = (Vec::new(), None);
        match keys(rule) {
            Ok((keys, of_keys)) => {
                fields.push(keys);
                cluster = of_keys;
            }
            Err(finding) => findings.push(finding),
        }
        fields.extend(fields_of(rule));
        let words = rule
            .get("spaceDelimitedClaims")
            .map(|words| words.items().iter().filter_map(Node::as_str).map(str::to_owned).collect());
        let provider = Self {
            name: name.to_owned(),
            issuer: rule.text_at(&["issuer"]).unwrap_or_default().to_owned(),
            is_required: rule.text_at(&["presence"]) == Some("REQUIRED"),
            space_delimited: words,
            cluster,
            fields,
        };
        (findings.len() == before).then_some(provider)
    }

    /// Returns the provider, which keeps the payload of a valid token under `metadata_key`.
    pub(crate) fn node(&self, metadata_key: &str, space_delimited: &[String]) -> Node {
        let mut entries = Vec::new();
        if !self.issuer.is_empty() {
            entries.push(entry("issuer", text(&self.issuer)));
        }
        entries.extend(self.fields.iter().cloned());
        entries.push(entry("payload_in_metadata", text(metadata_key)));
        let claims = list(space_delimited.iter().map(text).collect());
        if !space_delimited.is_empty() {
            entries.push(entry("normalize_payload_in_metadata", object([("space_delimited_claims", claims)])));
        }
        node(Value::Object(entries))
    }
}

fn fault(code: ErrorCode, message: String, help: &str, at: &Node) -> Finding {
    Finding {
        severity: Severity::Error,
        code: code.as_str().to_owned(),
        message,
        help: help.to_owned(),
        span: Some(at.first_span()),
    }
}

/// Returns the field with the keys of an issuer, or with the address from which they are fetched.
fn keys(rule: &Node) -> Result<(Entry, Option<Cluster>), Finding> {
    if let Some(jwks) = rule.text_at(&["jwks"]) {
        return Ok((entry("local_jwks", object([("inline_string", text(jwks))])), None));
    }
    let Some(address) = rule.get("jwksUri").or_else(|| rule.get("jwks_uri")) else {
        return Err(fault(
            ErrorCode::MissingField,
            "`jwksUri` is missing, and Envoy does not ask the issuer where its keys are, as istiod does".to_owned(),
            "write jwksUri, as the issuer's .well-known/openid-configuration has it, or jwks",
            rule,
        ));
    };
    let uri = address.as_str().unwrap_or_default();
    let cluster = Cluster::of_uri(uri).ok_or_else(|| {
        let message = format!("`{uri}` is no address of keys");
        fault(ErrorCode::InvalidValue, message, "write it as in https://login.example/keys", address)
    })?;
    let timeout = rule.text_at(&["timeout"]).unwrap_or(FETCH_TIMEOUT);
    let http_uri = object([("uri", text(uri)), ("cluster", text(&cluster.name)), ("timeout", text(timeout))]);
    let remote = object([("http_uri", http_uri), ("cache_duration", text(CACHE_DURATION))]);
    Ok((entry("remote_jwks", remote), Some(cluster)))
}

/// Returns the fields that have another name in Envoy and the same meaning.
fn fields_of(rule: &Node) -> Vec<Entry> {
    const SAME: [(&str, &str); 5] = [
        ("audiences", "audiences"),
        ("fromParams", "from_params"),
        ("fromCookies", "from_cookies"),
        ("forwardOriginalToken", "forward"),
        ("outputPayloadToHeader", "forward_payload_header"),
    ];
    let renamed = |from: &str, names: [(&str, &str); 2]| {
        let item = |item: &Node| {
            let values = names.iter().filter_map(|(from, to)| Some(entry(to, item.get(from)?.clone())));
            node(Value::Object(values.collect()))
        };
        Some(list(rule.get(from)?.items().iter().map(item).collect()))
    };
    let headers = renamed("fromHeaders", [("name", "name"), ("prefix", "value_prefix")]);
    let claims = renamed("outputClaimToHeaders", [("header", "header_name"), ("claim", "claim_name")]);
    let same = SAME.iter().filter_map(|(from, to)| Some(entry(to, rule.get(from)?.clone())));
    let lists = [("from_headers", headers), ("claim_to_headers", claims)];
    same.chain(lists.into_iter().filter_map(|(key, list)| Some(entry(key, list?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_of_keys_is_named_after_its_host() {
        let name = |uri| Cluster::of_uri(uri).map(|cluster| (cluster.name, cluster.is_tls));
        assert_eq!(name("https://login.example/keys"), Some(("jwks-login.example-443".to_owned(), true)));
        assert_eq!(name("http://login:8080?a"), Some(("jwks-login-8080".to_owned(), false)));
        for wrong in ["login.example/keys", "ftp://a/", "https:///keys", "https://a:b/", "https://user@a/"] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }
}
