//! Refusals of Istio's validation, one by one: its webhook (`pkg/config/validation/validation.go`, master of August
//! 2026) and the schema of its CRDs (istio/api `security/v1beta1`, `type/v1beta1/selector.proto`).

use crate::IdentityAuthz;
use crate::authz::fields::ALL_FIELDS;
use crate::authz::resources::conditions;
use crate::test_support::yaml::json;

/// The diagnostics of a configuration with one policy of this `metadata` beside its name and this `spec`, as YAML.
fn diagnostics(kind: &str, metadata: &str, spec: &str) -> String {
    let configuration = json(&format!(
        "{{defaultAction: ALLOW, resources: [{{apiVersion: security.istio.io/v1, kind: {kind}, metadata: {{name: p, namespace: shop{metadata}}}, spec: {spec}}}]}}"
    ));
    IdentityAuthz::parse(configuration.as_bytes()).err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

fn of_policy(spec: &str) -> String {
    diagnostics("AuthorizationPolicy", "", spec)
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..count).map(item).collect::<Vec<_>>().join(", "))
}

/// A test for each limit of Istio: its name, the limit, a spec with so many things, and what is said of one more.
macro_rules! limits {
    ($($name:ident: $limit:literal, $spec:expr => $diagnostics:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let spec: fn(usize) -> String = $spec;
                assert_eq!(of_policy(&spec($limit)), "");
                assert_eq!(of_policy(&spec($limit + 1)), concat!("resources[0].spec", $diagnostics));
            }
        )*
    };
}

fn accounts(count: usize) -> String {
    list(count, |number| format!("a{number}"))
}

limits! {
    rules: 512, |count| format!("{{rules: {}}}", list(count, |_| "{}".to_owned())) =>
        ".rules: has 513 items, the limit is 512";
    sources: 512, |count| {
        format!("{{rules: [{{from: {}}}]}}", list(count, |_| "{source: {principals: [a/b]}}".to_owned()))
    } => ".rules[0].from: has 513 items, the limit is 512";
    operations: 512, |count| {
        format!("{{rules: [{{to: {}}}]}}", list(count, |_| "{operation: {methods: [GET]}}".to_owned()))
    } => ".rules[0].to: has 513 items, the limit is 512";
    targets: 16, |count| {
        let references = list(count, |number| format!("{{kind: Service, name: s{number}}}"));
        format!("{{targetRefs: {references}, rules: [{{}}]}}")
    } => ".targetRefs: has 17 items, the limit is 16";
    length_of_a_target: 253, |count| format!("{{targetRef: {{kind: Service, name: {}}}}}", "s".repeat(count)) =>
        ".targetRef.name: longer than any name in Kubernetes, which has 253 characters at most";
    length_of_a_label: 63, |count| format!("{{selector: {{matchLabels: {{app: {}}}}}}}", "x".repeat(count)) =>
        ".selector: `app: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is longer than any label's value, which has 63 characters at most";
    service_accounts: 16, |count| source(&format!("serviceAccounts: {}", accounts(count))) =>
        ".rules[0].from[0].source.serviceAccounts: has 17 service accounts, Istio's limit is 16; use principals";
    excluded_service_accounts: 16, |count| source(&format!("notServiceAccounts: {}", accounts(count))) =>
        ".rules[0].from[0].source.notServiceAccounts: has 17 service accounts, Istio's limit is 16; use principals";
    service_accounts_of_a_condition: 16, |count| {
        when(&format!("key: source.serviceAccount, values: {}", accounts(count)))
    } => ".rules[0].when[0].values: has 17 service accounts, Istio's limit is 16; use principals";
}

