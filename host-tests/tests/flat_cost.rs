//! The cost of a request does not grow with the number of rules, whatever they list. It is counted in instructions of
//! the module, which are the same on every machine. Each request comes on a new connection, so that nothing is cached.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::wasm_host::{Connection, Module, Request, Vm};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

const RULES_PER_POLICY: usize = 500;

/// Rules that differ in one field.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    /// Returns the rule with this number.
    rule: fn(usize) -> Value,
    /// Changes a request so that it matches, or fails, the field of the rule with this number.
    aim: fn(&mut FakeRequest, usize),
}

/// The attributes of a request.
struct FakeRequest {
    principal: String,
    path: String,
    role: String,
    host: String,
    source: IpAddr,
}

fn from(source: Value) -> Value {
    json!({"from": [{"source": source}]})
}

fn to(operation: Value) -> Value {
    json!({"to": [{"operation": operation}]})
}

fn when_role(values: &str, patterns: &[String]) -> Value {
    json!({"when": [{"key": "request.headers[x-role]", values: patterns}]})
}

fn principal(n: usize) -> String {
    format!("cluster.local/ns/n{n:05}/sa/web")
}

fn path(n: usize) -> String {
    format!("/a{n:05}z/p{n:05}")
}

fn role(n: usize) -> String {
    format!("a-r{n:05}-z")
}

fn block(n: usize) -> String {
    format!("10.{}.{}.0/24", n / 256, n % 256)
}

fn by_principal(request: &mut FakeRequest, n: usize) {
    request.principal = principal(n);
}

fn by_path(request: &mut FakeRequest, n: usize) {
    request.path = path(n);
}

fn by_role(request: &mut FakeRequest, n: usize) {
    request.role = role(n);
}

fn by_host(request: &mut FakeRequest, n: usize) {
    request.host = format!("h{n:05}.example.com");
}

fn by_address(request: &mut FakeRequest, n: usize) {
    let [.., high, low] = n.to_be_bytes();
    request.source = IpAddr::from([10, high, low, 7]);
}

const SHAPES: [Shape; 16] = [
    Shape { name: "principals", rule: |n| from(json!({"principals": [principal(n)]})), aim: by_principal },
    Shape {
        name: "principal prefixes",
        rule: |n| from(json!({"principals": [format!("cluster.local/ns/n{n:05}/*")]})),
        aim: by_principal,
    },
    Shape { name: "namespaces", rule: |n| from(json!({"namespaces": [format!("n{n:05}")]})), aim: by_principal },
    Shape {
        name: "service accounts",
        rule: |n| from(json!({"serviceAccounts": [format!("n{n:05}/web")]})),
        aim: by_principal,
    },
    Shape {
        name: "paths under one principal",
        rule: |n| {
            json!({
                "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}],
                "to": [{"operation": {"paths": [path(n)]}}]
            })
        },
        aim: by_path,
    },
    Shape { name: "path prefixes", rule: |n| to(json!({"paths": [format!("/a{n:05}*")]})), aim: by_path },
    Shape { name: "path suffixes", rule: |n| to(json!({"paths": [format!("*/p{n:05}")]})), aim: by_path },
    Shape { name: "path templates", rule: |n| to(json!({"paths": [format!("/{{*}}/p{n:05}")]})), aim: by_path },
    Shape { name: "hosts", rule: |n| to(json!({"hosts": [format!("h{n:05}.*")]})), aim: by_host },
    Shape { name: "IP blocks", rule: |n| from(json!({"ipBlocks": [block(n)]})), aim: by_address },
    Shape { name: "header values", rule: |n| when_role("values", &[role(n)]), aim: by_role },
    Shape { name: "header globs", rule: |n| when_role("values", &[format!("*-r{n:05}-*")]), aim: by_role },
    Shape { name: "notPaths", rule: |n| to(json!({"notPaths": [path(n)]})), aim: by_path },
    Shape {
        name: "notPrincipals with one in common",
        rule: |n| from(json!({"notPrincipals": [principal(n), "*/ns/n05000/*"]})),
        aim: by_principal,
    },
    Shape {
        name: "header notValues with one in common",
        rule: |n| when_role("notValues", &[role(n), role(5_000)]),
        aim: by_role,
    },
    Shape {
        name: "notIpBlocks for another method",
        rule: |n| {
            json!({
                "from": [{"source": {"notIpBlocks": [block(n)]}}],
                "to": [{"operation": {"methods": ["PUT"]}}]
            })
        },
        aim: by_address,
    },
];

