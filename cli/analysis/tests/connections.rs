//! Findings of `check` for connections, held to what the filter drops: for each key of a rule, in an ALLOW and in a DENY.

use sallyport_analysis::{Layer, Project, Settings, check};
use sallyport_policy::IdentityAuthz;

/// Keys of sources and of operations, with a value.
const LISTED: [(&str, &str, &str); 22] = [
    ("from", "principals", "cluster.local/ns/a/sa/b"),
    ("from", "notPrincipals", "cluster.local/ns/a/sa/b"),
    ("from", "requestPrincipals", "issuer/subject"),
    ("from", "notRequestPrincipals", "issuer/subject"),
    ("from", "namespaces", "a"),
    ("from", "notNamespaces", "a"),
    ("from", "serviceAccounts", "a/b"),
    ("from", "notServiceAccounts", "a/b"),
    ("from", "trustDomains", "a"),
    ("from", "notTrustDomains", "a"),
    ("from", "ipBlocks", "10.0.0.0/8"),
    ("from", "notIpBlocks", "10.0.0.0/8"),
    ("from", "remoteIpBlocks", "10.0.0.0/8"),
    ("from", "notRemoteIpBlocks", "10.0.0.0/8"),
    ("to", "hosts", "a.test"),
    ("to", "notHosts", "a.test"),
    ("to", "ports", "80"),
    ("to", "notPorts", "80"),
    ("to", "methods", "GET"),
    ("to", "notMethods", "GET"),
    ("to", "paths", "/a"),
    ("to", "notPaths", "/a"),
];

/// Keys of `when`, with a value.
const CONDITIONS: [(&str, &str); 16] = [
    ("request.headers[x-a]", "a"),
    ("source.ip", "10.0.0.1"),
    ("remote.ip", "10.0.0.1"),
    ("source.namespace", "a"),
    ("source.serviceAccount", "a/b"),
    ("source.principal", "cluster.local/ns/a/sa/b"),
    ("request.auth.principal", "issuer/subject"),
    ("request.auth.audiences", "a"),
    ("request.auth.presenter", "a"),
    ("request.auth.claims[a]", "a"),
    ("destination.ip", "10.0.0.1"),
    ("destination.port", "80"),
    ("connection.sni", "a.test"),
    ("experimental.envoy.filters.network.mysql_proxy[db]", "[a]"),
    ("request.time", "Mon-Fri 09:00-17:00"),
    ("source.trustDomain", "a"),
];

fn rules() -> Vec<(String, String)> {
    let listed = LISTED.iter().map(|(list, key, value)| {
        let part = if *list == "from" { "source" } else { "operation" };
        ((*key).to_owned(), format!(r#"{{"{list}": [{{"{part}": {{"{key}": ["{value}"]}}}}]}}"#))
    });
    let conditions = CONDITIONS
        .iter()
        .map(|(key, value)| ((*key).to_owned(), format!(r#"{{"when": [{{"key": "{key}", "values": ["{value}"]}}]}}"#)));
    listed.chain(conditions).collect()
}

#[test]
fn check_and_the_filter_call_the_same_fields_unknown_to_connections() {
    let (mut dropped, mut kept) = (0, 0);
    for (key, rule) in rules() {
        for action in ["ALLOW", "DENY"] {
            let policy = format!(
                r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {{"name": "a", "namespace": "b"}}, "spec": {{"action": "{action}", "rules": [{rule}]}}}}"#
            );
            let configuration =
                format!(r#"{{"defaultAction": "DENY", "remoteAddress": "trusted", "resources": [{policy}]}}"#);
            let filter = IdentityAuthz::parse(configuration).unwrap_or_else(|errors| panic!("{key}: {errors}"));
            let is_dropped = !filter.connection_warnings().is_empty();
            let mut project = Project::new(Settings { layer: Layer::Tcp, ..Settings::default() });
            project.add("sallyport.yaml", "identityAuthz: {remoteAddress: trusted}");
            project.add("p.json", &policy);
            let report = check(&project, &[]);
            let is_found = report.findings.iter().any(|finding| finding.code == "http-field-on-tcp");
            assert_eq!(is_found, is_dropped, "{action} {key}: {:?}", report.findings);
            if is_dropped { dropped += 1 } else { kept += 1 }
        }
    }
    assert_eq!((dropped, kept), (26, 50));
}

#[test]
fn a_rule_of_which_nothing_is_left_denies_every_connection() {
    for (rule, what) in [
        ("{to: [{operation: {paths: [/a]}}]}", "the rule denies every connection"),
        ("{to: [{operation: {paths: [/a], ports: ['80']}}]}", "the rule denies more connections"),
        ("{to: [{operation: {paths: [/a]}}, {operation: {ports: ['80']}}]}", "the rule denies every connection"),
        ("{from: [{source: {namespaces: [x]}}], to: [{operation: {paths: [/a]}}]}", "the rule denies more connections"),
        ("{from: [{source: {requestPrincipals: ['*']}}]}", "the rule denies every connection"),
        ("{when: [{key: 'request.headers[a]', values: [x]}]}", "the rule denies every connection"),
        (
            "{to: [{operation: {paths: [/a]}}], when: [{key: source.ip, values: [10.0.0.1]}]}",
            "the rule denies more connections",
        ),
    ] {
        let mut project = Project::new(Settings { layer: Layer::Tcp, ..Settings::default() });
        project.add(
            "p.yaml",
            &format!("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a, namespace: b}}\nspec: {{action: DENY, rules: [{rule}]}}\n"),
        );
        let report = check(&project, &["deny-without-subpaths".to_owned(), "token-without-authentication".to_owned()]);
        let messages: Vec<&str> = report.findings.iter().map(|finding| finding.message.as_str()).collect();
        assert!(matches!(messages.as_slice(), [message] if message.ends_with(what)), "{rule}: {messages:?}");
    }
}
