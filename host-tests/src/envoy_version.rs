//! Versions of Envoy, and what differs by version: `host-tests/envoy-versions.yaml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};
use testbed::read_yaml;

use crate::suite::{Case, Expectation, FirstSpeaker};

/// A version of Envoy, as in `1.36.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct EnvoyVersion([u32; 3]);

impl EnvoyVersion {
    /// Asks an Envoy binary for its version.
    pub fn of(binary: &Path) -> Result<Self> {
        let output = Command::new(binary).arg("--version").output().with_context(|| binary.display().to_string())?;
        let text = String::from_utf8(output.stdout)?;
        // As in `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
        let version = text.split('/').rev().nth(3).with_context(|| format!("no version in {text}"))?;
        version.parse()
    }
}

impl FromStr for EnvoyVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // A build of a later commit has `-dev` at the end.
        let numbers = text.split_once('-').map_or(text, |(numbers, _)| numbers).split('.');
        let numbers = numbers.map(str::parse).collect::<Result<Vec<u32>, _>>().ok();
        let Some(Ok(version)) = numbers.map(<[u32; 3]>::try_from) else { bail!("{text} is no version of Envoy") };
        Ok(Self(version))
    }
}

impl TryFrom<String> for EnvoyVersion {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl fmt::Display for EnvoyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// The versions that the tests run, and what differs by version.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvoyVersions {
    /// The versions, oldest first.
    pub versions: Vec<EnvoyVersion>,
    /// Settings that older versions refuse.
    settings: Vec<Setting>,
    /// Keys of a filter's configuration that older versions need.
    configurations: Vec<Addition>,
    /// Cases with another result on older versions.
    differences: Vec<Difference>,
    /// The topics and the names of the cases that `make test` plays on every version, by filter.
    essential: BTreeMap<String, Vec<String>>,
}

/// A key of Envoy's configuration that versions before `since` refuse.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    key: String,
    since: EnvoyVersion,
}

/// Keys of a filter's configuration that versions before `before` need.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    before: EnvoyVersion,
    #[serde(rename = "why")]
    _why: String,
    filters: Vec<String>,
    /// The keys, added where they do not stand.
    add: Map<String, Value>,
}

/// Cases of a filter with another result on versions before `before`, and not before `since` if that is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    since: Option<EnvoyVersion>,
    before: EnvoyVersion,
    filter: String,
    #[serde(rename = "why")]
    _why: String,
    /// A kind of cases that cannot be played.
    kind: Option<CaseKind>,
    #[serde(default)]
    cases: Vec<DifferentCase>,
}

/// A kind of cases.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CaseKind {
    /// Connections over TLS whose service speaks first.
    ServerFirstOverTls,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DifferentCase {
    name: String,
    /// The result on these versions.
    expect: Expectation,
}

impl EnvoyVersions {
    /// Reads the table.
    pub fn load() -> Result<Self> {
        let path = testbed::root().join("host-tests/envoy-versions.yaml");
        let text = std::fs::read_to_string(&path)?;
        let read = read_yaml(&text).and_then(|value| Ok(serde_json::from_value(value)?));
        read.with_context(|| format!("in {}", path.display()))
    }

    /// Removes the settings from a configuration that `version` refuses.
    pub(crate) fn remove_unknown_settings(&self, version: EnvoyVersion, configuration: &mut Value) {
        let unknown: Vec<_> = self.settings.iter().filter(|setting| version < setting.since).collect();
        if !unknown.is_empty() {
            remove_keys(configuration, &|key| unknown.iter().any(|setting| setting.key == key));
        }
    }

    /// Returns the cases as they are to be played on `version`, and the names of those that cannot be.
    pub fn adapt(&self, version: EnvoyVersion, filter: &str, cases: &[Case]) -> (Vec<Case>, Vec<String>) {
        let (mut adapted, mut left_out) = (Vec::new(), Vec::new());
        for case in cases {
            let mut case = case.clone();
            for addition in self.configurations.iter().filter(|addition| addition.applies(version, filter)) {
                addition.apply(&mut case);
            }
            let differences = || self.differences(version, filter);
            let named = differences().flat_map(|difference| &difference.cases).find(|it| it.name == case.name);
            if differences().any(|difference| difference.kind.is_some_and(|kind| kind.contains(&case))) {
                left_out.push(case.name);
            } else {
                let expect = named.map_or(case.expect, |named| named.expect.clone());
                adapted.push(Case { expect, ..case });
            }
        }
        (adapted, left_out)
    }

    /// Returns whether `version` has this setting of Envoy.
    pub(crate) fn has_setting(&self, version: EnvoyVersion, key: &str) -> bool {
        self.settings.iter().all(|setting| setting.key != key || setting.since <= version)
    }

    fn differences(&self, version: EnvoyVersion, filter: &str) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |difference| {
            let since = difference.since.is_none_or(|since| since <= version);
            since && version < difference.before && difference.filter == filter
        })
    }

    /// Returns those of `cases` that are essential. Fails if a topic or a case that is listed does not exist.
    pub fn essential(&self, filter: &str, cases: &[Case]) -> Result<Vec<Case>> {
        let listed = self.essential.get(filter).with_context(|| format!("no essential cases of {filter}"))?;
        let is = |case: &Case, listed: &str| {
            case.name.strip_prefix(listed).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
        };
        if let Some(unknown) = listed.iter().find(|listed| !cases.iter().any(|case| is(case, listed))) {
            bail!("envoy-versions.yaml names {unknown} of {filter}, which is neither a topic nor a case");
        }
        Ok(cases.iter().filter(|case| listed.iter().any(|listed| is(case, listed))).cloned().collect())
    }

    /// Fails if the table names a case that does not exist.
    pub fn check_names(&self, filter: &str, cases: &[Case]) -> Result<()> {
        let differences = self.differences.iter().filter(|difference| difference.filter == filter);
        for named in differences.flat_map(|difference| &difference.cases) {
            if cases.iter().all(|case| case.name != named.name) {
                bail!("envoy-versions.yaml names the case {} of {filter}, which does not exist", named.name);
            }
        }
        Ok(())
    }
}

impl CaseKind {
    fn contains(self, case: &Case) -> bool {
        match self {
            Self::ServerFirstOverTls => case.speaks_first == Some(FirstSpeaker::Server) && case.caller.speaks_tls(),
        }
    }
}

impl Addition {
    fn applies(&self, version: EnvoyVersion, filter: &str) -> bool {
        version < self.before && self.filters.iter().any(|known| known == filter)
    }

    /// Adds the keys to the case's configuration, unless the listener may not vouch for the
    /// case's certificate. The line at load then tells more, and is not checked.
    fn apply(&self, case: &mut Case) {
        let Some(Value::Object(configuration)) = &mut case.configuration else { return };
        if case.expect.refused.is_some() || case.caller.untrusted || case.caller.expired {
            return;
        }
        for (key, value) in &self.add {
            if !configuration.contains_key(key) {
                configuration.insert(key.clone(), value.clone());
                case.expect.loaded.clear();
            }
        }
    }
}

fn remove_keys(value: &mut Value, is_unknown: &dyn Fn(&str) -> bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| remove_keys(item, is_unknown)),
        Value::Object(entries) => {
            entries.retain(|key, _| !is_unknown(key));
            entries.values_mut().for_each(|entry| remove_keys(entry, is_unknown));
        }
        _ => {}
    }
}
