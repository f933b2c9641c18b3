//! `when` of an AuthorizationPolicy's rule.

use crate::attributes::names::MetadataKey;
use crate::authz::engine::rule::Predicate;
use crate::authz::fields::reader::{ReadNamedValues, ReadValues, Registry};
use crate::authz::resources::field_reader::{MAX_RULES, RuleFieldReader};
use crate::config::error_code::ErrorCode;
use crate::config::reader::{ConfigNode, closest_match, one_of};

/// The keys of `when` that take no name in brackets (istio/istio `pilot/pkg/security/authz/model/model.go`), and
/// `request.time`, which Istio does not have.
pub(crate) const KEYS: [&str; 13] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "request.time",
];

/// Reads `when`: all of its conditions have to hold.
pub(crate) fn read_conditions(node: &ConfigNode<'_>, reader: &RuleFieldReader<'_>) -> Option<Vec<Predicate>> {
    let mut complete = true;
    let mut predicates = Vec::new();
    for item in node.non_empty_list(MAX_RULES, "to mean always")? {
        let Some(condition) = item.object() else {
            complete = false;
            continue;
        };
        let key = condition.required("key", "name what is compared, as in source.principal");
        if !condition.is_empty() && condition.optional("values").is_none() && condition.optional("notValues").is_none()
        {
            item.error_as(ErrorCode::MissingField, "has neither values nor notValues, write what is compared");
            complete = false;
        }
        let key = key.as_ref().and_then(|key| read_key(key, reader.registry));
        complete &= key.is_some_and(|key| {
            reader.read_pair(&condition, ["values", "notValues"], &mut predicates, &|node, context| match &key {
                Key::Plain(read) => read(node, context),
                Key::Named(read) => read(node, context),
            })
        });
        condition.finish();
    }
    complete.then_some(predicates)
}

/// The reader of a condition's values, by its key.
enum Key {
    Plain(ReadValues),
    Named(Box<ReadNamedValues<'static>>),
}

fn read_key(node: &ConfigNode<'_>, registry: &Registry) -> Option<Key> {
    let text = node.non_empty_str()?;
    let named = registry.named_conditions.iter().find_map(|parse| parse(text));
    let found = match named {
        Some(read) => read.map(Key::Named),
        None => match registry.conditions.iter().find(|condition| condition.key == text) {
            Some(condition) => Ok(Key::Plain(condition.read)),
            None => Err(unknown_key(text, registry)),
        },
    };
    found.map_err(|problem| node.error(problem)).ok()
}

/// Keys that Istio has taken back (istio/istio `pkg/config/security/security.go`).
const TAKEN_BACK: [&str; 4] = ["destination.labels", "destination.namespace", "destination.name", "destination.user"];

/// The error for a key that a filter does not read.
fn unknown_key(text: &str, registry: &Registry) -> String {
    let is_known = match MetadataKey::parse(text) {
        Some(Err(problem)) => return problem,
        Some(Ok(_)) => true,
        None => KEYS.contains(&text),
    };
    if is_known && registry.source.is_empty() {
        return format!("this filter looks at what clients announce, use identity-authz for `{text}`");
    }
    let plain = text.split('[').next().unwrap_or(text);
    if TAKEN_BACK.contains(&plain) {
        return format!("Istio has taken `{plain}` back; write the policy in that namespace, with a selector");
    }
    let keys = || KEYS.into_iter().chain(["request.headers[user-agent]", "request.auth.claims[group]"]);
    match closest_match(text, keys()) {
        Some(name) => format!("unknown key `{text}`, did you mean \"{name}\"?"),
        None => format!("unknown key `{text}`, expected {}", one_of(keys())),
    }
}
