//! The most expensive requests that a client can send, each with the policy that it is the most expensive for.
//!
//! `host-tests/tests/adversarial_cost.rs` counts their instructions, and `bench` measures their CPU time in Envoy.

mod of_several_values;
mod policies;

use serde_json::{Map, Value, json};

use crate::wasm_host::Request;
use policies::{claim, claims, header_rules, headers, headers_of_identities, paths, templates};

/// Patterns of each kind.
const PATTERNS: usize = 1_000;
const TEMPLATES: usize = 200;
const CLAIMS: usize = 500;

/// Bytes of the headers that a proxy accepts, as Envoy does by default.
pub const LARGEST: usize = 60 << 10;

/// Bytes of the longest path with several readings that is compared.
const MAX_COMPARED: usize = 8 << 10;

/// Values of the largest payload that is compared, less those around the claims.
const MAX_VALUES: usize = 8_180;

/// Bytes of an element of a list and of a line, of which a header has nearly as many as are compared.
const ELEMENT: usize = 16;
const LINE: usize = 55;

/// Bytes of the payload of a token in headers of so many bytes: base64 takes four for three.
fn payload(bytes: usize) -> usize {
    bytes / 4 * 3
}

/// A header that a client can repeat. The lines of `user-agent` reach a filter as one.
const REPEATED: &str = "x-role";

/// The claims of a validated token.
pub type Claims = Map<String, Value>;

/// A hostile request: what the policy compares, and what the client sends.
#[derive(Debug)]
pub struct HostileRequest {
    /// The name of the row.
    pub name: &'static str,
    /// The filter that it is sent to.
    pub filter: &'static str,
    /// Makes the configuration of the filter.
    pub configuration: fn() -> Value,
    /// Makes a request of about so many bytes, and the claims of its token.
    pub request: fn(usize) -> (Request, Claims),
    /// Most instructions for a request of [`LARGEST`] bytes, a fifth above what it takes.
    pub limit: u64,
}

/// A request whose user agent repeats a text, and ends with another.
fn user_agent(bytes: usize, repeated: &str, end: &str) -> (Request, Claims) {
    let mut agent: String = repeated.chars().cycle().take(bytes.saturating_sub(end.len())).collect();
    agent.push_str(end);
    (Request::new("GET", "orders.shop", "/").with("user-agent", agent.as_bytes()), Claims::new())
}

/// The texts of all patterns, for what is proportional to a request's bytes.
fn all(bytes: usize, text: &dyn Fn(usize) -> String) -> String {
    (0..PATTERNS * bytes / LARGEST).map(text).collect()
}

/// An element of a list that begins with a text, with its comma.
fn element(text: &str) -> String {
    format!("{text:a<width$},", width = ELEMENT - 1)
}

/// A request with many lines of one header.
fn lines(bytes: usize, line: &dyn Fn(usize) -> String) -> (Request, Claims) {
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
    (request, Claims::new())
}

fn path(bytes: usize, repeated: &str) -> (Request, Claims) {
    let path: String = "/".chars().chain(repeated.chars().cycle()).take(bytes).collect();
    (Request::new("GET", "orders.shop", &path), Claims::new())
}

/// The letters of a class, another for each number.
fn set(number: usize) -> String {
    ('a'..='j').enumerate().filter(|(bit, _)| ((number + 1) >> bit) & 1 == 1).map(|(_, letter)| letter).collect()
}

/// A request with a validated token of these claims.
fn token(claims: Claims) -> (Request, Claims) {
    (Request::new("GET", "orders.shop", "/"), claims)
}

/// Returns all hostile requests.
pub fn hostile_requests() -> impl Iterator<Item = &'static HostileRequest> {
    HOSTILE_REQUESTS.iter().chain(of_several_values::HOSTILE_REQUESTS)
}

