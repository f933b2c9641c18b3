//! Settings of the filters, from the command line and the configuration file.

use crate::json::{separate, write_json, write_key, write_text};
use crate::source::Span;
use crate::tree::Node;

/// A filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `identity-authz`.
    IdentityAuthz,
    /// `baseline-deny`.
    BaselineDeny,
    /// `egress-allowlist`.
    EgressAllowlist,
}

impl Filter {
    /// All filters.
    pub const ALL: [Self; 3] = [Self::IdentityAuthz, Self::BaselineDeny, Self::EgressAllowlist];

    /// Returns the name, as in `identity-authz`.
    pub fn name(self) -> &'static str {
        match self {
            Self::IdentityAuthz => "identity-authz",
            Self::BaselineDeny => "baseline-deny",
            Self::EgressAllowlist => "egress-allowlist",
        }
    }

    /// Returns the key of the configuration file, as in `identityAuthz`.
    pub fn key(self) -> &'static str {
        match self {
            Self::IdentityAuthz => "identityAuthz",
            Self::BaselineDeny => "baselineDeny",
            Self::EgressAllowlist => "egressAllowlist",
        }
    }
}

/// Layer at which filters decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layer {
    /// Requests.
    #[default]
    Http,
    /// Connections.
    Tcp,
}

/// Workload, as `NAMESPACE/KEY=VALUE,...` with the objects that `targetRefs` can name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Labels; `None` if they are not known.
    pub labels: Option<Vec<(String, String)>>,
    /// Service that the proxy fronts.
    pub service: Option<String>,
    /// Gateway that the proxy is.
    pub gateway: Option<String>,
}

impl Workload {
    /// Reads `NAMESPACE` or `NAMESPACE/KEY=VALUE,KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// A text of another form is refused with the form that is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (namespace, labels) = match text.split_once('/') {
            Some((namespace, labels)) => (namespace, Some(labels)),
            None => (text, None),
        };
        let form = || format!("bad workload `{text}`: write NAMESPACE/KEY=VALUE,... as in shop/app=orders");
        if namespace.is_empty() {
            return Err(form());
        }
        let pair = |pair: &str| -> Result<(String, String), String> {
            let (key, value) = pair.split_once('=').ok_or_else(form)?;
            Some((key.trim().to_owned(), value.trim().to_owned())).filter(|(key, _)| !key.is_empty()).ok_or_else(form)
        };
        let labels = labels.map(|labels| labels.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect());
        let labels: Option<Vec<(String, String)>> = labels.transpose()?;
        for (index, (key, _)) in labels.iter().flatten().enumerate() {
            if labels.iter().flatten().skip(index + 1).any(|(other, _)| other == key) {
                return Err(format!("bad workload `{text}`: the label `{key}` is given twice, keep one"));
            }
        }
        Ok(Self { namespace: namespace.to_owned(), labels, ..Self::default() })
    }

    fn write_json(&self, json: &mut String) {
        json.push('{');
        write_key("namespace", json);
        write_text(&self.namespace, json);
        if let Some(labels) = &self.labels {
            json.push(',');
            write_key("labels", json);
            json.push('{');
            for (index, (key, value)) in labels.iter().enumerate() {
                separate(index, json);
                write_key(key, json);
                write_text(value, json);
            }
            json.push('}');
        }
        for (key, value) in [("service", &self.service), ("gateway", &self.gateway)] {
            if let Some(value) = value {
                json.push(',');
                write_key(key, json);
                write_text(value, json);
            }
        }
        json.push('}');
    }
}

/// Settings of the command line, which go before those of the configuration file.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `--workload` with `--service` and `--gateway`.
    pub workload: Option<Workload>,
    /// `--default-namespace`.
    pub default_namespace: Option<String>,
    /// `--trust-domain`.
    pub trust_domain: Option<String>,
    /// `--trust-domain-alias`.
    pub trust_domain_aliases: Vec<String>,
    /// `--default-action`: `ALLOW` or `DENY`.
    pub default_action: Option<String>,
    /// `--layer`: where the policies are enforced. A configuration that the files carry has its own.
    pub layer: Layer,
}

