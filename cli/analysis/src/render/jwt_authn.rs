//! Envoy's `jwt_authn` filter, written from the RequestAuthentication resources that apply to a workload.

use crate::filters::FilterInput;
use crate::finding::{Finding, Severity};
use crate::project::{Contents, Project};
use crate::render::providers::{Cluster, Provider};
use crate::render::yaml::{entry, list, node, object, text, write};
use crate::resource::Resource;
use crate::settings::Filter;
use crate::source::Span;
use crate::tree::{Entry, Node, Value};

/// The claims that are lists of words unless the configuration says otherwise.
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];

/// The metadata key under which `identity-authz` looks for payloads unless the configuration says otherwise.
const METADATA_KEY: &str = "payload";

/// The filter, and what it needs.
pub(crate) struct JwtAuthn {
    /// `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`, without a provider if no resource applies.
    pub(crate) typed_config: String,
    /// The clusters from which it fetches keys.
    pub(crate) clusters: Vec<Cluster>,
    /// Number of RequestAuthentication resources that apply, and of all.
    pub(crate) applicable: usize,
    pub(crate) total: usize,
}

/// Settings by which `identity-authz` reads tokens.
pub(crate) struct TokenSettings {
    metadata_key: String,
    space_delimited: Vec<String>,
}

impl TokenSettings {
    fn new(section: Option<&Node>) -> Self {
        let words = |key| -> Option<Vec<String>> {
            let words = section?.at(&["identity", "jwt", key])?.items().iter();
            Some(words.filter_map(Node::as_str).map(str::to_owned).collect())
        };
        let metadata_key = words("metadataKeys").and_then(|keys| keys.into_iter().next());
        let space_delimited =
            words("spaceDelimitedClaims").unwrap_or_else(|| SPACE_DELIMITED.map(str::to_owned).to_vec());
        Self { metadata_key: metadata_key.unwrap_or_else(|| METADATA_KEY.to_owned()), space_delimited }
    }
}

