//! Files and settings of a call.

use sallyport_analysis::{Project, Settings, Workload};
use serde_json::Value;

/// Annotation of a policy that is reported and not enforced.
const DRY_RUN: &str = "istio.io/dry-run";

/// JSON object that a call takes.
pub(crate) struct Input(Value);

impl Input {
    /// Reads the text of a call.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map(Self).map_err(|error| format!("bad call: {error}"))
    }

    /// Returns a text by its key; an empty one counts as absent.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        text(&self.0, key)
    }

    /// Returns the items of a list by its key.
    pub(crate) fn list(&self, key: &str) -> &[Value] {
        list(&self.0, key)
    }

    /// Returns the files as a project, for the workload of the settings if there is one.
    pub(crate) fn project(&self) -> Result<Project, String> {
        self.project_for(self.setting("workload"))
    }

    /// Reports whether a policy may be a dry run.
    pub(crate) fn has_dry_runs(&self) -> bool {
        self.list("files").iter().any(|file| text(file, "text").is_some_and(|text| text.contains(DRY_RUN)))
    }

    /// Returns the files as if nothing in them were a dry run: with an annotation of the same length, so that places stay.
    pub(crate) fn project_as_enforced(&self) -> Result<Project, String> {
        self.read(self.setting("workload"), &|text| text.replace(DRY_RUN, "istio.io/dry-off"))
    }

    /// Returns the files as a project for this workload.
    pub(crate) fn project_for(&self, workload: Option<&str>) -> Result<Project, String> {
        self.read(workload, &str::to_owned)
    }

    fn read(&self, workload: Option<&str>, change: &dyn Fn(&str) -> String) -> Result<Project, String> {
        let own = |key: &str| self.setting(key).map(str::to_owned);
        let workload = workload.map(Workload::parse).transpose()?;
        let workload =
            workload.map(|workload| Workload { service: own("service"), gateway: own("gateway"), ..workload });
        let mut project = Project::new(Settings {
            workload,
            default_namespace: own("defaultNamespace"),
            trust_domain: own("trustDomain"),
            trust_domain_aliases: own("trustDomainAliases").as_deref().map(words).unwrap_or_default(),
            default_action: own("defaultAction"),
        });
        for file in self.list("files") {
            let text_of_file = change(text(file, "text").unwrap_or_default());
            project.add(text(file, "name").unwrap_or("policies.yaml"), &text_of_file);
        }
        Ok(project)
    }

    fn setting(&self, key: &str) -> Option<&str> {
        text(self.0.get("settings")?, key)
    }
}

/// Returns a text by its key; an empty one counts as absent.
pub(crate) fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Returns the items of a list by its key.
pub(crate) fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Splits a text at commas and blanks.
fn words(text: &str) -> Vec<String> {
    text.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
