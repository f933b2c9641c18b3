use sallyport_policy::IdentityAuthz;
use serde_json::json;

use super::*;
use crate::fake_host::FakeHost;

const REASON: &str = "no ALLOW policy matches";

fn denial(enforced: bool) -> DenialReport<'static> {
    let details = "rbac_access_denied_matched_policy[none]";
    let principal = Some("cluster.local/ns/shop/sa/web");
    DenialReport {
        enforced,
        failure: false,
        unmatched: false,
        details,
        policy: None,
        pattern: None,
        principal,
        reason: REASON,
    }
}

/// Configuration with one DENY and one AUDIT policy.
fn configuration() -> IdentityAuthz {
    let policy = |name: &str, action: &str| {
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"action": action, "rules": [{}]},
        })
    };
    let resources = [policy("deny.all", "DENY"), policy("audit-all", "AUDIT")];
    IdentityAuthz::parse(json!({"defaultAction": "DENY", "resources": resources}).to_string()).expect("a configuration")
}

fn filter_state(host: &FakeHost, key: &str) -> Option<String> {
    host.filter_states.borrow().get(&format!("sallyport.f.{key}")).cloned()
}

#[test]
fn a_denial_is_sent_shown_logged_and_counted() {
    let host = FakeHost::default();
    let configuration = configuration();
    let reporter = Reporter::new(&host, "f", configuration.policy().denying_policies());
    let policy = configuration.policy().denying_policies().next();
    let action = reporter.deny(&DenialReport { policy, ..denial(true) }, configuration.reply());
    assert_eq!(action, Action::Pause);
    let reply = (403, denial(true).details.to_owned(), "RBAC: access denied".to_owned());
    assert_eq!(host.replies.take(), [reply]);
    let shown = ["decision", "policy", "principal", "reason"].map(|key| filter_state(&host, key).unwrap_or_default());
    assert_eq!(shown, ["deny", "shop/deny.all", "cluster.local/ns/shop/sa/web", REASON]);
    let line = format!("sallyport f: deny: {REASON} by cluster.local/ns/shop/sa/web");
    assert_eq!(host.log.take(), [(Level::Info, line)]);
    reporter.on_tick();
    let counted = |name: &str| host.counter(name).unwrap_or(-1);
    assert_eq!([counted("f.denied"), counted("f.would_deny"), counted("f.errors"), counted("f.allowed")], [1, 0, 0, 0]);
    let of_policy: Vec<_> =
        host.counters.take().into_iter().filter(|(name, _)| name.contains(".policy.")).map(|(_, hits)| hits).collect();
    assert_eq!(of_policy, [1, 0]);
}

#[test]
fn a_reported_denial_goes_on_and_says_so() {
    let host = FakeHost::default();
    let configuration = configuration();
    let reporter = Reporter::new(&host, "f", std::iter::empty());
    let failed = DenialReport { failure: true, principal: None, ..denial(false) };
    assert_eq!(reporter.deny(&failed, configuration.reply()), Action::Continue);
    assert_eq!(reporter.deny_connection(&failed), Action::Continue);
    assert_eq!(reporter.deny_connection(&denial(true)), Action::Pause);
    assert!(host.replies.take().is_empty());
    reporter.on_tick();
    let counted = ["f.denied", "f.would_deny", "f.errors"].map(|name| host.counter(name));
    assert_eq!(counted, [Some(1), Some(2), Some(2)]);
    assert_eq!(host.log.take()[0].1, format!("sallyport f: would_deny: {REASON}"));
}

#[test]
fn a_reply_that_cannot_be_sent_leaves_the_request_paused() {
    let host = FakeHost::default();
    let reporter = Reporter::new(&host, "f", std::iter::empty());
    host.failing.set(Some("reply_denied"));
    assert_eq!(reporter.deny(&denial(true), configuration().reply()), Action::Pause);
    let last = host.log.take().pop();
    assert_eq!(last, Some((Level::Error, "sallyport f: a denial could not be sent: InternalFailure".to_owned())));
}

#[test]
fn what_nothing_allows_has_counters_of_its_own() {
    let host = FakeHost::default();
    let reporter = Reporter::new(&host, "f", std::iter::empty()).with_unmatched();
    reporter.deny_connection(&DenialReport { unmatched: true, ..denial(true) });
    reporter.deny_connection(&DenialReport { unmatched: true, ..denial(false) });
    reporter.deny_connection(&denial(true));
    reporter.on_tick();
    let counted = ["f.unmatched.denied", "f.unmatched.would_deny", "f.denied"].map(|name| host.counter(name));
    assert_eq!(counted, [Some(1), Some(1), Some(2)]);
}

#[test]
fn denials_beyond_ten_a_second_are_counted_in_one_line() {
    let host = FakeHost::default();
    let reporter = Reporter::new(&host, "f", std::iter::empty());
    for _ in 0..25 {
        reporter.deny_connection(&denial(true));
    }
    assert_eq!(host.log.take().len(), 10);
    reporter.on_tick();
    let line = "sallyport f: 15 more denials in the last second, not logged".to_owned();
    assert_eq!(host.log.take(), [(Level::Info, line)]);
    reporter.deny_connection(&denial(true));
    assert_eq!(host.log.take().len(), 1);
}

#[test]
fn a_pattern_has_counters_under_one_segment() {
    let host = FakeHost::default();
    let reporter = Reporter::new(&host, "f", std::iter::empty());
    reporter.deny_connection(&DenialReport { pattern: Some("*sql.map/1.0 \n*"), ..denial(true) });
    reporter.on_tick();
    assert_eq!(host.counter("f.pattern.*sql_map_1_0___.denied"), None);
    assert_eq!(host.counter("f.pattern.*sql_map_1_0__*.denied"), Some(1));
    assert_eq!(host.counter("f.pattern.*sql_map_1_0__*.would_deny"), Some(0));
}

#[test]
fn a_marked_request_is_counted_by_provider() {
    let host = FakeHost::default();
    let reporter = Reporter::new(&host, "f", std::iter::empty()).with_marks(["my.opa/v1", "login"].into_iter());
    reporter.mark(&["login", "my.opa/v1"], None);
    reporter.mark(&[], Some("the proxy did not tell :path"));
    reporter.on_tick();
    let counters = ["f.custom.my_opa_v1", "f.custom.login", "f.custom.none", "f.errors"].map(|name| host.counter(name));
    assert_eq!(counters, [Some(1); 4]);
    assert_eq!(filter_state(&host, "reason").as_deref(), Some("the proxy did not tell :path"));
}

#[test]
fn an_audit_is_counted_and_shown() {
    let host = FakeHost::default();
    let configuration = configuration();
    let policies = || configuration.policy().auditing_policies();
    let reporter = Reporter::new(&host, "f", std::iter::empty()).with_audits(policies());
    for policy in policies() {
        reporter.audit(policy);
    }
    reporter.on_tick();
    assert_eq!(filter_state(&host, "audit").as_deref(), Some("shop/audit-all"));
    assert_eq!(host.counter("f.policy.shop.audit-all.audited"), Some(1));
}