/// Settings of one filter: those of the command line and its part of the configuration file.
pub(crate) struct FilterSettings<'s> {
    pub(crate) filter: Filter,
    pub(crate) settings: &'s Settings,
    /// The filter's part of the configuration file.
    pub(crate) section: Option<&'s Node>,
    /// The key of that part.
    pub(crate) key_span: Option<Span>,
}

impl FilterSettings<'_> {
    /// Writes the keys of the configuration but `resources`, without braces; returns their number.
    pub(crate) fn write_json(&self, json: &mut String) -> usize {
        let mut flags: Vec<(&str, String)> = Vec::new();
        let mut text = |key, value: &Option<String>| {
            if let Some(value) = value {
                let mut json = String::new();
                write_text(value, &mut json);
                flags.push((key, json));
            }
        };
        let settings = self.settings;
        text("defaultNamespace", &self.default_namespace());
        if self.filter != Filter::BaselineDeny {
            text("trustDomain", &settings.trust_domain);
        }
        if self.filter == Filter::IdentityAuthz {
            text("defaultAction", &settings.default_action);
        }
        if self.filter != Filter::BaselineDeny && !settings.trust_domain_aliases.is_empty() {
            let mut list = String::from("[");
            for (index, alias) in settings.trust_domain_aliases.iter().enumerate() {
                separate(index, &mut list);
                write_text(alias, &mut list);
            }
            flags.push(("trustDomainAliases", list + "]"));
        }
        if let Some(workload) = settings.workload.as_ref().filter(|_| self.filter == Filter::IdentityAuthz) {
            let mut object = String::new();
            workload.write_json(&mut object);
            flags.push(("workload", object));
        }
        let mut count = 0;
        let of_file = self.section.map_or(&[][..], Node::entries);
        for entry in of_file.iter().filter(|entry| flags.iter().all(|(key, _)| entry.key != *key)) {
            // That it does not belong there is a finding of its own.
            if entry.key == "resources" {
                continue;
            }
            separate(count, json);
            write_key(&entry.key, json);
            write_json(&entry.value, json);
            count += 1;
        }
        for (key, value) in flags {
            separate(count, json);
            write_key(key, json);
            json.push_str(&value);
            count += 1;
        }
        count
    }

    /// Returns the namespace of resources without one; `None` where the filter finds it by itself.
    fn default_namespace(&self) -> Option<String> {
        let of_workload = self.settings.workload.as_ref().filter(|_| {
            self.filter != Filter::IdentityAuthz
                && self.section.is_none_or(|section| section.get("defaultNamespace").is_none())
        });
        let of_workload = of_workload.map(|workload| workload.namespace.clone());
        self.settings.default_namespace.clone().or(of_workload)
    }

    /// Returns the namespace that resources without one belong to, as far as it is set.
    pub(crate) fn namespace_of_resources(&self) -> Option<String> {
        let of_section = |keys: &[&str]| self.section.and_then(|section| section.text_at(keys)).map(str::to_owned);
        let settings = self.settings;
        settings
            .default_namespace
            .clone()
            .or_else(|| of_section(&["defaultNamespace"]))
            .or_else(|| settings.workload.as_ref().map(|workload| workload.namespace.clone()))
            .or_else(|| of_section(&["workload", "namespace"]))
    }

    /// Reports whether a key is set, by the command line or the file.
    pub(crate) fn has(&self, key: &str) -> bool {
        let by_flag = match key {
            "workload" => self.settings.workload.is_some(),
            "defaultAction" => self.settings.default_action.is_some(),
            _ => false,
        };
        by_flag || self.section.is_some_and(|section| section.get(key).is_some())
    }
}
