//! Choice among the filters whose configurations the files carry: of Envoy, and of manifests for Kubernetes.

use crate::check::readable;
use crate::discovery::watched_elsewhere;
use crate::filters::is_configured;
use crate::finding::Finding;
use crate::json::write_json;
use crate::plugin::Plugin;
use crate::project::{Contents, Project};
use crate::render::workload_of;
use crate::resource::Resource;
use crate::settings::{Filter, Layer, Workload};

/// Question for which configurations are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Callers that reach a workload.
    Access,
    /// A request or a connection to a workload; to an outside host, where the files have nothing else.
    Request,
    /// A request or a connection to an outside host.
    Egress,
    /// Tests of policies.
    Tests,
    /// The configurations themselves, to render them anew.
    Rendering,
}

/// Choice of the user.
#[derive(Clone, Copy, Debug)]
pub struct FilterChoice<'c> {
    /// Question.
    pub asked: Asked,
    /// Place of a configuration, as `FILE:LINE` or `FILE`.
    pub at: Option<&'c str>,
    /// Layer that is asked about; `None` if the call does not say.
    pub layer: Option<Layer>,
}

/// Reason for which no configuration can be chosen.
#[derive(Clone, Debug)]
pub enum ChoiceError {
    /// The call does not say which, or makes no sense.
    WrongUse(String),
    /// The filter cannot read its configuration.
    Refused(Vec<Finding>),
}

impl Project {
    /// Has the configurations of filters that the files carry be asked, where there are no resources and settings of their
    /// own: at most one of each filter, with its own workload. Returns lines about what was chosen.
    ///
    /// # Errors
    ///
    /// Several that differ, one for another workload, and one that cannot be read.
    pub fn choose_filters(&mut self, choice: &FilterChoice<'_>) -> Result<Vec<String>, ChoiceError> {
        let chosen = Chooser { project: self, contents: self.contents(), choice }.choose()?;
        let mut notes = chosen.notes;
        let of_workload = chosen.indexes.iter().filter_map(|index| self.plugins().get(*index));
        let of_workload = of_workload.filter(|plugin| plugin.filter == Filter::IdentityAuthz);
        let mut takes_flag = true;
        for plugin in of_workload {
            let has_own = own_workload(plugin).is_some();
            takes_flag = !has_own && choice.asked == Asked::Rendering;
            if !has_own && choice.asked != Asked::Rendering {
                notes.push(format!(
                    "the configuration at {} has no workload, so all its policies apply, whatever they select",
                    self.place(plugin.span)
                ));
            }
        }
        if !takes_flag {
            self.clear_workload();
        }
        self.set_chosen(chosen.indexes);
        Ok(notes)
    }

    /// Reports whether a configuration that the files carry is asked.
    pub fn has_chosen(&self) -> bool {
        (0..self.plugins().len()).any(|index| self.is_chosen(index))
    }
}

/// Configurations that are asked.
#[derive(Default)]
struct Chosen {
    indexes: Vec<usize>,
    notes: Vec<String>,
}

struct Chooser<'p, 'c> {
    project: &'p Project,
    contents: Contents<'p>,
    choice: &'c FilterChoice<'c>,
}

