//! Random policies and random requests.

use std::time::Duration;

use fastrand::Rng;

use super::read;
use crate::attributes::dynamic_metadata::DynamicMetadata;
use crate::authz::resources::authorization_policy::AuthorizationPolicy;
use crate::test_support::fake_request::FakeRequest;
use crate::test_support::protobuf_writer::metadata;
use crate::test_support::random::pick;

/// A list of one to four of these.
pub(super) fn list(rng: &mut Rng, of: &[&str]) -> String {
    let values: Vec<_> = (0..=rng.usize(..3)).map(|_| format!("{:?}", pick(rng, of))).collect();
    format!("[{}]", values.join(", "))
}

pub(super) const PRINCIPALS: [&str; 9] = [
    "cluster.local/ns/shop/sa/web",
    "cluster.local/ns/shop/*",
    "*/sa/web",
    "*",
    "spiffe://cluster.local/ns/pay/sa/api",
    "cluster.local/*/sa/api",
    "*pay*",
    "other/x",
    "cluster.local/ns/a/sa/b",
];
pub(super) const NAMESPACES: [&str; 5] = ["shop", "pay", "*", "s*", "*a*"];
pub(super) const METHODS: [&str; 6] = ["GET", "POST", "DELETE", "P*", "*", "Purge"];
pub(super) const HOSTS: [&str; 9] =
    ["orders", "Orders.shop", "*.shop", "orders*", "*", "orders:80", "orders:8*", "*:80", "orders.shop."];
pub(super) const PATHS: [&str; 22] = [
    "/",
    "/api/*",
    "/api/orders",
    "*/orders",
    "/api/{*}",
    "/api/{**}",
    "/{*}/orders",
    "/{**}/1",
    "*",
    "/health",
    "/x/*",
    "/api",
    "/api%2Forders",
    "/api%2F*",
    "/api;v=1*",
    "/api;v=1/orders",
    "*%5Corders",
    "/x/{*}/a%2fb",
    "/caf\u{e9}/*",
    "/x%7C",
    "/x;p/{*}",
    "/{*}/..;/orders",
];
pub(super) const PORTS: [&str; 3] = ["8443", "80", "1"];

pub(super) const ROLES: [&str; 8] = ["admin", "user", "ad*", "*er", "*", "*s*e*", "admin,user", " guest\t"];

pub(super) const ADDRESSES: [&str; 10] = [
    "198.51.100.1",
    "198.51.0.0/16",
    "203.0.113.0/24",
    "0.0.0.0/0",
    "2001:db8::/32",
    "::/0",
    "::ffff:198.51.100.1",
    "::ffff:203.0.113.0/120",
    "::ffff:0:0/96",
    "::ffff:203.0.113.0/80",
];
pub(super) const SERVER_NAMES: [&str; 5] = ["shop.example", "*.Example", "*", "shop*", "shop.example."];
pub(super) const TIMES: [&str; 4] =
    ["Thu 00:00-12:00", "Mon-Fri 09:00-17:00", "Sat-Sun 00:00-24:00", "Wed 22:00-06:00"];
pub(super) const TRUST_DOMAINS: [&str; 4] = ["cluster.local", "other", "*", "*.local"];
pub(super) const REQUEST_PRINCIPALS: [&str; 6] =
    ["*", "https://a.example/ann", "https://a.example/*", "*/bob", "*b", "https*"];
pub(super) const GROUPS: [&str; 7] = ["admin", "ad*", "*", "user", "1", "true", "1000"];

pub(super) const SOURCES: [(&str, &str, &[&str]); 6] = [
    ("principals", "notPrincipals", &PRINCIPALS),
    ("namespaces", "notNamespaces", &NAMESPACES),
    ("trustDomains", "notTrustDomains", &TRUST_DOMAINS),
    ("ipBlocks", "notIpBlocks", &ADDRESSES),
    ("remoteIpBlocks", "notRemoteIpBlocks", &ADDRESSES),
    ("requestPrincipals", "notRequestPrincipals", &REQUEST_PRINCIPALS),
];

pub(super) const OPERATIONS: [(&str, &str, &[&str]); 4] = [
    ("methods", "notMethods", &METHODS),
    ("hosts", "notHosts", &HOSTS),
    ("paths", "notPaths", &PATHS),
    ("ports", "notPorts", &PORTS),
];

pub(super) const CONDITIONS: [(&str, &[&str]); 11] = [
    ("request.headers[x-role]", &ROLES),
    ("request.headers[X-Team]", &ROLES),
    ("source.ip", &ADDRESSES),
    ("destination.ip", &["10.0.0.0/8", "10.0.0.2"]),
    ("connection.sni", &SERVER_NAMES),
    ("request.time", &TIMES),
    ("request.auth.claims[group]", &GROUPS),
    ("request.auth.claims[realm][roles]", &GROUPS),
    ("request.auth.claims[scope]", &GROUPS),
    ("request.auth.claims[realm][scope]", &GROUPS),
    ("request.auth.audiences", &GROUPS),
];

/// Some claims, as Envoy's JWT filter keeps them.
pub(super) const TOKENS: [&str; 9] = [
    r#"{}"#,
    r#"{"iss": "https://a.example", "sub": "ann", "group": "admin"}"#,
    r#"{"iss": "https://a.example", "sub": "bob", "group": ["user", "adept"], "aud": ["user"]}"#,
    r#"{"iss": "b", "sub": "ann", "realm": {"roles": ["admin", "admin"]}, "aud": "user"}"#,
    r#"{"iss": "", "sub": "bob", "group": 1}"#,
    r#"{"group": true, "scope": "user  admin", "realm": {"scope": "user admin"}}"#,
    r#"{"group": [1e3, false], "scope": ["user", 1.0], "aud": 1.5}"#,
    r#"{"group": 9007199254740993, "scope": "", "aud": ["user", 1e20]}"#,
    r#"{"realm": {"roles": -1e300, "scope": 1}, "scope": 1}"#,
];

