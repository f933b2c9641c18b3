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
    Principals,
    PrincipalMethodPath,
    Paths,
    Hosts,
    Scanners,
    UserAgents,
    IstioPrincipals,
    IstioPaths,
    MatcherTree,
    Lua,
}

impl Series {
    /// What is compared, and what there are many of.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoFilter => "no filter",
            Self::Cheapest => "the cheapest possible Wasm filter",
            Self::Principals => "identity-authz, principals",
            Self::PrincipalMethodPath => "identity-authz, principals with method and path",
            Self::Paths => "identity-authz, paths under one principal",
            Self::Hosts => "egress-allowlist, hosts",
            Self::Scanners => "baseline-deny, the scanner list",
            Self::UserAgents => "baseline-deny, user-agent patterns",
            Self::IstioPrincipals => "native RBAC as Istio emits it, principals",
            Self::IstioPaths => "native RBAC as Istio emits it, paths under one principal",
            Self::MatcherTree => "native RBAC with a matcher tree, principals",
            Self::Lua => "Lua with a table of principals",
        }
    }

    /// The sizes that are measured. A walk over 100,000 principals takes Envoy so long that it says nothing more.
    fn sizes(self, quick: bool) -> &'static [usize] {
        const QUICK: &[usize] = &[10, 50];
        match self {
            Self::NoFilter | Self::Cheapest | Self::Scanners => &[0],
            Self::PrincipalMethodPath => &[10],
            _ if quick => QUICK,
            Self::Principals | Self::Hosts => &[10, 100, 1_000, 10_000, 100_000],
            Self::Paths | Self::UserAgents | Self::IstioPrincipals | Self::MatcherTree => &[10, 100, 1_000, 10_000],
            Self::IstioPaths | Self::Lua => &[10, 1_000, 10_000],
        }
    }
}

/// One listener's filter.
pub(crate) struct Variant {
    pub(crate) series: Series,
    /// How many rules there are, 0 where there is no such number.
    pub(crate) size: usize,
    /// The HTTP filter, if there is one.
    pub(crate) filter: Option<Value>,
}

impl Variant {
    /// Its listener's name, and the `vm_id` of its own VM.
    pub(crate) fn id(&self) -> String {
        format!("{:?}-{}", self.series, self.size)
    }
}

/// All variants; `cheapest` is where the module of the cheapest filter is.
pub(crate) fn all(quick: bool, cheapest: &Path) -> Vec<Variant> {
    use Series::*;
    let series = [
        NoFilter,
        Cheapest,
        Principals,
        PrincipalMethodPath,
        Paths,
        Hosts,
        Scanners,
        UserAgents,
        IstioPrincipals,
        IstioPaths,
        MatcherTree,
        Lua,
    ];
    let of_series = |series: Series| {
        series.sizes(quick).iter().map(move |size| Variant { series, size: *size, filter: None }).collect::<Vec<_>>()
    };
    let mut variants: Vec<_> = series.into_iter().flat_map(of_series).collect();
    for variant in &mut variants {
        variant.filter = filter(variant, cheapest);
    }
    variants
}

fn filter(variant: &Variant, cheapest: &Path) -> Option<Value> {
    let (size, id) = (variant.size, variant.id());
    let sallyport =
        |filter: &str, configuration: Value| wasm(&id, &testbed::filter_path(filter), &configuration.to_string());
    Some(match variant.series {
        Series::NoFilter => return None,
        Series::Cheapest => wasm(&id, cheapest, ""),
        Series::Principals => sallyport("identity-authz", principals(size)),
        Series::PrincipalMethodPath => {
            let operation = json!([{"operation": {"methods": ["GET"], "paths": [PATH]}}]);
            sallyport("identity-authz", allow(&callers(size), Some(operation)))
        }
        Series::Paths => sallyport("identity-authz", paths_under_one_principal(size)),
        Series::Hosts => {
            let hosts: Vec<_> = listed(size, HOST, |number| format!("api-{number}.example.com")).collect();
            sallyport("egress-allowlist", json!({"rules": [{"name": "hosts", "hosts": hosts}]}))
        }
        Series::Scanners => sallyport("baseline-deny", json!({"presets": ["scanners"]})),
        Series::UserAgents => sallyport("baseline-deny", user_agents(size)),
        Series::IstioPrincipals => {
            let names: Vec<_> = callers(size).iter().map(|caller| authenticated(caller)).collect();
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

/// A rule for each path, spread over policies.
fn paths_under_one_principal(size: usize) -> Value {
    let from = json!([{"source": {"principals": [CALLER]}}]);
    let rules: Vec<_> =
        paths(size).map(|path| json!({"from": from, "to": [{"operation": {"paths": [path]}}]})).collect();
    let policies = rules.chunks(RULES_A_POLICY).enumerate();
    let policies: Vec<_> =
        policies.map(|(number, rules)| resource(&format!("paths-{number}"), json!({"rules": rules}))).collect();
    json!({"resources": policies})
}

/// As many as one policy may have.
const RULES_A_POLICY: usize = 512;

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

/// A third each of contains, prefix and exact.
fn user_agents(size: usize) -> Value {
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
    http_filter(
        "wasm.v3.Wasm",
        json!({"config": {
            "name": vm_id,
            "vm_config": {
                "vm_id": vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}}
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration}
        }}),
    )
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
