//! Answers about connections, which a network filter decides: `--layer tcp`, and files that carry such a filter.

use crate::odd_calls::run;

/// Policies of a database: one rule compares what only requests have.
const POLICIES: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders-use-it, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/orders]}}]
    to: [{operation: {ports: ['5432']}}]
  - from: [{source: {principals: [cluster.local/ns/shop/sa/billing]}}]
    to: [{operation: {methods: [GET]}}]
";

const DENIAL: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-drafts, namespace: shop}
spec:
  action: DENY
  rules:
  - from: [{source: {namespaces: [guests]}}]
    to: [{operation: {paths: [/drafts/*]}}]
";

/// Bootstrap with a network filter that has these policies.
fn bootstrap(policies: &[&str]) -> String {
    let items: String = policies
        .iter()
        .flat_map(|policy| policy.lines().enumerate())
        .map(|(number, line)| format!("                {}{line}\n", if number == 0 { "- " } else { "  " }))
        .collect();
    format!(
        "static_resources:
  listeners:
  - filter_chains:
    - filters:
      - name: sallyport.identity_authz
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm
          config:
            vm_config: {{code: {{local: {{filename: identity-authz.wasm}}}}}}
            configuration:
              '@type': type.googleapis.com/google.protobuf.Struct
              value:
                workload: {{namespace: shop, labels: {{app: db}}}}
                resources:
{items}"
    )
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn check_finds_what_only_requests_have_where_connections_are_decided() {
    let text = bootstrap(&[POLICIES, DENIAL]);
    let files = [("p.yaml", POLICIES), ("d.yaml", DENIAL), ("envoy.yaml", text.as_str())];
    let means = "where `methods` is unknown: the rule lets nobody in";
    for (line, code, expected) in [
        ("check p.yaml", 0, &["nothing found"][..]),
        ("check p.yaml --layer http", 0, &["nothing found"]),
        (
            "check p.yaml --layer tcp",
            1,
            &["warning[http-field-on-tcp]: the filter decides connections, ", means, "p.yaml:9:23"],
        ),
        (
            "check d.yaml --layer tcp",
            1,
            &["where `paths` is unknown: it is left out, and the rule denies more connections", "d.yaml:8:23"],
        ),
        ("check p.yaml --layer tcp --workload bank/app=vault --default-action DENY", 0, &["nothing found"]),
        ("check envoy.yaml", 1, &[means, "envoy.yaml:23:41", "`paths` is unknown", "2 warnings"]),
    ] {
        let (exit, printed, error) = run(&files, &words(line));
        assert_eq!(exit, Some(code), "{line}: {printed}{error}");
        let missing: Vec<&&str> = expected.iter().filter(|text| !printed.contains(**text)).collect();
        assert!(missing.is_empty(), "{line}: {missing:?} in {printed}");
    }
}

#[test]
fn who_lists_the_connections_that_rules_without_requests_allow() {
    let text = bootstrap(&[POLICIES]);
    let files = [("p.yaml", POLICIES), ("envoy.yaml", text.as_str())];
    let heading = "FROM TO PORTS CONDITIONS RULE";
    for line in ["who p.yaml --to shop/app=db --layer tcp", "who envoy.yaml", "who envoy.yaml --layer tcp"] {
        let (exit, printed, error) = run(&files, &words(line));
        assert_eq!((exit, error.as_str()), (Some(0), ""), "{line}: {printed}");
        let rows: Vec<String> = printed.lines().map(|row| words(row).join(" ")).collect();
        let [first, row] = rows.as_slice() else { panic!("{line}: {printed}") };
        assert_eq!(first, heading, "{line}");
        assert!(row.starts_with("cluster.local/ns/shop/sa/orders shop 5432 shop/orders-use-it rule 0 ("), "{row}");
    }
    // Requests are another thing.
    let (_, printed, _) = run(&files, &words("who p.yaml --to shop/app=db"));
    assert!(printed.contains("METHODS") && printed.contains("sa/billing"), "{printed}");
    let (exit, _, error) = run(&files, &words("who envoy.yaml --layer http"));
    assert_eq!(exit, Some(2));
    assert!(error.contains("decides connections and no requests, say --layer tcp"), "{error}");
    // A DENY by path and caller closes every connection of the caller.
    let denial = DENIAL.replace("namespaces: [guests]", "principals: [cluster.local/ns/shop/sa/orders]");
    let files = [files[0], files[1], ("d.yaml", denial.as_str())];
    let (_, printed, _) = run(&files, &words("who p.yaml d.yaml --to shop/app=db --layer tcp"));
    assert_eq!(printed, "nobody, by any ALLOW rule\n");
    // By the caller, and as JSON, in which the fields of requests stay and are empty.
    let (_, printed, _) = run(&files, &words("who p.yaml --from shop/billing --layer tcp"));
    assert_eq!(printed, "nobody, by any ALLOW rule\n");
    let (_, printed, _) = run(&files, &words("who envoy.yaml --format json"));
    let access: serde_json::Value = serde_json::from_str(&printed).unwrap_or_default();
    assert_eq!(access.pointer("/access/0/methods"), Some(&serde_json::json!([])), "{printed}");
    assert_eq!(access.pointer("/access/1"), None, "{printed}");
}

#[test]
fn explain_takes_the_layer_of_the_filter_and_refuses_what_no_connection_has() {
    let text = bootstrap(&[POLICIES]);
    let files = [("p.yaml", POLICIES), ("envoy.yaml", text.as_str())];
    let warning = "shop/orders-use-it rule 1: HTTP-only field `methods` never matches TCP, so this ALLOW rule allows no connection";
    for (line, code) in [
        ("explain envoy.yaml --from shop/orders --port 5432", 0),
        ("explain envoy.yaml --from shop/billing --port 5432", 1),
        ("explain p.yaml --to shop/app=db --layer tcp --from shop/billing --port 5432", 1),
        ("explain envoy.yaml --from shop/billing --curl https://db.shop:5432/", 1),
    ] {
        let call: Vec<String> = words(line).into_iter().map(|word| word.replace("https:", "curl https:")).collect();
        let (exit, printed, error) = run(&files, &call.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((exit, error.as_str()), (Some(code), ""), "{line}: {printed}");
        assert_eq!(printed.contains(warning), code == 1, "{line}: {printed}");
    }
    let nothing = "a connection has no method, path, host, header or token; leave out what only a request has";
    for (flags, named) in [
        ("--method GET", "--method"),
        ("--path /x", "--path"),
        ("--host a.test", "--host"),
        ("--header x:y", "--header"),
        ("--claim a=b", "--claim"),
        ("--method GET --claim a=b", "--method, --claim"),
    ] {
        for (call, why) in [
            ("explain p.yaml --to shop/app=db --layer tcp", ", or --layer tcp"),
            ("explain envoy.yaml", ", since the filter of these files decides connections"),
        ] {
            let (exit, printed, error) = run(&files, &words(&format!("{call} {flags}")));
            assert_eq!((exit, printed.as_str()), (Some(2), ""), "{call} {flags}");
            assert_eq!(error, format!("sallyport: {named}: {nothing}{why}\n"), "{call} {flags}");
        }
    }
}

#[test]
fn a_custom_policy_closes_every_connection() {
    let custom = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: login, namespace: shop}\nspec: {action: CUSTOM, provider: {name: sso}, rules: [{}]}\n";
    let settings = "identityAuthz: {customProviders: [sso]}\n";
    let files = [("p.yaml", POLICIES), ("c.yaml", custom), ("sallyport.yaml", settings)];
    let ask = |line: &str| run(&files, &words(line));
    let (exit, printed, _) = ask("check . --layer tcp --ignore dry-run");
    assert_eq!(exit, Some(1));
    let said = "about which no authorizer is asked: this CUSTOM policy closes all of them";
    assert!(printed.contains(said) && printed.contains("./c.yaml:4:16"), "{printed}");
    let (exit, printed, _) = ask("who . --to shop/app=db --layer tcp");
    assert_eq!((exit, printed.as_str()), (Some(0), "nobody, by any ALLOW rule\n"));
    let (_, printed, _) = ask("who . --from shop/orders --layer tcp");
    assert!(printed.contains("where shop/login does not"), "{printed}");
    let (exit, printed, _) = ask("explain . --to shop/app=db --layer tcp --from shop/orders --port 5432");
    assert_eq!(exit, Some(1), "{printed}");
}