fn random_object(rng: &mut Rng, fields: &[(&str, &str, &[&str])]) -> String {
    let mut keys = Vec::new();
    while keys.is_empty() {
        for (key, not_key, values) in fields {
            for (key, odds) in [(key, 3), (not_key, 6)] {
                if rng.usize(..odds) == 0 {
                    keys.push(format!("{key}: {}", list(rng, values)));
                }
            }
        }
    }
    format!("{{{}}}", keys.join(", "))
}

/// An AuthorizationPolicy with random rules, named after its number.
pub(super) fn random_policy(rng: &mut Rng, number: usize) -> AuthorizationPolicy {
    let action = pick(rng, &["ALLOW", "ALLOW", "DENY"]);
    let rules: Vec<_> = (0..=rng.usize(..3))
        .map(|_| {
            let mut parts = Vec::new();
            for (list, key, fields) in [("from", "source", &SOURCES[..]), ("to", "operation", &OPERATIONS[..])] {
                if rng.usize(..3) > 0 {
                    let items: Vec<_> =
                        (0..=rng.usize(..3)).map(|_| format!("{{{key}: {}}}", random_object(rng, fields))).collect();
                    parts.push(format!("{list}: [{}]", items.join(", ")));
                }
            }
            if rng.usize(..3) == 0 {
                let conditions: Vec<_> = (0..=rng.usize(..2))
                    .map(|_| {
                        let (key, values) = CONDITIONS[rng.usize(..CONDITIONS.len())];
                        let lists = random_object(rng, &[("values", "notValues", values)]);
                        format!("{{key: \"{key}\", {}", &lists[1..])
                    })
                    .collect();
                parts.push(format!("when: [{}]", conditions.join(", ")));
            }
            format!("{{{}}}", parts.join(", "))
        })
        .collect();
    read(&format!("p{number}"), &format!(r#"{{action: "{action}", rules: [{}]}}"#, rules.join(", ")))
}

/// Values of headers, with blanks around them and lists among them.
pub(super) const VALUES: [&str; 10] =
    ["admin", "user", "guest", "", "seer", " admin", "user\t", "user, guest", "admin,,x", " \t"];

pub(super) const HOSTS_ASKED: [&str; 12] = [
    "orders",
    "ORDERS.shop",
    "orders:80",
    "x",
    "",
    "-",
    "orders.shop.",
    "orders.shop:80",
    "orders.shop.:80",
    "orders:",
    "[::1]:80",
    "x.",
];

/// Half of the time a path of one reading, otherwise one of pieces that can be read in several ways.
fn random_path(rng: &mut Rng) -> Option<Vec<u8>> {
    const PLAIN: [&str; 10] =
        ["/", "/api/orders", "/api/orders?x=1", "/api/orders/1", "/api/", "/api", "/x/y", "/health", "", "-"];
    const PIECES: [&str; 24] = [
        "/",
        "//",
        "/.",
        "/..",
        "%2F",
        "%5c",
        "\\",
        ";v=1",
        ";",
        "api",
        "/api",
        "/x",
        "/orders",
        "%6frders",
        "%2e",
        "|",
        "caf\u{e9}",
        "caf%c3%a9",
        "%2561",
        "%",
        "?a",
        "/1",
        ";p",
        "a",
    ];
    let path = match rng.usize(..2) {
        0 => pick(rng, &PLAIN).to_owned(),
        _ => (0..=rng.usize(..7)).map(|_| pick(rng, &PIECES)).collect(),
    };
    (path != "-").then(|| path.into_bytes())
}

/// A request whose attributes are values that the random policies name, close misses, or absent.
pub(super) fn random_request(rng: &mut Rng) -> FakeRequest {
    let uri = pick(
        rng,
        &[
            "",
            "spiffe://cluster.local/ns/shop/sa/web",
            "spiffe://cluster.local/ns/pay/sa/api",
            "spiffe://other/x",
            "spiffe://cluster.local/ns/a/sa/b",
        ],
    );
    let bytes = |text: &str| (text != "-").then(|| text.as_bytes().to_vec());
    let headers = (0..rng.usize(..4))
        .map(|_| (pick(rng, &["x-role", "x-team"]), pick(rng, &VALUES).as_bytes().to_vec()))
        .collect();
    let address = |rng: &mut Rng| {
        let addresses = [
            "198.51.100.1",
            "203.0.113.7",
            "2001:db8::5",
            "::ffff:198.51.100.1",
            "::ffff:203.0.113.7",
            "::198.51.100.1",
            "-",
        ];
        pick(rng, &addresses).parse().ok()
    };
    let metadata = match rng.usize(..3) {
        0 => DynamicMetadata::default(),
        _ => metadata("envoy.filters.http.jwt_authn", "payload", pick(rng, &TOKENS)),
    };
    FakeRequest {
        headers,
        source: address(rng),
        remote: address(rng),
        server_name: bytes(pick(rng, &["shop.example", "SHOP.example", "shop.example.", "x", "", "-"])),
        time: Duration::from_secs(u64::try_from(rng.usize(..168)).expect("hours") * 3600),
        metadata,
        port: [Some(8443), Some(80), None][rng.usize(..3)],
        method: bytes(pick(rng, &["GET", "POST", "DELETE", "PUT", "-", "get", "delete", "Purge", "PURGE"])),
        host: bytes(pick(rng, &HOSTS_ASKED)),
        path: random_path(rng),
        ..FakeRequest::new(uri)
    }
}
