//! Calls with odd flags, files and folders: each says what is wrong, where, and what to write.

use std::fs;
use std::process::Command;

const POLICY: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {paths: [/orders/*], ports: [\"8080\"]}}]
";

const ENTRY: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: mail, namespace: shop}
spec: {hosts: [mail.example], ports: [{number: 443, name: https, protocol: TLS}], resolution: DNS}
";

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec: {template: {metadata: {labels: {app: orders}}}}
";

/// Runs the command among these files, in a folder of its own. Returns the exit code, and what it prints to standard output and error.
#[expect(clippy::expect_used, reason = "a test without the command has failed")]
pub(crate) fn run(files: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    fs::create_dir_all(folder.path().join("empty")).expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    let output = command.args(arguments).current_dir(folder.path()).output().expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn wrong_use_says_what_to_write() {
    let files = [
        ("p.yaml", POLICY),
        ("d.yaml", DEPLOYMENT),
        ("c.yaml", "{policies: [absent], cases: [{name: a, expect: {answer: denied}}]}"),
    ];
    for (arguments, expected) in [
        (
            "explain empty",
            "no file below empty ends in .yaml, .yml or .json; name the file or the folder with the policies",
        ),
        ("explain absent.yaml", "reading absent.yaml: No such file or directory (os error 2)"),
        ("explain p.yaml --path orders/1", "--path: `orders/1` does not begin with a slash, write --path /orders/1"),
        ("explain p.yaml --method=", "--method is empty, leave it out or write a value"),
        ("explain p.yaml --at ten", "--at: `ten` is no time, write it as in 2026-11-28T10:00Z"),
        (
            "explain p.yaml --at 2026-02-30T10:00Z",
            "--at: `2026-02-30T10:00Z` is no time, write it as in 2026-11-28T10:00Z",
        ),
        ("explain p.yaml --at 1960-02-20T10:00Z", "--at: the time is before 1970, when no request was"),
        (
            "explain p.yaml --from web",
            "--from: `web` is no caller: write NAMESPACE/SERVICE-ACCOUNT as in shop/frontend, a principal as in cluster.local/ns/shop/sa/frontend, or a SPIFFE ID",
        ),
        ("explain p.yaml --header x", "--header: `x` has no colon, write it as in --header 'x-tenant: blue'"),
        (
            "explain p.yaml --header :path:/x",
            "--header: `:path:/x` has no name, write it as in --header 'x-tenant: blue'; --method, --path and --host are flags of their own",
        ),
        ("explain p.yaml --claim =x", "--claim: `=x` is no NAME=VALUE, write it as in --claim group=admin"),
        (
            "explain p.yaml --to shop/=x",
            "--to: bad workload `shop/=x`: write NAMESPACE/KEY=VALUE,... as in shop/app=orders",
        ),
        (
            "explain p.yaml --to shop/a=x,a=y",
            "--to: bad workload `shop/a=x,a=y`: the label `a` is given twice, keep one",
        ),
        ("explain p.yaml --curl curl", "--curl: the curl line has no URL"),
        (
            "explain p.yaml --service orders",
            "--service and --gateway need the namespace of the workload, write --workload NS",
        ),
        ("who p.yaml", "name a workload by --to or a caller by --from"),
        (
            "who empty --to shop",
            "no file below empty ends in .yaml, .yml or .json; name the file or the folder with the policies",
        ),
        ("test p.yaml", "there is no case file among the files: one is an object with the key cases"),
        ("test c.yaml", "policies of c.yaml: reading absent: No such file or directory (os error 2)"),
        ("test c.yaml --at x", "--at: `x` is no time, write it as in 2026-11-28T10:00Z"),
        (
            "render --for bootstrap p.yaml --upstream a:0",
            "--upstream: nothing listens on port 0, write the port of the service",
        ),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let (code, printed, said) = run(&files, &arguments);
        assert_eq!((code, said.as_str()), (Some(2), format!("sallyport: {expected}\n").as_str()), "{arguments:?}");
        assert_eq!(printed, "", "{arguments:?}");
    }
}

#[test]
fn values_out_of_range_are_wrong_use() {
    for arguments in ["--port 0", "--port 70000", "--source-ip 300.1.1.1", "--layer udp", "--to shop --workload shop"] {
        let call: Vec<&str> = ["explain", "p.yaml"].into_iter().chain(arguments.split(' ')).collect();
        assert_eq!(run(&[("p.yaml", POLICY)], &call).0, Some(2), "{arguments}");
    }
}

#[test]
fn a_configuration_file_that_is_none_is_refused() {
    for (config, message) in [
        ("[1]", "the configuration file is no object"),
        ("identityauthz: {}", "unknown field"),
        ("identityAuthz: []", "the settings of a filter are no object"),
        ("identityAuthz: {mod: report}", "unknown field `mod`"),
    ] {
        let files = [("p/p.yaml", POLICY), ("p/sallyport.yaml", config)];
        for verb in [&["explain"][..], &["render", "--for", "envoy-filter"]] {
            let (code, printed, said) = run(&files, &[verb, &["p"]].concat());
            assert_eq!((code, printed.as_str()), (Some(1), ""), "{config}: {said}");
            assert!(said.contains(message) && said.contains("p/sallyport.yaml:1"), "{config}: {said}");
        }
    }
}

#[test]
fn odd_cases_are_faults_with_their_place() {
    for (case, message) in [
        ("{name: a, expect: {answer: reached, decision: would-deny}}", "unknown value `would-deny` of `decision`"),
        ("{name: a, expect: {answer: reached}, speaksFirst: x}", "unknown value `x` of `speaksFirst`"),
        (
            "{name: a, expect: {answer: reached}, caller: {destinationPort: 0}}",
            "`destinationPort` is not a port, a number of 1 to 65535",
        ),
        (
            "{name: a, expect: {answer: reached}, configuration: []}",
            "`configuration` is not an object with keys of identity-authz",
        ),
        (
            "{name: a, expect: {answer: denied}}, {name: a, expect: {answer: denied}}",
            "an earlier case of this document has the name `a` too",
        ),
        ("5", "expected an object"),
    ] {
        let (code, printed, said) = run(&[("c.yaml", &format!("cases: [{case}]"))], &["test", "c.yaml"]);
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{case}: {said}");
        assert!(said.contains(message) && said.contains("c.yaml:1:"), "{case}: {said}");
    }
}

#[test]
fn files_given_twice_and_odd_names_are_read_once() {
    let files = [("pölicies ü/ä.yaml", POLICY)];
    let call =
        ["explain", "pölicies ü", "pölicies ü/ä.yaml", "--from", "shop/web", "--path", "/orders/1", "--port", "8080"];
    let (code, printed, said) = run(&files, &call);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(
        printed,
        "allowed: ALLOW policy shop/orders matches with rule 0\n  policy    shop/orders rule 0 (pölicies ü/ä.yaml:6)\n"
    );
}

#[test]
fn a_workload_with_several_manifests_is_one() {
    let files =
        [("p.yaml", POLICY), ("d.yaml", DEPLOYMENT), ("e.yaml", &DEPLOYMENT.replace("Deployment", "StatefulSet"))];
    let (code, _, said) = run(&files, &["render", "--for", "envoy-filter", "."]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "identity-authz: 1 of 1 resource applies to shop/app=orders, 0 left out\n")
    );
    let other = DEPLOYMENT.replace("app: orders", "app: web");
    let (code, _, said) =
        run(&[("p.yaml", POLICY), ("d.yaml", DEPLOYMENT), ("e.yaml", &other)], &["render", "--for", "ecds", "."]);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("sallyport: several workloads are among the files"), "{said}");
}

#[test]
fn an_egress_gateway_needs_no_identity_authz() {
    let rules = "egressAllowlist: {rules: [{name: api, hosts: [api.example]}]}\n";
    let files = [("d.yaml", DEPLOYMENT), ("e.yaml", ENTRY), ("sallyport.yaml", rules)];
    let (code, printed, said) = run(&files, &["render", "--for", "ecds", "."]);
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("sallyport.egress_allowlist") && !printed.contains("identity_authz"), "{printed}");
}

#[test]
fn what_the_call_leaves_out_is_missing_of_the_nearest_rule() {
    let (code, printed, _) = run(&[("p.yaml", POLICY)], &["explain", "p.yaml", "--to", "shop/app=orders"]);
    assert_eq!(code, Some(1));
    assert!(
        printed.contains("missing   principal cluster.local/ns/shop/sa/web; port 8080; a path under /orders/\n"),
        "{printed}"
    );
    let several = POLICY.to_owned() + "---\n" + &POLICY.replace("name: orders", "name: other");
    let (_, _, said) = run(&[("p.yaml", &several)], &["explain", "p.yaml"]);
    assert_eq!(said, "no workload is set, so every policy applies; say --to NAMESPACE/KEY=VALUE\n");
}

#[test]
fn a_host_that_is_not_said_is_no_way_around_a_denial() {
    let denial = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: d, namespace: shop}\nspec: {action: DENY, rules: [{to: [{operation: {hosts: [bad.shop]}}]}]}\n";
    let explain = |flags: &[&str]| {
        run(
            &[("d.yaml", denial)],
            &[&["explain", "d.yaml", "--to", "shop", "--default-action", "ALLOW"], flags].concat(),
        )
    };
    let (code, printed, _) = explain(&[]);
    assert_eq!(
        (code, printed.lines().next()),
        (
            Some(1),
            Some(
                "denied: the proxy did not tell request.host: it is not given (--host): GET / by a client without identity (it presented no certificate)"
            )
        )
    );
    assert_eq!(explain(&["--host", "good.shop"]).0, Some(0));
}

#[test]
fn each_filter_explains_what_is_for_it() {
    let rules = "egressAllowlist: {rules: [{name: api, hosts: [\"*.api.example\"]}], serviceEntryExport: all}\n";
    let egress = [("e.yaml", ENTRY), ("p.yaml", POLICY), ("sallyport.yaml", rules)];
    let baseline = [("sallyport.yaml", "baselineDeny: {presets: [scanners]}\n")];
    for (files, arguments, code, expected) in [
        (
            &egress[..],
            &["--egress", "--curl", "curl https://mail.example/x"][..],
            0,
            "allowed: rule shop/mail lists this host\n  policy    shop/mail rule 0 (./e.yaml:3)\n",
        ),
        (
            &egress,
            &["--egress", "--host", "a.api.example"],
            0,
            "allowed: rule rules/api lists this host\n  policy    rules/api rule 0 (./sallyport.yaml:1)\n",
        ),
        (
            &egress[..1],
            &["--curl", "curl https://evil.example"],
            1,
            "denied: no rule lists this host: CONNECT to evil.example:443 by a client without identity (it presented no certificate)\n",
        ),
        (
            &egress,
            &["--egress", "--layer", "tcp", "--sni", "evil.example", "--port", "443"],
            1,
            "denied: no rule lists this host: TLS to evil.example:443 by a client without identity (its TLS passes through, so no certificate is seen)\n",
        ),
        (
            &baseline,
            &["--header", "user-agent: sqlmap/1"],
            1,
            "denied: preset/scanners rule sqlmap, user-agent matches *sqlmap*: GET / with user-agent sqlmap/1\n  policy    preset/scanners\n",
        ),
        (
            &baseline,
            &["--header", "user-agent: curl/8"],
            0,
            "allowed: baseline-deny lets it through, and there is nothing for identity-authz\n",
        ),
    ] {
        let call: Vec<&str> = ["explain", "."].iter().chain(arguments).copied().collect();
        let (found, printed, said) = run(files, &call);
        assert_eq!((found, printed.as_str()), (Some(code), expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_call_of_curl_without_a_user_agent_has_none() {
    let settings = [("sallyport.yaml", "baselineDeny: {presets: [scanners], userAgent: {missing: deny}}\n")];
    for (line, code) in [
        ("curl https://shop.example/", 0),
        ("curl -H 'User-Agent:' https://shop.example/", 1),
        ("curl -A '' https://shop.example/", 1),
        ("curl https://shop.example/ -A ''", 1),
    ] {
        let (found, printed, said) = run(&settings, &["explain", ".", "--curl", line]);
        assert_eq!(found, Some(code), "{line}: {printed}{said}");
        assert_eq!(printed.contains("there is no user agent"), code == 1, "{line}: {printed}");
    }
}

#[test]
fn a_token_that_is_not_read_is_told() {
    let told = "the token in authorization is not read";
    for (flags, expected) in [
        (&["--curl", "curl -H 'Authorization: Bearer a.b.c' http://x/orders/1"][..], true),
        (&["--header", "authorization: bearer a.b.c"], true),
        (&["--header", "authorization: Bearer a.b.c", "--claim", "sub=anna"], false),
        (&["--header", "authorization: Basic YTpi"], false),
    ] {
        let (_, _, said) = run(&[("p.yaml", POLICY)], &[&["explain", "p.yaml"], flags].concat());
        assert_eq!(said.contains(told), expected, "{flags:?}: {said}");
    }
}
