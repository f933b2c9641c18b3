//! Decisions of compiled policies, and what they read of a request.

mod definition;
mod fast_path;
mod hostile_header;
mod random;
mod work;

use super::*;
use crate::authz::fields::ALL_FIELDS;
use crate::authz::policy_name::RuleLabel;
use crate::authz::resources::authorization_policy::Context;
use crate::authz::resources::object_meta::{DefaultNamespace, Metadata};
use crate::config::diagnostics::Diagnostics;
use crate::config::reader::ConfigNode;
use crate::config::value::Value;
use crate::identity::error::AttributeError;
use crate::identity::error::UnauthenticatedReason;
use crate::identity::peer::Peer;
use crate::identity::trust_domains::TrustDomains;
use crate::test_support::fake_request::FakeRequest;
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
    let context = Context {
        trust_domains: &trust_domains,
        claims: &Rc::default(),
        path_readings: Default::default(),
        trusts_remote_address: true,
        registry: &ALL_FIELDS,
        rule_sizes: Default::default(),
        denies_only: false,
    };
    let node = ConfigNode::root(&document, &diagnostics);
    let policy = node.object().and_then(|object| {
        let metadata = Metadata::read(&object, &DefaultNamespace::new(Some(&None), ""));
        AuthorizationPolicy::read(&object, metadata, &context)
    });
    match diagnostics.into_result(policy) {
        Ok(policy) => policy,
        Err(refusal) => panic!("{refusal} in {spec}"),
    }
}

fn compile(policies: &[AuthorizationPolicy]) -> CompiledPolicy {
    CompiledPolicy::new(policies.iter().map(Cow::Borrowed).collect(), DefaultAction::Deny, EnforcementMode::Enforce)
}

fn in_words(decision: &Decision<Denial<'_>>) -> String {
    match decision {
        Decision::Allow => "allowed".to_owned(),
        Decision::Deny(Denial::Matched(rule)) => format!("denied by {rule}"),
        Decision::Deny(Denial::NoAllowMatches | Denial::DefaultAction) => "denied".to_owned(),
        other => format!("{other:?}"),
    }
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
            "DENY policy shop/no-ghosts matches with rule 0: GET / by a client without identity (it presented no certificate); a listener asks for one by a validation_context, and insists on it by require_client_certificate (docs/listener-settings.md)",
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
