//! The filters' own reading of resources and settings, with their faults at the parts of files that they are about.

use sallyport_policy::{BaselineDeny, ConfigError, ConfigErrors, ErrorCode, IdentityAuthz, LoadReport};

use crate::codes::fix;
use crate::finding::{Finding, Severity};
use crate::json::{separate, write_key};
use crate::path::{Step, locate, steps};
use crate::project::{Contents, Project};
use crate::resource::Resource;
use crate::settings::{Filter, FilterSettings};
use crate::source::Span;
use crate::tree::Node;

/// Configuration of one filter, as it would be given to it.
pub(crate) struct FilterInput<'p> {
    project: &'p Project,
    settings: FilterSettings<'p>,
    /// The resources, in the order in which the filter gets them.
    resources: Vec<Resource<'p>>,
}

/// Configuration of a filter, loaded.
pub(crate) enum Loaded {
    Identity(Box<IdentityAuthz>),
    Baseline(Box<BaselineDeny>),
    #[cfg(feature = "whole")]
    Egress(Box<sallyport_policy::EgressAllowlist>),
}

impl Loaded {
    pub(crate) fn report(&self) -> &LoadReport {
        match self {
            Self::Identity(filter) => filter.load_report(),
            Self::Baseline(filter) => filter.load_report(),
            #[cfg(feature = "whole")]
            Self::Egress(filter) => filter.load_report(),
        }
    }
}

impl<'p> FilterInput<'p> {
    /// Takes the settings of a filter and the resources; `None` if there is nothing for the filter.
    pub(crate) fn new(project: &'p Project, contents: &'p Contents<'p>, filter: Filter) -> Option<Self> {
        let input = Self::always(project, contents, filter);
        let resources = &input.resources;
        let is_needed = input.settings.section.is_some()
            || match filter {
                // Where another filter is configured, this one is needed by policies of its own alone.
                Filter::IdentityAuthz
                    if is_configured(contents, Filter::EgressAllowlist)
                        || is_configured(contents, Filter::BaselineDeny) =>
                {
                    resources
                        .iter()
                        .any(|resource| resource.is_for_identity() || resource.group() == Some("security.istio.io"))
                }
                Filter::IdentityAuthz => !resources.is_empty(),
                Filter::BaselineDeny => false,
                Filter::EgressAllowlist => resources.iter().any(|resource| resource.is_for_egress()),
            };
        is_needed.then_some(input)
    }

