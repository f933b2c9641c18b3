//! Names by which a proxy is given its policies: of workloads, of watched files, of trust domains, of modules. A slip is
//! found, and what differs on purpose is none.

use sallyport_analysis::{Project, Settings, Workload, check};

/// Findings of these files, each as `CODE FILE:LINE MESSAGE`.
#[expect(clippy::expect_used, reason = "a test with another workload has failed")]
fn findings(workload: Option<&str>, files: &[(&str, &str)]) -> Vec<String> {
    let workload = workload.map(|text| Workload::parse(text).expect("a workload"));
    let mut project = Project::new(Settings { workload, ..Settings::default() });
    files.iter().for_each(|(name, text)| project.add(name, text));
    let report = check(&project, &[]);
    let line = |finding: &sallyport_analysis::Finding| {
        let (file, position) = finding.place(project.sources());
        format!("{} {file}:{} {}; {}", finding.code, position.line, finding.message, finding.help)
    };
    report.findings.iter().map(line).collect()
}

fn bootstrap(name: &str, path: &str) -> String {
    format!(
        "static_resources:\n  listeners:\n  - name: in\n    listener_filters:\n    - name: other\n      config_discovery: {{config_source: {{ads: {{}}}}}}\n    filter_chains:\n    - filters:\n      - name: {name}\n        config_discovery: {{config_source: {{path_config_source: {{path: {path}}}}}}}\n"
    )
}

fn resource(name: &str) -> String {
    format!(
        "- \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig\n  name: {name}\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n    config:\n      vm_config: {{code: {{local: {{filename: /m/baseline-deny.wasm}}}}}}\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.Struct\n        value: {{presets: [scanners]}}\n"
    )
}

#[test]
fn a_watched_file_has_one_resource_of_the_filters_name() {
    let file = |names: &[&str]| format!("resources:\n{}", names.iter().map(|name| resource(name)).collect::<String>());
    let wrong = |name: &str, wanted: &str| {
        vec![format!(
            "discovery-name watched/w.yaml:3 the resource is `{name}` and the filter that takes it `{wanted}` (envoy.yaml:9), so Envoy refuses it: Unexpected resource name in ExtensionConfigDS response; write name: {wanted}"
        )]
    };
    let none = Vec::new();
    let rows = [
        ("sallyport.baseline_deny", "/run/w.yaml", file(&["sallyport.baseline_deny"]), none.clone()),
        ("deny", "/run/w.yaml", file(&["deny"]), none.clone()),
        ("deny", "/run/w.yaml", file(&["baseline"]), wrong("baseline", "deny")),
        // Under another name it is the only file for this filter.
        ("sallyport.baseline_deny", "/run/x.yaml", file(&["deny"]), wrong("deny", "sallyport.baseline_deny")),
        // What is for another filter, nothing is known of.
        ("sallyport.identity_authz", "/run/x.yaml", file(&["deny"]), none.clone()),
        (
            "deny",
            "w.yaml",
            file(&["deny", "other"]),
            vec![
                "discovery-name watched/w.yaml:11 envoy.yaml:9 takes its configuration from this file, of which Envoy reads one resource: it refuses 2; write a file for each filter".to_owned(),
            ],
        ),
    ];
    for (name, path, watched, expected) in rows {
        let listener = bootstrap(name, path);
        let found = findings(None, &[("envoy.yaml", &listener), ("watched/w.yaml", &watched)]);
        assert_eq!(found, expected, "{name} {path}");
        // By itself a file tells nothing.
        assert_eq!(findings(None, &[("watched/w.yaml", &watched)]), none);
    }
}

