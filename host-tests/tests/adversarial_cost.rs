//! The cost of the most expensive requests that a client can send, in instructions of the module: for each filter they
//! grow no faster than the bytes of the request, and stay below what a worker has for one request.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::wasm_host::{Connection, Request, Vm, metadata};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Map, Value, json};

/// Patterns of each kind.
const PATTERNS: usize = 1_000;
const TEMPLATES: usize = 200;
const CLAIMS: usize = 500;

/// Bytes of the headers that a proxy accepts, as Envoy does by default.
const LARGEST: usize = 60 << 10;

/// A header that a client can repeat. The lines of `user-agent` reach a filter as one.
const REPEATED: &str = "x-role";

/// A hostile request: what the policy compares, and what the client sends.
struct Row {
    name: &'static str,
    filter: &'static str,
    configuration: fn() -> Value,
    /// Makes a request of about so many bytes.
    request: fn(usize) -> (Connection, Request),
    /// Most instructions for a request of [`LARGEST`] bytes, a fifth above what it takes.
    limit: u64,
}

fn deny(rules: Value) -> Value {
    json!([{
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"action": "DENY", "rules": rules}
    }])
}

/// Denies what matches one of [`PATTERNS`] patterns for a header, each in a rule of its own.
fn header_rules(header: &str, pattern: &dyn Fn(usize) -> String) -> Value {
    let rules: Vec<_> = (0..PATTERNS / 2)
        .map(|rule| {
            let values = [pattern(2 * rule), pattern(2 * rule + 1)];
            json!({"when": [{"key": format!("request.headers[{header}]"), "values": values}]})
        })
        .collect();
    deny(json!(rules))
}

fn headers(pattern: &dyn Fn(usize) -> String) -> Value {
    json!({"resources": header_rules("user-agent", pattern)})
}

fn headers_of_identities(pattern: &dyn Fn(usize) -> String) -> Value {
    json!({"defaultAction": "ALLOW", "resources": header_rules("user-agent", pattern)})
}

/// A request whose user agent repeats a text, and ends with another.
fn user_agent(bytes: usize, repeated: &str, end: &str) -> (Connection, Request) {
    let mut agent: String = repeated.chars().cycle().take(bytes.saturating_sub(end.len())).collect();
    agent.push_str(end);
    (Connection::plaintext(1), Request::new("GET", "orders.shop", "/").with("user-agent", agent.as_bytes()))
}

/// The texts of all patterns, for what is proportional to a request's bytes.
fn all(bytes: usize, text: &dyn Fn(usize) -> String) -> String {
    (0..PATTERNS * bytes / LARGEST).map(text).collect()
}

/// A request with many lines of one header.
fn lines(bytes: usize, line: &dyn Fn(usize) -> String) -> (Connection, Request) {
    let mut request = Request::new("GET", "orders.shop", "/");
    let mut length = 0;
    for number in 0.. {
        let line = line(number);
        length += line.len() + REPEATED.len();
        if length > bytes {
            break;
        }
        request = request.with(REPEATED, line.as_bytes());
    }
    (Connection::plaintext(1), request)
}

fn path(bytes: usize, repeated: &str) -> (Connection, Request) {
    let path: String = "/".chars().chain(repeated.chars().cycle()).take(bytes).collect();
    (Connection::plaintext(1), Request::new("GET", "orders.shop", &path))
}

fn paths(path: &dyn Fn(usize) -> String) -> Value {
    let paths: Vec<_> = (0..PATTERNS).map(path).collect();
    json!({"defaultAction": "ALLOW", "resources": deny(json!([{"to": [{"operation": {"paths": paths}}]}]))})
}

fn templates(template: &dyn Fn(usize) -> String) -> Value {
    let paths: Vec<_> = (0..TEMPLATES).map(template).collect();
    json!({"defaultAction": "ALLOW", "resources": deny(json!([{"to": [{"operation": {"paths": paths}}]}]))})
}

