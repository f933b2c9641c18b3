//! The playground in Chromium gives the answers of the command: 500 random requests to random policies, of all three
//! filters, and the file of policy tests that it downloads, which the command plays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use playground_site::{Browser, build};
use serde_json::{Value, json};
use testbed::{WebServer, wait};

const SETS: usize = 25;
const REQUESTS: usize = 20;

/// Asks the library of the page about one set: in a worker that has the module that the page loads at once, and in one that
/// loads the other for requests to outside hosts and for the test files.
const ASK: &str = "const set = arguments[0]; \
                   const ask = async () => { const {Library} = await import('./library.js'); const {toCall} = await import('./state.js'); \
                       window.first ??= new Library(() => {}); window.second ??= new Library(() => {}); \
                       const requests = set.requests.map(toCall); \
                       const input = {files: set.files, settings: set.settings, requests}; \
                       const isOut = requests.some((request) => request.way === 'out'); \
                       const explained = await (isOut ? window.second : window.first).ask('explain', input); \
                       const cases = await window.second.ask('test_files', input); \
                       return {answers: explained.answers, files: cases.files}; }; \
                   return ask();";

#[test]
fn the_page_answers_as_the_command_does() -> Result<()> {
    let seed = std::env::var("PLAYGROUND_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(22);
    let mut random = Rng::with_seed(seed);
    let sets: Vec<Value> = (0..SETS).map(|number| set(&mut random, number)).collect();
    let folder = build()?;
    let server = WebServer::start(folder.parent().context("no folder")?, None)?;
    let browser = Browser::start(None)?;
    browser.open(&format!("http://127.0.0.1:{}/playground/", server.port()))?;
    let folder = tempfile::tempdir()?;
    let mut words = BTreeMap::<String, usize>::new();
    for (index, set) in sets.iter().enumerate() {
        let answered = browser.run(ASK, std::slice::from_ref(set))?;
        let place = folder.path().join(format!("set-{index}"));
        fs::create_dir(&place)?;
        let policies = text(set, "/files/0/text");
        for file in list(set, "files") {
            fs::write(place.join(text(file, "/name")), text(file, "/text"))?;
        }
        for (number, request) in list(set, "requests").iter().enumerate() {
            let path = format!("/answers/{number}");
            let shown = answered.pointer(&path).with_context(|| format!("no answer {path}"))?;
            let printed = explain(&place, request)?;
            for key in ["answer", "policy", "rule", "line", "reason", "readings"] {
                ensure!(shown.get(key) == printed.get(key), "seed {seed}\n{policies}\n{request}\n{shown}\n{printed}");
            }
            let nearest = |answer: &Value, key: &str| answer.pointer(&format!("/nearest/{key}")).cloned();
            for key in ["policy", "rule", "missing"] {
                ensure!(
                    nearest(shown, key) == nearest(&printed, key),
                    "seed {seed}\n{policies}\n{request}\n{shown}\n{printed}"
                );
            }
            let filter = ["identity-authz", "identity-authz", "identity-authz", "egress-allowlist", "baseline-deny"];
            let filter = filter.get(index % 5).copied().unwrap_or_default();
            *words.entry(format!("{filter} {}", text(shown, "/answer"))).or_default() += 1;
        }
        let files = answered.pointer("/files").and_then(Value::as_array).context("no test files")?;
        for file in files {
            fs::write(place.join(text(file, "/name")), text(file, "/text"))?;
            let arguments = ["test", text(file, "/name"), "--default-action", "DENY"];
            let played = command(&place).args(arguments).args(names(&place)?).output()?;
            let told = String::from_utf8_lossy(&played.stdout);
            let place = format!("seed {seed}\n{policies}\n{}", text(file, "/text"));
            ensure!(played.status.success(), "{place}\n{told}{}", String::from_utf8_lossy(&played.stderr));
        }
    }
    println!("{words:?}");
    for filter in ["identity-authz", "baseline-deny", "egress-allowlist"] {
        let has = |answer: &str| words.contains_key(&format!("{filter} {answer}"));
        ensure!(has("allowed") && has("denied"), "not every answer of {filter} is among them: {words:?}");
    }
    ensure!(words.keys().any(|word| word.ends_with("would-be-denied")), "nothing would be denied: {words:?}");
    Ok(())
}

#[test]
fn the_downloaded_requests_pass_as_policy_tests() -> Result<()> {
    let built = build()?;
    let server = WebServer::start(built.parent().context("no folder")?, None)?;
    let browser = Browser::start(None)?;
    let folder = tempfile::tempdir()?;
    browser.download_into(folder.path())?;
    browser.open(&format!("http://127.0.0.1:{}/playground/", server.port()))?;
    browser.wait_for("the answers", "return document.documentElement.dataset.state === 'ready'")?;
    browser.run("document.querySelector('[data-test-file]').click()", &[])?;
    let file = folder.path().join("requests-shop-app-orders.yaml");
    wait::until("the file", Duration::from_secs(30), || Ok(file.exists().then_some(())))?;
    let shop = testbed::root().join("playground/examples/1-shop/shop.yaml");
    let played = command(folder.path()).arg("test").args([&file, &shop]).output()?;
    let told = String::from_utf8_lossy(&played.stdout);
    ensure!(played.status.success() && told.contains("7 passed"), "{told}{}", String::from_utf8_lossy(&played.stderr));
    // With another policy they fail.
    let changed = folder.path().join("changed.yaml");
    fs::write(
        &changed,
        fs::read_to_string(&shop)?.replace("methods: [GET], paths: [/orders", "methods: [PUT], paths: [/orders"),
    )?;
    let played = command(folder.path()).arg("test").args([&file, &changed]).output()?;
    ensure!(played.status.code() == Some(1), "{}", String::from_utf8_lossy(&played.stdout));
    Ok(())
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    command.current_dir(folder);
    command
}

/// Has the command explain a request.
fn explain(folder: &Path, request: &Value) -> Result<Value> {
    let mut command = command(folder);
    command.args(["explain", "--format", "json", "--default-action", "DENY"]).args(names(folder)?);
    if request.get("way") == Some(&json!("out")) {
        command.arg("--egress");
    }
    for (key, flag) in [
        ("from", "--from"),
        ("to", "--to"),
        ("sni", "--sni"),
        ("method", "--method"),
        ("path", "--path"),
        ("host", "--host"),
        ("headers", "--header"),
        ("claims", "--claim"),
        ("sourceIp", "--source-ip"),
        ("port", "--port"),
    ] {
        let value = request.get(key).and_then(Value::as_str).unwrap_or_default();
        let several = matches!(key, "headers" | "claims");
        for value in value.split('\n').filter(|value| !value.is_empty()) {
            command.args([flag, value]);
        }
        ensure!(several || !value.contains('\n'), "{key} has one value");
    }
    let output = command.arg("--at").arg(format!("{}Z", text(request, "/at"))).output()?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("{request}\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

/// Names of the files of a set, beside the test files that the page wrote.
fn names(folder: &Path) -> Result<Vec<&'static str>> {
    let all = ["policies.yaml", "sallyport.yaml"];
    Ok(all.into_iter().filter(|name| folder.join(name).exists()).collect())
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

const METHODS: [&str; 4] = ["GET", "POST", "get", "DELETE"];
const PATHS: [&str; 10] = [
    "/",
    "/orders",
    "/orders/1",
    "/orders//1",
    "/orders/../admin",
    "/admin",
    "/orders%2F1",
    "/orders;a=b/1?x=/admin",
    "/ä",
    "/%61dmin",
];
const PATTERNS: [&str; 7] = ["/orders", "/orders/*", "/admin*", "*/1", "*", "/orders/{*}", "/{**}"];
const HOSTS: [&str; 4] = ["orders.shop", "orders.shop:8443", "ORDERS.shop.", "other"];
const ACCOUNTS: [&str; 4] = ["shop/frontend", "shop/support", "dev/intruder", "monitoring/prometheus"];
const WORKLOADS: [&str; 3] = ["shop/app=orders", "shop/app=web", "dev/app=orders"];

fn one<'t>(random: &mut Rng, of: &[&'t str]) -> &'t str {
    random.choice(of).copied().unwrap_or_default()
}