/// Returns a configuration with `count` rules, whose numbers are `step` apart.
fn configuration(shape: Shape, action: &str, count: usize, step: usize) -> String {
    let rules: Vec<_> = (0..count).map(|n| (shape.rule)(n * step)).collect();
    let policies: Vec<_> = rules
        .chunks(RULES_PER_POLICY)
        .enumerate()
        .map(|(number, rules)| {
            json!({
                "apiVersion": "security.istio.io/v1",
                "kind": "AuthorizationPolicy",
                "metadata": {"name": format!("p{number}"), "namespace": "shop"},
                "spec": {"action": action, "rules": rules}
            })
        })
        .collect();
    json!({"defaultAction": "ALLOW", "directRemoteAddress": "connection", "resources": policies}).to_string()
}

const FEW: usize = 100;
const MANY: usize = 5_000;

/// Returns the instructions of three requests: aimed at the first rule, at one in the middle, and at none.
fn instructions(module: &Module, configuration: &str, aim: fn(&mut FakeRequest, usize)) -> Result<[u64; 3]> {
    let (mut vm, root) = Vm::configured(module, configuration)?;
    let mut costs = [0; 3];
    let mut id = 0;
    for (cost, number) in costs.iter_mut().zip([0, MANY / 2, MANY]) {
        // The first requests fill lazily built tables.
        for _ in 0..3 {
            id += 1;
            let mut request = FakeRequest {
                principal: "cluster.local/ns/shop/sa/web".to_owned(),
                path: "/".to_owned(),
                role: "none".to_owned(),
                host: "orders.shop".to_owned(),
                source: Connection::CLIENT.into(),
            };
            aim(&mut request, number);
            let mut connection = Connection::mtls(id, &format!("spiffe://{}", request.principal));
            connection.source.set_ip(request.source);
            let request = Request::new("GET", &request.host, &request.path).with("x-role", request.role.as_bytes());
            *cost = vm.request(root, connection, request)?.instructions;
        }
    }
    Ok(costs)
}

fn check_request_cost(shape: Shape, action: &str) -> Result<()> {
    let module = filter::load_metered("identity-authz")?;
    // Both sizes spread their numbers over the same range, so that the values have the same length.
    let cost = |count| instructions(&module, &configuration(shape, action, count, MANY / count), shape.aim);
    let (few, many) = (cost(FEW)?, cost(MANY)?);
    println!("{action} {}: {few:?} instructions with {FEW} rules, {many:?} with {MANY}", shape.name);
    for (few, many) in few.into_iter().zip(many) {
        ensure!(many * 4 <= few * 5, "{few} instructions with {FEW} rules, {many} with {MANY}");
    }
    Ok(())
}

fn check_load_cost(shape: Shape) -> Result<()> {
    const FACTOR: usize = 4;
    let module = filter::load_metered("identity-authz")?;
    let cost = |count: usize| -> Result<u64> {
        let (vm, _) = Vm::configured(&module, &configuration(shape, "DENY", count, 1))?;
        Ok(vm.instructions())
    };
    let (few, many) = (cost(500)?, cost(500 * FACTOR)?);
    println!("{}: {few} instructions to load, {many} for {FACTOR} times the rules", shape.name);
    ensure!(
        many <= few * 2 * u64::try_from(FACTOR)?,
        "{few} instructions to load, {many} for {FACTOR} times the rules"
    );
    Ok(())
}

/// Checks rules that all have conditions on the same headers and with the same values, which nothing tells apart.
fn check_load_cost_of_shared_headers() -> Result<()> {
    const RULES: usize = 24;
    const FACTOR: usize = 4;
    let module = filter::load_metered("identity-authz")?;
    let cost = |conditions: usize| -> Result<u64> {
        let condition = |header| json!({"key": format!("request.headers[x-{header}]"), "values": ["shared"]});
        let rule = |_| json!({"when": (0..conditions).map(condition).collect::<Vec<_>>()});
        let policy = json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"action": "DENY", "rules": (0..RULES).map(rule).collect::<Vec<_>>()}
        });
        let configuration = json!({"defaultAction": "ALLOW", "resources": [policy]});
        Ok(Vm::configured(&module, &configuration.to_string())?.0.instructions())
    };
    let (few, many) = (cost(128)?, cost(128 * FACTOR)?);
    println!("{few} instructions to load, {many} for {FACTOR} times the conditions");
    ensure!(
        many <= few * 2 * u64::try_from(FACTOR)?,
        "{few} instructions to load, {many} for {FACTOR} times the conditions"
    );
    Ok(())
}

fn check_memory(shape: Shape, limit_in_kib: usize) -> Result<()> {
    let rules = configuration(shape, "ALLOW", 10_000, 1);
    let (mut vm, _) = Vm::configured(&filter::load("identity-authz")?, &rules)?;
    let kib = vm.memory() >> 10;
    println!("{}: {kib} KiB with 10,000 rules", shape.name);
    ensure!(kib < limit_in_kib, "{kib} KiB with 10,000 rules, the limit is {limit_in_kib}");
    Ok(())
}