impl<'p> Chooser<'p, '_> {
    fn choose(&self) -> Result<Chosen, ChoiceError> {
        let mut chosen = Chosen::default();
        if let Some(at) = self.choice.at {
            let index = self.at(at)?;
            chosen.indexes.push(index);
        } else {
            let wanted: &[Filter] = match self.choice.asked {
                Asked::Access | Asked::Tests | Asked::Request => &[Filter::IdentityAuthz],
                Asked::Egress => &[Filter::EgressAllowlist],
                Asked::Rendering => &[Filter::IdentityAuthz, Filter::EgressAllowlist],
            };
            for filter in wanted {
                self.add(*filter, &mut chosen)?;
            }
            // Where nothing is for requests to a workload, a request is to an outside host.
            let is_open = chosen.indexes.is_empty() && !self.has_own(Filter::IdentityAuthz);
            if self.choice.asked == Asked::Request && is_open && self.project.settings().workload.is_none() {
                self.add(Filter::EgressAllowlist, &mut chosen)?;
            }
        }
        if !matches!(self.choice.asked, Asked::Access | Asked::Tests) {
            self.add_before(&mut chosen)?;
        }
        for index in &chosen.indexes {
            self.check_layer(*index)?;
            if let Some(Err(fault)) = self.project.plugins().get(*index).map(readable) {
                return Err(ChoiceError::Refused(vec![fault]));
            }
        }
        let has_resources = [Filter::IdentityAuthz, Filter::EgressAllowlist].iter().any(|one| self.has_resources(*one));
        let is_answered = !chosen.indexes.is_empty() || has_resources || self.contents.config.is_some();
        match watched_elsewhere(self.project, &self.contents).filter(|_| !is_answered) {
            Some(message) => Err(ChoiceError::WrongUse(message)),
            None => Ok(chosen),
        }
    }

    /// Adds the one configuration of a filter, if there is any and the files have no resources for it.
    fn add(&self, filter: Filter, chosen: &mut Chosen) -> Result<(), ChoiceError> {
        let all = self.of(filter);
        let Some(first) = all.first() else { return Ok(()) };
        if self.has_resources(filter) {
            chosen.notes.push(format!(
                "the configuration of {} at {} is not asked, since the files have resources beside it: give its file alone, \
                 or say --filter-at {}",
                filter.name(),
                self.place(*first),
                self.place(*first)
            ));
            return Ok(());
        }
        if is_configured(&self.contents, filter) {
            return Err(ChoiceError::WrongUse(format!(
                "{} is configured at {} and in the configuration file: leave one out, or say --filter-at {}",
                filter.name(),
                self.place(*first),
                self.place(*first)
            )));
        }
        let index = self.one(filter, all)?;
        chosen.indexes.push(index);
        Ok(())
    }

    /// Adds `baseline-deny` where it stands before the filter that is chosen, or alone.
    fn add_before(&self, chosen: &mut Chosen) -> Result<(), ChoiceError> {
        if is_configured(&self.contents, Filter::BaselineDeny) || self.choice.layer == Some(Layer::Tcp) {
            return Ok(());
        }
        let behind: Vec<&Plugin> =
            chosen.indexes.iter().filter_map(|index| self.project.plugins().get(*index)).collect();
        if behind.iter().any(|plugin| plugin.filter == Filter::BaselineDeny)
            || behind.is_empty() && (self.has_own(Filter::IdentityAuthz) || self.has_own(Filter::EgressAllowlist))
        {
            return Ok(());
        }
        let is_before = |index: &usize| {
            let Some(own) = self.project.plugins().get(*index) else { return false };
            behind.iter().all(|other| match (own.position.chain, other.position.chain) {
                (Some(own), Some(other)) => own == other,
                _ => true,
            })
        };
        let all: Vec<usize> = self.of(Filter::BaselineDeny).into_iter().filter(is_before).collect();
        if !all.is_empty() {
            chosen.indexes.push(self.one(Filter::BaselineDeny, all)?);
        }
        Ok(())
    }

    /// Narrows several configurations of a filter to the one that is meant.
    fn one(&self, filter: Filter, all: Vec<usize>) -> Result<usize, ChoiceError> {
        // What is asked of several is about a request, unless the call says another thing.
        let asked = match self.choice.asked {
            Asked::Request | Asked::Egress => self.choice.layer.or(Some(Layer::Http)),
            Asked::Access | Asked::Tests | Asked::Rendering => self.choice.layer,
        };
        let of_layer: Vec<usize> = all.iter().copied().filter(|index| self.is_of_layer(*index, asked)).collect();
        let candidates = if of_layer.is_empty() { all } else { of_layer };
        let candidates = match self.project.settings().workload.as_ref().filter(|_| filter == Filter::IdentityAuthz) {
            Some(asked) => self.for_workload(asked, candidates)?,
            None => candidates,
        };
        let text = |index: &usize| {
            let mut json = String::new();
            let configuration = self.project.plugins().get(*index).and_then(|plugin| plugin.configuration.as_ref());
            if let Some(configuration) = configuration {
                write_json(configuration, &mut json);
            }
            json
        };
        match candidates.as_slice() {
            [first, others @ ..] if others.is_empty() || others.iter().all(|other| text(other) == text(first)) => {
                Ok(*first)
            }
            several => Err(ChoiceError::WrongUse(format!(
                "the files have several configurations of {}, say which with --filter-at:\n{}",
                filter.name(),
                self.list(several)
            ))),
        }
    }

    /// Keeps what is for the workload that is asked about; what names no workload, where nothing names this one.
    fn for_workload(&self, asked: &Workload, all: Vec<usize>) -> Result<Vec<usize>, ChoiceError> {
        let own = |index: &usize| self.project.plugins().get(*index).and_then(own_workload);
        let named: Vec<usize> =
            all.iter().copied().filter(|index| own(index).is_some_and(|own| agrees(asked, &own))).collect();
        let open: Vec<usize> = all.iter().copied().filter(|index| own(index).is_none()).collect();
        match (named.is_empty(), open.is_empty()) {
            (false, _) => Ok(named),
            (true, false) => Ok(open),
            (true, true) => Err(ChoiceError::WrongUse(format!(
                "no configuration of identity-authz among the files is for {asked}:\n{}",
                self.list(&all)
            ))),
        }
    }

    /// Returns the configuration at a place.
    fn at(&self, place: &str) -> Result<usize, ChoiceError> {
        let (file, line) = match place.rsplit_once(':').map(|(file, line)| (file, line.parse::<usize>())) {
            Some((file, Ok(line))) => (file, Some(line)),
            _ => (place, None),
        };
        let is_there = |index: &usize| {
            let Some(plugin) = self.project.plugins().get(*index) else { return false };
            let Some(source) = self.project.sources().get(plugin.span.source) else { return false };
            let is_file = source.name == file || source.name.ends_with(&format!("/{file}"));
            is_file && line.is_none_or(|line| source.position(plugin.span).line == line)
        };
        let all: Vec<usize> = (0..self.project.plugins().len()).collect();
        let found: Vec<usize> = all.iter().copied().filter(is_there).collect();
        let of_question = found.iter().copied().filter(|index| self.is_asked(*index)).collect::<Vec<_>>();
        match (found.as_slice(), of_question.as_slice()) {
            ([], _) => Err(ChoiceError::WrongUse(format!(
                "--filter-at: no configuration of a filter stands at {place}; there is\n{}",
                self.list(&all)
            ))),
            (_, []) => Err(ChoiceError::WrongUse(format!(
                "--filter-at: the configuration at {place} is of a filter that does not answer this:\n{}",
                self.list(&found)
            ))),
            (_, [first, ..]) => {
                let filter = self.project.plugins().get(*first).map_or(Filter::IdentityAuthz, |plugin| plugin.filter);
                let is_same =
                    |index: &usize| self.project.plugins().get(*index).is_some_and(|one| one.filter == filter);
                self.one(filter, of_question.iter().copied().filter(is_same).collect())
            }
        }
    }

    /// Reports whether a filter answers the question.
    fn is_asked(&self, index: usize) -> bool {
        let Some(plugin) = self.project.plugins().get(index) else { return false };
        match self.choice.asked {
            Asked::Access | Asked::Tests => plugin.filter == Filter::IdentityAuthz,
            Asked::Egress => plugin.filter == Filter::EgressAllowlist,
            Asked::Request | Asked::Rendering => true,
        }
    }

    /// Returns the configurations of a filter. An instance that only marks requests decides nothing.
    fn of(&self, filter: Filter) -> Vec<usize> {
        let marks = |plugin: &Plugin| {
            plugin.configuration.as_ref().is_some_and(|one| one.text_at(&["stage"]) == Some("custom"))
        };
        let plugins = self.project.plugins().iter().enumerate();
        let of_filter: Vec<(usize, &Plugin)> = plugins.filter(|(_, plugin)| plugin.filter == filter).collect();
        let deciding: Vec<usize> =
            of_filter.iter().filter(|(_, plugin)| !marks(plugin)).map(|(index, _)| *index).collect();
        if deciding.is_empty() { of_filter.into_iter().map(|(index, _)| index).collect() } else { deciding }
    }

    fn is_of_layer(&self, index: usize, asked: Option<Layer>) -> bool {
        let plugin = self.project.plugins().get(index);
        asked.is_none_or(|asked| plugin.is_some_and(|plugin| plugin.position.layer.is_none_or(|own| own == asked)))
    }

    /// Fails where a request is asked about, and the filter decides connections, or the other way round.
    fn check_layer(&self, index: usize) -> Result<(), ChoiceError> {
        if self.is_of_layer(index, self.choice.layer) {
            return Ok(());
        }
        let help = match self.choice.layer {
            Some(Layer::Tcp) => "requests and no connections, leave out --layer tcp",
            Some(Layer::Http) | None => "connections and no requests, say --layer tcp",
        };
        Err(ChoiceError::WrongUse(format!("the filter at {} decides {help}", self.place(index))))
    }

    /// Reports whether the files have resources for a filter.
    fn has_resources(&self, filter: Filter) -> bool {
        self.contents.resources.iter().any(|resource| match filter {
            Filter::IdentityAuthz => resource.is_for_identity(),
            Filter::EgressAllowlist => resource.is_for_egress(),
            Filter::BaselineDeny => false,
        })
    }

    /// Reports whether the files have resources or settings for a filter.
    fn has_own(&self, filter: Filter) -> bool {
        self.has_resources(filter) || is_configured(&self.contents, filter)
    }

    fn place(&self, index: usize) -> String {
        self.project.plugins().get(index).map_or_else(String::new, |plugin| self.project.place(plugin.span))
    }

    /// Returns a line for each configuration.
    fn list(&self, indexes: &[usize]) -> String {
        let lines = indexes.iter().filter_map(|index| {
            let plugin = self.project.plugins().get(*index)?;
            let workload = own_workload(plugin).map(|workload| format!(", {workload}")).unwrap_or_default();
            let layer = if plugin.position.layer == Some(Layer::Tcp) { ", for connections" } else { "" };
            Some(format!("  {}  {}{workload}{layer}", self.project.place(plugin.span), plugin.filter.name()))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Returns the workload that a configuration of `identity-authz` names.
fn own_workload(plugin: &Plugin) -> Option<Workload> {
    plugin.configuration.as_ref()?.get("workload").and_then(workload_of)
}

/// Reports whether a workload that is asked about can be the one of a configuration.
fn agrees(asked: &Workload, own: &Workload) -> bool {
    let is_same = |asked: &Option<String>, own: &Option<String>| match (asked, own) {
        (Some(asked), Some(own)) => asked == own,
        _ => true,
    };
    let carries = |label: &(String, String)| own.labels.as_ref().is_none_or(|labels| labels.contains(label));
    asked.namespace == own.namespace
        && asked.labels.iter().flatten().all(carries)
        && is_same(&asked.service, &own.service)
        && is_same(&asked.gateway, &own.gateway)
}

/// Reports whether files say anything about who may reach a workload.
pub fn is_about_access(contents: &Contents<'_>) -> bool {
    is_configured(contents, Filter::IdentityAuthz) || contents.resources.iter().any(Resource::is_for_identity)
}

/// Reports whether `identity-authz` denies nothing, since its mode is `report`.
pub fn only_reports(project: &Project, contents: &Contents<'_>) -> bool {
    let section = project.filter_settings(contents, Filter::IdentityAuthz).section;
    section.and_then(|section| section.text_at(&["mode"])) == Some("report")
}