    /// Takes the settings of a filter and the resources, even if there are none.
    ///
    /// AuthorizationPolicy is for `identity-authz`, and for `baseline-deny` where the configuration file has that filter
    /// alone.
    pub(crate) fn always(project: &'p Project, contents: &'p Contents<'p>, filter: Filter) -> Self {
        let settings = project.filter_settings(contents, filter);
        if let Some(configuration) = contents.carried_configuration(filter) {
            return Self { project, settings, resources: Resource::all_of(configuration) };
        }
        let has = |filter: Filter| contents.config.is_some_and(|config| config.get(filter.key()).is_some());
        let baseline_alone = has(Filter::BaselineDeny) && !has(Filter::IdentityAuthz);
        let takes = |resource: &&Resource<'_>| match filter {
            Filter::IdentityAuthz => !(baseline_alone && resource.kind() == Some("AuthorizationPolicy")),
            Filter::BaselineDeny => baseline_alone && !resource.is_for_egress(),
            Filter::EgressAllowlist => !resource.is_for_identity(),
        };
        let resources = contents.resources.iter().filter(takes).cloned().collect();
        Self { project, settings, resources }
    }

    /// Takes a configuration that is complete by itself, at a part of a file.
    pub(crate) fn complete(project: &'p Project, filter: Filter, configuration: &'p Node, span: Span) -> Self {
        let settings = FilterSettings { filter, settings: project.no_settings(), section: None, key_span: None };
        let mut input = Self { project, settings, resources: Vec::new() }.configured(configuration);
        input.settings.key_span = Some(span);
        input
    }

    /// Takes `configuration` for the filter's part of the configuration file; its resources are added to those of files.
    pub(crate) fn configured(mut self, configuration: &'p Node) -> Self {
        self.settings.section = Some(configuration);
        self.settings.key_span = Some(configuration.first_span());
        self.resources.extend(Resource::all_of(configuration));
        self
    }

    /// Takes `resources` in place of those of the files.
    pub(crate) fn selecting<'s>(self, resources: &'s [Node]) -> FilterInput<'s>
    where
        'p: 's,
    {
        let Self { project, settings, .. } = self;
        FilterInput { project, settings, resources: resources.iter().map(Resource::whole).collect() }
    }

    /// Returns the resources, in the order in which the filter gets them.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource<'p>> {
        self.resources.iter()
    }

    /// Returns `rules` of the filter's part of the configuration file.
    #[cfg(feature = "whole")]
    pub(crate) fn rules(&self) -> &'p [Node] {
        self.settings.section.and_then(|section| section.get("rules")).map_or(&[], Node::items)
    }

    /// Returns the resources, in the order in which the filter gets them.
    pub(crate) fn into_resources(self) -> Vec<Resource<'p>> {
        self.resources
    }

    /// Returns `customProviders`, as the mark by which all of them were asked.
    pub(crate) fn custom_providers(&self) -> Option<Vec<u8>> {
        let providers = self.settings.section?.get("customProviders")?;
        let names: Vec<&str> = providers.items().iter().filter_map(Node::as_str).collect();
        Some(names.join(",").into_bytes())
    }

    /// Returns the namespace of resources without one.
    pub(crate) fn default_namespace(&self) -> Option<String> {
        self.settings.namespace_of_resources()
    }

    /// Reports whether this is a configuration that is complete by itself.
    pub(crate) fn is_complete(&self) -> bool {
        std::ptr::eq(self.settings.settings, self.project.no_settings())
    }

    /// Returns the key of the filter's part of the configuration file, or of the configuration.
    pub(crate) fn key_span(&self) -> Option<Span> {
        self.settings.key_span
    }

    /// Returns the place of the workload in that part.
    pub(crate) fn workload_span(&self) -> Option<Span> {
        self.settings.section?.entry("workload").map(|entry| entry.key_span)
    }

    /// Reports whether the settings have a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.settings.has(key)
    }

    /// Writes the configuration as the filter reads it.
    pub(crate) fn json(&self) -> String {
        let mut json = String::from("{");
        let count = self.settings.write_json(&mut json);
        // Of the others an absent list says something else than an empty one: they need rules or presets then.
        let is_listed = self.settings.section.is_some_and(|section| section.get("resources").is_some());
        if self.settings.filter == Filter::IdentityAuthz || is_listed || !self.resources.is_empty() {
            separate(count, &mut json);
            write_key("resources", &mut json);
            json.push('[');
            for (index, resource) in self.resources.iter().enumerate() {
                separate(index, &mut json);
                resource.write_json(&mut json);
            }
            json.push(']');
        }
        json + "}"
    }

    /// Has the filter read its configuration.
    ///
    /// # Errors
    ///
    /// The faults for which the filter refuses it.
    pub(crate) fn load(&self) -> Result<Loaded, Vec<Finding>> {
        let json = self.json();
        let loaded = match self.settings.filter {
            Filter::IdentityAuthz => {
                IdentityAuthz::parse_keeping(json, usize::MAX).map(|filter| Loaded::Identity(Box::new(filter)))
            }
            Filter::BaselineDeny => BaselineDeny::parse_keeping(json.as_bytes(), usize::MAX)
                .map(|filter| Loaded::Baseline(Box::new(filter))),
            #[cfg(feature = "whole")]
            Filter::EgressAllowlist => sallyport_policy::EgressAllowlist::parse_keeping(json.as_bytes(), usize::MAX)
                .map(|filter| Loaded::Egress(Box::new(filter))),
            // Callers ask `Project::needs_whole` first.
            #[cfg(not(feature = "whole"))]
            Filter::EgressAllowlist => return Err(Vec::new()),
        };
        loaded.map_err(|errors| self.findings(&errors))
    }

    pub(crate) fn findings(&self, errors: &ConfigErrors) -> Vec<Finding> {
        errors.errors().iter().map(|error| self.finding(error)).collect()
    }

    fn finding(&self, error: &ConfigError) -> Finding {
        // A configuration that is complete by itself takes no flags.
        let by_flag =
            !self.is_complete() && matches!(error.code(), ErrorCode::MissingDefaultAction | ErrorCode::UndecidedTarget);
        let of_flag = match (error.code(), error.fix()) {
            (ErrorCode::MissingDefaultAction, Some(fix)) if fix.starts_with(DIFFERS) => DIFFERS_OR_DEFAULT,
            (ErrorCode::UndecidedTarget, _) if self.is_complete() => "write it under `workload` of this configuration",
            (code, _) => fix(code),
        };
        let help = error.fix().filter(|_| !by_flag).unwrap_or(of_flag);
        // The filter names the path before the message; here the source line stands for it.
        let message = match (error.code(), error.path()) {
            (_, "") => error.message().to_owned(),
            (ErrorCode::UnknownField | ErrorCode::RepeatedKey, path) => {
                format!("{} `{}`", error.message(), last_key(path))
            }
            (_, path) if error.message().starts_with("missing") => {
                format!("`{}` is {}", within_resource(path), error.message())
            }
            _ => error.message().to_owned(),
        };
        // A flag takes the place of the file's workload as a whole.
        let is_of_workload = error.path() == "workload" || error.path().starts_with("workload.");
        let by_workload_flag = is_of_workload && self.settings.settings.workload.is_some();
        let message =
            match by_workload_flag && self.settings.section.is_some_and(|section| section.get("workload").is_some()) {
                true => format!("{message} (--workload takes the place of the file's workload)"),
                false => message,
            };
        Finding {
            severity: Severity::Error,
            code: error.code().as_str().to_owned(),
            message: self.with_places(&message),
            help: self.with_places(help),
            span: Some(error)
                .filter(|_| !by_workload_flag)
                .and_then(|error| self.locate(error))
                .or_else(|| self.named_resource(error.message()))
                .or(self.settings.key_span),
        }
    }

    fn locate(&self, error: &ConfigError) -> Option<Span> {
        let path = steps(error.path());
        match path.as_slice() {
            [Step::Key(key), Step::Item(index), rest @ ..] if key == "resources" => {
                let resource = self.resources.get(*index)?;
                match (rest, error.code()) {
                    ([], ErrorCode::DuplicateResource) => Some(resource.span()),
                    _ => Some(locate(resource.node, rest, error.code())),
                }
            }
            [Step::Key(key), ..] if key == "resources" => None,
            path => {
                let is_there = |key: &Step| matches!(key, Step::Key(key) if self.settings.has(key));
                let section = self.settings.section.filter(|_| path.first().is_none_or(is_there))?;
                match path.is_empty() {
                    true => self.settings.key_span,
                    false => Some(locate(section, path, error.code())),
                }
            }
        }
    }

    /// Returns the place of the last resource that a message names, as in `shop/orders`.
    pub(crate) fn named_resource(&self, message: &str) -> Option<Span> {
        let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '/');
        let words = message.split(|character: char| !is_part(character)).map(|word| word.trim_end_matches('.'));
        let mut found = None;
        for word in words.filter(|word| word.contains('/')) {
            let Some((namespace, name)) = word.split_once('/') else { continue };
            let is_named = |resource: &&Resource<'_>| {
                resource.name() == Some(name)
                    && resource.namespace().is_none_or(|own| own == namespace)
                    && (resource.is_for_identity() || resource.is_for_egress())
            };
            found = self.resources.iter().rfind(is_named).map(|resource| resource.span()).or(found);
        }
        found
    }

    /// Puts file and line where a message names a resource by its index.
    fn with_places(&self, message: &str) -> String {
        const LIST: &str = "resources[";
        let mut text = String::new();
        let mut rest = message;
        while let Some((before, after)) = rest.split_once(LIST) {
            text.push_str(before);
            let place = after.split_once(']').and_then(|(index, after)| {
                let resource = self.resources.get(index.parse::<usize>().ok()?)?;
                Some((self.project.place(resource.span()), after))
            });
            match place {
                Some((place, after)) => {
                    text.push_str(&place);
                    rest = after;
                }
                None => {
                    text.push_str(LIST);
                    rest = after;
                }
            }
        }
        text + rest
    }
}

/// Begin of the fix of a refusal that names policies which do not apply.
const DIFFERS: &str = "correct what differs";

/// The same fix, where flags and a configuration file say the default action.
const DIFFERS_OR_DEFAULT: &str = "correct what differs if that is not meant, or write --default-action DENY or ALLOW, or defaultAction in the \
     configuration file";

/// Reports whether the configuration file has a filter, or a configuration of it is asked.
pub(crate) fn is_configured(contents: &Contents<'_>, filter: Filter) -> bool {
    contents.carried(filter).is_some() || contents.config.is_some_and(|config| config.get(filter.key()).is_some())
}

/// Returns the part of a path within its resource.
fn within_resource(path: &str) -> &str {
    let resource = path.strip_prefix("resources[").and_then(|rest| rest.split_once("]."));
    resource.map_or(path, |(_, within)| within)
}

/// Returns the last key of a path.
fn last_key(path: &str) -> String {
    let key = steps(path).into_iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key),
        Step::Item(_) => None,
    });
    key.unwrap_or_default()
}
