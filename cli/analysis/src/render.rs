//! `render`: the configuration of one workload, for the place where its proxy reads it.

mod bootstrap;
mod configuration;
mod envoy;
mod jwt_authn;
mod kubernetes;
mod providers;
mod workload;
mod yaml;

pub use bootstrap::BootstrapSettings;
pub use workload::workloads;
pub(crate) use workload::{effective_workload, workload_of};

use crate::check::check;
use crate::filters::{FilterInput, is_configured};
use crate::finding::{Finding, Severity, settle};
use crate::project::{Contents, Project};
use crate::render::configuration::FilterConfiguration;
use crate::render::envoy::{Extension, direct_remote_address};
use crate::render::jwt_authn::JwtAuthn;
use crate::settings::{Filter, Layer, Workload};

/// Place of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// List of HTTP or network filters, for a listener of Envoy.
    EnvoyFilter,
    /// Files for extension discovery, one for each filter.
    Ecds,
    /// One whole file for Envoy.
    Bootstrap,
    /// Istio's WasmPlugin.
    WasmPlugin,
    /// Istio's TrafficExtension.
    TrafficExtension,
    /// Envoy Gateway's EnvoyExtensionPolicy.
    EnvoyGateway,
}

impl Place {
    /// Returns the value of `--for`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EnvoyFilter => "envoy-filter",
            Self::Ecds => "ecds",
            Self::Bootstrap => "bootstrap",
            Self::WasmPlugin => "wasmplugin",
            Self::TrafficExtension => "trafficextension",
            Self::EnvoyGateway => "envoy-gateway",
        }
    }

    fn is_kubernetes(self) -> bool {
        matches!(self, Self::WasmPlugin | Self::TrafficExtension | Self::EnvoyGateway)
    }
}

/// Request for a rendering.
#[derive(Clone, Debug)]
pub struct RenderSettings {
    /// Place of the configuration.
    pub place: Place,
    /// Layer at which the filters decide.
    pub layer: Layer,
    /// Folder in which Envoy finds the `.wasm` files.
    pub modules: String,
    /// Image of the filters, for Kubernetes.
    pub image: Option<String>,
    /// Addresses and folders of a bootstrap.
    pub bootstrap: BootstrapSettings,
    /// Writes a `jwt_authn` that validates nothing where no RequestAuthentication applies, since a listener refers to it.
    pub keeps_jwt_authn: bool,
}

/// File of a rendering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    /// Name without folder.
    pub name: String,
    /// Content.
    pub text: String,
}

/// Filter of a rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderedFilter {
    /// The filter.
    pub filter: Filter,
    /// Value of the gauge `loaded` of an Envoy that runs it.
    pub loaded: u32,
}

/// Files for one workload.
#[derive(Clone, Debug, Default)]
pub struct Rendering {
    /// The files.
    pub files: Vec<RenderedFile>,
    /// The filters in them.
    pub filters: Vec<RenderedFilter>,
    /// Lines about what was left out and what may surprise.
    pub notes: Vec<String>,
}

/// Reason for which nothing is rendered.
#[derive(Clone, Debug)]
pub enum RenderError {
    /// The filters refuse the files.
    Refused(Vec<Finding>),
    /// The call makes no sense.
    WrongUse(String),
}

/// The parts of a rendering, before they have the form of a place.
struct Parts {
    workload: Option<Workload>,
    /// The workload for people.
    workload_name: Option<String>,
    jwt_authn: Option<JwtAuthn>,
    configurations: Vec<FilterConfiguration>,
    notes: Vec<String>,
}

/// Renders the configuration of one workload.
///
/// # Errors
///
/// Everything that a filter refuses, and what the place cannot have.
pub fn render(project: &Project, settings: &RenderSettings) -> Result<Rendering, RenderError> {
    let contents = project.contents();
    let parts = Parts::read(project, &contents, settings)?;
    let header = parts.header(settings.place);
    let files = match settings.place {
        Place::EnvoyFilter => {
            let file = match settings.layer {
                Layer::Http => "http-filters.yaml",
                Layer::Tcp => "network-filters.yaml",
            };
            vec![RenderedFile { name: file.to_owned(), text: format!("{header}{}", parts.filters(settings)) }]
        }
        Place::Ecds => parts.extensions(settings).iter().map(|one| one.discovery_file(&header)).collect(),
        Place::Bootstrap => parts.bootstrap(project, &contents, settings, &header)?,
        Place::WasmPlugin | Place::TrafficExtension | Place::EnvoyGateway => {
            kubernetes::files(&parts.configurations, parts.workload.as_ref(), settings, &header)
                .map_err(RenderError::WrongUse)?
        }
    };
    let filters = parts.configurations.iter();
    let filters = filters.map(|one| RenderedFilter { filter: one.filter, loaded: one.fingerprint() }).collect();
    Ok(Rendering { files, filters, notes: parts.notes })
}