fn some(random: &mut Rng, of: &[&str]) -> Vec<String> {
    (0..random.usize(1..3)).map(|_| one(random, of).to_owned()).collect()
}

fn distinct(random: &mut Rng, of: &[&str]) -> BTreeSet<String> {
    some(random, of).into_iter().collect()
}

/// Random policies with requests, for one of the filters.
fn set(random: &mut Rng, number: usize) -> Value {
    let policies: Vec<String> = (0..random.usize(1..7)).map(|index| policy(random, index).to_string()).collect();
    let (policies, configuration) = match number % 5 {
        3 => (outside_hosts(random), Some(egress_configuration(random))),
        4 => (policies, Some(baseline_configuration(random))),
        _ => (policies, None),
    };
    let mut files = vec![json!({"name": "policies.yaml", "text": policies.join("\n---\n")})];
    files.extend(configuration.map(|json| json!({"name": "sallyport.yaml", "text": json.to_string()})));
    let requests: Vec<Value> =
        (0..REQUESTS).map(|_| if number % 5 == 3 { outbound_request(random) } else { request(random) }).collect();
    json!({"files": files, "settings": {"defaultAction": "DENY"}, "requests": requests})
}

fn baseline_configuration(random: &mut Rng) -> Value {
    json!({
        "identityAuthz": {"defaultNamespace": "shop"},
        "baselineDeny": {
            "presets": distinct(random, &["scanners", "scan-services"]),
            "userAgent": {"missing": one(random, &["deny", "allow"]), "empty": "deny"},
            "exempt": {"paths": distinct(random, &["/orders", "/metrics"])},
        },
    })
}

