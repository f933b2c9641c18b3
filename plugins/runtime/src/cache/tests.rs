use sallyport_policy::{DirectRemoteAddress, IdentityAuthz};
use serde_json::{Value, json};

use super::*;
use crate::fake_host::{FakeHost, START_OF_2030};
use crate::stream::context::StreamContext;
use crate::stream::request::Side;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

/// Configuration of policies with these actions and rules, each named by its place.
fn configuration(policies: &[(&str, Value)]) -> IdentityAuthz {
    let policy = |(number, (action, rules)): (usize, &(&str, Value))| {
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": format!("p{number}"), "namespace": "shop"},
            "spec": {"action": action, "rules": rules},
        })
    };
    let resources: Vec<_> = policies.iter().enumerate().map(policy).collect();
    let configuration = json!({"directRemoteAddress": "connection", "resources": resources});
    IdentityAuthz::parse(configuration.to_string()).expect("a configuration")
}

fn by_principal() -> Value {
    json!([{"from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}]}])
}

fn by_path() -> Value {
    json!([{
        "from": [{"source": {"principals": ["cluster.local/ns/shop/sa/web"]}}],
        "to": [{"operation": {"methods": ["GET"], "paths": ["/orders"]}}],
    }])
}

struct Filter<'h> {
    host: &'h FakeHost,
    configuration: IdentityAuthz,
    cache: PolicyCache<&'h FakeHost>,
}

impl<'h> Filter<'h> {
    fn new(host: &'h FakeHost, policies: &[(&str, Value)]) -> Self {
        let configuration = configuration(policies);
        let cache = PolicyCache::new(host, "f", &configuration);
        host.take_calls();
        Self { host, configuration, cache }
    }

    fn context(&self) -> StreamContext<'_, &'h FakeHost> {
        StreamContext {
            peers: self.cache.peers(),
            identity: self.configuration.identity_source(),
            direct_remote_address: DirectRemoteAddress::Connection,
            prefetch_headers: self.cache.prefetch_headers(),
        }
    }

    /// Evaluates a request: true if it is allowed, true if it is audited, and the host calls that took.
    fn get(&self, connection: usize, uri: &str, path: &str) -> (bool, bool, Vec<String>) {
        self.host.mtls(connection, uri);
        let headers = [(":method", "GET"), (":path", path), (":authority", "orders")];
        self.host.headers.replace(headers.map(|(name, value)| (name, value.as_bytes().to_vec())).to_vec());
        let evaluation = match self.cache.allows_connection() {
            true => Evaluation { decision: Decision::Allow, audit: None, allowed_by: None },
            false => {
                let mut request = CurrentStream::request(self.context());
                self.cache.evaluate(self.configuration.policy(), &mut request)
            }
        };
        // The name of a key differs from test to test.
        let shorten = |call: String| match call.split_once(['+', '#']) {
            Some((name, _)) => call[..=name.len()].to_owned(),
            None => call,
        };
        let calls = self.host.take_calls().into_iter().map(shorten).collect();
        (evaluation.decision == Decision::Allow, evaluation.audit.is_some(), calls)
    }

    fn is_allowed(&self, connection: usize, uri: &str, path: &str) -> bool {
        self.get(connection, uri, path).0
    }
}

#[test]
fn a_repeated_caller_is_allowed_by_one_host_call_where_the_connection_decides() {
    let host = FakeHost::default();
    let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
    assert!(filter.is_allowed(1, WEB, "/"));
    assert_eq!(filter.get(1, WEB, "/x"), (true, false, vec!["has_property +".to_owned()]));
}

#[test]
fn a_repeated_caller_is_decided_with_cached_lookups_where_requests_differ() {
    let host = FakeHost::default();
    let filter = Filter::new(&host, &[("ALLOW", by_path())]);
    assert!(filter.is_allowed(1, WEB, "/orders"));
    let calls = ["has_property +", "request_headers "].map(str::to_owned).to_vec();
    assert_eq!(filter.get(1, WEB, "/orders"), (true, false, calls));
    assert!(!filter.is_allowed(1, WEB, "/admin"));
}

#[test]
fn connections_with_equal_results_share_a_tag() {
    let host = FakeHost::default();
    let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
    for connection in 1..=20 {
        assert!(filter.is_allowed(connection, WEB, "/"));
        assert_eq!(filter.get(connection, WEB, "/").2, ["has_property +"]);
    }
}

#[test]
fn callers_that_take_turns_get_their_own_decisions() {
    let host = FakeHost::default();
    let filter = Filter::new(&host, &[("ALLOW", by_path())]);
    for _ in 0..3 {
        assert!(filter.is_allowed(1, WEB, "/orders"));
        assert!(!filter.is_allowed(2, CART, "/orders"));
        assert!(filter.is_allowed(3, WEB, "/orders"));
    }
    // While they take turns no tag is tested, since it would mostly be another's.
    assert!(!filter.get(2, CART, "/orders").2.contains(&"has_property +".to_owned()));
}

#[test]
fn a_denial_is_never_cached() {
    let host = FakeHost::default();
    let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
    for _ in 0..2 {
        let (allowed, _, calls) = filter.get(1, CART, "/");
        assert!(!allowed);
        assert!(calls.contains(&"property #".to_owned()), "{calls:?}");
    }
}

#[test]
fn more_results_than_tags_are_found_by_the_token() {
    let host = FakeHost::default();
    let rule = |n: usize| {
        json!({
            "from": [{"source": {"principals": [format!("cluster.local/ns/shop/sa/c{n}")]}}],
            "to": [{"operation": {"paths": [format!("/{n}")]}}],
        })
    };
    let rules: Vec<_> = (0..40).map(rule).collect();
    let filter = Filter::new(&host, &[("ALLOW", json!(rules))]);
    for round in 0..3 {
        for caller in 0..40 {
            let uri = format!("spiffe://cluster.local/ns/shop/sa/c{caller}");
            for other in [caller, (caller + 1) % 40] {
                let allowed = filter.is_allowed(caller, &uri, &format!("/{other}"));
                assert_eq!(allowed, other == caller, "caller {caller} at /{other} in round {round}");
            }
        }
    }
    assert_eq!(filter.cache.decisions.results.borrow().len(), MAX_TAGGED_RESULTS);
}

#[test]
fn a_host_that_reports_every_tag_is_not_relied_on() {
    let host = FakeHost::default();
    let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
    // Whatever is declared from now on is there before it is set.
    host.reports_all_tags.set(true);
    for _ in 0..3 {
        assert!(filter.is_allowed(1, WEB, "/"));
        assert!(!filter.is_allowed(2, CART, "/"));
    }
}

#[test]
fn a_connection_keeps_sixteen_tags_at_most() {
    let host = FakeHost::default();
    for configuration in 0..40 {
        let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
        for _ in 0..2 {
            assert!(filter.is_allowed(1, WEB, "/"), "configuration {configuration}");
            assert!(!filter.is_allowed(2, CART, "/"), "configuration {configuration}");
        }
    }
    host.current.set(1);
    // With the count, and with the token that this VM gave it.
    assert_eq!(host.kept(), 16 + 2);
}

#[test]
fn another_configuration_does_not_take_over_what_one_decided() {
    let host = FakeHost::default();
    let lenient = Filter::new(&host, &[("ALLOW", by_principal())]);
    let strict = Filter::new(&host, &[("DENY", by_principal()), ("ALLOW", json!([{}]))]);
    for _ in 0..3 {
        assert!(lenient.is_allowed(1, WEB, "/"));
        assert!(!strict.is_allowed(1, WEB, "/"));
    }
}

#[test]
fn an_audit_is_found_together_with_the_decision() {
    let host = FakeHost::default();
    let audit = json!([{"to": [{"operation": {"paths": ["/orders"]}}]}]);
    let filter = Filter::new(&host, &[("ALLOW", by_principal()), ("AUDIT", audit)]);
    for _ in 0..3 {
        let rows = [(WEB, "/orders", (true, true)), (WEB, "/x", (true, false)), (CART, "/orders", (false, true))];
        for (number, (uri, path, expected)) in rows.into_iter().enumerate() {
            let (allowed, audited, _) = filter.get(number, uri, path);
            assert_eq!((allowed, audited), expected, "{uri} at {path}");
        }
    }
}

#[test]
fn failures_of_the_host_never_allow_what_is_denied() {
    for failing in ["has_property", "property", "set_filter_state", "request_headers", "single_header", "current_time"]
    {
        let host = FakeHost::default();
        let filter = Filter::new(&host, &[("ALLOW", by_path())]);
        filter.is_allowed(1, WEB, "/orders");
        host.failing.set(Some(failing));
        for _ in 0..3 {
            assert!(!filter.is_allowed(1, WEB, "/admin"), "{failing}");
            assert!(!filter.is_allowed(2, CART, "/orders"), "{failing}");
        }
    }
}

#[test]
fn a_tag_is_retired_with_the_certificate_of_one_of_its_connections() {
    let host = FakeHost::default();
    host.seconds.set(START_OF_2030 - 3600);
    let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
    let fast = vec!["has_property +".to_owned()];
    host.mtls(1, WEB);
    host.set_certificate();
    for connection in [1, 2] {
        assert!(filter.is_allowed(connection, WEB, "/"));
        assert_eq!(filter.get(connection, WEB, "/"), (true, false, fast.clone()));
    }
    host.seconds.set(START_OF_2030 - 1);
    filter.cache.on_tick();
    host.take_calls();
    assert_eq!(filter.get(1, WEB, "/"), (true, false, fast.clone()));
    host.seconds.set(START_OF_2030);
    filter.cache.on_tick();
    for _ in 0..2 {
        assert!(!filter.is_allowed(1, WEB, "/"));
    }
    // The other certificate has no end that the host supplies, so its connection gets the tag that takes its place.
    assert!(filter.is_allowed(2, WEB, "/"));
    assert!(filter.is_allowed(2, WEB, "/"));
    assert_eq!(filter.get(2, WEB, "/"), (true, false, fast));
    assert!(!filter.is_allowed(1, WEB, "/"));
}

#[test]
fn a_certificate_that_ends_soon_gets_no_tag_and_is_checked_all_the_same() {
    let host = FakeHost::default();
    host.seconds.set(START_OF_2030 - 60);
    let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
    host.mtls(1, WEB);
    host.set_certificate();
    for _ in 0..2 {
        let (allowed, _, calls) = filter.get(1, WEB, "/");
        assert!(allowed && !calls.contains(&"has_property +".to_owned()), "{calls:?}");
    }
    host.seconds.set(START_OF_2030);
    filter.cache.on_tick();
    assert!(!filter.is_allowed(1, WEB, "/"));
}

#[test]
fn tags_that_take_the_place_of_retired_ones_are_bounded() {
    let host = FakeHost::default();
    let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
    for connection in 0..2_000 {
        host.seconds.set(START_OF_2030 - 3600);
        filter.cache.on_tick();
        host.mtls(connection, WEB);
        host.set_certificate();
        assert!(filter.is_allowed(connection, WEB, "/"));
        host.seconds.set(START_OF_2030);
        filter.cache.on_tick();
        assert!(!filter.is_allowed(connection, WEB, "/"));
    }
    assert!(host.declared_keys() < 600, "{}", host.declared_keys());
}

#[test]
fn a_connection_at_its_first_bytes_is_counted_and_decided() {
    let host = FakeHost::default();
    let filter = Filter::new(&host, &[("ALLOW", by_principal())]);
    for (number, uri, from, expected) in
        [(1, WEB, Side::Downstream, true), (2, CART, Side::Downstream, false), (3, WEB, Side::Upstream, true)]
    {
        host.mtls(number, uri);
        let mut connection = CurrentStream::first_bytes(filter.context(), from);
        let policy = filter.configuration.connection_policy();
        let evaluation = filter.cache.evaluate_connection(policy, &mut connection);
        assert_eq!(evaluation.decision == Decision::Allow, expected, "{uri}");
    }
    filter.cache.on_tick();
    assert_eq!(host.counter("f.connection.mtls"), Some(3));
}
