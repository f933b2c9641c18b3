//! Files and settings of a call.

use sallyport_analysis::{Settings, Workload};
use serde_json::Value;

use crate::kept::KeptProject;

/// JSON object that a call takes.
pub(crate) struct Input(Value);

impl Input {
    /// Reads the text of a call.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map(Self).map_err(|error| format!("bad call: {error}"))
    }

    /// Returns a text by its key; an empty one counts as absent.
    #[cfg(feature = "files")]
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        text(&self.0, key)
    }

    /// Returns the items of a list by its key.
    pub(crate) fn list(&self, key: &str) -> &[Value] {
        list(&self.0, key)
    }

    /// Returns the files as a project, for the workload of the settings if there is one.
    pub(crate) fn project(&self) -> Result<KeptProject, String> {
        self.project_for(self.setting("workload"))
    }

    /// Returns the files as a project for this workload.
    pub(crate) fn project_for(&self, workload: Option<&str>) -> Result<KeptProject, String> {
        Ok(KeptProject::of(&self.files(), self.settings(workload)?))
    }

    /// Returns the names and texts of the files.
    pub(crate) fn files(&self) -> Vec<(&str, &str)> {
        let files = self.list("files").iter();
        files
            .map(|file| (text(file, "name").unwrap_or("policies.yaml"), text(file, "text").unwrap_or_default()))
            .collect()
    }

    /// Returns the settings of the call, with this workload.
    pub(crate) fn settings(&self, workload: Option<&str>) -> Result<Settings, String> {
        let own = |key: &str| self.setting(key).map(str::to_owned);
        let workload = workload.map(Workload::parse).transpose()?;
        let workload =
            workload.map(|workload| Workload { service: own("service"), gateway: own("gateway"), ..workload });
        Ok(Settings {
            workload,
            default_namespace: own("defaultNamespace"),
            trust_domain: own("trustDomain"),
            trust_domain_aliases: own("trustDomainAliases").as_deref().map(words).unwrap_or_default(),
            default_action: own("defaultAction"),
            ..Settings::default()
        })
    }

    /// Returns a text of the settings.
    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
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