const OUTSIDE: [&str; 5] =
    ["api.pay.example", "eu.stock.example", "stock.example", "other.example", "API.pay.example."];

/// Policies of ServiceEntry and Cilium.
fn outside_hosts(random: &mut Rng) -> Vec<String> {
    let count = random.usize(1..4);
    let entries = (0..count).map(|index| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
            "metadata": {"name": format!("e{index}"), "namespace": one(random, &["shop", "dev"])},
            "spec": {
                "hosts": distinct(random, &["api.pay.example", "*.stock.example", "other.example"]),
                "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}],
                "location": "MESH_EXTERNAL", "resolution": "NONE",
            },
        })
    });
    let mut policies: Vec<Value> = entries.collect();
    if random.bool() {
        policies.push(json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "c", "namespace": "shop"},
            "spec": {
                "endpointSelector": {"matchLabels": {"app": one(random, &["orders", "web"])}},
                "egress": [{
                    "toFQDNs": [{"matchPattern": "*.stock.example"}],
                    "toPorts": [{"ports": [{"port": one(random, &["443", "8443"]), "protocol": "TCP"}]}],
                }],
            },
        }));
    }
    policies.iter().map(Value::to_string).collect()
}

fn egress_configuration(random: &mut Rng) -> Value {
    let mode = one(random, &["enforce", "report"]);
    json!({
        "egressAllowlist": {
            "mode": mode,
            "rules": [
                {"name": "one", "action": one(random, &["ALLOW", "DENY"]), "hosts": [one(random, &["api.pay.example", "*.stock.example"])]},
                {"name": "two", "hosts": ["other.example"], "ports": [8443],
                 "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/frontend"]}}]},
            ],
            "workloads": [{"principal": "cluster.local/ns/shop/sa/frontend", "labels": {"app": "orders"}}],
        },
    })
}

/// Request to an outside host: a tunnel, or plain HTTP.
fn outbound_request(random: &mut Rng) -> Value {
    let is_tunnel = random.u8(0..4) > 0;
    let host = one(random, &OUTSIDE);
    let port = one(random, &["443", "8443", "80"]);
    json!({
        "name": format!("request {}", random.u32(..)),
        "way": "out",
        "from": if random.u8(0..5) == 0 { "" } else { one(random, &ACCOUNTS) },
        "method": if is_tunnel { "CONNECT" } else { "GET" },
        "path": "/",
        "host": if is_tunnel { format!("{host}:{port}") } else { host.to_owned() },
        "headers": "", "claims": "",
        "sourceIp": "192.0.2.7",
        "port": one(random, &["3128", "443"]),
        "at": "2026-11-28T10:00",
    })
}