#[test]
fn two_files_of_one_filter_are_told_apart_by_their_paths() {
    let files = [
        ("a.yaml", format!("resources:\n{}", resource("one"))),
        ("b.yaml", format!("resources:\n{}", resource("two"))),
        ("in.yaml", bootstrap("one", "/run/a.yaml")),
        ("out.yaml", bootstrap("two", "/run/b.yaml")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(findings(None, &files), Vec::<String>::new());
}

fn policy(name: &str, namespace: &str, label: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  selector: {{matchLabels: {{{label}}}}}\n  rules: [{{to: [{{operation: {{methods: [GET]}}}}]}}]\n"
    )
}

#[test]
fn among_the_policies_of_a_folder_a_slip_is_found_and_another_workload_is_none() {
    let own = policy("own", "market", "app: orders");
    let slip = "load-warning p.yaml:13 market/p does not apply to this workload: its selector asks for `app: order`, this workload has `app: orders`; write `app: orders`, or leave the policy out if it is for another workload";
    let namespace = "load-warning p.yaml:11 markets/p does not apply to this workload: it is of the namespace `markets`, this workload is in `market`; write market, or leave the policy out if it is for another namespace";
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: order, namespace: market}\n";
    let rows = [
        (policy("p", "market", "app: order"), vec![slip]),
        (policy("p", "markets", "app: orders"), vec![namespace]),
        // Others on purpose: by a whole word, a number, another label beside, or since something of that name is there.
        (policy("p", "market", "app: billing"), vec![]),
        (policy("p", "market", "app: orders2"), vec![]),
        (policy("p", "market", "app: order, tier: front"), vec![]),
        (policy("p", "bank", "app: order"), vec![]),
        (format!("{}{service}", policy("p", "market", "app: order")), vec![]),
        (
            format!(
                "{}{}",
                policy("p", "market", "app: order"),
                policy("q", "market", "app: order").replace("GET", "PUT")
            ),
            vec![],
        ),
        (format!("{}{}", policy("p", "markets", "app: orders"), policy("q", "markets", "app: x")), vec![]),
    ];
    for (text, expected) in rows {
        let text = format!("{own}{text}");
        assert_eq!(findings(Some("market/app=orders"), &[("p.yaml", &text)]), expected, "{text}");
        // Without a workload there is nothing that is missed.
        assert_eq!(findings(None, &[("p.yaml", &text)]), Vec::<String>::new(), "{text}");
    }
}

/// Listener that accepts SPIFFE IDs by these matchers, before a filter with this configuration.
fn listener(matchers: &str, configuration: &str) -> String {
    format!(
        r#"{{"filter_chains": [{{"transport_socket": {{"typed_config": {{"require_client_certificate": true, "disable_stateless_session_resumption": true, "disable_stateful_session_resumption": true, "common_tls_context": {{"validation_context": {{"match_typed_subject_alt_names": [{matchers}]}}}}}}}}, "filters": [{{"name": "hcm", "typed_config": {{"http_filters": [{{"name": "x", "typed_config": {{"config": {{"vm_config": {{"code": {{"local": {{"filename": "identity-authz.wasm"}}}}}}, "configuration": {configuration}}}}}}}]}}}}]}}]}}"#
    )
}

