//! The compared filters and their configurations, all of which allow the same request.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::server::Listener;

/// The principal of the client.
pub(crate) const CALLER: &str = "cluster.local/ns/shop/sa/web";
const HOST: &str = "api.example.com";
const PATH: &str = "/orders/17";
const USER_AGENT: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";

/// The request that every variant allows.
pub(crate) const REQUEST: [(&[u8], &[u8]); 5] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", HOST.as_bytes()),
    (b":path", PATH.as_bytes()),
    (b"user-agent", USER_AGENT.as_bytes()),
];

/// A group of variants that differ only in size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    NoFilter,
    Cheapest,
    ConnectionTag,
    ConnectionTagAndHeaders,
    Principals,
    RulePerPrincipal,
    PrincipalMethodPath,
    NamedPolicy,
    RulePerPath,
    Hosts,
    NamedHost,
    ScannerPreset,
    UserAgents,
    IstioPrincipals,
    IstioLast,
    IstioWithoutDns,
    IstioPaths,
    MatcherTree,
    Lua,
}

impl Series {
    /// All series, in the order of the table.
    pub(crate) const ALL: [Self; 19] = [
        Self::NoFilter,
        Self::Cheapest,
        Self::ConnectionTag,
        Self::ConnectionTagAndHeaders,
        Self::Principals,
        Self::RulePerPrincipal,
        Self::PrincipalMethodPath,
        Self::NamedPolicy,
        Self::RulePerPath,
        Self::Hosts,
        Self::NamedHost,
        Self::ScannerPreset,
        Self::UserAgents,
        Self::IstioPrincipals,
        Self::IstioLast,
        Self::IstioWithoutDns,
        Self::IstioPaths,
        Self::MatcherTree,
        Self::Lua,
    ];

    /// The name in the table: the filter, and what its size counts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoFilter => "no filter",
            Self::Cheapest => "the cheapest Wasm filter",
            Self::ConnectionTag => "handwritten: connection tag",
            Self::ConnectionTagAndHeaders => "handwritten: connection tag and headers",
            Self::Principals => "identity-authz, principals",
            Self::RulePerPrincipal => "identity-authz, one rule per principal",
            Self::PrincipalMethodPath => "identity-authz, principals with method and path",
            Self::NamedPolicy => "identity-authz, principals with method and path, allowedPolicy",
            Self::RulePerPath => "identity-authz, one rule per path",
            Self::Hosts => "egress-allowlist, hosts",
            Self::NamedHost => "egress-allowlist, hosts, allowedPolicy",
            Self::ScannerPreset => "baseline-deny, scanner preset",
            Self::UserAgents => "baseline-deny, user-agent patterns",
            Self::IstioPrincipals => "native RBAC as Istio emits it, principals",
            Self::IstioLast => "native RBAC as Istio emits it, caller last",
            Self::IstioWithoutDns => "native RBAC as Istio emits it, no DNS SAN",
            Self::IstioPaths => "native RBAC as Istio emits it, one rule per path",
            Self::MatcherTree => "native RBAC with a matcher tree, principals",
            Self::Lua => "Lua with a table, principals",
        }
    }

    /// The measured sizes; 0 for a series without one.
    fn sizes(self) -> &'static [usize] {
        match self {
            Self::NoFilter
            | Self::Cheapest
            | Self::ConnectionTag
            | Self::ConnectionTagAndHeaders
            | Self::ScannerPreset => &[0],
            Self::PrincipalMethodPath | Self::NamedPolicy => &[10, 10_000],
            Self::NamedHost => &[10],
            Self::IstioWithoutDns => &[10, 1_000],
            Self::IstioPrincipals | Self::IstioLast | Self::IstioPaths => &[10, 100, 1_000, 10_000],
            Self::Principals
            | Self::RulePerPrincipal
            | Self::RulePerPath
            | Self::Hosts
            | Self::UserAgents
            | Self::MatcherTree
            | Self::Lua => &[10, 100, 1_000, 10_000, 100_000],
        }
    }

    /// A size that is not measured, and the reason.
    pub(crate) fn omitted(self) -> Option<(usize, &'static str)> {
        match self {
            Self::IstioPrincipals | Self::IstioLast | Self::IstioPaths => {
                Some((100_000, "not measured: a single request takes longer than a round"))
            }
            _ => None,
        }
    }

    /// True if the client certificate has a DNS SAN beside its SPIFFE ID. Native RBAC is cheaper with one: without, Envoy
    /// (1.40) reads the SANs again for each principal that does not match.
    pub(crate) fn has_dns_san(self) -> bool {
        self != Self::IstioWithoutDns
    }
}

