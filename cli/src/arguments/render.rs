//! `render`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use sallyport_analysis::{BootstrapSettings, Layer, Place, RenderSettings};

use crate::arguments::{ChoiceArguments, CommonArguments};

/// `render`.
#[derive(Debug, Args)]
pub(crate) struct RenderArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    pub(crate) choice: ChoiceArguments,
    /// Place that the configuration is for
    #[arg(long = "for", value_enum, value_name = "PLACE")]
    pub(crate) place: PlaceArgument,
    /// Layer of the filters: requests, or connections by the network filter
    #[arg(long, value_enum, default_value = "http")]
    pub(crate) layer: LayerArgument,
    /// Folder to write into, each file at once; standard output if it is not given
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Follow the files and render again on each change, as long as the command runs
    #[arg(long, requires = "output")]
    pub(crate) watch: bool,
    /// With --watch, file for counts of what was rendered and refused, in the text format of Prometheus
    #[arg(long, value_name = "FILE", requires = "watch")]
    pub(crate) metrics: Option<PathBuf>,
    /// Folder in which Envoy finds the .wasm files
    #[arg(long, value_name = "FOLDER", default_value = "/etc/sallyport")]
    pub(crate) modules: String,
    /// Image of the filter for Kubernetes; of several filters, the repository above their names
    #[arg(long, value_name = "REPOSITORY[@sha256:...]")]
    pub(crate) image: Option<String>,
    /// Service behind the proxy, for bootstrap
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) upstream: String,
    /// Address on which Envoy listens, for bootstrap
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8443")]
    pub(crate) listen: String,
    /// Address of Envoy's admin interface, for bootstrap
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9901")]
    pub(crate) admin: String,
    /// Folder of workload.pem, workload.key and trusted.pem, for bootstrap
    #[arg(long, value_name = "FOLDER", default_value = "/etc/sallyport")]
    pub(crate) certificates: String,
}

/// Place that a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlaceArgument {
    /// List of filters for a listener of Envoy
    EnvoyFilter,
    /// Files for Envoy's extension discovery, which Envoy reads again when they change
    Ecds,
    /// One whole file for Envoy; with --watch, its filters are files that Envoy reads again
    Bootstrap,
    /// WasmPlugin of Istio
    #[value(name = "wasmplugin")]
    WasmPlugin,
    /// TrafficExtension of Istio
    #[value(name = "trafficextension")]
    TrafficExtension,
    /// EnvoyExtensionPolicy of Envoy Gateway
    EnvoyGateway,
}

/// Layer that filters decide about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerArgument {
    Http,
    Tcp,
}

impl From<LayerArgument> for Layer {
    fn from(layer: LayerArgument) -> Self {
        match layer {
            LayerArgument::Http => Self::Http,
            LayerArgument::Tcp => Self::Tcp,
        }
    }
}

impl RenderArguments {
    /// Returns what to render.
    ///
    /// # Errors
    ///
    /// Addresses that cannot be read.
    pub(crate) fn settings(&self) -> Result<RenderSettings> {
        let place = match self.place {
            PlaceArgument::EnvoyFilter => Place::EnvoyFilter,
            PlaceArgument::Ecds => Place::Ecds,
            PlaceArgument::Bootstrap => Place::Bootstrap,
            PlaceArgument::WasmPlugin => Place::WasmPlugin,
            PlaceArgument::TrafficExtension => Place::TrafficExtension,
            PlaceArgument::EnvoyGateway => Place::EnvoyGateway,
        };
        // Envoy reads the files of a watched folder from wherever it was started.
        let discovery = self.output.as_deref().filter(|_| self.watch && place == Place::Bootstrap);
        let discovery = discovery
            .map(|folder| std::path::absolute(folder).with_context(|| format!("reading {}", folder.display())))
            .transpose()?;
        let keeps_jwt_authn =
            discovery.is_some() || self.output.as_ref().is_some_and(|folder| folder.join("jwt-authn.yaml").exists());
        Ok(RenderSettings {
            place,
            layer: self.layer.into(),
            modules: self.modules.clone(),
            image: self.image.clone(),
            bootstrap: BootstrapSettings {
                listen: address("--listen", &self.listen)?,
                upstream: reachable("--upstream", &self.upstream)?,
                admin: address("--admin", &self.admin)?,
                certificates: self.certificates.clone(),
                discovery: discovery.map(|folder| folder.to_string_lossy().into_owned()),
            },
            keeps_jwt_authn,
        })
    }
}

/// Reads `HOST:PORT`; an IPv6 address stands in brackets.
fn address(flag: &str, text: &str) -> Result<(String, u16)> {
    let expected = || format!("{flag}: `{text}` is no address, write it as in 127.0.0.1:8080");
    let (host, port) = text.rsplit_once(':').with_context(expected)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = !host.is_empty() && host.chars().all(|one| one.is_ascii_alphanumeric() || ".-_:".contains(one));
    Some(host).filter(|_| is_host).with_context(expected)?;
    Ok((host.to_owned(), port.parse().with_context(expected)?))
}

/// Reads `HOST:PORT` of what is connected to, whose port is not 0.
fn reachable(flag: &str, text: &str) -> Result<(String, u16)> {
    let (host, port) = address(flag, text)?;
    ensure!(port > 0, "{flag}: nothing listens on port 0, write the port of the service");
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port() {
        let read = |text| address("--upstream", text).map_err(|error| error.to_string());
        assert_eq!(read("orders.shop:80"), Ok(("orders.shop".to_owned(), 80)));
        assert_eq!(read("[::1]:80"), Ok(("::1".to_owned(), 80)));
        let refusal = |text| format!("--upstream: `{text}` is no address, write it as in 127.0.0.1:8080");
        for wrong in ["orders", ":80", "a:b", "a}:80", "a:99999"] {
            assert_eq!(read(wrong), Err(refusal(wrong)));
        }
    }
}
