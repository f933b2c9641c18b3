//! One whole file for Envoy: `envoy-config/ingress.yaml` with the filters, addresses and folders of a call.

use std::net::IpAddr;

use crate::render::jwt_authn::JwtAuthn;
use crate::render::yaml::{indent, list, scalar, write};

/// The file that explains each setting that the filters depend on.
const INGRESS: &str = include_str!("../../../../envoy-config/ingress.yaml");

/// Addresses and folders of a bootstrap.
#[derive(Clone, Debug)]
pub struct BootstrapSettings {
    /// Address and port on which Envoy listens.
    pub listen: (String, u16),
    /// Host or address and port of the service behind it.
    pub upstream: (String, u16),
    /// Address and port of the admin interface.
    pub admin: (String, u16),
    /// Folder of workload.pem, workload.key and trusted.pem.
    pub certificates: String,
    /// Folder from which Envoy reads the filters, so that they can change while it runs; `None` for filters in the file.
    pub discovery: Option<String>,
}

/// Returns the file; `None` if `envoy-config/ingress.yaml` is no more what this expects.
pub(crate) fn bootstrap(
    header: &str,
    node: &str,
    settings: &BootstrapSettings,
    trust_domains: &[String],
    filters: &str,
    jwt_authn: Option<&JwtAuthn>,
) -> Option<String> {
    let node = scalar(node);
    let (_, body) = INGRESS.split_once("\nadmin:\n")?;
    let (before, after) = body.split_once("          http_filters:\n")?;
    let (_, after) = after.split_once("          - name: envoy.filters.http.router\n")?;
    let mut text = format!(
        "{header}\n# Filters from files need the name of the Envoy that reads them.\nnode: {{id: {node}, cluster: {node}}}\n\nadmin:\n{before}          http_filters:\n{}          - name: envoy.filters.http.router\n{after}",
        indent(filters, 10)
    );
    let socket = |(host, port): &(String, u16)| format!("{{address: {}, port_value: {port}}}", scalar(host));
    let folder = settings.certificates.trim_end_matches('/');
    let domains: Vec<String> = trust_domains
        .iter()
        .map(|domain| format!("- {{san_type: URI, matcher: {{prefix: {}}}}}", scalar(&format!("spiffe://{domain}/"))))
        .collect();
    let is_address = settings.upstream.0.parse::<IpAddr>().is_ok();
    let changes = [
        ("{address: 127.0.0.1, port_value: 9901}", socket(&settings.admin)),
        ("{address: 0.0.0.0, port_value: 8443}", socket(&settings.listen)),
        ("{address: 127.0.0.1, port_value: 8080}", socket(&settings.upstream)),
        ("/etc/sallyport/workload.pem", scalar(&format!("{folder}/workload.pem"))),
        ("/etc/sallyport/workload.key", scalar(&format!("{folder}/workload.key"))),
        ("/etc/sallyport/trusted.pem", scalar(&format!("{folder}/trusted.pem"))),
        ("- {san_type: URI, matcher: {prefix: spiffe://cluster.local/}}", domains.join("\n              ")),
        ("            - name: orders\n", "            - name: upstream\n".to_owned()),
        ("route: {cluster: orders}", "route: {cluster: upstream}".to_owned()),
        (
            "  - name: orders\n    type: STATIC\n",
            format!("  - name: upstream\n    type: {}\n", if is_address { "STATIC" } else { "STRICT_DNS" }),
        ),
        ("cluster_name: orders", "cluster_name: upstream".to_owned()),
    ];
    for (from, to) in changes {
        let (before, after) = text.split_once(from)?;
        text = format!("{before}{to}{after}");
    }
    let clusters: Vec<_> = jwt_authn.iter().flat_map(|jwt_authn| &jwt_authn.clusters).collect();
    if !clusters.is_empty() {
        text.push_str("  # The keys of tokens.\n");
        text.push_str(&indent(&write(&list(clusters.iter().map(|cluster| cluster.node()).collect())), 2));
    }
    Some(text)
}