/// The handwritten modules: file name and text format source.
pub(crate) const HANDWRITTEN_MODULES: [(&str, &str); 3] = [
    ("cheapest.wasm", include_str!("cheapest.wat")),
    ("connection_tag.wasm", include_str!("connection_tag.wat")),
    ("connection_tag_and_headers.wasm", include_str!("connection_tag_and_headers.wat")),
];

/// The filter of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// The filter and the kind of its rules.
    pub(crate) series: Series,
    /// The number of rules or values; 0 for a series without sizes.
    pub(crate) size: usize,
}

impl Variant {
    /// The name of its listener and the `vm_id` of its VM.
    pub(crate) fn id(self) -> String {
        format!("{:?}-{}", self.series, self.size)
    }

    /// The configuration of its HTTP filter, if it has one; `handwritten` is the folder of [`HANDWRITTEN_MODULES`].
    pub(crate) fn filter(self, handwritten: &Path) -> Option<Value> {
        filter(self, handwritten)
    }
}

/// A listener for each variant.
pub(crate) fn listeners(variants: &[Variant], handwritten: &Path) -> Vec<Listener> {
    let listener =
        |variant: &Variant| Listener { name: variant.id(), filters: variant.filter(handwritten).into_iter().collect() };
    variants.iter().map(listener).collect()
}

/// All variants up to a size.
pub(crate) fn all(largest: usize) -> Vec<Variant> {
    let of_series = |series: Series| {
        let sizes = series.sizes().iter().filter(move |size| **size <= largest);
        sizes.map(move |size| Variant { series, size: *size })
    };
    Series::ALL.into_iter().flat_map(of_series).collect()
}

fn filter(variant: Variant, handwritten: &Path) -> Option<Value> {
    let (size, id) = (variant.size, variant.id());
    let sallyport =
        |filter: &str, configuration: Value| wasm(&id, &id, &testbed::filter_path(filter), &configuration.to_string());
    Some(match variant.series {
        Series::NoFilter => return None,
        Series::Cheapest => wasm(&id, &id, &handwritten.join("cheapest.wasm"), ""),
        Series::ConnectionTag => wasm(&id, &id, &handwritten.join("connection_tag.wasm"), ""),
        Series::ConnectionTagAndHeaders => wasm(&id, &id, &handwritten.join("connection_tag_and_headers.wasm"), ""),
        Series::Principals => sallyport("identity-authz", principals(size)),
        Series::RulePerPrincipal => sallyport("identity-authz", rule_per_principal(size)),
        Series::PrincipalMethodPath => sallyport("identity-authz", method_and_path(size)),
        Series::NamedPolicy => sallyport("identity-authz", with_allowed_policy(method_and_path(size))),
        Series::RulePerPath => sallyport("identity-authz", rule_per_path(size)),
        Series::Hosts => sallyport("egress-allowlist", hosts(size)),
        Series::NamedHost => sallyport("egress-allowlist", with_allowed_policy(hosts(size))),
        Series::ScannerPreset => sallyport("baseline-deny", json!({"presets": ["scanners"]})),
        Series::UserAgents => sallyport("baseline-deny", user_agents(size)),
        Series::IstioPrincipals | Series::IstioLast | Series::IstioWithoutDns => {
            let mut callers = callers(size);
            if variant.series == Series::IstioLast {
                callers.rotate_left(size / 2 + 1);
            }
            let names: Vec<_> = callers.iter().map(|caller| authenticated(caller)).collect();
            rbac(json!({"callers-rule[0]": {
                "permissions": [{"and_rules": {"rules": [{"any": true}]}}],
                "principals": [{"and_ids": {"ids": [{"or_ids": {"ids": names}}]}}]
            }}))
        }
        Series::IstioPaths => {
            let policy = |(number, path): (usize, String)| {
                let path = json!({"url_path": {"path": {"exact": path}}});
                let value = json!({
                    "permissions": [{"and_rules": {"rules": [{"or_rules": {"rules": [path]}}]}}],
                    "principals": [{"and_ids": {"ids": [{"or_ids": {"ids": [authenticated(CALLER)]}}]}}]
                });
                (format!("paths-rule[{number}]"), value)
            };
            rbac(Value::Object(paths(size).enumerate().map(policy).collect()))
        }
        Series::MatcherTree => matcher_tree(size),
        Series::Lua => lua(size),
    })
}