/// Loads a configuration near the limits of clauses and of the fields that they compare, and then another, beside which the first one stays until it is ready.
fn check_memory_of_clauses(action: &str) -> Result<()> {
    const RULES: usize = 15;
    /// Limit of the memory that an update takes, in MiB.
    const MOST: usize = 256;
    let updated = |update: usize| {
        let source = |n: usize| json!({"source": {"principals": [principal(n)], "namespaces": [format!("n{n:05}")]}});
        let operation = |n: usize| json!({"operation": {"paths": [path(n + update)], "methods": ["GET"]}});
        let rule = |rule: usize| {
            let numbers = || rule * 256..(rule + 1) * 256;
            json!({
                "from": numbers().map(source).collect::<Vec<_>>(),
                "to": numbers().map(operation).collect::<Vec<_>>(),
                "when": [{"key": "request.headers[x-role]", "values": [rule.to_string()]}]
            })
        };
        let policy = json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"action": action, "rules": (0..RULES).map(rule).collect::<Vec<_>>()}
        });
        json!({"defaultAction": "DENY", "resources": [policy]}).to_string()
    };
    let started = std::time::Instant::now();
    let (mut vm, root) = Vm::configured(&filter::load("identity-authz")?, &updated(0))?;
    let (loaded, mib) = (started.elapsed(), vm.memory() >> 20);
    let _root = vm.update(root, updated(1).as_bytes())??;
    let updated = vm.memory() >> 20;
    println!(
        "{action} with 983,040 clauses of five fields: {mib} MiB, loaded in {loaded:?}; {updated} MiB after an update"
    );
    ensure!(updated - mib <= MOST, "{mib} MiB, and {updated} after an update");
    Ok(())
}

fn check_memory_of_updates(shape: Shape) -> Result<()> {
    const RULES: usize = 500;
    /// The page size of WebAssembly. Fragmentation after an update can take one page more.
    const PAGE: usize = 1 << 16;
    let updated = |update: usize| configuration(shape, "ALLOW", RULES, 1 + update % 7);
    let (mut vm, mut root) = Vm::configured(&filter::load("identity-authz")?, &updated(0))?;
    let mut early = 0;
    for update in 1..=200 {
        root = vm.update(root, updated(update).as_bytes())??;
        if update == 40 {
            early = vm.memory();
        }
    }
    let growth = vm.memory() - early;
    ensure!(growth <= PAGE, "{growth} bytes more after 200 updates than after 40");
    Ok(())
}

/// Rules with several values of many headers, each header in five rules.
const MANY_HEADERS: Shape = Shape {
    name: "several values of many headers",
    rule: |n| json!({"when": [{"key": format!("request.headers[x-{}]", n / 5), "values": [(n % 5).to_string()]}]}),
    aim: by_role,
};

/// The limits of the memory for 10,000 rules, a tenth above what they take, in KiB.
const MEMORY_LIMITS: [(&str, usize); 3] =
    [("principals", 6300), ("paths under one principal", 7500), ("notPaths", 7300)];

const UPDATED: [&str; 4] = ["principals", "paths under one principal", "path templates", "header globs"];

fn shape(name: &str) -> Result<Shape> {
    SHAPES.into_iter().find(|shape| shape.name == name).with_context(|| format!("no shape is called {name}"))
}

fn trial(name: String, check: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || check().map_err(|error| format!("{error:#}").into()))
}

fn trials() -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for shape in SHAPES {
        for action in ["ALLOW", "DENY"] {
            let name = format!("a request costs the same under 5,000 rules as under 100: {action} {}", shape.name);
            trials.push(trial(name, move || check_request_cost(shape, action)));
        }
    }
    for shape in SHAPES.into_iter().chain([MANY_HEADERS]) {
        let name = format!("loading costs grow with the rules: {}", shape.name);
        trials.push(trial(name, move || check_load_cost(shape)));
    }
    let name = "loading costs grow with the conditions: headers that rules share";
    trials.push(trial(name.to_owned(), check_load_cost_of_shared_headers));
    for (name, limit) in MEMORY_LIMITS {
        let shape = shape(name)?;
        trials.push(trial(format!("memory has a limit: {name}"), move || check_memory(shape, limit)));
    }
    for action in ["ALLOW", "DENY"] {
        let name = format!("memory near the limit of clauses: {action}");
        trials.push(trial(name, move || check_memory_of_clauses(action)));
    }
    for name in UPDATED {
        let shape = shape(name)?;
        trials.push(trial(format!("updates leave no memory behind: {name}"), move || check_memory_of_updates(shape)));
    }
    Ok(trials)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("the tests could not be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}
