//! Broken configurations, each with the whole list of its diagnostics.

use super::*;
use crate::test_support::yaml::json;

fn refused(json: &str) -> String {
    IdentityAuthz::parse(json.as_bytes()).err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

/// A configuration of one policy with this `spec`, and these keys beside `resources`, as YAML.
fn policy_beside(keys: &str, spec: &str) -> String {
    json(&format!(
        "{{{keys} resources: [{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
            metadata: {{name: p, namespace: shop}}, spec: {spec}}}]}}"
    ))
}

/// A configuration of one policy with this `spec`, as YAML.
fn policy(spec: &str) -> String {
    // A block of its own, since some of the specs are mappings without braces.
    let spec = json(spec);
    policy_beside("", &spec)
}

/// A test for each row: its name, a text that `$configuration` makes a configuration of, and all of its diagnostics.
macro_rules! refused {
    ($configuration:path: $($name:ident: $text:expr => $diagnostics:expr;)*) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(refused(&$configuration($text)), $diagnostics);
            }
        )*
    };
}

refused! {
    policy:
    source_with_an_unknown_field: "rules: [{from: [{source: {principal: [a/b]}}]}]" =>
        "resources[0].spec.rules[0].from[0].source.principal: unknown field, did you mean \"principals\"?";
    principals_empty: "rules: [{from: [{source: {principals: []}}]}]" =>
        "resources[0].spec.rules[0].from[0].source.principals: empty list, add a value, or remove the key to mean any";
    from_empty: "rules: [{from: []}]" =>
        "resources[0].spec.rules[0].from: empty list, add a value, or remove the key to mean any source";
    to_empty: "rules: [{to: []}]" =>
        "resources[0].spec.rules[0].to: empty list, add a value, or remove the key to mean any operation";
    when_empty: "rules: [{when: []}]" =>
        "resources[0].spec.rules[0].when: empty list, add a value, or remove the key to mean always";
    source_empty: "rules: [{from: [{source: {}}]}]" =>
        "resources[0].spec.rules[0].from[0].source: empty, add a field, or remove from to mean any source";
    operation_empty: "rules: [{to: [{operation: {}}]}]" =>
        "resources[0].spec.rules[0].to[0].operation: empty, add a field, or remove to to mean any operation";
    source_missing: "rules: [{from: [{}]}]" =>
        "resources[0].spec.rules[0].from[0].source: missing, an item of from is written source: {…}";
    from_of_null: "rules: [{from: [null]}]" =>
        "resources[0].spec.rules[0].from[0]: is null, expected an object; remove the item if it is not wanted";
    principals_not_a_list: "rules: [{from: [{source: {principals: a/b}}]}]" =>
        "resources[0].spec.rules[0].from[0].source.principals: expected a list, this is a string";
    principal_empty: r#"rules: [{from: [{source: {principals: [""]}}]}]"# =>
        "resources[0].spec.rules[0].from[0].source.principals[0]: empty string";
    principal_with_a_space: r#"rules: [{from: [{source: {principals: ["a/b c"]}}]}]"# =>
        "resources[0].spec.rules[0].from[0].source.principals[0]: bad principal `a/b c`: no SPIFFE ID contains ` `";
    port_as_a_number: "rules: [{to: [{operation: {ports: [8000]}}]}]" =>
        "resources[0].spec.rules[0].to[0].operation.ports[0]: expected a string, this is a number; write \"8000\"";
    path_with_a_star_inside: r#"rules: [{to: [{operation: {paths: ["/a/*/b"]}}]}]"# =>
        "resources[0].spec.rules[0].to[0].operation.paths[0]: bad path `/a/*/b`: a star inside is taken literally and never matches, write `/a/{*}/b`";
    action_in_lower_case: "{action: Deny, rules: [{}]}" =>
        "resources[0].spec.action: unknown value `Deny`, did you mean \"DENY\"?";
    deny_without_rules: "action: DENY" =>
        "resources[0].spec: a DENY without rules denies nothing; write rules: [{}] to deny everything";
    custom_action: "{action: CUSTOM, provider: {name: x}, rules: [{}]}" =>
        "resources[0].spec.action: CUSTOM is not supported without customProviders; put envoy.filters.http.ext_authz between two instances of this filter (docs/identity-authz.md), and write customProviders: [`x`]";
    provider_of_another_action: "{action: DENY, provider: {name: x}, rules: [{}]}" =>
        "resources[0].spec.provider: is for the action CUSTOM, remove it or write action: CUSTOM";
    policy_with_an_unknown_field: "rule: [{}]" =>
        "resources[0].spec.rule: unknown field, did you mean \"rules\"?";
    operation_within_from: "rules: [{from: [{source: {principals: [a/b]}, operation: {}}]}]" =>
        "resources[0].spec.rules[0].from[0].operation: unknown field, expected source";
    key_misspelled: "rules: [{when: [{key: source.principle, values: [a/b]}]}]" =>
        "resources[0].spec.rules[0].when[0].key: unknown key `source.principle`, did you mean \"source.principal\"?";
    condition_without_values: "rules: [{when: [{key: source.principal}]}]" =>
        "resources[0].spec.rules[0].when[0]: has neither values nor notValues, write what is compared";
    connection_key_misspelled: "rules: [{when: [{key: connection.sn, values: [a]}]}]" =>
        "resources[0].spec.rules[0].when[0].key: unknown key `connection.sn`, did you mean \"connection.sni\"?";
    key_unknown: "{action: DENY, rules: [{when: [{key: user.name, values: [a]}]}]}" =>
        "resources[0].spec.rules[0].when[0].key: unknown key `user.name`, expected source.ip, remote.ip, source.namespace, source.serviceAccount, source.trustDomain, source.principal, request.auth.principal, request.auth.audiences, request.auth.presenter, destination.ip, destination.port, connection.sni, request.time, request.headers[user-agent] or request.auth.claims[group]";
    claim_key_without_brackets: "rules: [{when: [{key: request.auth.claims, values: [a]}]}]" =>
        "resources[0].spec.rules[0].when[0].key: bad key `request.auth.claims`: expected request.auth.claims[group] or request.auth.claims[realm][roles]";
    metadata_value_of_an_empty_list: r#"rules: [{when: [{key: "experimental.envoy.filters.http.x[k]", values: ["[]"]}]}]"# =>
        "resources[0].spec.rules[0].when[0].values[0]: bad value `[]`: write what the list has to hold, as in `[select]`";
    time_without_days: r#"rules: [{when: [{key: request.time, values: ["9 to 5"]}]}]"# =>
        "resources[0].spec.rules[0].when[0].values[0]: bad time `9 to 5`: days are Mon, Tue, Wed, Thu, Fri, Sat and Sun, write it in UTC as in `Mon-Fri 09:00-17:00`";
    remote_block_too_long: r#"{action: DENY, rules: [{from: [{source: {remoteIpBlocks: ["10.0.0.0/33"]}}]}]}"# =>
        "resources[0].spec.rules[0].from[0].source.remoteIpBlocks[0]: bad IP block `10.0.0.0/33`: expected an address or a CIDR, as in `10.0.0.0/8` or `2001:db8::/32`";
    request_principal_without_issuer: "rules: [{from: [{source: {requestPrincipals: [ann]}}]}]" =>
        "resources[0].spec.rules[0].from[0].source.requestPrincipals[0]: bad request principal `ann`: expected issuer/subject, as in `https://issuer.example/*`";
    service_account_beside_namespace: "rules: [{from: [{source: {serviceAccounts: [shop/web], namespaces: [shop]}}]}]" =>
        "resources[0].spec.rules[0].from[0].source: has serviceAccounts beside principals or namespaces, which Istio refuses; use principals for both";
    service_accounts_too_many: "rules: [{from: [{source: {serviceAccounts: [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16]}}]}]" =>
        "resources[0].spec.rules[0].from[0].source.serviceAccounts: has 17 service accounts, Istio's limit is 16; use principals";
    selector_beside_target_ref: "{selector: {matchLabels: {app: x}}, targetRef: {kind: Service, name: x}}" =>
        "resources[0].spec: has more than one of selector, targetRef and targetRefs, keep one";
    selector_with_an_unknown_field: "selector: {matchLabel: {app: x}}" =>
        "resources[0].spec.selector.matchLabel: unknown field, did you mean \"matchLabels\"?";
    selector_with_a_star: r#"selector: {matchLabels: {app: "*"}}"# =>
        "resources[0].spec.selector: `app: *` has a star, selectors are compared exactly";
    target_of_an_unknown_kind: "targetRefs: [{kind: Pod, name: x}]" =>
        "resources[0].spec.targetRefs[0].kind: unknown value `Pod`, expected Service, ServiceEntry, Gateway or GatewayClass";
    target_of_another_group: r#"targetRefs: [{kind: Gateway, group: "", name: x}]"# =>
        "resources[0].spec.targetRefs[0].group: `` is not the group of this kind, write gateway.networking.k8s.io";
    target_refs_empty: "targetRefs: []" =>
        "resources[0].spec.targetRefs: empty list, add a value, or remove the key to mean the whole namespace";
    spec_not_an_object: "[]" =>
        "resources[0].spec: expected an object, this is a list";
    several_faults_of_one_policy: r#"{rules: [{from: [{source: {namespaces: ["a b"], namespace: 1}}]}], rulez: 0}"# =>
        "resources[0].spec.rules[0].from[0].source.namespaces[0]: bad namespace `a b`: no namespace contains ` `\nresources[0].spec.rules[0].from[0].source.namespace: unknown field, did you mean \"namespaces\"?\nresources[0].spec.rulez: unknown field, did you mean \"rules\"?";
}