/// A configuration of `identity-authz` with `size` principals in one rule.
pub(crate) fn principals(size: usize) -> Value {
    allow(&callers(size), None)
}

/// `size` values with `wanted` in the middle: a linear scan visits half of them, as for the average caller.
fn with_wanted_in_middle(size: usize, wanted: &str, other: impl Fn(usize) -> String) -> impl Iterator<Item = String> {
    (0..size).map(move |number| if number == size / 2 { wanted.to_owned() } else { other(number) })
}

fn callers(size: usize) -> Vec<String> {
    with_wanted_in_middle(size, CALLER, |number| format!("cluster.local/ns/shop/sa/caller-{number}")).collect()
}

fn paths(size: usize) -> impl Iterator<Item = String> {
    with_wanted_in_middle(size, PATH, |number| format!("/things/{number}"))
}

fn allow(principals: &[String], operation: Option<Value>) -> Value {
    let mut rule = json!({"from": [{"source": {"principals": principals}}]});
    if let (Some(operation), Value::Object(keys)) = (operation, &mut rule) {
        keys.insert("to".to_owned(), operation);
    }
    policy("callers", json!({"rules": [rule]}))
}

/// The same with the method and the path of the request.
fn method_and_path(size: usize) -> Value {
    let operation = json!([{"operation": {"methods": ["GET"], "paths": [PATH]}}]);
    allow(&callers(size), Some(operation))
}

/// A configuration that writes who let a request in into filter state.
fn with_allowed_policy(mut configuration: Value) -> Value {
    if let Value::Object(keys) = &mut configuration {
        keys.insert("allowedPolicy".to_owned(), json!(true));
    }
    configuration
}

/// A configuration of `identity-authz` with `size` rules, one principal each.
pub(crate) fn rule_per_principal(size: usize) -> Value {
    rule_per_caller(&callers(size))
}

/// The same for these principals.
pub(crate) fn rule_per_caller(callers: &[String]) -> Value {
    let rules = callers.iter().map(|caller| json!({"from": [{"source": {"principals": [caller]}}]}));
    split_into_policies("callers", rules)
}

/// A configuration of `identity-authz` with `size` rules, one path each, all for one principal.
pub(crate) fn rule_per_path(size: usize) -> Value {
    let from = json!([{"source": {"principals": [CALLER]}}]);
    split_into_policies(
        "paths",
        paths(size).map(|path| json!({"from": from, "to": [{"operation": {"paths": [path]}}]})),
    )
}

/// A configuration of `identity-authz` with rules of ten principals and ten paths each, which make `size` clauses.
pub(crate) fn clauses(size: usize) -> Value {
    let (callers, paths): (Vec<_>, Vec<_>) = (callers((size / 10).max(10)), paths(size / 10).collect());
    let rules = callers.chunks(10).zip(paths.chunks(10)).map(|(callers, paths)| {
        json!({"from": [{"source": {"principals": callers}}], "to": [{"operation": {"paths": paths}}]})
    });
    split_into_policies("clauses", rules)
}

