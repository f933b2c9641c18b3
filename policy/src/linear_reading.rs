//! The linear reading of conditions: one pattern after the other, without an index. Tests compare the indexes and the
//! compiled rules with it, and fuzz targets whole configurations. It knows most patterns by their text alone.

mod address;
pub(crate) mod answer;
mod egress;
mod header_glob;
mod matches;
pub(crate) mod metadata;
mod path_template;
mod peer;
pub(crate) mod readings;
pub(crate) mod sorted_json;
pub(crate) mod walk;

use std::any::Any;
use std::borrow::Cow;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::names::MetadataKey;
use crate::attributes::request::Request;
use crate::authz::engine::field::{AnyFieldValues, FieldValues, MatchField};
use crate::authz::fields::header::Header;
use crate::authz::fields::host::Host;
use crate::authz::fields::ip_block::{DestinationIp, IpBlock, RemoteIp, SourceIp};
use crate::authz::fields::metadata::Metadata;
use crate::authz::fields::method::Method;
use crate::authz::fields::namespace::Namespace;
use crate::authz::fields::path::Path;
use crate::authz::fields::port::DestinationPort;
use crate::authz::fields::principal::Principal;
use crate::authz::fields::request_principal::{RequestPrincipal, RequestPrincipalField};
use crate::authz::fields::server_name::ServerName;
use crate::authz::fields::service_account::SourceServiceAccount;
use crate::authz::fields::time::{self, RequestTime};
use crate::authz::fields::trust_domain::TrustDomain;
use crate::baseline::header_field::GlobHeader;
use crate::config::value::Value;
use crate::identity::error::{AttributeError, EvalError};
use crate::matcher::clause::Quantifier;

pub(crate) use matches::Matches;

/// Reports whether a request's value of a field is among `values`.
pub(crate) fn matches(
    values: &dyn AnyFieldValues,
    request: &mut dyn Request,
    of: Quantifier,
) -> Result<bool, EvalError> {
    let any: &dyn Any = values;
    if let Some(blocks) = patterns::<SourceIp>(any) {
        return Ok(contain(blocks, request.source_ip()?));
    }
    if let Some(blocks) = patterns::<RemoteIp>(any) {
        return Ok(contain(blocks, request.remote_ip()?));
    }
    if let Some(blocks) = patterns::<DestinationIp>(any) {
        return Ok(contain(blocks, request.destination_ip()?));
    }
    if let Some(ports) = patterns::<DestinationPort>(any) {
        return Ok(request.destination_port()?.is_some_and(|port| ports.iter().any(|one| one.matches(&port))));
    }
    if let Some(names) = patterns::<ServerName>(any) {
        return Ok(request.server_name()?.is_some_and(|name| readings::server_names(names, name, of)));
    }
    if let Some(windows) = patterns::<RequestTime>(any) {
        let minute = time::minute_of_week(request.time()?);
        return Ok(windows.iter().any(|window| window.contains(minute)));
    }
    if let Some(methods) = patterns::<Method>(any) {
        return Ok(request.method()?.is_some_and(|method| readings::methods(methods, method, of)));
    }
    if let Some(hosts) = patterns::<Host>(any) {
        return Ok(request.host()?.is_some_and(|host| readings::hosts(hosts, host, of)));
    }
    if let Some(paths) = patterns::<Path>(any) {
        return Ok(request.path()?.is_some_and(|path| readings::paths(paths, path, of)));
    }
    if let Some(FieldValues { field, patterns }) = any.downcast_ref::<FieldValues<Header>>() {
        return Ok(readings::header(patterns, &request.header(&field.name())?, of));
    }
    if let Some(FieldValues { field, patterns }) = any.downcast_ref::<FieldValues<GlobHeader>>() {
        let lines: Vec<_> = request.header(&field.name())?.iter().map(|line| line.to_ascii_lowercase()).collect();
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        return Ok(readings::header(patterns, &lines, of));
    }
    if let Some(principals) = patterns::<RequestPrincipalField>(any) {
        let claims = ClaimSource::default().claims(request)?;
        if RequestPrincipal::of(&claims)?.is_none() {
            return Ok(false);
        }
        let values = [claims.value(&["iss"])?, claims.value(&["sub"])?];
        let [issuer, subject] = values.each_ref().map(|one| one.as_deref().and_then(Value::as_str).unwrap_or_default());
        return Ok(principals.iter().any(|pattern| pattern.matches(&(issuer, subject))));
    }
    if let Some(FieldValues { field, patterns }) = any.downcast_ref::<FieldValues<Metadata>>() {
        let value = match &field.key {
            MetadataKey::Claim(names) => ClaimSource::default().claims(request)?.value(names)?.map(Cow::into_owned),
            MetadataKey::Filter { filter, key } => request.metadata()?.value(filter, key)?,
        };
        return Ok(value.is_some_and(|value| match &field.key {
            MetadataKey::Claim(names) => {
                let is_words = **names == [Box::from("scope")] || **names == [Box::from("permission")];
                metadata::lists_claim(patterns, &value, of, is_words)
            }
            MetadataKey::Filter { .. } => patterns.iter().any(|pattern| pattern.matches(&value)),
        }));
    }
    matches_peer(any, request)
}

/// The fields of the peer.
fn matches_peer(values: &dyn Any, request: &mut dyn Request) -> Result<bool, EvalError> {
    let Some(id) = request.peer()?.require_verified()?.id() else { return Ok(false) };
    Ok(if let Some(principals) = patterns::<Principal>(values) {
        principals.iter().any(|pattern| pattern.matches(id))
    } else if let Some(namespaces) = patterns::<Namespace>(values) {
        namespaces.iter().any(|pattern| pattern.matches(id))
    } else if let Some(accounts) = patterns::<SourceServiceAccount>(values) {
        accounts.iter().any(|pattern| pattern.matches(id))
    } else if let Some(domains) = patterns::<TrustDomain>(values) {
        domains.iter().any(|pattern| pattern.matches(id))
    } else {
        return Err(AttributeError { attribute: "the field", status: "it has no linear reading" }.into());
    })
}

fn patterns<F: MatchField>(values: &dyn Any) -> Option<&[F::Pattern]> {
    values.downcast_ref::<FieldValues<F>>().map(|values| values.patterns.as_slice())
}

fn contain(blocks: &[IpBlock], address: Option<std::net::IpAddr>) -> bool {
    address.is_some_and(|address| blocks.iter().any(|block| block.matches(&address)))
}