refused! {
    json:
    configuration_not_an_object: "[]" =>
        "expected an object, this is a list";
    resources_missing: "{}" =>
        "resources: missing, list the policies, or write [] for none";
    default_action_missing_without_policies: "resources: []" =>
        "defaultAction: missing, and there are no policies; say what happens to a request then, DENY or ALLOW (Istio would let it through)";
    default_action_in_lower_case: "{resources: [], defaultAction: deny}" =>
        "defaultAction: unknown value `deny`, did you mean \"DENY\"?";
    configuration_with_an_unknown_field: "{resources: [], defaultAction: DENY, resource: []}" =>
        "resource: unknown field, did you mean \"resources\"?";
    trust_domain_in_upper_case: "{resources: [], defaultAction: DENY, trustDomain: Cluster.local}" =>
        "trustDomain: bad trust domain `Cluster.local`: expected a-z, 0-9, `.`, `-` and `_`, at most 255 characters, as in cluster.local";
    trust_domain_alias_with_a_space: r#"{resources: [], defaultAction: DENY, trustDomainAliases: ["a b"]}"# =>
        "trustDomainAliases[0]: bad trust domain `a b`: expected a-z, 0-9, `.`, `-` and `_`, at most 255 characters, as in cluster.local";
    identity_source_unknown: "{resources: [], defaultAction: DENY, identity: {source: certificate}}" =>
        "identity.source: unknown value `certificate`, expected peerCertificate, filterState or forwardedClientCert";
    workload_without_namespace: "{resources: [], defaultAction: DENY, workload: {}}" =>
        "workload.namespace: missing, write the namespace of the workload that this proxy fronts";
    workload_with_an_unknown_field: "{resources: [], defaultAction: DENY, workload: {namespace: shop, label: {}}}" =>
        "workload.label: unknown field, did you mean \"labels\"?";
    deny_status_of_success: "{resources: [], defaultAction: DENY, deny: {status: 200}}" =>
        "deny.status: expected a whole number of 400 to 599, this is `200`";
    deny_status_as_a_string: r#"{resources: [], defaultAction: DENY, deny: {status: "403"}}"# =>
        "deny.status: expected a number of 400 to 599, this is a string";
    peer_authentication_without_metadata_and_spec: "{resources: [{kind: PeerAuthentication, apiVersion: security.istio.io/v1}], defaultAction: DENY}" =>
        "resources[0].metadata: missing, write its name and namespace";
    policy_of_another_api_version: r#"resources: [{kind: AuthorizationPolicy, apiVersion: v1, metadata: {name: p, namespace: "n"}, spec: {}}]"# =>
        "resources[0].apiVersion: `v1` is not of the group of AuthorizationPolicy, which is security.istio.io; write security.istio.io/v1 if that one is meant, or leave the resource out";
    several_faults_of_one_resource: r#"resources: [{kind: AuthorizationPolicy, apiVersion: security.istio.io/v1, metadata: {name: "a[b", annotations: {istio.io/dry-run: "yes"}}}]"# =>
        "resources[0].metadata.name: bad name `a[b`: Kubernetes names are of a-z, 0-9, `-` and `.`, start and end with a letter or digit, and have at most 253 characters\nresources[0].metadata.namespace: missing, write the namespace, which decides where the policy applies, or defaultNamespace or workload.namespace for all resources without one\nresources[0].metadata.annotations[\"istio.io/dry-run\"]: unknown value `yes`, expected \"true\" or \"false\"";
    default_action_null: "{resources: [], defaultAction: null}" =>
        "defaultAction: missing, and there are no policies; say what happens to a request then, DENY or ALLOW (Istio would let it through)";
}

