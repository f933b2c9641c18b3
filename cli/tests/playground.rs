//! The playground in Chromium gives the answers of the command: 500 random requests to random policies, and the file of
//! policy tests that it writes of them, which the command plays.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use playground_site::{Browser, build};
use serde_json::{Value, json};
use testbed::WebServer;

const SETS: usize = 25;
const REQUESTS: usize = 20;

/// Asks the library of the page, in its worker.
const ASK: &str = "const {Library} = await import('./library.js'); const library = new Library(() => {}); \
                   const {toCall} = await import('./state.js'); const answers = []; \
                   for (const set of sets) { const requests = set.requests.map(toCall); \
                       const explained = await library.ask('explain', {files: set.files, settings: set.settings, requests}); \
                       const cases = await library.ask('test_files', {files: set.files, settings: set.settings, requests}); \
                       answers.push({answers: explained.answers, files: cases.files}); } \
                   return answers;";

#[test]
fn the_page_answers_as_the_command_does() -> Result<()> {
    let seed = std::env::var("PLAYGROUND_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(22);
    let mut random = Rng::with_seed(seed);
    let sets: Vec<Value> = (0..SETS).map(|_| set(&mut random)).collect();
    let folder = build()?;
    let server = WebServer::start(folder.parent().context("no folder")?, None)?;
    let browser = Browser::start(None)?;
    browser.open(&format!("http://127.0.0.1:{}/playground/", server.port()))?;
    let script = format!("const sets = arguments[0]; return (async () => {{ {ASK} }})()");
    let answered = browser.run(&script, &[json!(sets)])?;
    let folder = tempfile::tempdir()?;
    let mut words = std::collections::BTreeMap::<String, usize>::new();
    for (index, set) in sets.iter().enumerate() {
        let place = folder.path().join(format!("set-{index}"));
        fs::create_dir(&place)?;
        let policies = text(set, "/files/0/text");
        fs::write(place.join("policies.yaml"), policies)?;
        for (number, request) in list(set, "requests").iter().enumerate() {
            let path = format!("/{index}/answers/{number}");
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
            *words.entry(text(shown, "/answer").to_owned()).or_default() += 1;
        }
        let files = answered.pointer(&format!("/{index}/files")).and_then(Value::as_array).context("no test files")?;
        for file in files {
            fs::write(place.join(text(file, "/name")), text(file, "/text"))?;
            let arguments = ["test", text(file, "/name"), "policies.yaml", "--default-action", "DENY"];
            let played = command(&place).args(arguments).output()?;
            let told = String::from_utf8_lossy(&played.stdout);
            let place = format!("seed {seed}\n{policies}\n{}", text(file, "/text"));
            ensure!(played.status.success(), "{place}\n{told}{}", String::from_utf8_lossy(&played.stderr));
        }
    }
    println!("{words:?}");
    ensure!(words.len() == 3, "not every answer is among them: {words:?}");
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
    command.args(["explain", "policies.yaml", "--format", "json", "--default-action", "DENY"]);
    for (key, flag) in [
        ("from", "--from"),
        ("to", "--to"),
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

/// Random policies with requests.
fn set(random: &mut Rng) -> Value {
    let policies: Vec<String> = (0..random.usize(1..7)).map(|index| policy(random, index).to_string()).collect();
    let requests: Vec<Value> = (0..REQUESTS).map(|_| request(random)).collect();
    json!({
        "files": [{"name": "policies.yaml", "text": policies.join("\n---\n")}],
        "settings": {"defaultAction": "DENY"},
        "requests": requests,
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
        "headers": one(random, &["", "x-tenant: blue", "x-tenant: green\nx-tenant: red"]),
        "claims": claims,
        "sourceIp": one(random, &["192.0.2.7", "192.0.2.200"]),
        "port": one(random, &["443", "8443"]),
        "at": "2026-11-28T10:00",
    })
}
