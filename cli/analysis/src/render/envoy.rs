//! Filters as Envoy's configuration has them.

use crate::render::RenderedFile;
use crate::render::configuration::FilterConfiguration;
use crate::render::jwt_authn::JwtAuthn;
use crate::render::yaml::{indent, scalar, write};
use crate::settings::{Filter, Layer};

const WASM_HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const WASM_NETWORK: &str = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm";
const JWT_AUTHN: &str = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";

/// Filter of a listener.
pub(crate) struct Extension {
    /// Name, as in `sallyport.identity_authz`.
    pub(crate) name: &'static str,
    /// Name of its file for extension discovery, without the ending.
    pub(crate) file: &'static str,
    /// Type URL of its configuration.
    type_url: &'static str,
    /// Its configuration with `@type`.
    typed_config: String,
    /// What a reader of the file has to know.
    comments: Vec<String>,
}

impl Extension {
    /// Returns a Wasm filter.
    pub(crate) fn wasm(
        configuration: &FilterConfiguration,
        layer: Layer,
        modules: &str,
        workload: Option<&str>,
    ) -> Self {
        let (name, file) = names(configuration.filter);
        let type_url = match layer {
            Layer::Http => WASM_HTTP,
            Layer::Tcp => WASM_NETWORK,
        };
        let module = scalar(&format!("{}/{file}.wasm", modules.trim_end_matches('/')));
        let plugin = name.trim_start_matches("sallyport.");
        let value = indent(&write(&configuration.root), 6);
        let typed_config = format!(
            r#""@type": {type_url}
config:
  name: {plugin}
  vm_config:
    vm_id: {name}
    runtime: envoy.wasm.runtime.v8
    code: {{local: {{filename: {module}}}}}
  failure_policy: FAIL_RELOAD
  configuration:
    "@type": type.googleapis.com/google.protobuf.Struct
    value:
{value}"#
        );
        Self { name, file, type_url, typed_config, comments: vec![configuration.summary(workload)] }
    }

    /// Returns the filter that validates tokens.
    pub(crate) fn jwt_authn(jwt_authn: &JwtAuthn, workload: Option<&str>) -> Self {
        let mut comments = vec![jwt_authn.summary(workload)];
        for cluster in &jwt_authn.clusters {
            comments.push(format!("Keys are fetched from the cluster {}, which Envoy needs:", cluster.name));
            comments.extend(write(&cluster.node()).lines().map(|line| format!("  {line}")));
        }
        Self {
            name: "sallyport.jwt_authn",
            file: "jwt-authn",
            type_url: JWT_AUTHN,
            typed_config: jwt_authn.typed_config.clone(),
            comments,
        }
    }

    /// Returns the comments, each line with its sign.
    pub(crate) fn comments(&self) -> String {
        self.comments.iter().map(|line| format!("# {line}\n")).collect()
    }

    /// Returns it as an item of a list of filters.
    pub(crate) fn item(&self) -> String {
        let Self { name, typed_config, .. } = self;
        format!("{}- name: {name}\n  typed_config:\n{}", self.comments(), indent(typed_config, 4))
    }

    /// Returns the item of a list of filters whose configuration Envoy reads from a file of `folder`.
    pub(crate) fn discovered_item(&self, folder: &str) -> String {
        let Self { name, file, type_url, .. } = self;
        let path = scalar(&format!("{}/{file}.yaml", folder.trim_end_matches('/')));
        format!(
            "- name: {name}
  config_discovery:
    config_source:
      resource_api_version: V3
      path_config_source:
        path: {path}
        watched_directory: {{path: {}}}
    type_urls: [{type_url}]
",
            scalar(folder)
        )
    }

    /// Returns the file for extension discovery.
    pub(crate) fn discovery_file(&self, header: &str) -> RenderedFile {
        let Self { name, file, typed_config, .. } = self;
        let text = format!(
            r#"{header}{}resources:
- "@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
  name: {name}
  typed_config:
{}"#,
            self.comments(),
            indent(typed_config, 4)
        );
        RenderedFile { name: format!("{file}.yaml"), text }
    }
}

/// Returns the names of the filter in Envoy and of its files.
pub(crate) fn names(filter: Filter) -> (&'static str, &'static str) {
    let name = match filter {
        Filter::IdentityAuthz => "sallyport.identity_authz",
        Filter::BaselineDeny => "sallyport.baseline_deny",
        Filter::EgressAllowlist => "sallyport.egress_allowlist",
    };
    (name, filter.name())
}

/// Returns the filter that keeps the address of the connection's other end, for ipBlocks and source.ip.
pub(crate) fn direct_remote_address(layer: Layer) -> String {
    let (kind, event) = match layer {
        Layer::Http => ("http", "on_request_headers"),
        Layer::Tcp => ("network", "on_new_connection"),
    };
    format!(
        r#"# For policies with ipBlocks or source.ip: the other end of the connection, which no header changes.
- name: sallyport.direct_remote_address
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.{kind}.set_filter_state.v3.Config
    {event}:
    - object_key: sallyport.direct_remote_address
      factory_key: envoy.string
      format_string:
        text_format_source: {{inline_string: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}}
"#
    )
}