impl JwtAuthn {
    /// Reads the RequestAuthentication resources that apply.
    ///
    /// # Errors
    ///
    /// Resources that cannot be written as a filter, and those of which it cannot be told whether they apply.
    pub(crate) fn new<'p>(project: &'p Project, contents: &'p Contents<'p>) -> Result<Self, Vec<Finding>> {
        let input = FilterInput::always(project, contents, Filter::IdentityAuthz);
        let namespace = input.default_namespace();
        let all: Vec<&Resource<'_>> = contents.resources.iter().filter(|resource| is_read(resource)).collect();
        let selections: Vec<Node> = all.iter().map(|resource| selection(resource)).collect();
        let applicable = match all.is_empty() {
            true => Default::default(),
            false => input.selecting(&selections).applicable().map_err(of_request_authentication)?,
        };
        let settings = TokenSettings::new(project.filter_settings(contents, Filter::IdentityAuthz).section);
        let (mut providers, mut findings, mut count) = (Vec::new(), Vec::new(), 0);
        for resource in &all {
            let namespace = resource.namespace().or(namespace.as_deref()).unwrap_or_default();
            let full_name = format!("{namespace}/{}", resource.name().unwrap_or_default());
            let applies = applicable.contains(&("AuthorizationPolicy".to_owned(), full_name.clone()));
            count += usize::from(applies);
            let rules = resource.node.at(&["spec", "jwtRules"]).map_or(&[][..], Node::items);
            for (index, rule) in rules.iter().enumerate() {
                let provider = Provider::read(&format!("{full_name}/{index}"), rule, &mut findings);
                providers.extend(provider.filter(|_| applies));
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        // As Istio has them (1.31, pilot/pkg/security/authn/policy_applier.go).
        providers.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        let mut clusters: Vec<Cluster> = Vec::new();
        for cluster in providers.iter().filter_map(|provider| provider.cluster.clone()) {
            if !clusters.contains(&cluster) {
                clusters.push(cluster);
            }
        }
        let typed_config = write(&typed_config(&providers, &settings));
        Ok(Self { typed_config, clusters, applicable: count, total: all.len() })
    }

    /// Returns a line about what applies and what was left out.
    pub(crate) fn summary(&self, workload: Option<&str>) -> String {
        let Self { applicable, total, .. } = self;
        let (left_out, verb) = (total - applicable, if *applicable == 1 { "applies" } else { "apply" });
        match workload {
            Some(workload) => {
                format!(
                    "jwt_authn: {applicable} of {total} RequestAuthentication {verb} to {workload}, {left_out} left out"
                )
            }
            None => format!("jwt_authn: {total} RequestAuthentication"),
        }
    }
}

fn is_read(resource: &Resource<'_>) -> bool {
    resource.kind() == Some("RequestAuthentication") && resource.group() == Some("security.istio.io")
}

/// Returns an AuthorizationPolicy that selects the workloads of a RequestAuthentication: both do it alike (Istio 1.31,
/// `pilot/pkg/model/policyattachment.go`). Positions stay, so that faults are at their place.
fn selection(resource: &Resource<'_>) -> Node {
    let mut selection = resource.node.clone();
    let Value::Object(entries) = &mut selection.value else { return selection };
    entries.retain(|entry| !["kind", "apiVersion", "spec"].contains(&entry.key.as_str()));
    entries.insert(0, entry("kind", text("AuthorizationPolicy")));
    entries.insert(0, entry("apiVersion", text("security.istio.io/v1")));
    let is_selector = |entry: &&Entry| ["selector", "targetRef", "targetRefs"].contains(&entry.key.as_str());
    let of_spec = resource.node.entries().iter().find(|entry| entry.key == "spec");
    let selectors = of_spec.map_or(&[][..], |spec| spec.value.entries()).iter().filter(is_selector).cloned();
    let mut spec: Vec<Entry> = selectors.collect();
    spec.push(entry("action", text("DENY")));
    spec.push(entry("rules", list(vec![object([])])));
    entries.push(Entry {
        key: "spec".to_owned(),
        key_span: of_spec.map_or(Span { source: 0, start: 0, end: 0 }, |spec| spec.key_span),
        value: Node { value: Value::Object(spec), span: resource.span() },
    });
    selection
}

/// Has findings speak of the resource that its author knows.
fn of_request_authentication(findings: Vec<Finding>) -> Vec<Finding> {
    let renamed = |finding: Finding| Finding {
        message: finding
            .message
            .replace("the DENY policy", "the RequestAuthentication")
            .replace("AuthorizationPolicy", "RequestAuthentication"),
        severity: Severity::Error,
        ..finding
    };
    findings.into_iter().map(renamed).collect()
}

/// Returns the filter. A missing token is no fault, an invalid one is, and a token of each provider is validated.
fn typed_config(providers: &[Provider], settings: &TokenSettings) -> Node {
    const TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
    let mut entries = vec![entry("@type", text(TYPE))];
    if !providers.is_empty() {
        let each = providers.iter().map(|one| {
            let space_delimited = one.space_delimited.as_ref().unwrap_or(&settings.space_delimited);
            entry(&one.name, one.node(&settings.metadata_key, space_delimited))
        });
        entries.push(entry("providers", node(Value::Object(each.collect()))));
        let rule = object([("match", object([("prefix", text("/"))])), ("requires", requirement(providers))]);
        entries.push(entry("rules", list(vec![rule])));
    }
    node(Value::Object(entries))
}

/// Returns what is required of a request, as Istio has it: with one provider its token or none. With several, a token of
/// any of them, or that each token, where it is given, is valid; the former is for providers that read one place. Where
/// tokens are required, those of others are no way around them.
fn requirement(providers: &[Provider]) -> Node {
    let by_name = |provider: &Provider| object([("provider_name", text(&provider.name))]);
    let optional = |provider: &Provider| match provider.is_required {
        true => by_name(provider),
        false => any(vec![by_name(provider), object([("allow_missing", object([]))])]),
    };
    match providers {
        [one] => optional(one),
        all => {
            let each = object([("requires_all", object([("requirements", list(all.iter().map(optional).collect()))]))]);
            let required = all.iter().filter(|one| one.is_required).count();
            let suffices = |one: &&Provider| required == 0 || required == 1 && one.is_required;
            any(all.iter().filter(suffices).map(by_name).chain([each]).collect())
        }
    }
}

fn any(requirements: Vec<Node>) -> Node {
    object([("requires_any", object([("requirements", list(requirements))]))])
}