/// Splits rules over as many policies as needed.
fn split_into_policies(name: &str, rules: impl Iterator<Item = Value>) -> Value {
    let rules: Vec<_> = rules.collect();
    let policies = rules.chunks(MAX_RULES_PER_POLICY).enumerate();
    let policies: Vec<_> =
        policies.map(|(number, rules)| resource(&format!("{name}-{number}"), json!({"rules": rules}))).collect();
    json!({"resources": policies})
}

/// The maximum number of rules of one policy.
const MAX_RULES_PER_POLICY: usize = 512;

/// A configuration of `egress-allowlist` with `size` hosts in one rule.
pub(crate) fn hosts(size: usize) -> Value {
    let hosts: Vec<_> = with_wanted_in_middle(size, HOST, |number| format!("api-{number}.example.com")).collect();
    json!({"rules": [{"name": "hosts", "hosts": hosts}]})
}

fn policy(name: &str, spec: Value) -> Value {
    json!({"resources": [resource(name, spec)]})
}

fn resource(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec
    })
}

/// A configuration of `baseline-deny` with `size` patterns, a third each of contains, prefix and exact. None of them
/// matches [`USER_AGENT`].
pub(crate) fn user_agents(size: usize) -> Value {
    let pattern = |number: usize| match number % 3 {
        0 => format!("*tool-{number}x*"),
        1 => format!("tool-{number}x*"),
        _ => format!("tool-{number}x"),
    };
    denied_user_agents(&(0..size).map(pattern).collect::<Vec<_>>())
}

/// A configuration of `baseline-deny` that denies these patterns.
pub(crate) fn denied_user_agents(patterns: &[String]) -> Value {
    let when = json!([{"key": "request.headers[user-agent]", "values": patterns}]);
    policy("tools", json!({"action": "DENY", "rules": [{"when": when}]}))
}

pub(crate) fn wasm(name: &str, vm_id: &str, module: &Path, configuration: &str) -> Value {
    let plugin = testbed::wasm_plugin(name, vm_id, module, &testbed::string_value(configuration));
    http_filter("wasm.v3.Wasm", json!({"config": plugin}))
}

pub(crate) fn http_filter(kind: &str, keys: Value) -> Value {
    let mut typed = json!({"@type": format!("type.googleapis.com/envoy.extensions.filters.http.{kind}")});
    if let (Value::Object(typed), Value::Object(keys)) = (&mut typed, keys) {
        typed.extend(keys);
    }
    json!({"name": "subject", "typed_config": typed})
}

fn authenticated(caller: &str) -> Value {
    json!({"authenticated": {"principal_name": {"exact": format!("spiffe://{caller}")}}})
}

fn rbac(policies: Value) -> Value {
    http_filter("rbac.v3.RBAC", json!({"rules": {"action": "ALLOW", "policies": policies}}))
}

fn matcher_tree(size: usize) -> Value {
    let action = |action: &str| {
        json!({"action": {"name": action, "typed_config": {
            "@type": "type.googleapis.com/envoy.config.rbac.v3.Action", "name": "callers", "action": action
        }}})
    };
    let map: Map<_, _> = callers(size).iter().map(|caller| (format!("spiffe://{caller}"), action("ALLOW"))).collect();
    let input = json!({"name": "uri_san", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput"
    }});
    http_filter(
        "rbac.v3.RBAC",
        json!({"matcher": {
            "matcher_tree": {"input": input, "exact_match_map": {"map": map}},
            "on_no_match": action("DENY")
        }}),
    )
}

fn lua(size: usize) -> Value {
    let code = format!(
        r#"local callers = {{}}
for caller in string.gmatch([[{}]], "%S+") do callers["spiffe://" .. caller] = true end
function envoy_on_request(handle)
  local names = handle:streamInfo():downstreamSslConnection():uriSanPeerCertificate()
  if not callers[names[1]] then handle:respond({{[":status"] = "403"}}, "RBAC: access denied") end
end
"#,
        callers(size).join(" ")
    );
    http_filter("lua.v3.Lua", json!({"default_source_code": {"inline_string": code}}))
}
