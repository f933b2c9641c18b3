//! The compiled policy against a plain linear reading of the same policies, which is the definition of what is right.

use std::time::Duration;

use fastrand::Rng;

mod fast_path;
mod work;

use super::*;
use crate::attributes::dynamic_metadata::DynamicMetadata;
use crate::authz::engine::rule::{Action, Predicate};
use crate::authz::fields::ALL_FIELDS;
use crate::authz::policy_name::RuleLabel;
use crate::authz::resources::Resource;
use crate::authz::resources::authorization_policy::Context;
use crate::config::diagnostics::Diagnostics;
use crate::config::reader::ConfigNode;
use crate::config::value::Value;
use crate::identity::error::AttributeError;
use crate::identity::error::UnauthenticatedReason;
use crate::identity::peer::Peer;
use crate::identity::trust_domains::TrustDomains;
use crate::linear_reading;
use crate::matcher::clause::Quantifier;
use crate::test_support::fake_request::FakeRequest;
use crate::test_support::protobuf_writer::metadata;
use crate::test_support::random::pick;
use crate::test_support::yaml::json;

/// An AuthorizationPolicy of this name, with this `spec` as YAML.
fn read(name: &str, spec: &str) -> AuthorizationPolicy {
    let configuration = json(&format!(
        r#"{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy,
            metadata: {{name: "{name}", namespace: shop}}, spec: {spec}}}"#
    ));
    let diagnostics = Diagnostics::default();
    let document = Value::parse(configuration.as_bytes()).expect("JSON");
    let trust_domains = TrustDomains::new("cluster.local".to_owned(), Vec::new());
    let resource = Resource::read(
        &ConfigNode::root(&document, &diagnostics),
        &Context {
            trust_domains: &trust_domains,
            claims: &Rc::default(),
            path_readings: Default::default(),
            trusts_remote_address: true,
            registry: &ALL_FIELDS,
            denies_only: false,
            peer_authentication: None,
        },
    );
    match diagnostics.into_result(resource) {
        Ok(Resource::AuthorizationPolicy(policy)) => policy,
        Ok(Resource::PeerAuthentication(_)) => panic!("{spec} is no AuthorizationPolicy"),
        Err(refusal) => panic!("{refusal} in {spec}"),
    }
}

fn compile(policies: &[AuthorizationPolicy]) -> CompiledPolicy {
    CompiledPolicy::new(policies.iter().map(Cow::Borrowed).collect(), DefaultAction::Deny, EnforcementMode::Enforce)
}

/// The numbered steps of [`CompiledPolicy::decide`], by walking every rule.
fn linear(policies: &[AuthorizationPolicy], request: &mut FakeRequest) -> String {
    let mut matching = |action| {
        let mut names = Vec::new();
        for policy in policies.iter().filter(|policy| policy.action == action) {
            for (number, clauses) in policy.rules.iter().enumerate() {
                // Of a header's values one that matches keeps out, and all have to match to be let in.
                let holds = |predicate: &Predicate, request: &mut FakeRequest| {
                    let of =
                        if (action == Action::Deny) == predicate.negated { Quantifier::All } else { Quantifier::Any };
                    linear_reading::matches(&*predicate.values, request, of) != Ok(predicate.negated)
                };
                if clauses.iter().any(|clause| clause.iter().all(|predicate| holds(predicate, request))) {
                    names.push(RuleName::new(policy.name.clone(), RuleLabel::Number(number)).to_string());
                }
            }
        }
        names.sort();
        names
    };
    if let Some(rule) = matching(Action::Deny).first() {
        return format!("denied by {rule}");
    }
    match matching(Action::Allow).is_empty() {
        true => "denied".to_owned(),
        false => "allowed".to_owned(),
    }
}

fn indexed(policy: &CompiledPolicy, request: &mut FakeRequest) -> String {
    in_words(&policy.decide(request))
}

/// By what the request's connection matches; a later request of it asks for nothing of the connection again.
fn by_connection(policy: &CompiledPolicy, request: &mut FakeRequest) -> String {
    let matches = policy.precompute_connection(request).expect("nothing fails");
    request.read.clear();
    let words = in_words(&policy.evaluate(Some(&matches), request).decision);
    assert!(!request.read.iter().any(|asked| ["peer", "server name"].contains(asked)), "{request:?}");
    words
}

