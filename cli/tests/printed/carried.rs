//! Answers about files that carry the configuration of a filter: of Envoy, and manifests for Kubernetes.

use crate::odd_calls::run;

/// Configuration of `identity-authz` for a workload, as JSON on one line; it allows one caller to read.
fn configuration(app: &str, caller: &str, more: &str) -> String {
    format!(
        r#"{{"workload": {{"namespace": "market", "labels": {{"app": "{app}"}}}}, {more} "resources": [{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {{"name": "{app}-reads", "namespace": "market"}}, "spec": {{"selector": {{"matchLabels": {{"app": "{app}"}}}}, "rules": [{{"from": [{{"source": {{"principals": ["{caller}"]}}}}], "to": [{{"operation": {{"methods": ["GET"]}}}}]}}]}}}}]}}"#
    )
}

/// Filter for a list of filters, or with `name` and `typed_config` alone for a file that Envoy watches.
fn filter(name: &str, module: &str, layer: &str, configuration: &str) -> String {
    format!(
        r#"{{"name": "{name}", "typed_config": {{"@type": "type.googleapis.com/envoy.extensions.filters.{layer}.wasm.v3.Wasm", "config": {{"vm_config": {{"code": {{"local": {{"filename": "/etc/sallyport/{module}.wasm"}}}}}}, "configuration": {{"@type": "type.googleapis.com/google.protobuf.Struct", "value": {configuration}}}}}}}}}"#
    )
}

fn identity(configuration: &str) -> String {
    filter("sallyport.identity_authz", "identity-authz", "http", configuration)
}

/// Bootstrap with a listener for each list of HTTP filters.
fn bootstrap(lists: &[&str]) -> String {
    let listener = |(number, filters): (usize, &&str)| {
        format!(
            "  - name: l{number}\n    filter_chains:\n    - filters:\n      - name: hcm\n        typed_config:\n          http_filters:\n{filters}"
        )
    };
    let listeners: String = lists.iter().enumerate().map(listener).collect();
    format!("static_resources:\n  listeners:\n{listeners}")
}

fn item(filter: &str) -> String {
    format!("          - {filter}\n")
}

fn watched(filter: &str) -> String {
    let rest = filter.strip_prefix('{').unwrap_or(filter);
    format!("resources:\n- {{\"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, {rest}\n")
}

const ORDERS: &str = "cluster.local/ns/market/sa/frontend";

/// Files with one configuration of `identity-authz`, in every form.
fn forms() -> Vec<(&'static str, String)> {
    let configuration = configuration("orders", ORDERS, "");
    let plugin = format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: a, namespace: market}}\nspec:\n  url: oci://x/identity-authz:1\n  phase: AUTHZ\n  pluginConfig: {configuration}\n"
    );
    let extension = format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {{name: a, namespace: market}}\nspec:\n  phase: AUTHZ\n  wasm:\n    url: oci://x/identity-authz:1\n    pluginConfig: {configuration}\n"
    );
    let gateway = format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {{name: a, namespace: market}}\nspec:\n  wasm:\n  - name: a\n    code: {{type: Image, image: {{url: x/identity-authz:1}}}}\n    config: {configuration}\n"
    );
    let json = format!(
        r#"{{"static_resources": {{"listeners": [{{"filter_chains": [{{"filters": [{{"name": "hcm", "typed_config": {{"http_filters": [{}]}}}}]}}]}}]}}}}"#,
        identity(&configuration)
    );
    let second = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: market}}\n---\n{plugin}");
    vec![
        ("envoy.yaml", bootstrap(&[&item(&identity(&configuration))])),
        ("envoy.json", json),
        ("watched.yaml", watched(&identity(&configuration))),
        ("wasmplugin.yaml", plugin.clone()),
        ("trafficextension.yaml", extension),
        ("envoyextensionpolicy.yaml", gateway),
        ("several.yaml", second),
    ]
}

fn call<'c>(line: &'c str, name: &'c str) -> Vec<&'c str> {
    line.split_whitespace().map(|word| if word == "FILE" { name } else { word }).collect()
}

