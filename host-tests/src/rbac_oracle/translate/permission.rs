//! The permissions of Envoy's RBAC, which compare attributes of the request.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::attribute::{HOST, METHOD, PATH};
use super::cidr::AddressMatcher;
use super::string_matcher;
use super::trust_domain::{Dialect, Mesh};

const DESTINATION: AddressMatcher = AddressMatcher { name: "destination_ip", singular: "rule", plural: "rules" };

/// Returns a permission for each of `values`: one of them holds if the attribute `key` has one of the values.
pub(super) fn permissions(key: &str, values: &[String], mesh: &Mesh) -> Result<Vec<Value>> {
    if let Some(filter) = key.strip_prefix("experimental.") {
        return Ok(vec![metadata(filter, values)?]);
    }
    values.iter().map(|value| permission(key, value, mesh.dialect)).collect()
}

fn permission(key: &str, value: &str, dialect: Dialect) -> Result<Value> {
    Ok(match key {
        HOST => json!({"header": string_matcher::header(HOST, value, true)}),
        METHOD => json!({"header": string_matcher::header(METHOD, value, false)}),
        PATH if value.contains("{*}") || value.contains("{**}") => template(value),
        PATH => json!({"url_path": {"path": string_matcher::matcher(value)}}),
        "destination.port" => json!({"destination_port": value.parse::<u16>()?}),
        "destination.ip" => DESTINATION.block(value, dialect)?,
        "connection.sni" => json!({"requested_server_name": string_matcher::matcher(value)}),
        _ => bail!("no permission compares {key}"),
    })
}

/// Returns a path template. Envoy writes `*` for `{*}` and `**` for `{**}`.
fn template(value: &str) -> Value {
    let template = value.replace("{*}", "*").replace("{**}", "**");
    json!({"uri_template": {
        "name": "uri-template",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
            "path_template": template
        }
    }})
}

/// Returns a matcher for metadata. A value in brackets is an item of a list.
fn metadata(key: &str, values: &[String]) -> Result<Value> {
    let (filter, name) = key.strip_suffix(']').and_then(|key| key.split_once('[')).context("a key without brackets")?;
    let matchers: Vec<_> = values
        .iter()
        .map(|value| match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
            Some(item) => json!({"list_match": {"one_of": {"string_match": string_matcher::matcher(item)}}}),
            None => json!({"string_match": string_matcher::matcher(value)}),
        })
        .collect();
    Ok(json!({"metadata": {"filter": filter, "path": [{"key": name}], "value": super::any_of(matchers)}}))
}
