//! Resources near the sizes that Kubernetes takes.

use crate::finding::Finding;
use crate::json::write_json;
use crate::lints::{Lint, Linter, warning};
use crate::resource::Resource;
use crate::tree::Node;

pub(super) const NEAR_SIZE_LIMIT: Lint = Lint {
    code: "near-size-limit",
    title: "A resource is near the size that Kubernetes takes, or beyond it",
    fix: "write the policies of one workload alone, as `sallyport render` does, or apply with `kubectl apply --server-side`",
};

/// Bytes of all annotations of one object (Kubernetes, `TotalAnnotationSizeLimitB`). `kubectl apply` without
/// `--server-side` keeps the whole object in one.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The annotation in which `kubectl apply` keeps the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Bytes of the data of a ConfigMap (Kubernetes, `MaxSecretSize`).
const CONFIG_MAP_LIMIT: usize = 1024 * 1024;

/// Bytes of one request to etcd, by its default `--max-request-bytes`.
const ETCD_LIMIT: usize = 1_572_864;

/// Kinds that carry configurations of the filters, or policies.
const KINDS: [&str; 9] = [
    "WasmPlugin",
    "TrafficExtension",
    "EnvoyExtensionPolicy",
    "EnvoyFilter",
    "AuthorizationPolicy",
    "ServiceEntry",
    "CiliumNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "ConfigMap",
];

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let of_kind =
        |resource: &&Resource<'_>| !resource.is_list && resource.kind().is_some_and(|kind| KINDS.contains(&kind));
    linter.contents.resources.iter().filter(of_kind).filter_map(near_limit).collect()
}

fn near_limit(resource: &Resource<'_>) -> Option<Finding> {
    let mut json = String::new();
    write_json(resource.node, &mut json);
    if !is_near(json.len(), ANNOTATIONS_LIMIT) {
        return None;
    }
    let data = ["data", "binaryData"].iter().filter_map(|key| resource.node.get(key)).flat_map(Node::entries);
    let data: usize = data.map(|entry| entry.key.len() + entry.value.as_str().map_or(0, str::len)).sum();
    let is_config_map = resource.kind() == Some("ConfigMap");
    if is_config_map && !carries_filter(&json) {
        return None;
    }
    let (size, limit, what) = if is_near(json.len(), ETCD_LIMIT) {
        (json.len(), ETCD_LIMIT, "etcd takes requests of")
    } else if is_config_map && is_near(data, CONFIG_MAP_LIMIT) {
        (data, CONFIG_MAP_LIMIT, "the data of a ConfigMap has at most")
    } else {
        let applied = annotations(resource.node) + LAST_APPLIED.len() + escaped(&json) + 1;
        if !is_near(applied, ANNOTATIONS_LIMIT) {
            return None;
        }
        (applied, ANNOTATIONS_LIMIT, "`kubectl apply` keeps the object in an annotation, and all of them have at most")
    };
    let relation = if size > limit { "is beyond a limit" } else { "is near a limit" };
    let message = format!("with {size} bytes this {relation}: {what} {limit} bytes");
    let help = match limit {
        ANNOTATIONS_LIMIT => NEAR_SIZE_LIMIT.fix,
        _ => "write the policies of one workload alone, as sallyport render does",
    };
    Some(warning(NEAR_SIZE_LIMIT, resource.span(), message, help))
}

fn is_near(size: usize, limit: usize) -> bool {
    size >= limit / 10 * 9
}

/// Returns the bytes of a text as kubectl writes it: `<`, `>` and `&` as six characters each.
fn escaped(json: &str) -> usize {
    json.bytes().map(|byte| if matches!(byte, b'<' | b'>' | b'&') { 6 } else { 1 }).sum()
}

/// Returns the bytes of the annotations, without that of an earlier `kubectl apply`.
fn annotations(resource: &Node) -> usize {
    let annotations = resource.at(&["metadata", "annotations"]).map_or(&[][..], Node::entries);
    let others = annotations.iter().filter(|entry| entry.key != LAST_APPLIED);
    others.map(|entry| entry.key.len() + entry.value.as_str().map_or(0, str::len)).sum()
}

/// Reports whether a text names one of the filters.
fn carries_filter(json: &str) -> bool {
    crate::settings::Filter::ALL
        .iter()
        .any(|filter| json.contains(filter.name()) || json.contains(&filter.name().replace('-', "_")))
}