#[test]
fn who_and_explain_and_test_read_what_check_reads() {
    let cases = "{policies: [FILE], cases: [{name: reads, caller: {peer: spiffe://cluster.local/ns/market/sa/frontend}, expect: {answer: reached, policy: market/orders-reads}}, {name: no one else, expect: {answer: denied}}]}";
    for (name, text) in forms() {
        let cases = cases.replace("FILE", name);
        let files = [(name, text.as_str()), ("cases/c.yaml", &cases.replace(name, &format!("../{name}")))];
        for (line, code, expected) in [
            ("check FILE", 0, "nothing found in 1 file"),
            ("who FILE --to market/app=orders", 0, "cluster.local/ns/market/sa/frontend"),
            ("who FILE", 0, "market/orders-reads"),
            ("who FILE --from market/frontend", 0, "market/app=orders"),
            ("explain FILE --from market/frontend", 0, "allowed: ALLOW policy market/orders-reads matches with rule 0"),
            ("explain FILE --to market/app=orders --from market/other", 1, "denied: no ALLOW policy matches"),
            ("test cases/c.yaml", 0, "coverage: 100 % of 1 rules"),
        ] {
            let (exit, printed, error) = run(&files, &call(line, name));
            if line.starts_with("check") && !name.contains("envoy.") && name != "watched.yaml" {
                // Other lints look at the manifests around.
                continue;
            }
            assert_eq!(exit, Some(code), "{line} {name}: {printed}{error}");
            let printed: String = printed.lines().map(str::trim).collect::<Vec<_>>().join("\n");
            let is_there = printed.contains(expected) || line.starts_with("who") && printed.contains("market");
            assert!(is_there, "{line} {name}: {printed}{error}");
        }
        let (exit, printed, error) = run(&files, &call("render --for envoy-filter FILE", name));
        assert_eq!(exit, Some(0), "{name}: {error}");
        assert!(
            printed.contains("name: orders-reads") && error.contains("1 of 1 resource applies"),
            "{printed}{error}"
        );
    }
}

#[test]
fn the_settings_are_those_of_the_filter() {
    let rows = [
        // The trust domain.
        ("\"trustDomain\": \"corp.example\",", "explain FILE --from market/frontend", 0, "allowed: ", ""),
        (
            "\"trustDomain\": \"corp.example\",",
            "explain FILE --from cluster.local/ns/market/sa/frontend",
            1,
            "denied: ",
            "",
        ),
        // The mode.
        ("\"mode\": \"report\",", "explain FILE --from market/other", 0, "would-be-denied: ", ""),
        ("\"mode\": \"report\",", "who FILE", 0, "market", "the filter is in report mode, where everyone gets in"),
    ];
    for (more, line, code, expected, note) in rows {
        let text = watched(&identity(&configuration("orders", ORDERS, more)));
        let (exit, printed, error) = run(&[("w.yaml", &text)], &call(line, "w.yaml"));
        assert_eq!(exit, Some(code), "{line}: {printed}{error}");
        assert!(printed.contains(expected) && error.contains(note), "{line}: {printed}{error}");
    }
    // defaultAction: nobody is allowed by a rule, and everyone by the default.
    let open = r#"{"workload": {"namespace": "market"}, "defaultAction": "ALLOW", "resources": []}"#;
    let text = watched(&identity(open));
    let (_, printed, _) = run(&[("w.yaml", &text)], &["who", "w.yaml"]);
    assert!(printed.contains("anyone") && printed.contains("default action"), "{printed}");
}

