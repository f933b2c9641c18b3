//! The plain linear reading, and random configurations that the compiled rules are held against.

use std::collections::HashMap;
use std::net::IpAddr;

use fastrand::Rng;

use super::*;
use crate::authz::decision::Decision;
use crate::egress::decision::EgressDenial;
use crate::egress::linear::LinearEgressAllowlist;
use crate::egress::outbound::OutboundRequest;
use crate::egress::request::EgressProtocol;
use crate::linear_reading::answer::LinearOutcome;
use crate::test_support::random::pick;
use crate::test_support::yaml::json;

/// Reads a configuration without compiling it.
fn uncompiled(json: &str) -> LinearEgressAllowlist {
    LinearEgressAllowlist::parse(json.as_bytes()).unwrap_or_else(|| panic!("{json}"))
}

/// The numbered steps of [`EgressPolicy::decide`], by walking every rule.
fn linear(configuration: &LinearEgressAllowlist, request: &mut FakeRequest) -> String {
    match configuration.decide(request).outcome {
        LinearOutcome::Deny(Some(rule)) => format!("denied by {rule}"),
        LinearOutcome::Deny(None) => "denied".to_owned(),
        LinearOutcome::WouldDeny(Some(rule)) => format!("allowed, not by {rule}"),
        LinearOutcome::Allow => "allowed".to_owned(),
        other => format!("{other:?}"),
    }
}

fn compiled(configuration: &EgressAllowlist, request: &mut FakeRequest) -> String {
    match decide(configuration, request) {
        Decision::Allow => "allowed".to_owned(),
        Decision::WouldDeny(EgressDenial::Matched(rule)) => format!("allowed, not by {rule}"),
        Decision::Deny(EgressDenial::Matched(rule)) => format!("denied by {rule}"),
        Decision::Deny(_) => "denied".to_owned(),
        other => format!("{other:?}"),
    }
}

/// One to four of these as a YAML list.
fn list(rng: &mut Rng, of: &[&str]) -> String {
    format!("{:?}", (0..=rng.usize(..3)).map(|_| pick(rng, of)).collect::<Vec<_>>())
}

const HOSTS: [&str; 12] = [
    "x.com",
    "a.x.com",
    "*.x.com",
    "*.a.x.com",
    "a.*.x.com",
    "*.b.*.x.com",
    "Y.com",
    "_a.x.com",
    "localhost",
    "192.0.2.1",
    "::1",
    "*.y.com",
];
const PORTS: [u16; 4] = [80, 443, 8080, 22];
const PRINCIPALS: [&str; 5] =
    ["cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/*", "*", "*/sa/api", "cluster.local/ns/pay/sa/api"];
const NAMESPACES: [&str; 3] = ["shop", "pay", "s*"];
const ACCOUNTS: [&str; 3] = ["shop/web", "pay/api", "pay/web"];
const BLOCKS: [&str; 5] = ["10.0.0.0/8", "10.1.0.0/16", "198.51.100.1", "::/0", "::ffff:10.9.0.0/112"];

fn random_source(rng: &mut Rng) -> String {
    let fields: [(&str, &str, &[&str]); 4] = [
        ("principals", "notPrincipals", &PRINCIPALS),
        ("namespaces", "notNamespaces", &NAMESPACES),
        ("serviceAccounts", "notServiceAccounts", &ACCOUNTS),
        ("ipBlocks", "notIpBlocks", &BLOCKS),
    ];
    let mut keys = Vec::new();
    while keys.is_empty() {
        for (key, not_key, values) in fields {
            for (key, odds) in [(key, 4), (not_key, 8)] {
                if rng.usize(..odds) == 0 {
                    keys.push(format!("{key}: {}", list(rng, values)));
                }
            }
        }
    }
    format!("{{source: {{{}}}}}", keys.join(", "))
}

const PATTERNS: [&str; 8] = ["*.x.com", "**.x.com", "a*.x.com", "*x.com", "*", "**.*a.x.com", "x.com", "*.*.com"];
const PORT_RULES: [&str; 5] = [
    r#"{"port": "443"}"#,
    r#"{"port": "80", "endPort": 8080}"#,
    r#"{"port": "0"}"#,
    r#"{"port": "443", "protocol": "UDP"}, {"port": "22"}"#,
    r#"{"port": "8000", "endPort": 9000, "protocol": "TCP"}"#,
];
const SELECTORS: [&str; 4] = [
    "{}",
    r#"{"matchLabels": {"io.kubernetes.pod.namespace": "shop"}}"#,
    r#"{"matchExpressions": [{"key": "io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["shop"]}]}"#,
    r#"{"matchLabels": {"app": "web"}}"#,
];