fn policy(random: &mut Rng, index: usize) -> Value {
    let namespace = one(random, &["shop", "shop", "shop", "istio-system", "dev"]);
    let rules: Vec<Value> = (0..random.usize(1..4)).map(|_| rule(random)).collect();
    let mut metadata = json!({"name": format!("p{index}"), "namespace": namespace});
    if let Some(metadata) = metadata.as_object_mut().filter(|_| random.u8(0..5) == 0) {
        metadata.insert("annotations".to_owned(), json!({"istio.io/dry-run": "true"}));
    }
    let mut spec = json!({"action": one(random, &["ALLOW", "ALLOW", "DENY"]), "rules": rules});
    if let Some(spec) = spec.as_object_mut().filter(|_| random.bool()) {
        spec.insert("selector".to_owned(), json!({"matchLabels": {"app": one(random, &["orders", "web"])}}));
    }
    json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec})
}

fn rule(random: &mut Rng) -> Value {
    let mut source = serde_json::Map::new();
    let principals: Vec<String> = some(random, &ACCOUNTS)
        .iter()
        .map(|account| format!("cluster.local/ns/{}", account.replacen('/', "/sa/", 1)))
        .collect();
    match random.u8(0..6) {
        0 => source.insert("notPrincipals".to_owned(), json!(principals)),
        1 => source.insert("namespaces".to_owned(), json!(some(random, &["shop", "dev", "mon*"]))),
        2 => source.insert("ipBlocks".to_owned(), json!(["192.0.2.0/25"])),
        3 => source.insert("requestPrincipals".to_owned(), json!(["https://login.example/*"])),
        _ => source.insert("principals".to_owned(), json!(principals)),
    };
    let mut operation = serde_json::Map::new();
    let key = |random: &mut Rng, key: &str| {
        if random.u8(0..4) == 0 { format!("not{}{}", key[..1].to_uppercase(), &key[1..]) } else { key.to_owned() }
    };
    operation.insert(key(random, "paths"), json!(some(random, &PATTERNS)));
    if random.bool() {
        operation.insert(key(random, "methods"), json!(some(random, &["GET", "POST", "DEL*"])));
    }
    if random.u8(0..4) == 0 {
        operation.insert(key(random, "hosts"), json!(some(random, &["orders.shop", "*.shop", "other"])));
    }
    let mut rule = json!({"from": [{"source": source}], "to": [{"operation": operation}]});
    if let Some(rule) = rule.as_object_mut().filter(|_| random.u8(0..3) == 0) {
        let condition = match random.u8(0..3) {
            0 => json!({"key": "request.headers[x-tenant]", "values": ["blue", "gre*"]}),
            1 => json!({"key": "request.auth.claims[group]", "notValues": ["finance"]}),
            _ => json!({"key": "destination.port", "values": ["443"]}),
        };
        rule.insert("when".to_owned(), json!([condition]));
    }
    rule
}

fn request(random: &mut Rng) -> Value {
    let claims = match random.u8(0..3) {
        0 => "iss=https://login.example\nsub=alice\ngroup=finance",
        1 => "iss=https://login.example\nsub=bob",
        _ => "",
    };
    json!({
        "name": format!("request {}", random.u32(..)),
        "from": if random.u8(0..5) == 0 { "" } else { one(random, &ACCOUNTS) },
        "to": one(random, &WORKLOADS),
        "method": one(random, &METHODS),
        "path": one(random, &PATHS),
        "host": one(random, &HOSTS),
        "headers": one(random, &["", "x-tenant: blue", "x-tenant: green\nx-tenant: red", "user-agent: sqlmap/1.8\nx-tenant: blue", "user-agent: curl/8"]),
        "claims": claims,
        "sourceIp": one(random, &["192.0.2.7", "192.0.2.200"]),
        "port": one(random, &["443", "8443"]),
        "at": "2026-11-28T10:00",
    })
}