// Texts that are JSON or nothing.
refused! {
    str::to_owned:
    configuration_missing: "" =>
        "the filter has no configuration, give it one as a google.protobuf.Struct or StringValue";
    configuration_not_json: "{" =>
        "the configuration is not valid JSON: EOF while parsing an object at line 1 column 1";
    mode_given_twice: r#"{"resources": [], "defaultAction": "DENY", "mode": "report", "mode": "enforce"}"# =>
        "mode: given twice, keep one";
}

#[test]
fn two_policies_of_one_name_are_refused() {
    let one =
        "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p, namespace: shop}, spec: {}}";
    assert_eq!(
        refused(&json(&format!("resources: [{one}, {one}]"))),
        "resources[1]: duplicate AuthorizationPolicy shop/p, already defined at resources[0]"
    );
}

#[test]
fn without_an_enforced_allow_the_default_must_be_said() {
    let deny = policy("{action: DENY, rules: [{}]}");
    assert!(
        refused(&deny)
            .starts_with("defaultAction: missing, and none of the policies for this workload is an enforced ALLOW")
    );
    let elsewhere = policy_beside("workload: {namespace: other},", "{}");
    assert!(
        refused(&elsewhere).starts_with("defaultAction: missing, and none of the policies is meant for this workload")
    );
    assert_eq!(refused(&policy("{}")), "");
}