fn in_words(decision: &Decision<Denial<'_>>) -> String {
    match decision {
        Decision::Allow => "allowed".to_owned(),
        Decision::Deny(Denial::Matched(rule)) => format!("denied by {rule}"),
        Decision::Deny(Denial::NoAllowMatches | Denial::DefaultAction) => "denied".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A list of one to four of these.
fn list(rng: &mut Rng, of: &[&str]) -> String {
    let values: Vec<_> = (0..=rng.usize(..3)).map(|_| format!("{:?}", pick(rng, of))).collect();
    format!("[{}]", values.join(", "))
}

const PRINCIPALS: [&str; 9] = [
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
const NAMESPACES: [&str; 5] = ["shop", "pay", "*", "s*", "*a*"];
const METHODS: [&str; 6] = ["GET", "POST", "DELETE", "P*", "*", "Purge"];
const HOSTS: [&str; 9] =
    ["orders", "Orders.shop", "*.shop", "orders*", "*", "orders:80", "orders:8*", "*:80", "orders.shop."];
const PATHS: [&str; 22] = [
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
const PORTS: [&str; 3] = ["8443", "80", "1"];

const ROLES: [&str; 8] = ["admin", "user", "ad*", "*er", "*", "*s*e*", "admin,user", " guest\t"];

const ADDRESSES: [&str; 10] = [
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
const SERVER_NAMES: [&str; 5] = ["shop.example", "*.Example", "*", "shop*", "shop.example."];
const TIMES: [&str; 4] = ["Thu 00:00-12:00", "Mon-Fri 09:00-17:00", "Sat-Sun 00:00-24:00", "Wed 22:00-06:00"];
const TRUST_DOMAINS: [&str; 4] = ["cluster.local", "other", "*", "*.local"];
const REQUEST_PRINCIPALS: [&str; 6] = ["*", "https://a.example/ann", "https://a.example/*", "*/bob", "*b", "https*"];
const GROUPS: [&str; 7] = ["admin", "ad*", "*", "user", "1", "true", "1000"];

const SOURCES: [(&str, &str, &[&str]); 6] = [
    ("principals", "notPrincipals", &PRINCIPALS),
    ("namespaces", "notNamespaces", &NAMESPACES),
    ("trustDomains", "notTrustDomains", &TRUST_DOMAINS),
    ("ipBlocks", "notIpBlocks", &ADDRESSES),
    ("remoteIpBlocks", "notRemoteIpBlocks", &ADDRESSES),
    ("requestPrincipals", "notRequestPrincipals", &REQUEST_PRINCIPALS),
];

const OPERATIONS: [(&str, &str, &[&str]); 4] = [
    ("methods", "notMethods", &METHODS),
    ("hosts", "notHosts", &HOSTS),
    ("paths", "notPaths", &PATHS),
    ("ports", "notPorts", &PORTS),
];

const CONDITIONS: [(&str, &[&str]); 11] = [
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
const TOKENS: [&str; 9] = [
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

fn random_policy(rng: &mut Rng, number: usize) -> AuthorizationPolicy {
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
const VALUES: [&str; 10] = ["admin", "user", "guest", "", "seer", " admin", "user\t", "user, guest", "admin,,x", " \t"];

const HOSTS_ASKED: [&str; 12] = [
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

fn random_request(rng: &mut Rng) -> FakeRequest {
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

#[test]
fn the_index_agrees_with_walking_every_rule() {
    let mut rng = Rng::with_seed(0x5a11_7907);
    let mut answers = std::collections::HashMap::<String, usize>::new();
    for _ in 0..600 {
        let most = [3, 12, 40][rng.usize(..3)];
        let policies: Vec<_> = (0..=rng.usize(..most)).map(|number| random_policy(&mut rng, number)).collect();
        let policy = compile(&policies);
        for _ in 0..40 {
            let mut request = random_request(&mut rng);
            let expected = linear(&policies, &mut request);
            assert_eq!(indexed(&policy, &mut request), expected, "{request:?}");
            assert_eq!(by_connection(&policy, &mut request), expected, "{request:?}");
            let answer = if expected.starts_with("denied by") { "denied by a policy" } else { expected.as_str() };
            *answers.entry(answer.to_owned()).or_default() += 1;
        }
    }
    for answer in ["allowed", "denied", "denied by a policy"] {
        let met = answers.get(answer).copied().unwrap_or_default();
        assert!(met > 500, "{answer} was met {met} times only: {answers:?}");
    }
}

#[test]
fn ranks_of_fields_are_unique() {
    let mut rng = Rng::with_seed(5);
    let mut fields = Vec::new();
    for policy in (0..200).map(|number| random_policy(&mut rng, number)) {
        for values in policy.rules.iter().flatten().flatten().map(|predicate| &predicate.values) {
            fields.push((values.rank(), (**values).type_id()));
        }
    }
    fields.sort_unstable();
    fields.dedup();
    let (ranks, types): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let distinct: std::collections::BTreeSet<_> = ranks.iter().collect();
    assert_eq!(distinct.len(), types.len(), "two fields share a rank: {ranks:?}");
    assert!(ranks.len() >= 15, "{ranks:?}");
}

#[test]
fn a_decision_asks_for_what_its_rules_need_and_once() {
    let by_principal =
        compile(&[read("a", "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}")]);
    let mut request = FakeRequest::new("spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(by_principal.decide(&mut request), Decision::Allow);
    assert_eq!(request.read, ["peer"]);

    let policies = [
        read(
            "a",
            "{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {methods: [GET], paths: [/a, /b], notPaths: [/c]}}]}]}",
        ),
        read("b", r#"{action: DENY, rules: [{to: [{operation: {paths: ["/admin/{**}"], notMethods: [GET]}}]}]}"#),
    ];
    let by_all = compile(&policies);
    let mut request = FakeRequest::new("spiffe://cluster.local/ns/shop/sa/web").with_path("/b");
    assert_eq!(by_all.decide(&mut request), Decision::Allow);
    request.read.sort_unstable();
    assert_eq!(request.read, ["method", "path", "peer"]);

    let mut stranger = FakeRequest::new("spiffe://cluster.local/ns/shop/sa/other");
    assert_eq!(by_principal.decide(&mut stranger), Decision::Deny(Denial::NoAllowMatches));
    assert_eq!(stranger.read, ["peer"]);
}

#[test]
fn a_failure_of_the_proxy_denies_whatever_it_is_about() {
    let policies = [read(
        "a",
        r#"{rules: [{from: [{source: {notPrincipals: [x/y]}}], to: [{operation: {notMethods: [PUT], notPaths: [/c], notHosts: [h], notPorts: ["1"]}}]}]}"#,
    )];
    let policy = compile(&policies);
    for attribute in ["peer", "port", "method", "host", "path"] {
        let mut request =
            FakeRequest { failing: vec![attribute], ..FakeRequest::new("spiffe://cluster.local/ns/shop/sa/web") };
        let failure = AttributeError { attribute, status: "it failed" };
        assert_eq!(policy.decide(&mut request), Decision::Deny(Denial::Undecidable(failure.into())), "{attribute}");
    }
    assert_eq!(policy.decide(&mut FakeRequest::new("spiffe://cluster.local/ns/shop/sa/web")), Decision::Allow);
}

#[test]
fn a_dry_run_never_changes_the_answer() {
    let dry = |mut policy: AuthorizationPolicy| {
        policy.mode = EnforcementMode::Report;
        policy
    };
    let web = "spiffe://cluster.local/ns/shop/sa/web";
    let allow = || read("allow", "{rules: [{to: [{operation: {methods: [GET, POST]}}]}]}");
    let deny_posts = || read("deny", "{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}");
    let deny_name = RuleName::new(deny_posts().name, RuleLabel::Number(0));
    let rows: [(&str, Vec<AuthorizationPolicy>, &str, Decision<Denial<'_>>); 5] = [
        (
            "a DENY in dry run",
            vec![allow(), dry(deny_posts())],
            "POST",
            Decision::WouldDeny(Denial::Matched(&deny_name)),
        ),
        ("that does not match", vec![allow(), dry(deny_posts())], "GET", Decision::Allow),
        ("behind an enforced denial", vec![allow(), dry(deny_posts())], "PUT", Decision::Deny(Denial::NoAllowMatches)),
        (
            "an ALLOW in dry run lets nothing in",
            vec![deny_posts(), dry(allow())],
            "POST",
            Decision::Deny(Denial::Matched(&deny_name)),
        ),
        ("and takes nothing from an enforced one", vec![allow(), dry(read("none", "{}"))], "GET", Decision::Allow),
    ];
    for (name, policies, method, expected) in rows {
        let policy = compile(&policies);
        assert_eq!(policy.decide(&mut FakeRequest::new(web).with_method(method)), expected, "{name}");
    }
    let only_dry = [dry(read("none", "{}"))];
    let policy = CompiledPolicy::new(
        only_dry.iter().map(Cow::Borrowed).collect(),
        DefaultAction::Allow,
        EnforcementMode::Enforce,
    );
    assert_eq!(policy.decide(&mut FakeRequest::new(web)), Decision::WouldDeny(Denial::NoAllowMatches));
}

#[test]
fn in_report_mode_every_denial_is_only_reported() {
    let policies = [read("none", "{}")];
    let policy =
        CompiledPolicy::new(policies.iter().map(Cow::Borrowed).collect(), DefaultAction::Deny, EnforcementMode::Report);
    assert_eq!(policy.decide(&mut FakeRequest::new("")), Decision::WouldDeny(Denial::NoAllowMatches));
    let failing = FakeRequest { failing: vec!["peer"], ..FakeRequest::new("") };
    let by_principal = [read("a", "{rules: [{from: [{source: {principals: [x/y]}}]}]}")];
    let policy = CompiledPolicy::new(
        by_principal.iter().map(Cow::Borrowed).collect(),
        DefaultAction::Deny,
        EnforcementMode::Report,
    );
    assert!(matches!(policy.decide(&mut failing.clone()), Decision::WouldDeny(Denial::Undecidable(_))));
}

#[test]
fn a_denial_says_what_was_missing() {
    let policies = [
        read(
            "orders-l7",
            r#"{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {methods: [GET, POST], paths: ["/api/*"]}}]}]}"#,
        ),
        read("no-ghosts", r#"{action: DENY, rules: [{from: [{source: {notPrincipals: ["*"]}}]}]}"#),
        read(
            "five",
            "{rules: [{from: [{source: {namespaces: [a, b, c, d, e]}}], to: [{operation: {methods: [PUT]}}]}]}",
        ),
    ];
    let policy = compile(&policies);
    let rows = [
        (
            FakeRequest::new("spiffe://cluster.local/ns/shop/sa/web")
                .with_method("DELETE")
                .with_path("/api/orders/1?x"),
            "no ALLOW policy matches: orders-l7 wants GET or POST under /api/, this was DELETE /api/orders/1",
        ),
        (
            FakeRequest::new("spiffe://cluster.local/ns/x/sa/y").with_method("PUT"),
            "no ALLOW policy matches: five wants namespace a, b, c or one of 2 more, this was PUT / by cluster.local/ns/x/sa/y",
        ),
        (
            FakeRequest::new(""),
            "DENY policy shop/no-ghosts matches with rule 0: GET / by a client without identity (it presented no certificate); a listener asks for one by a validation_context, and insists on it by require_client_certificate",
        ),
        (
            FakeRequest::new("spiffe://cluster.local/ns/shop/sa/web").with_path("/\u{7}\u{1b}[31m"),
            "no ALLOW policy matches: orders-l7 wants GET or POST under /api/, this was GET /\\x07\\x1b[31m",
        ),
    ];
    for (mut request, expected) in rows {
        let Decision::Deny(denial) = policy.decide(&mut request) else { panic!("{request:?} was let in") };
        assert_eq!(policy.explain(&denial, &mut request), expected);
    }
    let nothing = compile(&[read("deny-all", "{}")]);
    assert_eq!(
        nothing.explain(&Denial::NoAllowMatches, &mut FakeRequest::new("")),
        "no ALLOW policy matches: they allow nothing, this was GET / by a client without identity (it presented no certificate)"
    );
}

#[test]
fn a_certificate_that_proves_nothing_is_denied_where_it_matters_who_asks() {
    use crate::identity::error::SpiffeIdError;
    let by_identity = [
        read("deny", "{action: DENY, rules: [{from: [{source: {namespaces: [dev]}}]}]}"),
        read("deny", r#"{action: DENY, rules: [{from: [{source: {principals: ["cluster.local/ns/dev/*"]}}]}]}"#),
        read("deny", r#"{action: DENY, rules: [{from: [{source: {notPrincipals: ["*"]}}]}]}"#),
        read("allow", "{rules: [{from: [{source: {notNamespaces: [dev]}}]}]}"),
    ];
    let by_path = read("deny", "{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}");
    for reason in [
        UnauthenticatedReason::NotValidated,
        UnauthenticatedReason::InvalidSpiffeId(SpiffeIdError::UpperCase),
        UnauthenticatedReason::InvalidSpiffeId(SpiffeIdError::Malformed),
    ] {
        let asked = || FakeRequest { peer: Peer::Unauthenticated(reason), ..FakeRequest::new("") };
        let compiled = |policy: &AuthorizationPolicy| {
            CompiledPolicy::new(vec![Cow::Borrowed(policy)], DefaultAction::Allow, EnforcementMode::Enforce)
        };
        for policy in &by_identity {
            assert_eq!(
                compiled(policy).decide(&mut asked()),
                Decision::Deny(Denial::Undecidable(EvalError::UnverifiedPeer(reason)))
            );
        }
        assert_eq!(compiled(&by_path).decide(&mut asked()), Decision::Allow, "who asks does not matter to this policy");
    }
}

#[test]
fn of_a_connection_is_known_what_its_handshake_settles_and_nothing_else() {
    const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
    let authorization = |rule: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: a, namespace: shop}}, spec: {{rules: [{rule}]}}}}"
        )
    };
    let mutual_tls = |spec: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: p, namespace: shop}}, spec: {spec}}}"
        )
    };
    let by_principal = authorization(r#"{from: [{source: {principals: ["cluster.local/ns/shop/*"]}}]}"#);
    let by_path = authorization("{to: [{operation: {paths: [/a]}}]}");
    let strict = mutual_tls("{mtls: {mode: STRICT}}");
    let port = mutual_tls(r#"{selector: {matchLabels: {app: a}}, portLevelMtls: {"80": {mode: STRICT}}}"#);
    let caller = |peer: Peer| FakeRequest { peer, ..FakeRequest::new("") };
    let callers = [
        FakeRequest::new(WEB),
        FakeRequest::new(""),
        caller(Peer::Unauthenticated(UnauthenticatedReason::NotValidated)),
        FakeRequest { failing: vec!["peer"], ..FakeRequest::new(WEB) },
    ];
    // Whether something is known of each of the callers.
    let rows = [
        (vec![&by_principal], [true, true, false, false]),
        (vec![&by_path], [true, true, true, true]),
        (vec![&by_principal, &strict], [true, false, false, false]),
        (vec![&by_path, &strict], [true, false, false, false]),
        (vec![&by_path, &port], [false, false, false, false]),
    ];
    for (resources, expected) in rows {
        let resources: Vec<_> = resources.iter().map(|resource| resource.as_str()).collect();
        let configuration =
            format!("{{workload: {{namespace: shop, labels: {{app: a}}}}, resources: [{}]}}", resources.join(", "));
        let policy = crate::IdentityAuthz::parse(json(&configuration)).expect("a configuration");
        let known = callers.clone().map(|mut caller| policy.policy().precompute_connection(&mut caller).is_some());
        assert_eq!(known, expected, "{configuration}");
    }
}

#[test]
fn connections_match_alike_if_their_callers_are_alike_to_the_policy() {
    let policy =
        compile(&[read("a", "{rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {paths: [/a]}}]}]}")]);
    let of = |uri| policy.precompute_connection(&mut FakeRequest::new(uri));
    let web = of("spiffe://cluster.local/ns/shop/sa/web");
    assert!(web.is_some());
    assert_eq!(web, of("spiffe://cluster.local/ns/shop/sa/orders"));
    assert_ne!(web, of("spiffe://cluster.local/ns/dev/sa/web"));
    assert_eq!(of(""), of("spiffe://cluster.local/ns/dev/sa/web"), "neither matches anything");
}
