//! Wasm filters of one layer among the filters of the other.

use crate::discovery::Discovered;
use crate::finding::Finding;
use crate::lints::{Lint, Linter, warning};
use crate::plugin::{find_plugins, layer_of_type, named_filter, wasm_type};
use crate::settings::Layer;
use crate::tree::Node;

pub(super) const FILTER_TYPE: Lint = Lint {
    code: "filter-type",
    title: "A filter has the type of the other layer, HTTP among network filters or the other way round, so Envoy refuses it",
    fix: "write the type of the list that the filter stands in, and give connections and requests a filter each",
};

pub(super) fn lint(linter: &Linter<'_>) -> Vec<Finding> {
    let of_envoy_filters = linter.contents.resources.iter().filter(|one| one.kind() == Some("EnvoyFilter"));
    let roots = linter.contents.others.iter().copied().chain(of_envoy_filters.map(|one| one.node));
    let mut findings = Vec::new();
    let mut open: Vec<&Node> = roots.collect();
    while let Some(node) = open.pop() {
        for entry in node.entries() {
            let layer = match entry.key.as_str() {
                "http_filters" | "httpFilters" => Layer::Http,
                "filters" => Layer::Tcp,
                _ => continue,
            };
            findings.extend(entry.value.items().iter().flat_map(|member| of_member(linter, member, layer)));
        }
        let patched = match node.text_at(&["applyTo"]) {
            Some("HTTP_FILTER") => Some(Layer::Http),
            Some("NETWORK_FILTER") => Some(Layer::Tcp),
            _ => None,
        };
        if let Some((layer, value)) = patched.zip(node.at(&["patch", "value"])) {
            findings.extend(of_member(linter, value, layer));
        }
        open.extend(node.items());
        open.extend(node.entries().iter().map(|entry| &entry.value));
    }
    findings
}

/// Returns the type of a filter in a list of the other layer, and those by which it takes its configuration.
fn of_member(linter: &Linter<'_>, member: &Node, layer: Layer) -> Vec<Finding> {
    let any = |keys: [&str; 2]| keys.iter().find_map(|key| member.get(key));
    let is_ours = || {
        let source = linter.project.sources().get(member.span.source);
        source.is_some_and(|source| !find_plugins(member, member.span.source, source).is_empty())
    };
    let carried = any(["typed_config", "typedConfig"]).and_then(wasm_type);
    if let Some((_, url)) = carried.filter(|(own, _)| *own != layer && is_ours()) {
        let message = format!(
            "this is a filter for {}, in a list of filters for {}: Envoy refuses the configuration",
            decided(other(layer)),
            decided(layer)
        );
        return vec![warning(FILTER_TYPE, url.span, message, format!("write {}", written(layer)))];
    }
    let discovery = any(["config_discovery", "configDiscovery"]);
    let Some(discovery) = discovery.filter(|_| member.get("name").and_then(|name| named_filter(&[name])).is_some())
    else {
        return Vec::new();
    };
    let urls = ["type_urls", "typeUrls"].iter().find_map(|key| discovery.get(key)).map_or(&[][..], Node::items);
    let wrong = urls.iter().filter(|url| url.as_str().and_then(layer_of_type) == Some(other(layer)));
    let what = match layer {
        Layer::Http => "Envoy refuses the listener",
        Layer::Tcp => "Envoy refuses whatever the file has, and closes every connection",
    };
    let finding = |url: &Node| {
        let message = format!(
            "this asks for a filter for {}, in a list of filters for {}: {what}",
            decided(other(layer)),
            decided(layer)
        );
        warning(FILTER_TYPE, url.span, message, format!("write {}", written(layer)))
    };
    wrong.map(finding).collect()
}

/// Returns a finding where a file that Envoy watches has a type that the filter which takes it does not list.
pub(super) fn of_resource(resource: &Node, taker: &Discovered<'_>, place: &str) -> Option<Finding> {
    let config = ["typed_config", "typedConfig"].iter().find_map(|key| resource.get(key))?;
    let (layer, url) = wasm_type(config)?;
    let listed: Vec<&str> = taker.type_urls.iter().filter_map(Node::as_str).collect();
    let own = name_of(url.as_str()?);
    if listed.is_empty() || listed.iter().any(|one| name_of(one) == own) {
        return None;
    }
    let stays = match taker.has_default {
        true => "its default_config stays in place, whatever that lets through",
        false => "the filter stays without a configuration",
    };
    let message = format!(
        "this is a filter for {}, and {place} takes {} alone: Envoy refuses the file, and {stays}",
        decided(layer),
        listed.iter().map(|one| format!("`{}`", name_of(one))).collect::<Vec<_>>().join(" and ")
    );
    let help = format!(
        "write {}, as sallyport render --for ecds --layer {} does, or list this type in type_urls of a filter for {}",
        written(other(layer)),
        if layer == Layer::Http { "tcp" } else { "http" },
        decided(layer)
    );
    Some(warning(FILTER_TYPE, url.span, message, help))
}

fn other(layer: Layer) -> Layer {
    match layer {
        Layer::Http => Layer::Tcp,
        Layer::Tcp => Layer::Http,
    }
}

fn decided(layer: Layer) -> &'static str {
    match layer {
        Layer::Http => "requests",
        Layer::Tcp => "connections",
    }
}

/// Returns the type URL of the Wasm filter of a layer.
fn written(layer: Layer) -> String {
    let kind = if layer == Layer::Http { "http" } else { "network" };
    format!("type.googleapis.com/envoy.extensions.filters.{kind}.wasm.v3.Wasm")
}

/// Returns a type without the host of its URL, which Envoy does not compare.
fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}
