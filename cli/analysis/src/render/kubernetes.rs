//! Resources that put the filters into a mesh or a gateway of Kubernetes.

use crate::render::configuration::FilterConfiguration;
use crate::render::envoy::names;
use crate::render::yaml::{entry, list, node, object, text, write};
use crate::render::{Place, RenderSettings, RenderedFile};
use crate::settings::{Filter, Layer, Workload};
use crate::tree::{Entry, Node, Value};

/// The longest name of an object.
const MAX_NAME: usize = 253;

/// Returns the files: one resource for each filter, or one for all of Envoy Gateway.
///
/// # Errors
///
/// A flag is missing.
pub(crate) fn files(
    configurations: &[FilterConfiguration],
    workload: Option<&Workload>,
    settings: &RenderSettings,
    header: &str,
) -> Result<Vec<RenderedFile>, String> {
    let place = settings.place.name();
    let workload = workload.ok_or_else(|| format!("--for {place} needs --workload"))?;
    let image = settings.image.as_deref().ok_or_else(|| format!("--for {place} needs --image"))?;
    let image = |filter: Filter| image_of(image, filter, configurations.len());
    if settings.place == Place::EnvoyGateway {
        return envoy_extension_policy(configurations, workload, settings, header, &image).map(|file| vec![file]);
    }
    let file = |one: &FilterConfiguration| {
        let comment = one.summary(Some(&workload.to_string()));
        let resource = istio(one, workload, settings, &image(one.filter)?);
        Ok(RenderedFile {
            name: format!("{}.yaml", one.filter.name()),
            text: format!("{header}# {comment}\n{}", write(&resource)),
        })
    };
    configurations.iter().map(file).collect()
}

/// Returns the image of a filter: the one of the flag or, where several filters are rendered, that below it.
fn image_of(image: &str, filter: Filter, filters: usize) -> Result<String, String> {
    let image = image.strip_prefix("oci://").unwrap_or(image);
    let name = image.rsplit('/').next().unwrap_or(image);
    match (filters, name.contains(['@', ':'])) {
        (1, _) => Ok(image.to_owned()),
        (_, false) => Ok(format!("{}/{}", image.trim_end_matches('/'), filter.name())),
        (_, true) => Err(format!(
            "--image {image} is one image and {filters} filters are rendered; leave out its tag or digest, so that /{} and the others stand below it, or render each filter with a configuration file of its own",
            filter.name()
        )),
    }
}

/// Returns a WasmPlugin or a TrafficExtension (`extensions.istio.io/v1alpha1`).
fn istio(one: &FilterConfiguration, workload: &Workload, settings: &RenderSettings, image: &str) -> Node {
    let kind = match settings.place {
        Place::WasmPlugin => "WasmPlugin",
        _ => "TrafficExtension",
    };
    let mut spec = target(workload);
    // A sidecar has a listener for each direction; gateways and waypoints have one, which no mode names.
    if workload.gateway.is_none() && workload.labels.is_some() {
        let mode = if one.filter == Filter::EgressAllowlist { "CLIENT" } else { "SERVER" };
        spec.push(entry("match", list(vec![object([("mode", text(mode))])])));
    }
    spec.push(entry("phase", text("AUTHZ")));
    // The higher number comes first.
    let priority = if one.filter == Filter::BaselineDeny { 20 } else { 10 };
    spec.push(entry("priority", node(Value::Whole(priority))));
    let plugin = [
        entry("url", text(format!("oci://{image}"))),
        entry("pluginName", text(names(one.filter).0)),
        entry("type", text(if settings.layer == Layer::Tcp { "NETWORK" } else { "HTTP" })),
        entry("failStrategy", text("FAIL_RELOAD")),
        entry("pluginConfig", one.root.clone()),
    ];
    match settings.place {
        Place::WasmPlugin => spec.extend(plugin),
        _ => spec.push(entry("wasm", node(Value::Object(plugin.into())))),
    }
    object([
        ("apiVersion", text("extensions.istio.io/v1alpha1")),
        ("kind", text(kind)),
        ("metadata", metadata(&format!("{}-{}", one.filter.name(), short_name(workload)), workload)),
        ("spec", node(Value::Object(spec))),
    ])
}