#[test]
fn the_refusal_without_an_allow_says_which_policies_do_not_apply_and_why() {
    let allow = "{selector: {matchLabels: {app: order}}, rules: [{}]}";
    let deny = "{action: DENY, selector: {matchLabels: {app: order}}, rules: [{}]}";
    let rows = [
        (
            "shop",
            allow,
            "none of the policies is meant for this workload (shop/p: its selector asks for `app: order`, this workload has `app: orders`)",
        ),
        (
            "market",
            allow,
            "none of the policies is meant for this workload (shop/p: it is of the namespace `shop`, this workload is in `market`)",
        ),
        (
            "shop",
            deny,
            "none of the policies is meant for this workload (shop/p: its selector asks for `app: order`, this workload has `app: orders`)",
        ),
    ];
    for (namespace, spec, expected) in rows {
        let workload = format!("workload: {{namespace: {namespace}, labels: {{app: orders}}}},");
        assert_eq!(
            refused(&policy_beside(&workload, spec)),
            format!(
                "defaultAction: missing, and {expected}; correct what differs if that is not meant, or say what happens to a request then, DENY or ALLOW (Istio would let it through)"
            ),
            "{namespace} {spec}"
        );
    }
    let resource = |name: &str, annotations: &str, spec: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: {name}, namespace: shop{annotations}}}, spec: {spec}}}"
        )
    };
    let workload = "workload: {namespace: shop, labels: {app: orders}}";
    let reported = resource("p", ", annotations: {istio.io/dry-run: \"true\"}", "{rules: [{}]}");
    let text = refused(&json(&format!("{{{workload}, resources: [{reported}]}}")));
    assert!(text.contains("is an enforced ALLOW (shop/p: it is only reported, by istio.io/dry-run); "), "{text}");
    // Of many some are named.
    let resources: Vec<String> = (0..9).map(|number| resource(&format!("p{number}"), "", allow)).collect();
    let text = refused(&json(&format!("{{{workload}, resources: [{}]}}", resources.join(", "))));
    assert!(text.contains("shop/p2: its selector") && text.contains("`app: orders`, and 6 more); "), "{text}");
}

#[test]
fn what_is_loaded_is_said_in_a_line() {
    let loaded = |json: &str| {
        IdentityAuthz::parse(json.as_bytes()).map(|loaded| {
            let report = loaded.load_report();
            (report.summary().to_owned(), report.warnings().to_vec())
        })
    };
    let selected = policy_beside(
        "workload: {namespace: shop}, defaultAction: DENY, mode: report,",
        "{selector: {matchLabels: {app: orders}}}",
    );
    assert_eq!(
        loaded(&selected),
        Ok((
            "loaded 1 resources, 0 apply here, 0 enforced, 0 only reported, mode: report, nothing is denied".to_owned(),
            vec!["policy shop/p ignored: workload.labels is required to decide whether it applies".to_owned()]
        ))
    );
    assert_eq!(
        loaded(&policy("{}")).map(|(summary, _)| summary).as_deref(),
        Ok("loaded 1 resources, 1 apply here, 1 enforced, 0 only reported")
    );
}

#[test]
fn of_many_rules_that_are_of_http_alone_some_are_named_and_the_rest_counted() {
    let rules = vec!["{to: [{operation: {paths: [/a]}}]}"; MAX_WARNINGS + 3].join(", ");
    let json = policy(&format!("rules: [{rules}]"));
    let warnings = IdentityAuthz::parse(json).map(|loaded| loaded.connection_warnings().to_vec()).expect("no fault");
    assert_eq!(warnings.len(), MAX_WARNINGS + 1);
    assert_eq!(
        [warnings.first(), warnings.last()].map(|line| line.map(String::as_str)),
        [
            Some("shop/p rule 0: HTTP-only field `paths` never matches TCP, so this ALLOW rule allows no connection"),
            Some("3 more rules are affected")
        ]
    );
}