impl Parts {
    fn read(project: &Project, contents: &Contents<'_>, settings: &RenderSettings) -> Result<Self, RenderError> {
        let workload = effective_workload(project, contents);
        let workload_name = workload.as_ref().map(Workload::to_string);
        let mut findings: Vec<Finding> = check(project, &[]).findings;
        findings.retain(|finding| finding.severity == Severity::Error);
        let (mut configurations, mut jwt_authn, mut notes) = (Vec::new(), None, Vec::new());
        for filter in filters(contents) {
            match FilterConfiguration::new(project, contents, filter) {
                Ok(configuration) => configurations.push(configuration),
                Err(faults) => findings.extend(faults),
            }
            if filter != Filter::IdentityAuthz || settings.place.is_kubernetes() || settings.layer == Layer::Tcp {
                continue;
            }
            match JwtAuthn::new(project, contents) {
                Ok(read) if read.total > 0 || settings.keeps_jwt_authn => jwt_authn = Some(read),
                Ok(_) => {}
                Err(faults) => findings.extend(faults),
            }
        }
        if !findings.is_empty() {
            settle(&mut findings, project.sources(), &[]);
            return Err(RenderError::Refused(findings));
        }
        if settings.layer == Layer::Tcp {
            configurations.retain(|one| one.filter != Filter::BaselineDeny);
        }
        if settings.place == Place::Bootstrap {
            configurations.retain(|one| one.filter != Filter::EgressAllowlist);
        }
        if configurations.is_empty() {
            return Err(RenderError::WrongUse(format!(
                "no filter of the configuration file is for --for {}{}",
                settings.place.name(),
                if settings.layer == Layer::Tcp { " with --layer tcp" } else { "" }
            )));
        }
        if workload.is_none() && configurations.iter().any(|one| one.filter == Filter::IdentityAuthz) {
            notes.push("no workload is set, so every policy applies; say --workload NAMESPACE/KEY=VALUE".to_owned());
        }
        let mut parts = Self { workload, workload_name, jwt_authn, configurations, notes };
        parts.note(contents, settings);
        Ok(parts)
    }