/// Returns the keys that select a workload.
fn target(workload: &Workload) -> Vec<Entry> {
    let reference = |group: &str, kind: &str, name: &str| {
        let reference = object([("group", text(group)), ("kind", text(kind)), ("name", text(name))]);
        vec![entry("targetRefs", list(vec![reference]))]
    };
    match (&workload.gateway, &workload.labels, &workload.service) {
        (Some(gateway), _, _) => reference("gateway.networking.k8s.io", "Gateway", gateway),
        (None, Some(labels), _) if !labels.is_empty() => {
            let labels = labels.iter().map(|(key, value)| entry(key, text(value))).collect();
            vec![entry("selector", object([("matchLabels", node(Value::Object(labels)))]))]
        }
        (None, _, Some(service)) => reference("", "Service", service),
        (None, _, None) => Vec::new(),
    }
}

/// Returns an EnvoyExtensionPolicy (`gateway.envoyproxy.io/v1alpha1`) with the filters in their order.
fn envoy_extension_policy(
    configurations: &[FilterConfiguration],
    workload: &Workload,
    settings: &RenderSettings,
    header: &str,
    image: &dyn Fn(Filter) -> Result<String, String>,
) -> Result<RenderedFile, String> {
    let gateway = workload.gateway.as_deref().ok_or(
        "--for envoy-gateway needs --workload NAMESPACE and --gateway NAME: an EnvoyExtensionPolicy is for a Gateway",
    )?;
    if settings.layer == Layer::Tcp {
        return Err("--layer tcp: Envoy Gateway has no Wasm filters for connections".to_owned());
    }
    let order = |filter| usize::from(filter != Filter::BaselineDeny);
    let mut ordered: Vec<&FilterConfiguration> = configurations.iter().collect();
    ordered.sort_by_key(|one| order(one.filter));
    let filter = |one: &&FilterConfiguration| -> Result<Node, String> {
        let code = [("type", text("Image")), ("image", object([("url", text(image(one.filter)?))]))];
        Ok(object([
            ("name", text(one.filter.name())),
            ("rootID", text(names(one.filter).0)),
            ("code", object(code)),
            ("failOpen", node(Value::Bool(false))),
            ("config", one.root.clone()),
        ]))
    };
    let wasm = ordered.iter().map(filter).collect::<Result<Vec<_>, _>>()?;
    let reference = [("group", text("gateway.networking.k8s.io")), ("kind", text("Gateway")), ("name", text(gateway))];
    let resource = object([
        ("apiVersion", text("gateway.envoyproxy.io/v1alpha1")),
        ("kind", text("EnvoyExtensionPolicy")),
        ("metadata", metadata(&format!("sallyport-{}", short_name(workload)), workload)),
        ("spec", object([("targetRefs", list(vec![object(reference)])), ("wasm", list(wasm))])),
    ]);
    let comments: String =
        ordered.iter().map(|one| format!("# {}\n", one.summary(Some(&workload.to_string())))).collect();
    Ok(RenderedFile {
        name: "envoy-extension-policy.yaml".to_owned(),
        text: format!("{header}{comments}{}", write(&resource)),
    })
}

fn metadata(name: &str, workload: &Workload) -> Node {
    let name: String = name.chars().take(MAX_NAME).collect();
    object([("name", text(name.trim_end_matches(['-', '.']))), ("namespace", text(&workload.namespace))])
}

/// Returns a name for the workload of the characters that names of objects have.
fn short_name(workload: &Workload) -> String {
    let label = workload.labels.iter().flatten().map(|(_, value)| value).next();
    let name = workload.gateway.as_ref().or(label).or(workload.service.as_ref()).unwrap_or(&workload.namespace);
    let character = |one: char| match one.to_ascii_lowercase() {
        one if one.is_ascii_alphanumeric() => one,
        _ => '-',
    };
    name.chars().map(character).collect()
}
