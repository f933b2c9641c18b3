//! All files of one call, read.

use crate::codes::{NOT_A_RESOURCE, SECOND_CONFIGURATION};
use crate::documents::{Document, read_documents};
use crate::finding::{Finding, Severity};
use crate::kustomization::{KUSTOMIZE_PATCH, patches, plain_name};
use crate::plugin::{Plugin, find_plugins};
use crate::resource::Resource;
use crate::settings::{Filter, FilterSettings, Layer, Settings, Workload};
use crate::source::{Source, Span};
use crate::template::unfilled;
use crate::tree::{Node, Value};

/// Kinds of manifests that carry filters or set up the proxy around them.
const CARRIERS: [&str; 7] = [
    "WasmPlugin",
    "TrafficExtension",
    "EnvoyFilter",
    "EnvoyExtensionPolicy",
    "ClientTrafficPolicy",
    "SecurityPolicy",
    "Gateway",
];

/// The configuration file that counts wherever it is found.
pub const CONFIG_FILE: &str = "sallyport.yaml";

/// The texts of a call, with their documents.
#[derive(Debug, Default)]
pub struct Project {
    sources: Vec<Source>,
    documents: Vec<Document>,
    /// Index of the source of the configuration file.
    config_source: Option<usize>,
    settings: Settings,
    /// Settings of configurations that are complete by themselves.
    no_settings: Settings,
    plugins: Vec<Plugin>,
    /// Indexes of the plugin configurations that are asked in place of resources and settings of their own.
    chosen: Vec<usize>,
    findings: Vec<Finding>,
    /// Names of the files that a kustomization has as patches.
    patches: Vec<String>,
}

/// Documents of a project, sorted by their purpose.
#[derive(Debug, Default)]
pub struct Contents<'p> {
    /// Kubernetes resources, lists opened.
    pub resources: Vec<Resource<'p>>,
    /// Objects and lists that are no resources: configurations of Envoy, and what is not for this command.
    pub others: Vec<&'p Node>,
    /// The configuration file.
    pub config: Option<&'p Node>,
    /// Namespace of resources without one, as far as it is set.
    pub default_namespace: Option<String>,
    /// Configurations of filters that are asked, at most one of each.
    pub(crate) carried: Vec<&'p Plugin>,
}

impl<'p> Contents<'p> {
    /// Returns the configuration of a filter that is asked in place of resources and settings of their own.
    pub(crate) fn carried(&self, filter: Filter) -> Option<&'p Plugin> {
        self.carried.iter().copied().find(|plugin| plugin.filter == filter)
    }

    /// Returns its content.
    pub(crate) fn carried_configuration(&self, filter: Filter) -> Option<&'p Node> {
        self.carried(filter).and_then(|plugin| plugin.configuration.as_ref())
    }
}

/// File whose documents are read, for [`Project::add_read`].
#[derive(Debug)]
pub struct ReadFile {
    /// Index of the source that the positions name.
    index: usize,
    source: Source,
    documents: Vec<Document>,
    plugins: Vec<Plugin>,
    findings: Vec<Finding>,
    is_config: bool,
}

impl ReadFile {
    /// Reads the file that becomes number `index` of a project, from 0. One that is named `sallyport.yaml` is the
    /// configuration file.
    pub fn new(index: usize, name: &str, text: &str) -> Self {
        Self::read(index, name, text, false)
    }

    fn read(index: usize, name: &str, text: &str, is_named_config: bool) -> Self {
        let source = Source::new(name, text);
        let (mut documents, mut findings) = read_documents(index, &source);
        documents.retain(|document| {
            let template = unfilled(&document.root);
            let is_filled = template.is_none();
            findings.extend(template);
            is_filled
        });
        let has_its_name = name.rsplit(['/', '\\']).next() == Some(CONFIG_FILE);
        let is_config = is_named_config || has_its_name && !is_of_another(&documents);
        let plugins = match is_config {
            true => Vec::new(),
            false => documents.iter().flat_map(|document| find_plugins(&document.root, index, &source)).collect(),
        };
        Self { index, source, documents, plugins, findings, is_config }
    }
}

/// Reports whether documents are objects of another program that happen to be in a file of the configuration's name.
fn is_of_another(documents: &[Document]) -> bool {
    documents.iter().any(|document| {
        let has = |key: &str| document.root.get(key).is_some();
        (has("apiVersion") || has("kind")) && Filter::ALL.iter().all(|filter| !has(filter.key()))
    })
}