#[test]
fn of_several_filters_the_call_says_which() {
    let two = bootstrap(&[
        &item(&identity(&configuration("orders", ORDERS, ""))),
        &item(&identity(&configuration("bills", "cluster.local/ns/market/sa/billing", ""))),
    ]);
    let files = [("envoy.yaml", two.as_str())];
    let ask = |line: &str| run(&files, &line.split_whitespace().collect::<Vec<_>>());
    for verb in ["who envoy.yaml", "explain envoy.yaml", "render --for ecds envoy.yaml"] {
        let (exit, printed, error) = ask(verb);
        assert_eq!((exit, printed.as_str()), (Some(2), ""), "{verb}");
        assert_eq!(
            error,
            "sallyport: the files have several configurations of identity-authz, say which with --filter-at:\n  \
             envoy.yaml:9  identity-authz, market/app=orders\n  envoy.yaml:16  identity-authz, market/app=bills\n",
            "{verb}"
        );
    }
    // The workload tells them apart, and so does the place.
    for line in ["who envoy.yaml --to market/app=bills", "who envoy.yaml --filter-at envoy.yaml:16"] {
        let (exit, printed, error) = ask(line);
        assert_eq!(exit, Some(0), "{error}");
        assert!(printed.contains("market/bills-reads") && !printed.contains("orders"), "{line}: {printed}");
    }
    for (line, expected) in [
        (
            "who envoy.yaml --to market/app=web",
            "no configuration of identity-authz among the files is for market/app=web:\n  envoy.yaml:9",
        ),
        (
            "who envoy.yaml --filter-at envoy.yaml:10",
            "no configuration of a filter stands at envoy.yaml:10; there is\n",
        ),
        ("explain envoy.yaml --egress --filter-at envoy.yaml:9", "is of a filter that does not answer this:\n"),
    ] {
        let (exit, printed, error) = ask(line);
        assert_eq!((exit, printed.as_str()), (Some(2), ""), "{line}");
        assert!(error.contains(expected), "{line}: {error}");
    }
    // Equal ones are one.
    let same = item(&identity(&configuration("orders", ORDERS, "")));
    let (exit, _, error) = run(&[("envoy.yaml", &bootstrap(&[&same, &same]))], &["who", "envoy.yaml"]);
    assert_eq!((exit, error.as_str()), (Some(0), ""));
}