const HOSTILE_REQUESTS: &[HostileRequest] = &[
    HostileRequest {
        name: "texts of the built-in list",
        filter: "baseline-deny",
        configuration: || json!({"presets": ["scanners"]}),
        request: |bytes| user_agent(bytes, "sqlmap nikto xnmapx masscan xzgrabx ffufa fuzz faster u ", ""),
        limit: 7_000_000,
    },
    HostileRequest {
        name: "one letter",
        filter: "baseline-deny",
        configuration: || json!({"presets": ["scanners"]}),
        request: |bytes| user_agent(bytes, "a", ""),
        limit: 4_300_000,
    },
    HostileRequest {
        name: "words with a letter beside them",
        filter: "baseline-deny",
        configuration: || json!({"presets": ["scanners"]}),
        request: |bytes| user_agent(bytes, "nmapffuf", ""),
        limit: 12_500_000,
    },
    HostileRequest {
        name: "texts of all patterns at the end",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*bad{number}x*")),
        request: |bytes| user_agent(bytes, "a", &all(bytes, &|number| format!("bad{number}x"))),
        limit: 7_900_000,
    },
    HostileRequest {
        name: "texts of all patterns at the end, by identity-authz",
        filter: "identity-authz",
        configuration: || headers_of_identities(&|number| format!("*bad{number}x*")),
        request: |bytes| user_agent(bytes, "a", &all(bytes, &|number| format!("bad{number}x"))),
        limit: 7_500_000,
    },
    HostileRequest {
        name: "first texts of patterns with two",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*bad{number}x*y{number}z*")),
        request: |bytes| user_agent(bytes, &all(bytes, &|number| format!("bad{number}x")), ""),
        limit: 6_900_000,
    },
    HostileRequest {
        name: "first texts of patterns with two, by identity-authz",
        filter: "identity-authz",
        configuration: || headers_of_identities(&|number| format!("*bad{number}x*y{number}z*")),
        request: |bytes| user_agent(bytes, &all(bytes, &|number| format!("bad{number}x")), ""),
        limit: 6_500_000,
    },
    HostileRequest {
        name: "a second text that all patterns have",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*bad{number}x*linux*z{number}z*")),
        request: |bytes| user_agent(bytes, "linux", &all(bytes, &|number| format!("bad{number}x")).repeat(2)),
        limit: 7_100_000,
    },
    HostileRequest {
        name: "a first text that all patterns have, in every element",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("moz*bad{number}x*z")),
        request: |bytes| user_agent(bytes, &element("moz"), &all(bytes, &|number| element(&format!("bad{number}x")))),
        limit: 13_500_000,
    },
    HostileRequest {
        name: "a last text that all patterns have, in every element",
        filter: "identity-authz",
        configuration: || headers_of_identities(&|number| format!("bad{number}x*linux*z")),
        request: |bytes| {
            let first = all(bytes, &|number| element(&format!("bad{number}x")));
            user_agent(bytes, &first, &element("linux").repeat(bytes / ELEMENT / 2))
        },
        limit: 12_700_000,
    },
    HostileRequest {
        name: "literals that end with each other",
        filter: "baseline-deny",
        configuration: || {
            headers(&|number| format!("*{}*b", "a".repeat(number / 10 + 3) + &format!("{}", number % 10)))
        },
        request: |bytes| user_agent(bytes, "a", ""),
        limit: 4_300_000,
    },
    HostileRequest {
        name: "wildcards in patterns",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*bad?{number}[x-z]*")),
        request: |bytes| user_agent(bytes, &all(bytes, &|number| format!("bad_{number}w")), ""),
        limit: 10_900_000,
    },
    HostileRequest {
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
        request: |bytes| user_agent(bytes, &element("b1"), ""),
        limit: 11_800_000,
    },
    HostileRequest {
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
        request: |bytes| user_agent(bytes, &element("b1"), ""),
        limit: 11_100_000,
    },
    HostileRequest {
        name: "lines by the thousand",
        filter: "baseline-deny",
        configuration: || json!({"resources": header_rules(REPEATED, &|number| format!("*bad{number}x*"))}),
        request: |bytes| lines(bytes, &|number| format!("{:a<LINE$}", format!("bad{number}x"))),
        limit: 17_000_000,
    },
    HostileRequest {
        name: "lines by the thousand, by identity-authz",
        filter: "identity-authz",
        configuration: || {
            let resources = header_rules(REPEATED, &|number| format!("bad{number}x*"));
            json!({"defaultAction": "ALLOW", "resources": resources})
        },
        request: |bytes| lines(bytes, &|number| format!("{:a<LINE$},", format!("bad{number}x"))),
        limit: 13_100_000,
    },
    HostileRequest {
        name: "templates that go the same way",
        filter: "identity-authz",
        configuration: || templates(&|number| format!("{}/{{*}}/x{number}", "/a".repeat(number % 90))),
        request: |bytes| path(bytes, "a/"),
        limit: 1_400_000,
    },
    HostileRequest {
        name: "a long segment",
        filter: "identity-authz",
        configuration: || templates(&|number| format!("{}/{{*}}/x{number}/{{**}}/y", "/{*}".repeat(number % 3))),
        request: |bytes| path(bytes, "a"),
        limit: 4_800_000,
    },
    HostileRequest {
        name: "prefixes that begin with each other",
        filter: "identity-authz",
        configuration: || paths(&|number| format!("/{}*", "a".repeat(number + 1))),
        request: |bytes| path(bytes, "a"),
        limit: 3_400_000,
    },
    HostileRequest {
        name: "a path in every reading",
        filter: "identity-authz",
        configuration: || paths(&|number| format!("/admin{number}/*")),
        request: |bytes| path(bytes.min(MAX_COMPARED), "a%2F..;x//b;y%5C.%2F"),
        limit: 8_800_000,
    },
    HostileRequest {
        name: "a path of slashes and dots in every reading",
        filter: "identity-authz",
        configuration: || paths(&|number| format!("/{}*", "a/".repeat(number % 500 + 1) + &number.to_string())),
        request: |bytes| path(bytes.min(MAX_COMPARED), "a/%2F.;/"),
        limit: 8_800_000,
    },
    HostileRequest {
        name: "a path in every reading against templates",
        filter: "identity-authz",
        configuration: || templates(&|number| format!("{}/{{*}}/x{number}", "/a".repeat(number % 90))),
        request: |bytes| path(bytes.min(MAX_COMPARED), "a/a%2Fa;x/"),
        limit: 6_700_000,
    },
    HostileRequest {
        name: "a path in every reading, by baseline-deny's exemptions",
        filter: "baseline-deny",
        configuration: || {
            let paths: Vec<_> = (0..PATTERNS).map(|number| format!("/health{number}/*")).collect();
            json!({"presets": ["scanners"], "exempt": {"paths": paths}})
        },
        request: |bytes| {
            let (request, claims) = path(bytes.min(MAX_COMPARED), "a%2F..;x//b;y%5C.%2F");
            (request.with("user-agent", b"sqlmap"), claims)
        },
        limit: 9_000_000,
    },
    HostileRequest {
        name: "commas",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("bad{number}*")),
        request: |bytes| user_agent(bytes, ",", ""),
        limit: 2_100_000,
    },
    HostileRequest {
        name: "elements that end alike",
        filter: "identity-authz",
        configuration: || headers_of_identities(&|number| format!("*{number}")),
        request: |bytes| user_agent(bytes, "aaaaaaaaaaaaaa7,", ""),
        limit: 7_500_000,
    },
    HostileRequest {
        name: "more elements than are compared",
        filter: "identity-authz",
        configuration: || headers_of_identities(&|number| format!("*{number}")),
        request: |bytes| user_agent(bytes, "7,", ""),
        limit: 11_000_000,
    },
    HostileRequest {
        name: "more lines than are compared",
        filter: "baseline-deny",
        configuration: || json!({"resources": header_rules(REPEATED, &|number| format!("*bad{number}x*"))}),
        request: |bytes| lines(bytes, &|number| format!("bad{number}x")),
        limit: 2_100_000,
    },
    HostileRequest {
        name: "nested literals",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*{}*x{number}x*", "a".repeat(number % 250 + 3))),
        request: |bytes| user_agent(bytes, "a", ""),
        limit: 12_500_000,
    },
    HostileRequest {
        name: "nested literals in elements",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("{}*x{number}x", "a".repeat(number % 250 + 3))),
        request: |bytes| user_agent(bytes, &format!("{},", "a".repeat(250)), ""),
        limit: 17_500_000,
    },
    HostileRequest {
        name: "one literal with many surroundings",
        filter: "baseline-deny",
        configuration: || headers(&|number| format!("*[{}]?[{}]foo*", set(number), set(number / 30))),
        request: |bytes| user_agent(bytes, "zzzfoo", ""),
        limit: 7_300_000,
    },
    HostileRequest {
        name: "claims against a payload",
        filter: "identity-authz",
        configuration: claims,
        request: |bytes| token((0..payload(bytes) / 9).map(|number| (format!("c{number}"), json!(1))).collect()),
        limit: 7_900_000,
    },
    HostileRequest {
        name: "claims against a payload of texts",
        filter: "identity-authz",
        configuration: claims,
        request: |bytes| token((0..payload(bytes) / 17).map(|number| (format!("c{number}"), json!("value"))).collect()),
        limit: 6_500_000,
    },
    HostileRequest {
        name: "a claim with many elements",
        filter: "identity-authz",
        configuration: claims,
        request: |bytes| {
            let elements = vec!["ba"; (payload(bytes) / 5).min(MAX_VALUES)];
            token([("c1".to_owned(), json!(elements))].into_iter().collect())
        },
        limit: 9_900_000,
    },
    HostileRequest {
        name: "a claim with more elements than are compared",
        filter: "identity-authz",
        configuration: claims,
        request: |bytes| token([("c1".to_owned(), json!(vec![1; payload(bytes) / 2]))].into_iter().collect()),
        limit: 1_700_000,
    },
    HostileRequest {
        name: "a claim of many words",
        filter: "identity-authz",
        configuration: || claim("scope"),
        request: |bytes| {
            let words = "ba ".repeat((payload(bytes) / 3).min(MAX_VALUES));
            token([("scope".to_owned(), json!(words))].into_iter().collect())
        },
        limit: 5_900_000,
    },
];
