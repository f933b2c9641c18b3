//! What is compared: filters and the configurations that they get, all of which let one same request in.

use std::path::Path;

use serde_json::{Map, Value, json};

/// Who sends the request.
pub(crate) const CALLER: &str = "cluster.local/ns/shop/sa/web";
const HOST: &str = "api.example.com";
const PATH: &str = "/orders/17";
const USER_AGENT: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";

/// The request that every variant lets in.
pub(crate) const REQUEST: [(&[u8], &[u8]); 5] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", HOST.as_bytes()),
    (b":path", PATH.as_bytes()),
    (b"user-agent", USER_AGENT.as_bytes()),
];

/// Variants that differ in their size alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    NoFilter,
    Cheapest,
    OneAttribute,
    TwoAnswers,
    Principals,
    RuleEach,
    PrincipalMethodPath,
    Paths,
    Hosts,
    Scanners,
    UserAgents,
    IstioPrincipals,
    IstioLast,
    IstioWithoutDns,
    IstioPaths,
    MatcherTree,
    Lua,
}

impl Series {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 17] = [
        Self::NoFilter,
        Self::Cheapest,
        Self::OneAttribute,
        Self::TwoAnswers,
        Self::Principals,
        Self::RuleEach,
        Self::PrincipalMethodPath,
        Self::Paths,
        Self::Hosts,
        Self::Scanners,
        Self::UserAgents,
        Self::IstioPrincipals,
        Self::IstioLast,
        Self::IstioWithoutDns,
        Self::IstioPaths,
        Self::MatcherTree,
        Self::Lua,
    ];

    /// What is compared, and what there are many of.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoFilter => "no filter",
            Self::Cheapest => "the cheapest possible Wasm filter",
            Self::OneAttribute => "by hand: learns of its context, asks for a mark on the connection",
            Self::TwoAnswers => "by hand: learns of its context, asks for a mark on the connection and all headers",
            Self::Principals => "identity-authz, principals",
            Self::RuleEach => "identity-authz, a rule for each principal",
            Self::PrincipalMethodPath => "identity-authz, principals with method and path",
            Self::Paths => "identity-authz, paths under one principal",
            Self::Hosts => "egress-allowlist, hosts",
            Self::Scanners => "baseline-deny, the scanner list",
            Self::UserAgents => "baseline-deny, user-agent patterns",
            Self::IstioPrincipals => "native RBAC as Istio emits it, principals",
            Self::IstioLast => "native RBAC as Istio emits it, the caller last of the principals",
            Self::IstioWithoutDns => "native RBAC as Istio emits it, client certificate without a DNS name",
            Self::IstioPaths => "native RBAC as Istio emits it, paths under one principal",
            Self::MatcherTree => "native RBAC with a matcher tree, principals",
            Self::Lua => "Lua with a table of principals",
        }
    }

    /// The sizes that are measured; 0 where there is nothing of which there could be many.
    fn sizes(self) -> &'static [usize] {
        match self {
            Self::NoFilter | Self::Cheapest | Self::OneAttribute | Self::TwoAnswers | Self::Scanners => &[0],
            Self::PrincipalMethodPath => &[10, 10_000],
            Self::IstioWithoutDns => &[10, 1_000],
            Self::IstioPrincipals | Self::IstioLast | Self::IstioPaths => &[10, 100, 1_000, 10_000],
            Self::Principals
            | Self::RuleEach
            | Self::Paths
            | Self::Hosts
            | Self::UserAgents
            | Self::MatcherTree
            | Self::Lua => &[10, 100, 1_000, 10_000, 100_000],
        }
    }

    /// The size that a variant cannot be measured at, and why.
    pub(crate) fn left_out(self) -> Option<(usize, &'static str)> {
        match self {
            Self::IstioPrincipals | Self::IstioLast | Self::IstioPaths => {
                Some((100_000, "not measured: one request would walk for longer than the others take for a whole turn"))
            }
            _ => None,
        }
    }

    /// Whether the client shows a certificate with a DNS name beside its SPIFFE ID. For each principal that does not
    /// match, Envoy (1.40) reads the names of a certificate without one again, so this is the kinder to it.
    pub(crate) fn dns_name(self) -> bool {
        self != Self::IstioWithoutDns
    }
}

/// The modules that are written by hand, each with its text.
pub(crate) const BY_HAND: [(&str, &str); 3] = [
    ("cheapest.wasm", include_str!("cheapest.wat")),
    ("one_attribute.wasm", include_str!("one_attribute.wat")),
    ("two_answers.wasm", include_str!("two_answers.wat")),
];

/// One listener's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) series: Series,
    /// How many rules there are, 0 where there is no such number.
    pub(crate) size: usize,
}

impl Variant {
    /// Its listener's name, and the `vm_id` of its own VM.
    pub(crate) fn id(self) -> String {
        format!("{:?}-{}", self.series, self.size)
    }

    /// Its HTTP filter, if it has one; `by_hand` is the folder of [`BY_HAND`].
    pub(crate) fn filter(self, by_hand: &Path) -> Option<Value> {
        filter(self, by_hand)
    }
}

/// All variants up to a size.
pub(crate) fn all(largest: usize) -> Vec<Variant> {
    let of_series = |series: Series| {
        let sizes = series.sizes().iter().filter(move |size| **size <= largest);
        sizes.map(move |size| Variant { series, size: *size })
    };
    Series::ALL.into_iter().flat_map(of_series).collect()
}