#[test]
fn a_service_account_is_as_long_as_istio_takes_it() {
    let spec = |length: usize| {
        let account = format!("shop/{}", "a".repeat(length - "shop/".len()));
        format!(r#"{{rules: [{{from: [{{source: {{serviceAccounts: ["{account}"]}}}}]}}]}}"#)
    };
    assert_eq!(of_policy(&spec(320)), "");
    assert!(
        of_policy(&spec(321)).ends_with(": expected namespace/name, as in `shop/web`"),
        "{}",
        of_policy(&spec(321))
    );
}

fn source(fields: &str) -> String {
    format!("{{rules: [{{from: [{{source: {{{fields}}}}}]}}]}}")
}

fn operation(fields: &str) -> String {
    format!("{{rules: [{{to: [{{operation: {{{fields}}}}}]}}]}}")
}

fn when(fields: &str) -> String {
    format!("{{rules: [{{when: [{{{fields}}}]}}]}}")
}

fn template(path: &str) -> String {
    operation(&format!(r#"paths: ["{path}"]"#))
}

/// A test for each kind of fault that Istio's webhook refuses, with specs that have it.
macro_rules! refused {
    ($($(#[$doc:meta])* $name:ident: [$($spec:expr),* $(,)?];)*) => {
        /// Refusals of AuthorizationPolicy by the webhook, in the order of its checks.
        mod refused {
            use super::*;

            $(
                $(#[$doc])*
                #[test]
                fn $name() {
                    for spec in [$(&$spec[..]),*] {
                        assert_ne!(of_policy(spec), "", "{spec} is taken");
                    }
                }
            )*
        }
    };
}

refused! {
    /// One of selector, targetRef and targetRefs.
    selector_beside_targets: [
        "{selector: {matchLabels: {app: x}}, targetRefs: [{kind: Service, name: x}]}",
        "{targetRef: {kind: Service, name: x}, targetRefs: [{kind: Service, name: x}]}",
    ];
    /// Labels with a name and without stars.
    selectors: [
        r#"{selector: {matchLabels: {"": x}}}"#,
        r#"{selector: {matchLabels: {"a*": x}}}"#,
        r#"{selector: {matchLabels: {app: "x*"}}}"#,
    ];
    /// A name, no namespace, one of four kinds with its group.
    targets: [
        "{targetRef: {kind: Service}}",
        r#"{targetRef: {kind: Service, name: ""}}"#,
        "{targetRef: {kind: Service, name: x, namespace: shop}}",
        "{targetRef: {kind: Pod, name: x}}",
        "{targetRef: {name: x}}",
        "{targetRef: {kind: Service, group: apps, name: x}}",
        "{targetRef: {kind: Gateway, name: x}}",
        "{targetRef: {kind: Gateway, group: networking.istio.io, name: x}}",
        "{targetRef: {kind: GatewayClass, name: x}}",
        "{targetRef: {kind: ServiceEntry, name: x}}",
        "{targetRef: {kind: ServiceEntry, group: core, name: x}}",
    ];
    /// CUSTOM, and a DENY without rules.
    actions_and_providers: [
        "{action: CUSTOM, provider: {name: x}, rules: [{}]}",
        "{provider: {name: x}, rules: [{}]}",
        "{action: DENY}",
        "{action: DENY, rules: []}",
    ];
    /// Rules, sources and operations without content.
    empty_rules_sources_and_operations: [
        "{rules: [null]}",
        "{rules: [{from: []}]}",
        "{rules: [{from: [null]}]}",
        "{rules: [{from: [{}]}]}",
        "{rules: [{from: [{source: null}]}]}",
        "{rules: [{from: [{source: {}}]}]}",
        "{rules: [{to: []}]}",
        "{rules: [{to: [null]}]}",
        "{rules: [{to: [{}]}]}",
        "{rules: [{to: [{operation: {}}]}]}",
    ];
    /// Names without stars, and not beside principals or namespaces.
    service_accounts: [
        source("serviceAccounts: [a], principals: [a/b]"),
        source("serviceAccounts: [a], notPrincipals: [a/b]"),
        source("serviceAccounts: [a], namespaces: [b]"),
        source("serviceAccounts: [a], notNamespaces: [b]"),
        source("notServiceAccounts: [a], principals: [a/b]"),
        source("notServiceAccounts: [a], notPrincipals: [a/b]"),
        source("notServiceAccounts: [a], namespaces: [b]"),
        source("notServiceAccounts: [a], notNamespaces: [b]"),
        source(r#"serviceAccounts: ["shop/*"]"#),
        source("serviceAccounts: [a/b/c]"),
        source("serviceAccounts: [/a]"),
        source("serviceAccounts: [a/]"),
    ];
    /// One star, no slash.
    trust_domains: [
        source("trustDomains: [a/b]"),
        source(r#"trustDomains: ["*a*"]"#),
        source("notTrustDomains: [a/b]"),
        when(r#"key: source.trustDomain, values: ["*a*"]"#),
    ];
    /// CIDRs and numbers of 16 bits.
    addresses_and_ports: [
        source(r#"ipBlocks: ["10.0.0.0/33"]"#),
        source(r#"notIpBlocks: ["10.0.0"]"#),
        source("remoteIpBlocks: [x]"),
        source(r#"notRemoteIpBlocks: ["::/129"]"#),
        operation(r#"ports: ["65536"]"#),
        operation(r#"notPorts: ["-1"]"#),
        operation("ports: [http]"),
    ];
    /// Operators as whole segments, five at most.
    path_templates: [
        template("/{*}/{name}"),
        template("/{*}/{name=*}"),
        template("/{*}/{}"),
        template("/{*}/*"),
        template("/{*}/**"),
        template("*/{*}"),
        template("/{**}/a/{*}"),
        template("/{*}{*}"),
        template("/a{*}"),
        template("/{*}/{*}/{*}/{*}/{*}/{*}"),
    ];
    /// A known key, and values of its kind.
    conditions: [
        when("values: [x]"),
        when(r#"key: "", values: [x]"#),
        when("key: source.ip"),
        when("key: source.ip, values: [], notValues: []"),
        when("key: source.ip, values: [x]"),
        when("key: source.ip, notValues: [x]"),
        when("key: remote.ip, values: [x]"),
        when("key: destination.ip, values: [x]"),
        when("key: destination.port, values: [x]"),
        when(r#"key: destination.port, notValues: ["65536"]"#),
        when("key: request.headers, values: [x]"),
        when(r#"key: "request.headers[]", values: [x]"#),
        when(r#"key: "request.headers[a", values: [x]"#),
        when("key: request.auth.claims, values: [x]"),
        when(r#"key: "request.auth.claims[]", values: [x]"#),
        when("key: experimental.envoy.filters.x, values: [x]"),
        when(r#"key: "experimental.envoy.filters.x[]", values: [x]"#),
        when("key: source.user, values: [x]"),
        when(r#"key: Source.ip, values: ["10.0.0.1"]"#),
    ];
}

/// No field takes an empty text.
#[test]
fn an_empty_value_is_refused_wherever_it_stands() {
    for field in [
        "principals",
        "requestPrincipals",
        "namespaces",
        "serviceAccounts",
        "trustDomains",
        "ipBlocks",
        "remoteIpBlocks",
        "notPrincipals",
        "notRequestPrincipals",
        "notNamespaces",
        "notServiceAccounts",
        "notTrustDomains",
        "notIpBlocks",
        "notRemoteIpBlocks",
    ] {
        let spec = format!(r#"{{rules: [{{from: [{{source: {{"{field}": [""]}}}}]}}]}}"#);
        assert_eq!(of_policy(&spec), format!("resources[0].spec.rules[0].from[0].source.{field}[0]: empty string"));
    }
    for field in ["hosts", "ports", "methods", "paths", "notHosts", "notPorts", "notMethods", "notPaths"] {
        let spec = format!(r#"{{rules: [{{to: [{{operation: {{"{field}": [""]}}}}]}}]}}"#);
        assert_eq!(of_policy(&spec), format!("resources[0].spec.rules[0].to[0].operation.{field}[0]: empty string"));
    }
    for key in [
        "request.headers[a]",
        "source.ip",
        "remote.ip",
        "source.namespace",
        "source.serviceAccount",
        "source.trustDomain",
        "source.principal",
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
        "request.auth.claims[a]",
        "destination.ip",
        "destination.port",
        "connection.sni",
        "experimental.envoy.filters.x[a]",
    ] {
        for list in ["values", "notValues"] {
            let spec = format!(r#"{{rules: [{{when: [{{key: "{key}", "{list}": [""]}}]}}]}}"#);
            assert_eq!(of_policy(&spec), format!("resources[0].spec.rules[0].when[0].{list}[0]: empty string"));
        }
    }
}

#[test]
fn keys_that_istio_has_taken_back_say_where_they_are_now() {
    for key in ["destination.labels", "destination.namespace", "destination.name", "destination.user"] {
        for written in [key.to_owned(), format!("{key}[x]")] {
            let spec = format!(r#"{{rules: [{{when: [{{key: "{written}", values: [x]}}]}}]}}"#);
            let instead = "back; write the policy in that namespace, with a selector";
            let expected = format!("resources[0].spec.rules[0].when[0].key: Istio has taken `{key}` {instead}");
            assert_eq!(of_policy(&spec), expected);
        }
    }
}

#[test]
fn targets_say_what_is_wrong_with_them() {
    for (spec, expected) in [
        (
            "{targetRef: {kind: Gateway, name: x}}",
            "resources[0].spec.targetRef: `` is not the group of this kind, write gateway.networking.k8s.io",
        ),
        (
            "{targetRefs: [{kind: ServiceEntry, group: networking.k8s.io, name: x}]}",
            "resources[0].spec.targetRefs[0].group: `networking.k8s.io` is not the group of this kind, write networking.istio.io",
        ),
        (
            "{targetRefs: [{kind: Service, group: apps, name: x}]}",
            "resources[0].spec.targetRefs[0].group: `apps` is not the group of this kind, write \"\"",
        ),
        (
            "{targetRefs: [{kind: GatewayClass, group: gateway.networking.k8s.io, name: x}]}",
            "resources: shop/p is for a GatewayClass, which Istio passes over outside the root namespace; write it in istio-system",
        ),
        (
            r#"{selector: {matchLabels: {"": x}}}"#,
            "resources[0].spec.selector: `: x` has no name, write which label is meant",
        ),
    ] {
        assert_eq!(of_policy(spec), expected, "{spec}");
    }
    for group in ["", "core"] {
        let spec = format!(r#"{{targetRef: {{kind: Service, group: "{group}", name: x}}, rules: [{{}}]}}"#);
        assert_eq!(of_policy(&spec), "", "{spec}");
    }
}

#[test]
fn a_dry_run_is_for_allow_and_deny() {
    let annotated = |value: &str, spec: &str| {
        diagnostics("AuthorizationPolicy", &format!(r#", annotations: {{istio.io/dry-run: "{value}"}}"#), spec)
    };
    for value in ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"] {
        assert_eq!(annotated(value, "{action: DENY, rules: [{}]}"), "", "{value}");
        assert_eq!(annotated(value, "{rules: [{}]}"), "", "{value}");
    }
    for value in ["", "yes", "tRUE", "on"] {
        assert_ne!(annotated(value, "{rules: [{}]}"), "", "{value} is taken");
    }
    assert_ne!(annotated("true", "{action: AUDIT, rules: [{}]}"), "", "AUDIT has a dry run");
}

/// Refusals of PeerAuthentication by the webhook and the schema.
#[test]
fn what_is_refused_of_peer_authentication() {
    for spec in [
        r#"{portLevelMtls: {"80": {mode: STRICT}}}"#,
        r#"{selector: {matchLabels: {}}, portLevelMtls: {"80": {mode: STRICT}}}"#,
        "{selector: {matchLabels: {app: x}}, portLevelMtls: {}}",
        r#"{selector: {matchLabels: {app: x}}, portLevelMtls: {"0": {mode: STRICT}}}"#,
        r#"{selector: {matchLabels: {app: x}}, portLevelMtls: {"65536": {mode: STRICT}}}"#,
        r#"{selector: {matchLabels: {"": x}}}"#,
        r#"{selector: {matchLabels: {app: "*"}}}"#,
        "{mtls: {mode: strict}}",
        "{targetRef: {kind: Service, name: x}}",
    ] {
        assert_ne!(diagnostics("PeerAuthentication", "", spec), "", "{spec} is taken");
    }
    for port in ["1", "65535"] {
        let spec =
            format!(r#"{{selector: {{matchLabels: {{app: x}}}}, portLevelMtls: {{"{port}": {{mode: STRICT}}}}}}"#);
        assert_eq!(diagnostics("PeerAuthentication", "", &spec), "", "{spec}");
    }
}

#[test]
fn the_keys_of_error_messages_are_those_of_the_registry() {
    let registered: Vec<_> = ALL_FIELDS.conditions.iter().map(|condition| condition.key).collect();
    assert_eq!(registered, conditions::KEYS);
}

#[test]
fn each_line_names_the_resource_that_it_is_about() {
    let configuration = json(
        "{misspelt: 1, workload: {namespace: shop}, resources: [
            {apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {rule: []}},
            {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: b, namespace: pay}, spec: {mtls: {mode: NO}}},
            {apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: UPPER}, spec: {rule: []}},
            {apiVersion: v1, kind: List, items: [
                {apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: c}, spec: {rule: []}}
            ]}
        ]}",
    );
    let refusal = IdentityAuthz::parse(configuration.as_bytes()).err();
    let errors = refusal.iter().flat_map(crate::ConfigErrors::errors);
    let mut named: Vec<_> =
        errors.map(|error| (error.path().split(".spec").next().unwrap_or_default(), error.resource())).collect();
    named.dedup();
    let expected = [
        ("resources[0]", Some("shop/a")),
        ("resources[1]", Some("pay/b")),
        ("resources[2].metadata.name", None),
        ("resources[2]", None),
        ("resources[3].items[0]", Some("shop/c")),
        ("misspelt", None),
    ];
    for row in expected {
        assert!(named.contains(&row), "{row:?} is not in {named:#?}");
    }
    let lines: Vec<_> = refusal.iter().flat_map(crate::ConfigErrors::named_lines).collect();
    assert!(lines.iter().any(|line| line.starts_with("shop/a: resources[0].spec.rule: unknown field")), "{lines:#?}");
}