#[test]
fn principals_are_of_a_trust_domain_that_the_listener_accepts() {
    let of = |more: &str, action: &str, source: &str| {
        format!(
            r#"{{{more} "defaultAction": "DENY", "resources": [{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {{"name": "p", "namespace": "shop"}}, "spec": {{"action": "{action}", "rules": [{{"from": [{{"source": {{{source}}}}}]}}]}}}}]}}"#
        )
    };
    const MESH: &str = r#""principals": ["cluster.local/ns/shop/sa/web"]"#;
    let corp = r#"{"san_type": "URI", "matcher": {"prefix": "spiffe://corp.example/"}}"#;
    let dns = r#"{"san_type": "DNS", "matcher": {"exact": "web.corp.example"}}"#;
    let any = r#"{"san_type": "URI", "matcher": {"prefix": "spiffe://"}}"#;
    let old = r#"{"san_type": "URI", "matcher": {"exact": "spiffe://old.example/ns/shop/sa/web"}}"#;
    let effect =
        |what: &str| Some(format!("accepts SPIFFE IDs of corp.example alone, and this names others: {what}; "));
    let rows = [
        (corp, of("", "ALLOW", MESH), effect("nobody is allowed by it")),
        (corp, of("", "DENY", MESH), effect("it matches nobody")),
        (
            corp,
            of("", "DENY", r#""notPrincipals": ["spiffe://old.example/ns/shop/sa/web"]"#),
            effect("nobody is excluded by it"),
        ),
        (corp, of(r#""trustDomain": "corp.example","#, "ALLOW", MESH), None),
        (corp, of(r#""trustDomain": "new.example", "trustDomainAliases": ["corp.example"],"#, "ALLOW", MESH), None),
        (corp, of("", "ALLOW", r#""principals": ["cluster.local/ns/a/sa/b", "corp.example/ns/a/sa/b"]"#), None),
        (corp, of("", "ALLOW", r#""principals": ["*/ns/a/sa/b"]"#), None),
        (corp, of("", "ALLOW", r#""namespaces": ["shop"]"#), None),
        (corp, of(r#""identity": {"source": "forwardedClientCert"},"#, "ALLOW", MESH), None),
        (&format!("{corp}, {old}"), of("", "ALLOW", r#""principals": ["old.example/ns/shop/sa/web"]"#), None),
        // What cannot be told is not said.
        (&format!("{corp}, {dns}"), of("", "ALLOW", MESH), None),
        (any, of("", "ALLOW", MESH), None),
    ];
    for (matchers, configuration, expected) in rows {
        let found = findings(None, &[("envoy.json", &listener(matchers, &configuration))]);
        match expected {
            Some(expected) => {
                assert_eq!(found.len(), 1, "{configuration}: {found:?}");
                assert!(found.iter().all(|one| one.contains(&expected)), "{configuration}: {found:?}");
            }
            None => assert_eq!(found, Vec::<String>::new(), "{matchers} {configuration}"),
        }
    }
}

#[test]
fn the_module_decides_which_filter_it_is() {
    let plugin = |name: &str, file: &str, configuration: &str| {
        format!(
            r#"{{"name": "{name}", "vm_config": {{"vm_id": "sallyport.{name}", "code": {{"local": {{"filename": "/m/{file}.wasm"}}}}}}, "configuration": {configuration}}}"#
        )
    };
    let scanners = r#"{"presets": ["scanners"]}"#;
    assert_eq!(
        findings(None, &[("p.json", &plugin("baseline_deny", "baseline-deny", scanners))]),
        Vec::<String>::new()
    );
    // A name of one's own says nothing.
    assert_eq!(findings(None, &[("p.json", &plugin("deny", "baseline-deny-0.1.0", scanners))]), Vec::<String>::new());
    let found = findings(
        None,
        &[(
            "p.json",
            &plugin("identity_authz", "baseline-deny", r#"{"presets": ["scanners"], "defaultAction": "DENY"}"#),
        )],
    );
    let [module, key] = found.as_slice() else { panic!("{found:?}") };
    assert!(
        module.starts_with(
            "wrong-module p.json:1 this is the module of baseline-deny, and the filter is called identity-authz: "
        ),
        "{module}"
    );
    assert!(key.contains("unknown field `defaultAction`"), "{key}");
}

#[test]
fn a_configuration_is_corrected_in_itself_and_a_flag_by_the_flag() {
    let deny = r#"{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "p", "namespace": "shop"}, "spec": {"action": "DENY", "selector": {"matchLabels": {"app": "orders"}}, "rules": [{}]}}"#;
    let plugin = format!(
        r#"{{"vm_config": {{"code": {{"local": {{"filename": "identity-authz.wasm"}}}}}}, "configuration": {{"workload": {{"namespace": "shop"}}, "resources": [{deny}]}}}}"#
    );
    let undecided = "undecided-target p.json:1 `workload.labels` is missing: required to decide whether the DENY policy shop/p applies";
    assert_eq!(
        findings(None, &[("p.json", &plugin)]),
        [format!("{undecided}; write it under `workload` of this configuration")]
    );
    let settings = "identityAuthz:\n  workload: {namespace: shop, labels: {app: orders}}\n";
    assert_eq!(
        findings(Some("shop"), &[("p.json", deny), ("sallyport.yaml", settings)]),
        [format!(
            "{undecided} (--workload takes the place of the file's workload); say it with --workload, --service or --gateway, or in the configuration file"
        )]
    );
}