fn filter(variant: Variant, by_hand: &Path) -> Option<Value> {
    let (size, id) = (variant.size, variant.id());
    let sallyport =
        |filter: &str, configuration: Value| wasm(&id, &testbed::filter_path(filter), &configuration.to_string());
    Some(match variant.series {
        Series::NoFilter => return None,
        Series::Cheapest => wasm(&id, &by_hand.join("cheapest.wasm"), ""),
        Series::OneAttribute => wasm(&id, &by_hand.join("one_attribute.wasm"), ""),
        Series::TwoAnswers => wasm(&id, &by_hand.join("two_answers.wasm"), ""),
        Series::Principals => sallyport("identity-authz", principals(size)),
        Series::RuleEach => sallyport("identity-authz", rule_each(size)),
        Series::PrincipalMethodPath => {
            let operation = json!([{"operation": {"methods": ["GET"], "paths": [PATH]}}]);
            sallyport("identity-authz", allow(&callers(size), Some(operation)))
        }
        Series::Paths => sallyport("identity-authz", paths_under_one_principal(size)),
        Series::Hosts => sallyport("egress-allowlist", hosts(size)),
        Series::Scanners => sallyport("baseline-deny", json!({"presets": ["scanners"]})),
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
            let of_path = |(number, path): (usize, String)| {
                let path = json!({"url_path": {"path": {"exact": path}}});
                let policy = json!({
                    "permissions": [{"and_rules": {"rules": [{"or_rules": {"rules": [path]}}]}}],
                    "principals": [{"and_ids": {"ids": [{"or_ids": {"ids": [authenticated(CALLER)]}}]}}]
                });
                (format!("paths-rule[{number}]"), policy)
            };
            rbac(Value::Object(paths(size).enumerate().map(of_path).collect()))
        }
        Series::MatcherTree => matcher_tree(size),
        Series::Lua => lua(size),
    })
}

/// A configuration of `identity-authz` that lists so many principals.
pub(crate) fn principals(size: usize) -> Value {
    allow(&callers(size), None)
}

/// So many values, the wanted one in the middle: a list that is walked is walked half, as for the average caller.
fn listed(size: usize, wanted: &str, other: impl Fn(usize) -> String) -> impl Iterator<Item = String> {
    (0..size).map(move |number| if number == size / 2 { wanted.to_owned() } else { other(number) })
}

fn callers(size: usize) -> Vec<String> {
    listed(size, CALLER, |number| format!("cluster.local/ns/shop/sa/caller-{number}")).collect()
}

fn paths(size: usize) -> impl Iterator<Item = String> {
    listed(size, PATH, |number| format!("/things/{number}"))
}

fn allow(principals: &[String], operation: Option<Value>) -> Value {
    let mut rule = json!({"from": [{"source": {"principals": principals}}]});
    if let (Some(operation), Value::Object(keys)) = (operation, &mut rule) {
        keys.insert("to".to_owned(), operation);
    }
    policy("callers", json!({"rules": [rule]}))
}

/// A configuration of `identity-authz` with a rule for each principal.
pub(crate) fn rule_each(size: usize) -> Value {
    spread("callers", callers(size).iter().map(|caller| json!({"from": [{"source": {"principals": [caller]}}]})))
}

/// A configuration of `identity-authz` with a rule for each path, all of them under one principal.
pub(crate) fn paths_under_one_principal(size: usize) -> Value {
    let from = json!([{"source": {"principals": [CALLER]}}]);
    spread("paths", paths(size).map(|path| json!({"from": from, "to": [{"operation": {"paths": [path]}}]})))
}

/// Rules over as many policies as it takes.
fn spread(name: &str, rules: impl Iterator<Item = Value>) -> Value {
    let rules: Vec<_> = rules.collect();
    let policies = rules.chunks(RULES_A_POLICY).enumerate();
    let policies: Vec<_> =
        policies.map(|(number, rules)| resource(&format!("{name}-{number}"), json!({"rules": rules}))).collect();
    json!({"resources": policies})
}

/// As many as one policy may have.
const RULES_A_POLICY: usize = 512;

/// A configuration of `egress-allowlist` that lists so many hosts.
pub(crate) fn hosts(size: usize) -> Value {
    let hosts: Vec<_> = listed(size, HOST, |number| format!("api-{number}.example.com")).collect();
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

/// A configuration of `baseline-deny` with so many patterns, a third each of contains, prefix and exact. None of them
/// matches a browser.
pub(crate) fn user_agents(size: usize) -> Value {
    let pattern = |number: usize| match number % 3 {
        0 => format!("*tool-{number}x*"),
        1 => format!("tool-{number}x*"),
        _ => format!("tool-{number}x"),
    };
    let values: Vec<_> = (0..size).map(pattern).collect();
    let when = json!([{"key": "request.headers[user-agent]", "values": values}]);
    policy("tools", json!({"action": "DENY", "rules": [{"when": when}]}))
}

fn wasm(vm_id: &str, module: &Path, configuration: &str) -> Value {
    let plugin = testbed::wasm_plugin(vm_id, vm_id, module, &testbed::string_value(configuration));
    http_filter("wasm.v3.Wasm", json!({"config": plugin}))
}

fn http_filter(kind: &str, keys: Value) -> Value {
    let mut typed = json!({"@type": format!("type.googleapis.com/envoy.extensions.filters.http.{kind}")});
    if let (Value::Object(typed), Value::Object(keys)) = (&mut typed, keys) {
        typed.extend(keys);
    }
    json!({"name": "compared", "typed_config": typed})
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
