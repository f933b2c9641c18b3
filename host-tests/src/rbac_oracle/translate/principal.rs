//! The principals of Envoy's RBAC, which compare attributes of the caller.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cidr::AddressMatcher;
use super::string_matcher::{self, escape_regex, regex};
use super::trust_domain::{Dialect, Mesh};

const DIRECT: AddressMatcher = AddressMatcher { name: "direct_remote_ip", singular: "id", plural: "ids" };
const REMOTE: AddressMatcher = AddressMatcher { name: "remote_ip", singular: "id", plural: "ids" };

/// Returns a principal for each of `values`, in a policy of `namespace`: one of them holds if the attribute `key` has
/// one of the values.
pub(super) fn principals(key: &str, values: &[String], namespace: &str, mesh: &Mesh) -> Result<Vec<Value>> {
    if let Some(claims) = key.strip_prefix("request.auth.claims") {
        let names =
            claims.strip_prefix('[').and_then(|names| names.strip_suffix(']')).context("a key without brackets")?;
        return Ok(vec![claim(&names.split("][").collect::<Vec<_>>(), values, mesh.dialect)]);
    }
    match key {
        "request.auth.audiences" => return Ok(vec![claim(&["aud"], values, mesh.dialect)]),
        "request.auth.presenter" => return Ok(vec![claim(&["azp"], values, mesh.dialect)]),
        _ => {}
    }
    let values = match key {
        "source.principal" => mesh.principals(values),
        "source.trustDomain" => mesh.trust_domains(values),
        _ => values.to_vec(),
    };
    values.iter().map(|value| principal(key, value, namespace, mesh.dialect)).collect()
}

fn principal(key: &str, value: &str, namespace: &str, dialect: Dialect) -> Result<Value> {
    if let Some(name) = key.strip_prefix("request.headers[") {
        let name = name.strip_suffix(']').context("a key without brackets")?;
        return Ok(json!({"header": string_matcher::header(name, value, false)}));
    }
    Ok(match key {
        "source.principal" => authenticated(string_matcher::principal(value)),
        "source.namespace" => {
            let literals: Vec<_> = value.split('*').map(escape_regex).collect();
            authenticated(regex(&format!(".*/ns/{}/.*", literals.join(".*"))))
        }
        "source.serviceAccount" => {
            let (namespace, name) = value.split_once('/').unwrap_or((namespace, value));
            let (namespace, name) = (escape_regex(namespace), escape_regex(name));
            authenticated(regex(&format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?")))
        }
        "source.trustDomain" => authenticated(trust_domain(value)),
        "source.ip" => DIRECT.block(value, dialect)?,
        "remote.ip" => REMOTE.block(value, dialect)?,
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
        Some((before, after)) => regex(&format!("spiffe://{}[^/]*{}/.*", escape_regex(before), escape_regex(after))),
        None => json!({"prefix": format!("spiffe://{value}/")}),
    }
}

/// Returns a matcher for issuer and subject, which the last slash separates. Without a slash, a prefix matches the
/// issuer and a suffix the subject.
fn request_principal(value: &str) -> Value {
    let any = || regex(".+");
    let exact = |text: &str| json!({"exact": text});
    let part = |text: &str| match text {
        "*" => any(),
        text => string_matcher::matcher(text),
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
    let claim_matcher = |name: &str, matcher: Value| metadata(&[name], json!({"string_match": matcher}));
    json!({"and_ids": {"ids": [claim_matcher("iss", issuer), claim_matcher("sub", subject)]}})
}

/// Returns a matcher for a claim that is a string or a list with a matching item.
fn claim(names: &[&str], values: &[String], dialect: Dialect) -> Value {
    let mut matchers: Vec<_> =
        values.iter().map(|value| json!({"string_match": string_matcher::matcher(value)})).collect();
    if dialect == Dialect::Sallyport {
        matchers.extend(values.iter().flat_map(|value| other_claim_matchers(value)));
    }
    let value = super::any_of(matchers);
    metadata(names, json!({"or_match": {"value_matchers": [{"list_match": {"one_of": value}}, value]}}))
}

/// Returns matchers for the claims that are not strings and match `value`. The random claims have whole numbers only.
fn other_claim_matchers(value: &str) -> Vec<Value> {
    let any_number = json!({"double_match": {"range": {"start": -1e15, "end": 1e15}}});
    match (value, value.parse::<f64>()) {
        ("*", _) => vec![any_number, json!({"bool_match": true}), json!({"bool_match": false})],
        ("true", _) => vec![json!({"bool_match": true})],
        ("false", _) => vec![json!({"bool_match": false})],
        (_, Ok(number)) => vec![json!({"double_match": {"exact": number}})],
        _ => Vec::new(),
    }
}

fn metadata(names: &[&str], value: Value) -> Value {
    let path: Vec<_> = ["payload"].iter().chain(names).map(|name| json!({"key": name})).collect();
    json!({"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": value}})
}