/// A cluster-wide Cilium policy with `toFQDNs`, `serverNames` or both.
fn random_cilium_policy(rng: &mut Rng, number: usize) -> String {
    let mut keys = Vec::new();
    let names = rng.usize(..3);
    if names != 0 {
        let patterns: Vec<_> =
            (0..=rng.usize(..2)).map(|_| format!("{{matchPattern: {:?}}}", pick(rng, &PATTERNS))).collect();
        keys.push(format!("toFQDNs: [{}]", patterns.join(", ")));
    }
    let server_names = match names {
        1 => String::new(),
        _ => format!(", serverNames: {}", list(rng, &PATTERNS)),
    };
    keys.push(format!("toPorts: [{{ports: [{}]{server_names}}}]", pick(rng, &PORT_RULES)));
    let selector = pick(rng, &SELECTORS);
    format!(
        "{{apiVersion: cilium.io/v2, kind: CiliumClusterwideNetworkPolicy, metadata: {{name: c{number}}},
           spec: {{endpointSelector: {selector}, egress: [{{{}}}]}}}}",
        keys.join(", ")
    )
}

fn random_configuration(rng: &mut Rng) -> String {
    let rule = |rng: &mut Rng, number| {
        let mut keys = vec![format!("name: r{number}, hosts: {}", list(rng, &HOSTS))];
        if rng.usize(..3) == 0 {
            keys.push("action: DENY".to_owned());
        }
        if rng.usize(..3) == 0 {
            keys.push("mode: report".to_owned());
        }
        if rng.usize(..3) == 0 {
            keys.push(format!(
                "ports: {:?}",
                (0..=rng.usize(..3)).map(|_| PORTS[rng.usize(..PORTS.len())]).collect::<Vec<_>>()
            ));
        }
        if rng.usize(..2) == 0 {
            let sources: Vec<_> = (0..=rng.usize(..2)).map(|_| random_source(rng)).collect();
            keys.push(format!("from: [{}]", sources.join(", ")));
        }
        format!("{{{}}}", keys.join(", "))
    };
    let entry = |rng: &mut Rng, number| {
        let namespace = pick(rng, &["shop", "pay"]);
        let port = PORTS[rng.usize(..PORTS.len())];
        let protocol = pick(rng, &["HTTP", "HTTPS", "TCP"]);
        let export = pick(rng, &["['*']", "[.]", "[pay, .]"]);
        let hosts = list(rng, &HOSTS);
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: e{number}, namespace: {namespace}}},
               spec: {{hosts: {hosts}, ports: [{{number: {port}, name: p, protocol: {protocol}}}], exportTo: {export}}}}}"
        )
    };
    let rules: Vec<_> = (0..rng.usize(..9)).map(|number| rule(rng, number)).collect();
    let mut resources: Vec<_> = (0..rng.usize(..4)).map(|number| entry(rng, number)).collect();
    resources.extend((0..rng.usize(..3)).map(|number| random_cilium_policy(rng, number)));
    let workloads = "[{principal: cluster.local/ns/shop/sa/web, labels: {app: web}}]";
    json(&format!(
        "{{ipAddresses: allow, workloads: {workloads}, rules: [{}], resources: [{}]}}",
        rules.join(", "),
        resources.join(", ")
    ))
}

fn random_request(rng: &mut Rng) -> FakeRequest {
    let access = [EgressProtocol::Http, EgressProtocol::Connect, EgressProtocol::Tls][rng.usize(..3)];
    let host = pick(
        rng,
        &[
            "x.com",
            "X.com.",
            "a.x.com",
            "b.a.x.com",
            "a.b.x.com",
            "c.b.a.x.com",
            "y.com",
            "w.y.com",
            "_a.x.com",
            "localhost",
            "192.0.2.1",
            "[::1]",
            "[::ffff:192.0.2.1]",
            "evilx.com",
            "x.com.evil.test",
            "",
        ],
    );
    let host = match (access, rng.usize(..4)) {
        (EgressProtocol::Tls, _) | (_, 0) => host.to_owned(),
        _ => format!("{host}:{}", pick(rng, &["80", "443", "8080", "22", "0443"])),
    };
    let mut request = FakeRequest::egress(access, &host);
    match rng.usize(..4) {
        0 => {}
        1 => request = request.by_principal("cluster.local/ns/shop/sa/web"),
        2 => request = request.by_principal("cluster.local/ns/pay/sa/api"),
        _ => request = request.by_principal("other.example/ns/pay/sa/web"),
    }
    let sources = ["10.1.2.3", "10.9.9.9", "198.51.100.1", "::ffff:10.1.2.3", "2001:db8::5"];
    request.source = pick(rng, &sources).parse().ok();
    request.port = [Some(443), Some(80), Some(8080)][rng.usize(..3)];
    if access != EgressProtocol::Tls && rng.usize(..5) == 0 {
        request.server_name = Some(pick(rng, &["x.com", "A.X.com", "y.com", "x y"]).as_bytes().to_vec());
    }
    request
}