    /// Adds the lines about what was left out and what may surprise.
    fn note(&mut self, contents: &Contents<'_>, settings: &RenderSettings) {
        let workload = self.workload_name.as_deref();
        let mut notes: Vec<String> = self.jwt_authn.iter().map(|jwt_authn| jwt_authn.summary(workload)).collect();
        let has = |filter| self.configurations.iter().any(|one| one.filter == filter);
        for one in &self.configurations {
            notes.push(one.summary(workload));
            let is_about_rendering = |line: &&String| !line.contains("no workload is set");
            let name = one.filter.name();
            notes.extend(one.warnings.iter().filter(is_about_rendering).map(|line| format!("{name}: {line}")));
            if settings.layer == Layer::Tcp {
                notes.extend(one.connection_warnings.iter().map(|line| format!("{name}: {line}")));
            } else if one.connection_scoped {
                notes.push(format!(
                    "{name}: the connection alone decides; --layer tcp writes the network filter, which costs nothing a request"
                ));
            }
            if one.needs_direct_address && settings.place == Place::Ecds {
                notes.push(format!(
                    "{name}: policies compare the address of the connection, so the listener needs the filter sallyport.direct_remote_address before it, as --for envoy-filter writes it"
                ));
            }
        }
        let count = |is: &dyn Fn(&&crate::resource::Resource<'_>) -> bool| contents.resources.iter().filter(is).count();
        let for_egress = count(&|resource| resource.is_for_egress());
        if for_egress > 0 && !has(Filter::EgressAllowlist) {
            notes.push(format!(
                "{for_egress} resources are for egress-allowlist, which is not rendered here: it needs egressAllowlist in the configuration file and the listener of an egress gateway"
            ));
        }
        if has(Filter::EgressAllowlist) && has(Filter::IdentityAuthz) && settings.place == Place::EnvoyFilter {
            notes.push("egress-allowlist is for the listener of an egress gateway, identity-authz for that of a service: divide the list".to_owned());
        }
        let tokens = count(&|resource| resource.kind() == Some("RequestAuthentication"));
        if tokens > 0 && self.jwt_authn.is_none() {
            notes.push(match settings.place {
                Place::WasmPlugin | Place::TrafficExtension => {
                    format!("{tokens} RequestAuthentication: apply them as they are, Istio validates the tokens")
                }
                Place::EnvoyGateway => format!(
                    "{tokens} RequestAuthentication: write them as a SecurityPolicy, and name its providers in identity.jwt.metadataKeys"
                ),
                _ => format!("{tokens} RequestAuthentication left out: tokens are of requests"),
            });
        }
        self.notes.extend(notes);
    }

    /// Returns the comment at the top of each file.
    fn header(&self, place: Place) -> String {
        let of = self.workload_name.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
        format!("# Written by sallyport render --for {}{of}. Changes go into the policies.\n", place.name())
    }

    /// Returns the filters in the order in which a request passes them.
    fn extensions(&self, settings: &RenderSettings) -> Vec<Extension> {
        let workload = self.workload_name.as_deref();
        let wasm = |filter| {
            let ours = self.configurations.iter().find(|one| one.filter == filter)?;
            Some(Extension::wasm(ours, settings.layer, &settings.modules, workload))
        };
        let jwt_authn = self.jwt_authn.as_ref().map(|jwt_authn| Extension::jwt_authn(jwt_authn, workload));
        let wasm = [Filter::BaselineDeny, Filter::IdentityAuthz, Filter::EgressAllowlist].map(wasm);
        let [baseline, identity, egress] = wasm;
        [baseline, jwt_authn, identity, egress].into_iter().flatten().collect()
    }

    fn filters(&self, settings: &RenderSettings) -> String {
        let needs_address = self.configurations.iter().any(|one| one.needs_direct_address);
        let address = needs_address.then(|| direct_remote_address(settings.layer));
        address.into_iter().chain(self.extensions(settings).iter().map(Extension::item)).collect()
    }

    fn bootstrap(
        &self,
        project: &Project,
        contents: &Contents<'_>,
        settings: &RenderSettings,
        header: &str,
    ) -> Result<Vec<RenderedFile>, RenderError> {
        if settings.layer == Layer::Tcp {
            return Err(RenderError::WrongUse(
                "--for bootstrap is for requests; for connections write --for envoy-filter --layer tcp, and put it into a copy of envoy-config/layer4.yaml".to_owned(),
            ));
        }
        let extensions = self.extensions(settings);
        let discovery = settings.bootstrap.discovery.as_deref();
        let items = extensions.iter().map(|one| match discovery {
            Some(folder) => one.discovered_item(folder),
            None => one.item(),
        });
        // Envoy does not read this file again, and a policy that comes later may compare the address.
        let filters: String = [direct_remote_address(Layer::Http)].into_iter().chain(items).collect();
        let trust_domains = FilterInput::always(project, contents, Filter::IdentityAuthz).trust_domains();
        let node = self.workload_name.as_deref().unwrap_or("sallyport");
        let text =
            bootstrap::bootstrap(header, node, &settings.bootstrap, &trust_domains, &filters, self.jwt_authn.as_ref());
        let text =
            text.ok_or_else(|| RenderError::WrongUse("envoy-config/ingress.yaml has another form".to_owned()))?;
        let mut files = vec![RenderedFile { name: "envoy.yaml".to_owned(), text }];
        if discovery.is_some() {
            files.extend(extensions.iter().map(|one| one.discovery_file(header)));
        }
        Ok(files)
    }
}

/// Returns the filters to render: those of the configuration file; `identity-authz` too where there are policies for it,
/// and where nothing else is to be rendered.
fn filters(contents: &Contents<'_>) -> Vec<Filter> {
    let has = |filter: Filter| is_configured(contents, filter);
    let mut filters: Vec<Filter> = Filter::ALL.into_iter().filter(|filter| has(*filter)).collect();
    let baseline_alone =
        has(Filter::BaselineDeny) && !has(Filter::IdentityAuthz) && contents.carried(Filter::BaselineDeny).is_none();
    let is_policy = |resource: &crate::resource::Resource<'_>| {
        resource.is_for_identity() && !(baseline_alone && resource.kind() == Some("AuthorizationPolicy"))
    };
    if !has(Filter::IdentityAuthz) && (filters.is_empty() || contents.resources.iter().any(is_policy)) {
        filters.insert(0, Filter::IdentityAuthz);
    }
    filters
}
