//! Who asks: the principals of Envoy's RBAC.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cidr::cidr;
use super::text::{self, quoted, regex};
use super::trust_domain::Mesh;

/// The principals of which one has to hold for `key` to have one of `values`, in a policy of `namespace`.
pub(super) fn principals(key: &str, values: &[String], namespace: &str, mesh: &Mesh) -> Result<Vec<Value>> {
    if let Some(claims) = key.strip_prefix("request.auth.claims") {
        let names =
            claims.strip_prefix('[').and_then(|names| names.strip_suffix(']')).context("a key without brackets")?;
        return Ok(vec![claim(&names.split("][").collect::<Vec<_>>(), values)]);
    }
    match key {
        "request.auth.audiences" => return Ok(vec![claim(&["aud"], values)]),
        "request.auth.presenter" => return Ok(vec![claim(&["azp"], values)]),
        _ => {}
    }
    let values = match key {
        "source.principal" => mesh.principals(values),
        "source.trustDomain" => mesh.trust_domains(values),
        _ => values.to_vec(),
    };
    values.iter().map(|value| principal(key, value, namespace)).collect()
}

fn principal(key: &str, value: &str, namespace: &str) -> Result<Value> {
    if let Some(name) = key.strip_prefix("request.headers[") {
        let name = name.strip_suffix(']').context("a key without brackets")?;
        return Ok(json!({"header": text::header(name, value, false)}));
    }
    Ok(match key {
        "source.principal" => authenticated(text::principal(value)),
        "source.namespace" => {
            let pieces: Vec<_> = value.split('*').map(quoted).collect();
            authenticated(regex(&format!(".*/ns/{}/.*", pieces.join(".*"))))
        }
        "source.serviceAccount" => {
            let (namespace, name) = value.split_once('/').unwrap_or((namespace, value));
            let (namespace, name) = (quoted(namespace), quoted(name));
            authenticated(regex(&format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?")))
        }
        "source.trustDomain" => authenticated(trust_domain(value)),
        "source.ip" => json!({"direct_remote_ip": cidr(value)?}),
        "remote.ip" => json!({"remote_ip": cidr(value)?}),
        "request.auth.principal" => request_principal(value),
        _ => bail!("no principal compares {key}"),
    })
}

fn authenticated(name: Value) -> Value {
    json!({"authenticated": {"principal_name": name}})
}

fn trust_domain(value: &str) -> Value {
    match value.split_once('*') {
        _ if value == "*" => json!({"prefix": "spiffe://"}),
        Some((before, after)) => regex(&format!("spiffe://{}[^/]*{}/.*", quoted(before), quoted(after))),
        None => json!({"prefix": format!("spiffe://{value}/")}),
    }
}

/// Issuer and subject, told apart at the last slash. Without one a prefix is of the issuer, a suffix of the subject.
fn request_principal(value: &str) -> Value {
    let any = || regex(".+");
    let exact = |text: &str| json!({"exact": text});
    let part = |text: &str| match text {
        "*" => any(),
        text => text::matcher(text),
    };
    let (issuer, subject) = match (value.rsplit_once('/'), value.strip_prefix('*'), value.strip_suffix('*')) {
        _ if value == "*" => (any(), any()),
        (Some((issuer, subject)), Some(_), _) => (part(issuer), exact(subject)),
        (None, Some(_), _) => (any(), part(value)),
        (Some((issuer, subject)), None, Some(_)) => (exact(issuer), part(subject)),
        (None, None, Some(_)) => (part(value), any()),
        (split, None, None) => {
            let (issuer, subject) = split.unwrap_or((value, ""));
            (exact(issuer), exact(subject))
        }
    };
    let of_claim = |name: &str, matcher: Value| metadata(&[name], json!({"string_match": matcher}));
    json!({"and_ids": {"ids": [of_claim("iss", issuer), of_claim("sub", subject)]}})
}

/// A claim is a text or a list of which one item has to match.
fn claim(names: &[&str], values: &[String]) -> Value {
    let value = super::one_of(values.iter().map(|value| json!({"string_match": text::matcher(value)})).collect());
    metadata(names, json!({"or_match": {"value_matchers": [{"list_match": {"one_of": value}}, value]}}))
}

fn metadata(names: &[&str], value: Value) -> Value {
    let path: Vec<_> = ["payload"].iter().chain(names).map(|name| json!({"key": name})).collect();
    json!({"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": value}})
}