fn claims() -> Value {
    let condition = |number| json!({"key": format!("request.auth.claims[c{number}]"), "values": ["*bad*", "x"]});
    let rules: Vec<_> = (0..CLAIMS).map(|number| json!({"when": [condition(number)]})).collect();
    json!({"defaultAction": "ALLOW", "resources": deny(json!(rules))})
}

/// A request with a validated token of these claims.
fn token(claims: Map<String, Value>) -> (Connection, Request) {
    let jwt = json!({"envoy.filters.http.jwt_authn": {"payload": claims}});
    let metadata = metadata::encode(jwt.as_object().unwrap_or(&Map::new()));
    (Connection { metadata, ..Connection::plaintext(1) }, Request::new("GET", "orders.shop", "/"))
}

const ROWS: &[Row] = &[
    Row {
        name: "texts of the built-in list",
        filter: "baseline-deny",
        configuration: || json!({"presets": ["scanners"]}),
        request: |bytes| user_agent(bytes, "sqlmap nikto xnmapx masscan xzgrabx ffufa fuzz faster u ", ""),
        limit: 6_800_000,
    },
    Row {
        name: "one letter",
        filter: "baseline-deny",
        configuration: || json!({"presets": ["scanners"]}),
        request: |bytes| user_agent(bytes, "a", ""),
        limit: 4_400_000,
    },
    Row {
        name: "words with a letter beside them",
        filter: "baseline-deny",
        configuration: || json!({"presets": ["scanners"]}),
        request: |bytes| user_agent(bytes, "nmapffuf", ""),
        limit: 12_200_000,
    },
    Row {
        name: "texts of all patterns at the end",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*bad{number}x*")),
        request: |bytes| user_agent(bytes, "a", &all(bytes, &|number| format!("bad{number}x"))),
        limit: 8_000_000,
    },
    Row {
        name: "texts of all patterns at the end, by identity-authz",
        filter: "identity-authz",
        configuration: || headers_of_identities(&|number| format!("*bad{number}x*")),
        request: |bytes| user_agent(bytes, "a", &all(bytes, &|number| format!("bad{number}x"))),
        limit: 7_200_000,
    },
    Row {
        name: "first texts of patterns with two",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*bad{number}x*y{number}z*")),
        request: |bytes| user_agent(bytes, &all(bytes, &|number| format!("bad{number}x")), ""),
        limit: 8_400_000,
    },
    Row {
        name: "first texts of patterns with two, by identity-authz",
        filter: "identity-authz",
        configuration: || headers_of_identities(&|number| format!("*bad{number}x*y{number}z*")),
        request: |bytes| user_agent(bytes, &all(bytes, &|number| format!("bad{number}x")), ""),
        limit: 7_600_000,
    },
    Row {
        name: "a second text that all patterns have",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*bad{number}x*linux*z{number}z*")),
        request: |bytes| user_agent(bytes, "linux", &all(bytes, &|number| format!("bad{number}x")).repeat(2)),
        limit: 8_800_000,
    },
    Row {
        name: "a first text that all patterns have, in every element",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("moz*bad{number}x*z")),
        request: |bytes| user_agent(bytes, "moz,", &all(bytes, &|number| format!("bad{number}x,"))),
        limit: 27_400_000,
    },
    Row {
        name: "a last text that all patterns have, in every element",
        filter: "identity-authz",
        configuration: || headers_of_identities(&|number| format!("bad{number}x*linux*z")),
        request: |bytes| {
            user_agent(bytes, &all(bytes, &|number| format!("bad{number}x,")), &"linux,".repeat(bytes / 12))
        },
        limit: 17_900_000,
    },
    Row {
        name: "literals that end with each other",
        filter: "baseline-deny",
        configuration: || {
            headers(&|number| format!("*{}*b", "a".repeat(number / 10 + 3) + &format!("{}", number % 10)))
        },
        request: |bytes| user_agent(bytes, "a", ""),
        limit: 4_400_000,
    },
    Row {
        name: "wildcards in patterns",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*bad?{number}[x-z]*")),
        request: |bytes| user_agent(bytes, &all(bytes, &|number| format!("bad_{number}w")), ""),
        limit: 23_800_000,
    },
    Row {
        name: "short elements",
        filter: "baseline-deny",
        configuration: || {
            headers(&|number| match number % 4 {
                0 => format!("a{number}"),
                1 => format!("b{number}*"),
                2 => format!("*c{number}"),
                _ => format!("*d{number}*"),
            })
        },
        request: |bytes| user_agent(bytes, "b1,", ""),
        limit: 22_000_000,
    },
    Row {
        name: "short elements, by identity-authz",
        filter: "identity-authz",
        configuration: || {
            headers_of_identities(&|number| match number % 4 {
                0 => format!("a{number}"),
                1 => format!("b{number}*"),
                2 => format!("*c{number}"),
                _ => format!("*d{number}*"),
            })
        },
        request: |bytes| user_agent(bytes, "b1,", ""),
        limit: 20_300_000,
    },
    Row {
        name: "lines by the thousand",
        filter: "baseline-deny",
        configuration: || json!({"resources": header_rules(REPEATED, &|number| format!("*bad{number}x*"))}),
        request: |bytes| lines(bytes, &|number| format!("bad{number}x")),
        limit: 23_000_000,
    },
    Row {
        name: "lines by the thousand, by identity-authz",
        filter: "identity-authz",
        configuration: || {
            let resources = header_rules(REPEATED, &|number| format!("bad{number}x*"));
            json!({"defaultAction": "ALLOW", "resources": resources})
        },
        request: |bytes| lines(bytes, &|number| format!("bad{number}x,")),
        limit: 28_700_000,
    },
    Row {
        name: "templates that go the same way",
        filter: "identity-authz",
        configuration: || templates(&|number| format!("{}/{{*}}/x{number}", "/a".repeat(number % 90))),
        request: |bytes| path(bytes, "a/"),
        limit: 1_400_000,
    },
    Row {
        name: "a long segment",
        filter: "identity-authz",
        configuration: || templates(&|number| format!("{}/{{*}}/x{number}/{{**}}/y", "/{*}".repeat(number % 3))),
        request: |bytes| path(bytes, "a"),
        limit: 4_800_000,
    },
    Row {
        name: "prefixes that begin with each other",
        filter: "identity-authz",
        configuration: || paths(&|number| format!("/{}*", "a".repeat(number + 1))),
        request: |bytes| path(bytes, "a"),
        limit: 3_500_000,
    },
    Row {
        name: "claims against a payload",
        filter: "identity-authz",
        configuration: claims,
        request: |bytes| token((0..bytes / 17).map(|number| (format!("c{number}"), json!("value"))).collect()),
        limit: 18_500_000,
    },
    Row {
        name: "a claim with many elements",
        filter: "identity-authz",
        configuration: claims,
        request: |bytes| token([("c1".to_owned(), json!(vec!["ba"; bytes / 5]))].into_iter().collect()),
        limit: 38_200_000,
    },
];

/// Returns the instructions of a request of so many bytes.
fn instructions(row: &Row, bytes: usize) -> Result<u64> {
    let module = filter::load_metered(row.filter)?;
    let (mut vm, root) = Vm::configured(&module, &(row.configuration)().to_string())?;
    let (connection, request) = (row.request)(bytes);
    let mut cost = 0;
    // The first requests fill what is kept for later ones.
    for _ in 0..3 {
        cost = vm.request(root, connection.clone(), request.clone())?.instructions;
    }
    Ok(cost)
}

fn check(row: &Row) -> Result<()> {
    let (half, whole) = (instructions(row, LARGEST / 2)?, instructions(row, LARGEST)?);
    println!("{}: {half} instructions for half of the bytes, {whole} for all", row.name);
    ensure!(whole <= half * 5 / 2, "{half} instructions for half of the bytes, {whole} for all");
    ensure!(whole <= row.limit, "{whole} instructions, the limit is {}", row.limit);
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = ROWS.iter().map(|row| {
        let run = move || check(row).context(row.filter).map_err(|error| format!("{error:#}").into());
        Trial::test(format!("{}: {}", row.filter, row.name), run)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