#[test]
fn what_has_no_answer_is_no_answer() {
    let scanners = filter("sallyport.baseline_deny", "baseline-deny", "http", r#"{"presets": ["scanners"]}"#);
    let hosts = r#"{"rules": [{"name": "api", "hosts": ["api.test"]}]}"#;
    let egress = filter("sallyport.egress_allowlist", "egress-allowlist", "http", hosts);
    let discovering = bootstrap(&[
        "          - {name: sallyport.identity_authz, config_discovery: {config_source: {path_config_source: {path: /run/i.yaml}}}}\n",
    ]);
    let refused = watched(&identity(
        &configuration("orders", ORDERS, "")
            .replace("\"matchLabels\": {\"app\": \"orders\"}", "\"matchLabels\": {\"app\": \"order\"}"),
    ));
    let files = [
        ("egress.yaml", bootstrap(&[&[item(&scanners), item(&egress)].concat()])),
        ("discovering.yaml", discovering),
        ("refused.yaml", refused),
        ("open.yaml", watched(&identity(r#"{"defaultAction": "DENY", "resources": []}"#))),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    for (line, code, expected) in [
        ("who egress.yaml --to shop", 2, "the files have nothing for identity-authz"),
        (
            "who discovering.yaml",
            2,
            "discovering.yaml:9 takes the configuration of sallyport.identity_authz from /run/i.yaml, give that file too",
        ),
        ("explain discovering.yaml", 2, "give that file too"),
        ("who refused.yaml", 1, "its selector asks for `app: order`, this workload has `app: orders`"),
        ("explain refused.yaml", 1, "its selector asks for `app: order`, this workload has `app: orders`"),
        ("explain open.yaml", 1, "the configuration at open.yaml:2 has no workload, so all its policies apply"),
    ] {
        let (exit, printed, error) = run(&files, &line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(exit, Some(code), "{line}: {printed}{error}");
        assert!(error.contains(expected), "{line}: {printed}{error}");
    }
    // What stands before the filter in its list is asked, too.
    for (line, expected) in [
        ("explain egress.yaml --curl https://api.test/", "allowed: "),
        ("explain egress.yaml --host api.test:80 --header user-agent:sqlmap/1.0", "denied: "),
        ("explain egress.yaml --host evil.test:80", "no rule lists this host"),
    ] {
        let call: Vec<String> = line.split_whitespace().map(|word| word.replace("https:", "curl https:")).collect();
        let (_, printed, error) = run(&files, &call.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(printed.contains(expected), "{line}: {printed}{error}");
    }
}

#[test]
fn resources_beside_a_configuration_are_asked_and_it_is_said() {
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: own, namespace: market}\nspec: {rules: [{from: [{source: {namespaces: [a]}}]}]}\n";
    let text = watched(&identity(&configuration("orders", ORDERS, "")));
    let files = [("p.yaml", policy), ("w.yaml", text.as_str()), ("sallyport.yaml", "identityAuthz: {}")];
    let (_, printed, error) = run(&files[..2], &["who", "p.yaml", "w.yaml", "--to", "market/app=orders"]);
    assert!(printed.contains("market/own") && !printed.contains("orders-reads"), "{printed}");
    assert!(error.contains("is not asked, since the files have resources beside it"), "{error}");
    let call = ["who", "p.yaml", "w.yaml", "--to", "market/app=orders", "--filter-at", "w.yaml"];
    let (_, printed, _) = run(&files[..2], &call);
    assert!(printed.contains("(w.yaml:2)") && !printed.contains("market/own"), "{printed}");
    let (exit, _, error) = run(&files[1..], &["who", "w.yaml", "sallyport.yaml", "--to", "market/app=orders"]);
    assert_eq!(exit, Some(2), "{error}");
    assert!(error.contains("is configured at w.yaml:2 and in the configuration file"), "{error}");
}

#[test]
fn connections_and_requests_have_filters_of_their_own() {
    let network = filter(
        "sallyport.identity_authz",
        "identity-authz",
        "network",
        &configuration("orders", "cluster.local/ns/market/sa/batch", ""),
    );
    let http = bootstrap(&[&item(&identity(&configuration("orders", ORDERS, "")))]);
    let text = format!("{http}  - name: tcp\n    filter_chains:\n    - filters:\n      - {network}\n");
    let files = [("envoy.yaml", text.as_str())];
    for (line, code) in [
        ("explain envoy.yaml --from market/frontend", 0),
        ("explain envoy.yaml --from market/batch", 1),
        ("explain envoy.yaml --layer tcp --from market/frontend", 1),
    ] {
        let (exit, printed, error) = run(&files, &line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(exit, Some(code), "{line}: {printed}{error}");
    }
    let (exit, _, error) = run(&files, &["who", "envoy.yaml"]);
    assert_eq!(exit, Some(2));
    assert!(error.contains("identity-authz, market/app=orders, for connections"), "{error}");
    // One that decides the other thing gives no answer.
    let only = format!("static_resources:\n  listeners:\n  - filter_chains:\n    - filters:\n      - {network}\n");
    let requests = watched(&identity(&configuration("orders", ORDERS, "")));
    let files = [("tcp.yaml", only.as_str()), ("http.yaml", requests.as_str())];
    for (line, code, expected) in [
        ("explain tcp.yaml --from market/batch", 1, ""),
        (
            "explain tcp.yaml --layer http --from market/batch",
            2,
            "the filter at tcp.yaml:5 decides connections and no requests, say --layer tcp",
        ),
        (
            "explain http.yaml --layer tcp",
            2,
            "the filter at http.yaml:2 decides requests and no connections, leave out --layer tcp",
        ),
        ("explain tcp.yaml --layer tcp --from market/batch", 1, ""),
    ] {
        let (exit, printed, error) = run(&files, &line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(exit, Some(code), "{line}: {printed}{error}");
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn the_trust_domain_that_a_caller_is_taken_for_is_said_where_it_decides() {
    let text = watched(&identity(&configuration("orders", "corp.example/ns/market/sa/frontend", "")));
    let files = [("w.yaml", text.as_str())];
    let (exit, _, error) = run(&files, &["explain", "w.yaml", "--from", "market/frontend"]);
    assert_eq!(exit, Some(1));
    assert_eq!(
        error,
        "--from market/frontend is taken for cluster.local/ns/market/sa/frontend; for corp.example/ns/market/sa/frontend \
         the answer is allowed: write that, or say --trust-domain\n"
    );
    let (_, _, error) = run(&files, &["who", "w.yaml", "--from", "market/frontend"]);
    assert!(error.contains("--from is taken for spiffe://cluster.local/ns/market/sa/frontend; "), "{error}");
    // Where it decides nothing, or is said, nothing is printed.
    for line in [
        "explain w.yaml --from market/other",
        "explain w.yaml --from market/frontend --trust-domain corp.example",
        "explain w.yaml --from corp.example/ns/market/sa/frontend",
    ] {
        let (_, _, error) = run(&files, &line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(error, "", "{line}");
    }
}
