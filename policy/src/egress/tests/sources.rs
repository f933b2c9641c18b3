//! The treatment of a request by its source.

use super::*;
use crate::attributes::request_memo::RequestMemo;
use crate::egress::sources::SourceMode::{self, Enforce, Open, Report};

/// Configuration of these items of `sources`, as YAML.
fn sources(mode: &str, items: &str) -> EgressAllowlist {
    load(&json(&format!("mode: {mode}\nrules: []\nsources: [{items}]")))
}

fn mode_of(configuration: &EgressAllowlist, mut request: FakeRequest) -> SourceMode {
    configuration.policy().source_mode(&mut request)
}

const WEB: &str = "{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], mode: open}";
const SHOP: &str = "{from: [{source: {namespaces: [shop]}}], mode: enforce}";
const NET: &str = "{from: [{source: {ipBlocks: [10.0.0.0/8]}}], mode: report}";
const WEB_IN_NET: &str =
    "{from: [{source: {principals: [cluster.local/ns/shop/sa/web], ipBlocks: [10.0.0.0/8]}}], mode: report}";

fn by(principal: &str, source: &str) -> FakeRequest {
    let request = FakeRequest::egress(Connect, "x.com:443");
    let request = if principal.is_empty() { request } else { request.by_principal(principal) };
    FakeRequest { source: source.parse().ok(), ..request }
}

#[test]
fn the_first_item_that_matches_counts() {
    let (web, api) = ("cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/api");
    let items = [WEB, SHOP, NET].join(", ");
    let rows = [
        (items.as_str(), web, "10.1.2.3", Open),
        (&items, api, "10.1.2.3", Enforce),
        (&items, "", "10.1.2.3", Report),
        (&items, "", "192.0.2.1", Report),
        (&[SHOP, WEB].join(", "), web, "10.1.2.3", Enforce),
        (&[NET, WEB].join(", "), web, "10.1.2.3", Report),
        (&[NET, WEB].join(", "), web, "192.0.2.1", Open),
        (WEB_IN_NET, web, "192.0.2.1", Report),
    ];
    for (items, principal, source, expected) in rows {
        assert_eq!(mode_of(&sources("report", items), by(principal, source)), expected, "{principal} {source} {items}");
    }
    assert_eq!(mode_of(&sources("enforce", WEB), by(api, "10.1.2.3")), Enforce);
}

#[test]
fn what_cannot_be_known_is_treated_by_the_strictest_item_that_may_match() {
    let rows = [
        ("enforce", WEB.to_owned(), "192.0.2.1", Enforce),
        ("report", WEB.to_owned(), "192.0.2.1", Report),
        ("report", SHOP.to_owned(), "192.0.2.1", Enforce),
        ("report", [WEB, SHOP].join(", "), "192.0.2.1", Enforce),
        // An earlier item that is known to match decides, and a later one does not.
        ("enforce", [NET, WEB].join(", "), "10.1.2.3", Report),
        ("enforce", [WEB, NET].join(", "), "10.1.2.3", Report),
        ("enforce", [NET, SHOP].join(", "), "10.1.2.3", Report),
        ("report", [SHOP, NET].join(", "), "10.1.2.3", Enforce),
        // One of its conditions is known not to hold.
        ("enforce", WEB_IN_NET.to_owned(), "192.0.2.1", Enforce),
        ("report", WEB_IN_NET.replace("mode: report", "mode: enforce"), "192.0.2.1", Report),
        ("report", WEB_IN_NET.replace("mode: report", "mode: enforce"), "10.1.2.3", Enforce),
    ];
    for (mode, items, source, expected) in rows {
        let request = FakeRequest { failing: vec!["peer"], ..by("", source) };
        assert_eq!(mode_of(&sources(mode, &items), request), expected, "{mode} {source} {items}");
    }
    let unknown = FakeRequest { failing: vec!["peer", "source"], ..by("", "10.1.2.3") };
    assert_eq!(mode_of(&sources("report", &[NET, WEB].join(", ")), unknown), Report);
}

#[test]
fn many_sources_cost_what_a_few_do() {
    let items: Vec<_> =
        (0..500).map(|n| format!("{{from: [{{source: {{namespaces: [n{n}]}}}}], mode: report}}")).collect();
    let configuration = sources("enforce", &items.join(", "));
    let mut request = by("cluster.local/ns/n499/sa/a", "10.1.2.3");
    assert_eq!(configuration.policy().source_mode(&mut request), Report);
    assert_eq!(request.read, ["peer"]);
}

#[test]
fn without_items_nothing_is_asked_for() {
    let mut request = by("", "10.1.2.3");
    assert_eq!(load(r#"{"rules": [], "mode": "report"}"#).policy().source_mode(&mut request), Report);
    assert!(request.read.is_empty(), "{:?}", request.read);
}

#[test]
fn a_request_with_a_value_that_is_not_compared_is_enforced() {
    let unlike = "{from: [{source: {principals: ['*api*']}}], mode: enforce}";
    let configuration = sources("report", &[unlike, WEB].join(", "));
    let request = |steps| FakeRequest {
        memo: Some(RequestMemo { steps, ..RequestMemo::default() }),
        ..by("cluster.local/ns/shop/sa/web", "10.1.2.3")
    };
    assert_eq!(mode_of(&configuration, request(100)), Open);
    assert_eq!(mode_of(&configuration, request(0)), Enforce);
}

#[test]
fn the_summary_counts_the_items() {
    let summary = |mode, items: &str| sources(mode, items).load_report().summary().to_owned();
    let loaded = "loaded 0 rules and 0 resources with 0 hosts, 0 rules only report";
    assert_eq!(
        summary("report", &[WEB, SHOP].join(", ")),
        format!("{loaded}, mode: report; sources: 1 enforce, 0 report, 1 open")
    );
    assert_eq!(
        summary("report", WEB),
        format!("{loaded}, mode: report, nothing is denied; sources: 0 enforce, 0 report, 1 open")
    );
    assert_eq!(summary("enforce", NET), format!("{loaded}; sources: 0 enforce, 1 report, 0 open"));
}
