//! The shop of `envoy-config/`: what its filters answer to a request.

use anyhow::{Context, Result, anyhow};
use sallyport_analysis::{Caller, Deciders, Explanation, Project, Settings, SimulatedRequest};
use serde_json::{Map, Value, json};
use testbed::Configuration;

/// The ways in and out of the shop, each with the filters in its configuration.
const GATES: [(&str, &[(&str, &str)]); 2] = [
    (
        "envoy-config/ingress.yaml",
        &[("sallyport.baseline_deny", "baselineDeny"), ("sallyport.identity_authz", "identityAuthz")],
    ),
    ("envoy-config/egress.yaml", &[("sallyport.egress_allowlist", "egressAllowlist")]),
];

/// A way into the shop or out of it.
#[derive(Clone, Copy)]
pub(crate) enum Gate {
    In,
    Out,
}

/// The policies of a gate, read as the command `sallyport` reads them.
pub(crate) struct Shop {
    project: Project,
}

/// A request to the shop.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// Namespace and service account of the caller.
    pub(crate) from: (&'static str, &'static str),
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
}

impl Asked {
    /// Returns its first line, as in `GET /orders`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, if self.path.is_empty() { self.host } else { self.path })
    }

    /// Returns the caller as policies write it.
    pub(crate) fn principal(&self) -> String {
        format!("cluster.local/ns/{}/sa/{}", self.from.0, self.from.1)
    }
}

impl Shop {
    /// Reads the policies of a gate, in report mode or as they are.
    pub(crate) fn read(gate: Gate, reports: bool) -> Result<Self> {
        let (file, filters) = match gate {
            Gate::In => GATES[0],
            Gate::Out => GATES[1],
        };
        let configuration = Configuration::read(&testbed::root().join(file))?;
        let mut found = Vec::new();
        collect_filters(configuration.value(), &mut found);
        let (mut settings, mut resources) = (Map::new(), Vec::new());
        for (name, key) in filters {
            let filter = found.iter().find(|filter| filter.get("name") == Some(&Value::from(*name)));
            let configuration = filter.and_then(|filter| filter.pointer("/typed_config/config/configuration/value"));
            let mut configuration = configuration.cloned().with_context(|| format!("{file} has no {name}"))?;
            let keys = configuration.as_object_mut().context("no configuration")?;
            resources.extend(keys.remove("resources").iter().filter_map(Value::as_array).flatten().cloned());
            if reports {
                keys.insert("mode".to_owned(), Value::from("report"));
            }
            settings.insert((*key).to_owned(), configuration);
        }
        let mut project = Project::new(Settings::default());
        project.add("sallyport.yaml", &Value::Object(settings).to_string());
        project.add(file, &json!({"apiVersion": "v1", "kind": "List", "items": resources}).to_string());
        Ok(Self { project })
    }

    /// Explains what happens to a request.
    pub(crate) fn explain(&self, asked: &Asked) -> Result<Explanation> {
        let contents = self.project.contents();
        let deciders = Deciders::load(&self.project, &contents);
        let deciders = deciders.map_err(|faults| anyhow!("refused: {faults:?}"))?;
        let caller = Caller { certificate: Some(vec![format!("spiffe://{}", asked.principal())]), ..Caller::default() };
        let headers = vec![("user-agent".to_owned(), b"shop/1.0".to_vec())];
        Ok(deciders.explain(&SimulatedRequest {
            caller,
            headers,
            method: asked.method.as_bytes().to_vec(),
            host: asked.host.as_bytes().to_vec(),
            path: asked.path.as_bytes().to_vec(),
            ..SimulatedRequest::default()
        }))
    }

    /// Returns the names of the policies with an action, as `NAMESPACE/NAME`.
    pub(crate) fn policies(&self, action: &str) -> Vec<String> {
        let contents = self.project.contents();
        let of_action = contents.resources.iter().filter(|resource| {
            let stated = resource.node.text_at(&["spec", "action"]).unwrap_or("ALLOW");
            // A policy without rules is there to deny by default.
            stated == action && resource.node.at(&["spec", "rules"]).is_some()
        });
        let name = |resource: &sallyport_analysis::Resource<'_>| {
            Some(format!("{}/{}", resource.namespace()?, resource.name()?))
        };
        of_action.filter_map(name).collect()
    }
}

/// Collects the objects with a filter's name, wherever they are.
fn collect_filters<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(entries) => {
            if entries.contains_key("name") && entries.contains_key("typed_config") {
                found.push(value);
            }
            entries.values().for_each(|entry| collect_filters(entry, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_filters(item, found)),
        _ => {}
    }
}