impl Project {
    /// Returns a project without files.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Adds a file. One that is named `sallyport.yaml` is the configuration file.
    pub fn add(&mut self, name: &str, text: &str) {
        self.push(ReadFile::new(self.sources.len(), name, text));
    }

    /// Adds the configuration file, whatever its name is.
    pub fn add_config(&mut self, name: &str, text: &str) {
        self.push(ReadFile::read(self.sources.len(), name, text, true));
    }

    /// Adds a file that was read before, by another thread for example. Where it was read as another number, it is read
    /// again.
    pub fn add_read(&mut self, file: ReadFile) {
        match file.index == self.sources.len() {
            true => self.push(file),
            false => self.add(&file.source.name, &file.source.text),
        }
    }

    fn push(&mut self, file: ReadFile) {
        let ReadFile { index, source, documents, plugins, findings, is_config } = file;
        let name = source.name.clone();
        self.plugins.extend(plugins);
        self.sources.push(source);
        self.findings.extend(findings);
        for document in &documents {
            let is_resource = |item: &Node| item.get("kind").is_some() && item.get("apiVersion").is_some();
            if let Some(first) = document.root.items().iter().find(|item| is_resource(item)) {
                self.findings.push(Finding {
                    severity: Severity::Error,
                    code: NOT_A_RESOURCE.code.to_owned(),
                    message: "this is a list of resources, which Kubernetes has in an object".to_owned(),
                    help: "write them as documents, or under items of apiVersion: v1 and kind: List".to_owned(),
                    span: Some(first.first_span()),
                });
            }
            if !matches!(document.root.value, Value::Object(_) | Value::List(_)) {
                self.findings.push(Finding {
                    severity: Severity::Error,
                    code: NOT_A_RESOURCE.code.to_owned(),
                    message: "this is a plain text, and no object of YAML or JSON".to_owned(),
                    help: NOT_A_RESOURCE.fix.to_owned(),
                    span: Some(document.root.span),
                });
            }
        }
        self.patches.extend(documents.iter().flat_map(|document| patches(&name, &document.root)));
        self.documents.extend(documents);
        self.leave_out_patches();
        if is_config {
            match self.config_source {
                None => self.config_source = Some(index),
                // One that is given twice, by flag and in a folder, is one.
                Some(first) if self.sources.get(first).is_some_and(|first| first.name == name) => {
                    self.documents.retain(|document| document.root.span.source != index);
                }
                Some(first) => {
                    let first = self.sources.get(first).map(|first| first.name.clone()).unwrap_or_default();
                    let span = Span { source: index, start: 0, end: 0 };
                    self.documents.retain(|document| document.root.span.source != index);
                    self.findings.push(Finding {
                        severity: Severity::Error,
                        code: SECOND_CONFIGURATION.code.to_owned(),
                        message: format!("there is a configuration file already: {first}"),
                        help: SECOND_CONFIGURATION.fix.to_owned(),
                        span: Some(span),
                    });
                }
            }
        }
    }

    /// Leaves out the files that are patches of a kustomization.
    fn leave_out_patches(&mut self) {
        let is_patch = |index: usize| {
            self.sources.get(index).is_some_and(|source| self.patches.contains(&plain_name(&source.name)))
        };
        let mut patches: Vec<usize> =
            self.documents.iter().map(|document| document.root.span.source).filter(|index| is_patch(*index)).collect();
        patches.dedup();
        for index in patches {
            self.documents.retain(|document| document.root.span.source != index);
            self.plugins.retain(|plugin| plugin.span.source != index);
            self.findings.push(Finding {
                severity: Severity::Note,
                code: KUSTOMIZE_PATCH.code.to_owned(),
                message: "this is a patch of a kustomization, and is not read".to_owned(),
                help: KUSTOMIZE_PATCH.fix.to_owned(),
                span: Some(Span { source: index, start: 0, end: 0 }),
            });
        }
    }

    /// Returns the texts.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the plugin configurations that the files carry.
    pub(crate) fn plugins(&self) -> &[Plugin] {
        &self.plugins
    }

