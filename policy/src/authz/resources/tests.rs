//! What Istio's validation refuses, one by one: its webhook (`pkg/config/validation/validation.go`, master of August
//! 2026) and the schema of its CRDs (istio/api `security/v1beta1`, `type/v1beta1/selector.proto`).

use crate::IdentityAuthz;

/// The diagnostics of a configuration with one policy of this `metadata` beside its name and this `spec`.
fn diagnostics(kind: &str, metadata: &str, spec: &str) -> String {
    let json = format!(
        r#"{{"defaultAction": "ALLOW", "resources": [{{"apiVersion": "security.istio.io/v1", "kind": "{kind}",
            "metadata": {{"name": "p", "namespace": "shop"{metadata}}}, "spec": {spec}}}]}}"#
    );
    IdentityAuthz::parse(json.as_bytes()).err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

fn of_policy(spec: &str) -> String {
    diagnostics("AuthorizationPolicy", "", spec)
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..count).map(item).collect::<Vec<_>>().join(", "))
}

/// A number of things that is at a limit and one more, with what is said of the one more.
#[test]
fn as_many_as_istio_takes_and_not_one_more() {
    type Spec = fn(usize) -> String;
    let principal = r#"{"source": {"principals": ["a/b"]}}"#;
    let sources: Spec = |count| {
        format!(
            r#"{{"rules": [{{"from": {}}}]}}"#,
            list(count, |_| r#"{"source": {"principals": ["a/b"]}}"#.to_owned())
        )
    };
    let rows: [(usize, Spec, &str); 9] = [
        (
            512,
            |count| format!(r#"{{"rules": {}}}"#, list(count, |_| "{}".to_owned())),
            "spec.rules: has 513 items, the limit is 512",
        ),
        (512, sources, "spec.rules[0].from: has 513 items, the limit is 512"),
        (
            512,
            |count| {
                let operations = list(count, |_| r#"{"operation": {"methods": ["GET"]}}"#.to_owned());
                format!(r#"{{"rules": [{{"to": {operations}}}]}}"#)
            },
            "spec.rules[0].to: has 513 items, the limit is 512",
        ),
        (
            16,
            |count| {
                let references = list(count, |number| format!(r#"{{"kind": "Service", "name": "s{number}"}}"#));
                format!(r#"{{"targetRefs": {references}, "rules": [{{}}]}}"#)
            },
            "spec.targetRefs: has 17 items, the limit is 16",
        ),
        (
            253,
            |count| format!(r#"{{"targetRef": {{"kind": "Service", "name": "{}"}}}}"#, "s".repeat(count)),
            "spec.targetRef.name: longer than any name in Kubernetes, which has 253 characters at most",
        ),
        (
            63,
            |count| format!(r#"{{"selector": {{"matchLabels": {{"app": "{}"}}}}}}"#, "x".repeat(count)),
            "spec.selector: `app: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is longer than any label's value, which has 63 characters at most",
        ),
        (
            16,
            |count| {
                let accounts = list(count, |number| format!("\"a{number}\""));
                format!(r#"{{"rules": [{{"from": [{{"source": {{"serviceAccounts": {accounts}}}}}]}}]}}"#)
            },
            "spec.rules[0].from[0].source.serviceAccounts: has 17 service accounts, Istio's limit is 16; use principals",
        ),
        (
            16,
            |count| {
                let accounts = list(count, |number| format!("\"a{number}\""));
                format!(r#"{{"rules": [{{"from": [{{"source": {{"notServiceAccounts": {accounts}}}}}]}}]}}"#)
            },
            "spec.rules[0].from[0].source.notServiceAccounts: has 17 service accounts, Istio's limit is 16; use principals",
        ),
        (
            16,
            |count| {
                let accounts = list(count, |number| format!("\"a{number}\""));
                format!(r#"{{"rules": [{{"when": [{{"key": "source.serviceAccount", "values": {accounts}}}]}}]}}"#)
            },
            "spec.rules[0].when[0].values: has 17 service accounts, Istio's limit is 16; use principals",
        ),
    ];
    assert_eq!(of_policy(&format!(r#"{{"rules": [{{"from": [{principal}]}}]}}"#)), "");
    for (most, spec, expected) in rows {
        assert_eq!(of_policy(&spec(most)), "", "{most} are taken");
        assert_eq!(of_policy(&spec(most + 1)), format!("resources[0].{expected}"));
    }
}

#[test]
fn a_service_account_is_as_long_as_istio_takes_it() {
    let spec = |length: usize| {
        let account = format!("shop/{}", "a".repeat(length - "shop/".len()));
        format!(r#"{{"rules": [{{"from": [{{"source": {{"serviceAccounts": ["{account}"]}}}}]}}]}}"#)
    };
    assert_eq!(of_policy(&spec(320)), "");
    assert!(
        of_policy(&spec(321)).ends_with(": expected namespace/name, as in `shop/web`"),
        "{}",
        of_policy(&spec(321))
    );
}

/// What the webhook refuses of AuthorizationPolicy, in the order in which it looks.
#[test]
fn what_the_webhook_refuses_is_refused() {
    let source = |fields: &str| format!(r#"{{"rules": [{{"from": [{{"source": {{{fields}}}}}]}}]}}"#);
    let operation = |fields: &str| format!(r#"{{"rules": [{{"to": [{{"operation": {{{fields}}}}}]}}]}}"#);
    let when = |fields: &str| format!(r#"{{"rules": [{{"when": [{{{fields}}}]}}]}}"#);
    let template = |path: &str| operation(&format!(r#""paths": ["{path}"]"#));
    let refused: Vec<String> = [
        // One of selector, targetRef and targetRefs.
        r#"{"selector": {"matchLabels": {"app": "x"}}, "targetRefs": [{"kind": "Service", "name": "x"}]}"#,
        r#"{"targetRef": {"kind": "Service", "name": "x"}, "targetRefs": [{"kind": "Service", "name": "x"}]}"#,
        // Selectors.
        r#"{"selector": {"matchLabels": {"": "x"}}}"#,
        r#"{"selector": {"matchLabels": {"a*": "x"}}}"#,
        r#"{"selector": {"matchLabels": {"app": "x*"}}}"#,
        // Targets: a name, no namespace, one of four kinds with its group.
        r#"{"targetRef": {"kind": "Service"}}"#,
        r#"{"targetRef": {"kind": "Service", "name": ""}}"#,
        r#"{"targetRef": {"kind": "Service", "name": "x", "namespace": "shop"}}"#,
        r#"{"targetRef": {"kind": "Pod", "name": "x"}}"#,
        r#"{"targetRef": {"name": "x"}}"#,
        r#"{"targetRef": {"kind": "Service", "group": "apps", "name": "x"}}"#,
        r#"{"targetRef": {"kind": "Gateway", "name": "x"}}"#,
        r#"{"targetRef": {"kind": "Gateway", "group": "networking.istio.io", "name": "x"}}"#,
        r#"{"targetRef": {"kind": "GatewayClass", "name": "x"}}"#,
        r#"{"targetRef": {"kind": "ServiceEntry", "name": "x"}}"#,
        r#"{"targetRef": {"kind": "ServiceEntry", "group": "core", "name": "x"}}"#,
        // Actions and providers.
        r#"{"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]}"#,
        r#"{"provider": {"name": "x"}, "rules": [{}]}"#,
        r#"{"action": "DENY"}"#,
        r#"{"action": "DENY", "rules": []}"#,
        // Rules, sources and operations that are none.
        r#"{"rules": [null]}"#,
        r#"{"rules": [{"from": []}]}"#,
        r#"{"rules": [{"from": [null]}]}"#,
        r#"{"rules": [{"from": [{}]}]}"#,
        r#"{"rules": [{"from": [{"source": null}]}]}"#,
        r#"{"rules": [{"from": [{"source": {}}]}]}"#,
        r#"{"rules": [{"to": []}]}"#,
        r#"{"rules": [{"to": [null]}]}"#,
        r#"{"rules": [{"to": [{}]}]}"#,
        r#"{"rules": [{"to": [{"operation": {}}]}]}"#,
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        // Service accounts beside what they stand for, in any of eight ways.
        source(r#""serviceAccounts": ["a"], "principals": ["a/b"]"#),
        source(r#""serviceAccounts": ["a"], "notPrincipals": ["a/b"]"#),
        source(r#""serviceAccounts": ["a"], "namespaces": ["b"]"#),
        source(r#""serviceAccounts": ["a"], "notNamespaces": ["b"]"#),
        source(r#""notServiceAccounts": ["a"], "principals": ["a/b"]"#),
        source(r#""notServiceAccounts": ["a"], "notPrincipals": ["a/b"]"#),
        source(r#""notServiceAccounts": ["a"], "namespaces": ["b"]"#),
        source(r#""notServiceAccounts": ["a"], "notNamespaces": ["b"]"#),
        source(r#""serviceAccounts": ["shop/*"]"#),
        source(r#""serviceAccounts": ["a/b/c"]"#),
        source(r#""serviceAccounts": ["/a"]"#),
        source(r#""serviceAccounts": ["a/"]"#),
        // Trust domains: one star, no slash.
        source(r#""trustDomains": ["a/b"]"#),
        source(r#""trustDomains": ["*a*"]"#),
        source(r#""notTrustDomains": ["a/b"]"#),
        when(r#""key": "source.trustDomain", "values": ["*a*"]"#),
        // Addresses and ports.
        source(r#""ipBlocks": ["10.0.0.0/33"]"#),
        source(r#""notIpBlocks": ["10.0.0"]"#),
        source(r#""remoteIpBlocks": ["x"]"#),
        source(r#""notRemoteIpBlocks": ["::/129"]"#),
        operation(r#""ports": ["65536"]"#),
        operation(r#""notPorts": ["-1"]"#),
        operation(r#""ports": ["http"]"#),
        // Path templates.
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
        // Conditions.
        when(r#""values": ["x"]"#),
        when(r#""key": "", "values": ["x"]"#),
        when(r#""key": "source.ip""#),
        when(r#""key": "source.ip", "values": [], "notValues": []"#),
        when(r#""key": "source.ip", "values": ["x"]"#),
        when(r#""key": "source.ip", "notValues": ["x"]"#),
        when(r#""key": "remote.ip", "values": ["x"]"#),
        when(r#""key": "destination.ip", "values": ["x"]"#),
        when(r#""key": "destination.port", "values": ["x"]"#),
        when(r#""key": "destination.port", "notValues": ["65536"]"#),
        when(r#""key": "request.headers", "values": ["x"]"#),
        when(r#""key": "request.headers[]", "values": ["x"]"#),
        when(r#""key": "request.headers[a", "values": ["x"]"#),
        when(r#""key": "request.auth.claims", "values": ["x"]"#),
        when(r#""key": "request.auth.claims[]", "values": ["x"]"#),
        when(r#""key": "experimental.envoy.filters.x", "values": ["x"]"#),
        when(r#""key": "experimental.envoy.filters.x[]", "values": ["x"]"#),
        when(r#""key": "source.user", "values": ["x"]"#),
        when(r#""key": "Source.ip", "values": ["10.0.0.1"]"#),
    ])
    .collect();
    for spec in refused {
        assert_ne!(of_policy(&spec), "", "{spec} is taken");
    }
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
        let spec = format!(r#"{{"rules": [{{"from": [{{"source": {{"{field}": [""]}}}}]}}]}}"#);
        assert_eq!(of_policy(&spec), format!("resources[0].spec.rules[0].from[0].source.{field}[0]: empty string"));
    }
    for field in ["hosts", "ports", "methods", "paths", "notHosts", "notPorts", "notMethods", "notPaths"] {
        let spec = format!(r#"{{"rules": [{{"to": [{{"operation": {{"{field}": [""]}}}}]}}]}}"#);
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
            let spec = format!(r#"{{"rules": [{{"when": [{{"key": "{key}", "{list}": [""]}}]}}]}}"#);
            assert_eq!(of_policy(&spec), format!("resources[0].spec.rules[0].when[0].{list}[0]: empty string"));
        }
    }
}

#[test]
fn keys_that_istio_has_taken_back_say_where_they_are_now() {
    for key in ["destination.labels", "destination.namespace", "destination.name", "destination.user"] {
        for written in [key.to_owned(), format!("{key}[x]")] {
            let spec = format!(r#"{{"rules": [{{"when": [{{"key": "{written}", "values": ["x"]}}]}}]}}"#);
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
            r#"{"targetRef": {"kind": "Gateway", "name": "x"}}"#,
            "resources[0].spec.targetRef: `` is not the group of this kind, write gateway.networking.k8s.io",
        ),
        (
            r#"{"targetRefs": [{"kind": "ServiceEntry", "group": "networking.k8s.io", "name": "x"}]}"#,
            "resources[0].spec.targetRefs[0].group: `networking.k8s.io` is not the group of this kind, write networking.istio.io",
        ),
        (
            r#"{"targetRefs": [{"kind": "Service", "group": "apps", "name": "x"}]}"#,
            "resources[0].spec.targetRefs[0].group: `apps` is not the group of this kind, write \"\"",
        ),
        (
            r#"{"targetRefs": [{"kind": "GatewayClass", "group": "gateway.networking.k8s.io", "name": "x"}]}"#,
            "resources: shop/p is for a GatewayClass, which Istio passes over outside the root namespace; write it in istio-system",
        ),
        (
            r#"{"selector": {"matchLabels": {"": "x"}}}"#,
            "resources[0].spec.selector: `: x` has no name, write which label is meant",
        ),
    ] {
        assert_eq!(of_policy(spec), expected, "{spec}");
    }
    for group in ["", "core"] {
        let spec =
            format!(r#"{{"targetRef": {{"kind": "Service", "group": "{group}", "name": "x"}}, "rules": [{{}}]}}"#);
        assert_eq!(of_policy(&spec), "", "{spec}");
    }
}

#[test]
fn a_dry_run_is_for_allow_and_deny() {
    let annotated = |value: &str, spec: &str| {
        diagnostics("AuthorizationPolicy", &format!(r#", "annotations": {{"istio.io/dry-run": "{value}"}}"#), spec)
    };
    for value in ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"] {
        assert_eq!(annotated(value, r#"{"action": "DENY", "rules": [{}]}"#), "", "{value}");
        assert_eq!(annotated(value, r#"{"rules": [{}]}"#), "", "{value}");
    }
    for value in ["", "yes", "tRUE", "on"] {
        assert_ne!(annotated(value, r#"{"rules": [{}]}"#), "", "{value} is taken");
    }
    assert_ne!(annotated("true", r#"{"action": "AUDIT", "rules": [{}]}"#), "", "AUDIT has a dry run");
}

/// What the webhook and the schema refuse of PeerAuthentication.
#[test]
fn what_is_refused_of_peer_authentication() {
    for spec in [
        r#"{"portLevelMtls": {"80": {"mode": "STRICT"}}}"#,
        r#"{"selector": {"matchLabels": {}}, "portLevelMtls": {"80": {"mode": "STRICT"}}}"#,
        r#"{"selector": {"matchLabels": {"app": "x"}}, "portLevelMtls": {}}"#,
        r#"{"selector": {"matchLabels": {"app": "x"}}, "portLevelMtls": {"0": {"mode": "STRICT"}}}"#,
        r#"{"selector": {"matchLabels": {"app": "x"}}, "portLevelMtls": {"65536": {"mode": "STRICT"}}}"#,
        r#"{"selector": {"matchLabels": {"": "x"}}}"#,
        r#"{"selector": {"matchLabels": {"app": "*"}}}"#,
        r#"{"mtls": {"mode": "strict"}}"#,
        r#"{"targetRef": {"kind": "Service", "name": "x"}}"#,
    ] {
        assert_ne!(diagnostics("PeerAuthentication", "", spec), "", "{spec} is taken");
    }
    for port in ["1", "65535"] {
        let spec = format!(
            r#"{{"selector": {{"matchLabels": {{"app": "x"}}}}, "portLevelMtls": {{"{port}": {{"mode": "STRICT"}}}}}}"#
        );
        assert_eq!(diagnostics("PeerAuthentication", "", &spec), "", "{spec}");
    }
}
