//! What a request costs does not grow with the rules, whatever they list: counted in instructions of the module, which
//! are the same on every machine. Each request comes by a new connection, so that it is decided anew.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::host::{Connection, Module, Request, Vm};

const RULES_A_POLICY: usize = 500;

/// Rules that differ in one thing.
struct Shape {
    name: &'static str,
    /// A rule by its number.
    rule: fn(usize) -> String,
    /// Makes a request one that asks for the thing of a rule.
    ask: fn(&mut Asked, usize),
}

struct Asked {
    principal: String,
    path: String,
    role: String,
    host: String,
    source: IpAddr,
}

fn from(source: &str) -> String {
    format!(r#"{{"from": [{{"source": {{{source}}}}}]}}"#)
}

fn to(operation: &str) -> String {
    format!(r#"{{"to": [{{"operation": {{{operation}}}}}]}}"#)
}

fn role(values: &str) -> String {
    format!(r#"{{"when": [{{"key": "request.headers[x-role]", {values}}}]}}"#)
}

fn by_principal(asked: &mut Asked, n: usize) {
    asked.principal = format!("cluster.local/ns/n{n:05}/sa/web");
}

fn by_path(asked: &mut Asked, n: usize) {
    asked.path = format!("/a{n:05}z/p{n:05}");
}

fn by_role(asked: &mut Asked, n: usize) {
    asked.role = format!("a-r{n:05}-z");
}

fn by_host(asked: &mut Asked, n: usize) {
    asked.host = format!("h{n:05}.example.com");
}

fn by_address(asked: &mut Asked, n: usize) {
    let [.., high, low] = n.to_be_bytes();
    asked.source = IpAddr::from([10, high, low, 7]);
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "principals",
        rule: |n| from(&format!(r#""principals": ["cluster.local/ns/n{n:05}/sa/web"]"#)),
        ask: by_principal,
    },
    Shape {
        name: "prefixes of principals",
        rule: |n| from(&format!(r#""principals": ["cluster.local/ns/n{n:05}/*"]"#)),
        ask: by_principal,
    },
    Shape { name: "namespaces", rule: |n| from(&format!(r#""namespaces": ["n{n:05}"]"#)), ask: by_principal },
    Shape {
        name: "service accounts",
        rule: |n| from(&format!(r#""serviceAccounts": ["n{n:05}/web"]"#)),
        ask: by_principal,
    },
    Shape {
        name: "paths under one principal",
        rule: |n| {
            let source = r#""from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]"#;
            format!(r#"{{{source}, "to": [{{"operation": {{"paths": ["/a{n:05}z/p{n:05}"]}}}}]}}"#)
        },
        ask: by_path,
    },
    Shape { name: "prefixes of paths", rule: |n| to(&format!(r#""paths": ["/a{n:05}*"]"#)), ask: by_path },
    Shape { name: "ends of paths", rule: |n| to(&format!(r#""paths": ["*/p{n:05}"]"#)), ask: by_path },
    Shape { name: "templates", rule: |n| to(&format!(r#""paths": ["/{{*}}/p{n:05}"]"#)), ask: by_path },
    Shape { name: "hosts", rule: |n| to(&format!(r#""hosts": ["h{n:05}.*"]"#)), ask: by_host },
    Shape {
        name: "networks",
        rule: |n| from(&format!(r#""ipBlocks": ["10.{}.{}.0/24"]"#, n / 256, n % 256)),
        ask: by_address,
    },
    Shape { name: "header values", rule: |n| role(&format!(r#""values": ["a-r{n:05}-z"]"#)), ask: by_role },
    Shape { name: "parts of header values", rule: |n| role(&format!(r#""values": ["*-r{n:05}-*"]"#)), ask: by_role },
    Shape { name: "not paths", rule: |n| to(&format!(r#""notPaths": ["/a{n:05}z/p{n:05}"]"#)), ask: by_path },
    Shape {
        name: "not principals, nor a common one",
        rule: |n| from(&format!(r#""notPrincipals": ["cluster.local/ns/n{n:05}/sa/web", "*/ns/n05000/*"]"#)),
        ask: by_principal,
    },
    Shape {
        name: "not header values, nor a common one",
        rule: |n| role(&format!(r#""notValues": ["a-r{n:05}-z", "a-r05000-z"]"#)),
        ask: by_role,
    },
    Shape {
        name: "not networks, for another method",
        rule: |n| {
            let source = format!(r#""from": [{{"source": {{"notIpBlocks": ["10.{}.{}.0/24"]}}}}]"#, n / 256, n % 256);
            format!(r#"{{{source}, "to": [{{"operation": {{"methods": ["PUT"]}}}}]}}"#)
        },
        ask: by_address,
    },
];

/// Rules whose numbers are so far apart.
fn configuration(shape: &Shape, action: &str, count: usize, apart: usize) -> String {
    let rules: Vec<_> = (0..count).map(|n| (shape.rule)(n * apart)).collect();
    let policies: Vec<_> = rules
        .chunks(RULES_A_POLICY)
        .enumerate()
        .map(|(number, rules)| {
            format!(
                r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                    "metadata": {{"name": "p{number}", "namespace": "shop"}},
                    "spec": {{"action": "{action}", "rules": [{}]}}}}"#,
                rules.join(", ")
            )
        })
        .collect();
    let defaults = r#""defaultAction": "ALLOW", "directRemoteAddress": "connection""#;
    format!(r#"{{{defaults}, "resources": [{}]}}"#, policies.join(", "))
}

fn shape(name: &str) -> Result<&'static Shape> {
    SHAPES.iter().find(|shape| shape.name == name).with_context(|| format!("no shape is called {name}"))
}

const SOME: usize = 100;
const MANY: usize = 5_000;

/// The instructions for a request that asks for the thing of the first rule, one in the middle, and of none.
fn instructions(module: &Module, configuration: &str, ask: fn(&mut Asked, usize)) -> Result<[u64; 3]> {
    let (mut vm, root) = Vm::configured(module, configuration)?;
    let mut costs = [0; 3];
    let mut id = 0;
    for (cost, number) in costs.iter_mut().zip([0, MANY / 2, MANY]) {
        // The first ones fill what is kept for later ones.
        for _ in 0..3 {
            id += 1;
            let mut asked = Asked {
                principal: "cluster.local/ns/shop/sa/web".to_owned(),
                path: "/".to_owned(),
                role: "none".to_owned(),
                host: "orders.shop".to_owned(),
                source: Connection::CLIENT.into(),
            };
            ask(&mut asked, number);
            let mut connection = Connection::mtls(id, &format!("spiffe://{}", asked.principal));
            connection.source.set_ip(asked.source);
            let request = Request::new("GET", &asked.host, &asked.path).with("x-role", asked.role.as_bytes());
            *cost = vm.request(root, connection, request)?.instructions;
        }
    }
    Ok(costs)
}

#[test]
fn a_request_costs_the_same_among_a_hundred_rules_and_five_thousand() -> Result<()> {
    let module = filter::load_metered("identity-authz")?;
    for shape in SHAPES {
        for action in ["ALLOW", "DENY"] {
            // Spread over the same range, numbers are alike in both sizes.
            let of = |count| configuration(shape, action, count, MANY / count);
            let [few, many] = [SOME, MANY].map(|count| instructions(&module, &of(count), shape.ask));
            let (few, many) = (few?, many?);
            println!("{action} {}: {few:?} instructions with {SOME} rules, {many:?} with {MANY}", shape.name);
            for (few, many) in few.into_iter().zip(many) {
                ensure!(
                    many * 4 <= few * 5,
                    "{action} {}: {few} instructions with {SOME} rules, {many} with {MANY}",
                    shape.name
                );
            }
        }
    }
    Ok(())
}

#[test]
fn rules_take_a_bounded_part_of_a_memory_that_never_shrinks() -> Result<()> {
    let module = filter::load("identity-authz")?;
    // Each is a tenth above what it takes, in KiB.
    for (name, most) in [("principals", 6300), ("paths under one principal", 7500), ("not paths", 7300)] {
        let shape = shape(name)?;
        let rules = configuration(shape, "ALLOW", 10_000, 1);
        let (mut vm, _) = Vm::configured(&module, &rules)?;
        let kibibytes = vm.memory() >> 10;
        println!("{kibibytes} KiB with 10,000 rules: {name}");
        ensure!(kibibytes < most, "{kibibytes} KiB with 10,000 rules: {name}");
    }
    Ok(())
}

#[test]
fn updates_leave_no_memory_behind() -> Result<()> {
    const RULES: usize = 500;
    /// WebAssembly's page: what lies in other pieces after each update can take one more.
    const PAGE: usize = 1 << 16;
    let module = filter::load("identity-authz")?;
    for name in ["principals", "paths under one principal", "templates", "parts of header values"] {
        let shape = shape(name)?;
        let (mut vm, mut root) = Vm::configured(&module, &configuration(shape, "ALLOW", RULES, 1))?;
        let mut early = 0;
        for update in 1..=200 {
            root = vm.update(root, configuration(shape, "ALLOW", RULES, 1 + update % 7).as_bytes())??;
            if update == 40 {
                early = vm.memory();
            }
        }
        let more = vm.memory() - early;
        ensure!(more <= PAGE, "{name}: {more} bytes more after 200 updates than after 40");
    }
    Ok(())
}

#[test]
fn loading_takes_as_much_longer_as_there_is_more_to_load() -> Result<()> {
    const FEW: usize = 100;
    const TIMES: usize = 4;
    let module = filter::load_metered("identity-authz")?;
    let several_headers = Shape {
        name: "several values of many headers",
        rule: |n| format!(r#"{{"when": [{{"key": "request.headers[x-{}]", "values": ["{}"]}}]}}"#, n / 5, n % 5),
        ask: by_role,
    };
    for shape in SHAPES.iter().chain([&several_headers]) {
        let [few, many] = [FEW, FEW * TIMES].map(|count| -> Result<u64> {
            let (vm, _) = Vm::configured(&module, &configuration(shape, "DENY", count * 5, 1))?;
            Ok(vm.instructions())
        });
        let (few, many) = (few?, many?);
        println!("{}: {few} instructions, {many} for {TIMES} times as many rules", shape.name);
        ensure!(
            many <= few * 2 * u64::try_from(TIMES)?,
            "{}: {few} instructions, {many} for {TIMES} times as many rules",
            shape.name
        );
    }
    Ok(())
}