#[test]
fn the_compiled_rules_agree_with_walking_every_rule() {
    let mut rng = Rng::with_seed(0x5a11_7907);
    let mut met = HashMap::<&str, usize>::new();
    for _ in 0..800 {
        let json = random_configuration(&mut rng);
        let rules = uncompiled(&json);
        let configuration = load(&json);
        for _ in 0..50 {
            let mut request = random_request(&mut rng);
            let expected = linear(&rules, &mut request);
            assert_eq!(compiled(&configuration, &mut request), expected, "{request:?} under {json}");
            let kind = ["denied by", "denied", "allowed, not by", "allowed"]
                .into_iter()
                .find(|kind| expected.starts_with(kind));
            *met.entry(kind.unwrap_or_default()).or_default() += 1;
        }
    }
    for kind in ["denied by", "denied", "allowed, not by", "allowed"] {
        assert!(met.get(kind).is_some_and(|count| *count > 100), "{met:?}");
    }
}

/// Most rules that are checked one by one: those of one host, one port and one source.
const LINEAR_SCAN_MAX: usize = 8;

/// Difference of one rule from the others, by its number.
type Difference = fn(usize) -> String;

const SHAPES: [(&str, Difference); 9] = [
    ("a host each", |n| format!("hosts: [h{n}.example.com]")),
    ("a wildcard each", |n| format!("hosts: ['*.h{n}.example.com']")),
    ("an open label each", |n| format!("hosts: [a.*.h{n}.example.com]")),
    ("a port each for one host", |n| format!("hosts: [x.com], ports: [{}]", n + 1)),
    ("a source each for one host", |n| of_source(&format!("principals: [cluster.local/ns/n{n}/sa/a]"))),
    ("a network each for one host", |n| of_source(&format!("ipBlocks: [10.{}.{}.0/24]", n / 256, n % 256))),
    ("not one source each for one host", |n| of_source(&format!("notPrincipals: [cluster.local/ns/n{n}/sa/a]"))),
    ("not one namespace each, nor a common one", |n| of_source(&format!("notNamespaces: [n{n}, none]"))),
    ("all the same", |_| of_source("notNamespaces: [n1]")),
];

fn of_source(source: &str) -> String {
    format!("from: [{{source: {{{source}}}}}], hosts: [x.com]")
}

#[test]
fn however_many_rules_there_are_a_few_are_checked() {
    for (shape, difference) in SHAPES {
        for (count, action) in [(40, "ALLOW"), (1_000, "ALLOW"), (1_000, "DENY")] {
            let rules: Vec<_> =
                (0..count).map(|n| format!("{{name: r{n}, action: {action}, {}}}", difference(n))).collect();
            let json = json(&format!("rules: [{}]", rules.join(", ")));
            let (configuration, rules) = (load(&json), uncompiled(&json));
            let policy = configuration.policy();
            for n in [0, count / 2, count - 1, count] {
                for host in ["x.com", &format!("h{n}.example.com"), &format!("a.b.h{n}.example.com")] {
                    for principal in [format!("cluster.local/ns/n{n}/sa/a"), "cluster.local/ns/none/sa/a".to_owned()] {
                        let port = u16::try_from(n + 1).ok();
                        let [.., high, low] = n.to_be_bytes();
                        let source = Some(IpAddr::from([10, high, low, 7]));
                        let mut request = FakeRequest {
                            port,
                            source,
                            ..FakeRequest::egress(EgressProtocol::Tls, host).by_principal(&principal)
                        };
                        let asked = format!("{shape}, {count} to {action}: {request:?}");
                        assert_eq!(compiled(&configuration, &mut request), linear(&rules, &mut request), "{asked}");
                        let destination = policy.destination_if_any(&mut request).expect("a destination");
                        for index in [&policy.rules.deny.enforced, &policy.rules.allow.enforced] {
                            let mut outbound = OutboundRequest { destination: &destination, request: &mut request };
                            let checked = index
                                .checked_clauses(&policy.rules.sets, &mut policy.rules.lookups(None, &mut outbound));
                            assert!(
                                checked.is_ok_and(|checked| checked <= LINEAR_SCAN_MAX),
                                "{checked:?} are checked: {asked}"
                            );
                        }
                    }
                }
            }
        }
    }
}