    /// Reports whether a plugin configuration is asked in place of resources and settings of their own.
    pub(crate) fn is_chosen(&self, index: usize) -> bool {
        self.chosen.contains(&index)
    }

    /// Has these plugin configurations be asked in place of resources and settings of their own.
    pub(crate) fn set_chosen(&mut self, chosen: Vec<usize>) {
        self.chosen = chosen;
    }

    /// Takes back the workload of a flag.
    pub(crate) fn clear_workload(&mut self) {
        self.settings.workload = None;
    }

    /// Returns the settings of a configuration that is complete by itself.
    pub(crate) fn no_settings(&self) -> &Settings {
        &self.no_settings
    }

    /// Returns the settings of the command line.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes the settings; the files stay read.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Sets the workload, where no flag did.
    pub fn set_workload(&mut self, workload: Workload) {
        self.settings.workload = Some(workload);
    }

    /// Sets the layer at which policies are enforced, where the files do not say it.
    pub fn set_layer(&mut self, layer: Layer) {
        self.settings.layer = layer;
    }

    /// Returns the layer at which what is asked decides: that of the configuration which the files carry, else that of the
    /// command line.
    pub fn layer(&self, contents: &Contents<'_>) -> Layer {
        let mut deciding = contents.carried.iter().filter(|plugin| plugin.filter != Filter::BaselineDeny);
        deciding.find_map(|plugin| plugin.position.layer).unwrap_or(self.settings.layer)
    }

    /// Reports whether the files have something for `egress-allowlist`, or carry filters: without the feature `whole` not all
    /// is said of these.
    pub fn needs_whole(&self) -> bool {
        let contents = self.contents();
        let is_carrier = |resource: &Resource<'_>| resource.kind().is_some_and(|kind| CARRIERS.contains(&kind));
        contents.resources.iter().any(|resource| resource.is_for_egress() || is_carrier(resource))
            || contents.config.is_some_and(|config| config.get(Filter::EgressAllowlist.key()).is_some())
            // A proxy can name its filters alone, whose configurations are elsewhere.
            || contents.others.iter().any(|root| root.get("cases").is_none())
            || !self.plugins.is_empty()
    }

    /// Returns the findings about what cannot be read.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Sorts the documents by what they are.
    pub fn contents(&self) -> Contents<'_> {
        let mut contents = Contents::default();
        for document in &self.documents {
            let root = &document.root;
            if Some(root.span.source) == self.config_source {
                contents.config = contents.config.or(Some(root));
                continue;
            }
            match Resource::open(root) {
                Some(resources) => contents.resources.extend(resources),
                None if matches!(root.value, Value::Object(_) | Value::List(_)) => contents.others.push(root),
                None => {}
            }
        }
        contents.carried = self.chosen.iter().filter_map(|index| self.plugins.get(*index)).collect();
        let mut resources = std::mem::take(&mut contents.resources);
        let has = |filter| contents.carried(filter).is_some();
        resources.retain(|resource| {
            !(resource.is_for_identity() && has(Filter::IdentityAuthz)
                || resource.is_for_egress() && has(Filter::EgressAllowlist))
        });
        for filter in [Filter::IdentityAuthz, Filter::EgressAllowlist] {
            resources.extend(contents.carried_configuration(filter).into_iter().flat_map(Resource::all_of));
        }
        contents.resources = resources;
        let settings = self.filter_settings(&contents, Filter::IdentityAuthz);
        contents.default_namespace = settings.namespace_of_resources();
        contents
    }

    /// Returns the settings of a filter.
    pub(crate) fn filter_settings<'p>(&'p self, contents: &Contents<'p>, filter: Filter) -> FilterSettings<'p> {
        if let Some(plugin) = contents.carried(filter) {
            let section = plugin.configuration.as_ref();
            return FilterSettings { filter, settings: &self.settings, section, key_span: Some(plugin.span) };
        }
        let entry = contents.config.and_then(|config| config.entry(filter.key()));
        FilterSettings {
            filter,
            settings: &self.settings,
            section: entry.map(|entry| &entry.value),
            key_span: entry.map(|entry| entry.key_span),
        }
    }

    /// Returns `FILE:LINE` of a part.
    pub(crate) fn place(&self, span: Span) -> String {
        let source = self.sources.get(span.source);
        source.map_or_else(String::new, |source| format!("{}:{}", source.name, source.position(span).line))
    }
}
