//! The reference pages list every key that a filter knows, and no other; the same of its counters.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use host_tests::wasm_host::{Connection, Request, Vm};
use serde_json::{Value, json};

use crate::page::{self, Page, codes};
use crate::{module, refusal};

/// A key that no filter knows and that is like none: the refusal lists those that it knows.
const UNKNOWN: &str = "0";

/// A place for the unknown key: what the page calls keys there begins with `prefix`.
struct Probe {
    prefix: &'static str,
    /// The path in the refusal.
    place: &'static str,
    configuration: Value,
}

/// The keys that a filter knows at the place of a probe.
fn known(filter: &str, probe: &Probe) -> Result<BTreeSet<String>> {
    let lines = refusal(filter, &probe.configuration)?;
    let start = format!("{}{UNKNOWN}: unknown field, expected ", probe.place);
    let listed = lines.iter().find_map(|line| line.strip_prefix(&start)).with_context(|| format!("{lines:#?}"))?;
    Ok(words(listed).map(|key| format!("{}{key}", probe.prefix)).collect())
}

/// The words of `a, b or c`.
fn words(listed: &str) -> impl Iterator<Item = &str> {
    listed.split(", ").flat_map(|part| part.split(" or "))
}

/// The code spans in the first cells of the tables under this header.
fn documented(page: &Page, header: &str) -> BTreeSet<String> {
    let tables = page.tables.iter().filter(|table| table.header.first().is_some_and(|first| first == header));
    let cells = tables.flat_map(|table| &table.rows).filter_map(|row| row.first());
    cells.flat_map(|cell| codes(cell)).map(str::to_owned).collect()
}

fn check(filter: &str, header: &str, probes: &[Probe]) -> Result<()> {
    let page = page::named(&format!("docs/{filter}.md"))?;
    let known = probes.iter().map(|probe| known(filter, probe)).collect::<Result<Vec<_>>>()?;
    let known: BTreeSet<_> = known.into_iter().flatten().collect();
    let documented = documented(&page, header);
    let missing: Vec<_> = known.difference(&documented).collect();
    let wrong: Vec<_> = documented.difference(&known).collect();
    ensure!(missing.is_empty(), "{}, `{header}`: not documented: {missing:?}", page.name);
    ensure!(wrong.is_empty(), "{}, `{header}`: {filter} does not know: {wrong:?}", page.name);
    Ok(())
}

fn probe(prefix: &'static str, place: &'static str, configuration: Value) -> Probe {
    Probe { prefix, place, configuration }
}

#[test]
fn every_key_of_identity_authz_is_documented() -> Result<()> {
    let at = |prefix: &'static str, configuration| probe(prefix, prefix, configuration);
    check(
        "identity-authz",
        "key",
        &[
            at("", json!({UNKNOWN: 0})),
            at("workload.", json!({"workload": {UNKNOWN: 0}})),
            at("identity.", json!({"identity": {UNKNOWN: 0}})),
            at("identity.jwt.", json!({"identity": {"jwt": {UNKNOWN: 0}}})),
            at("deny.", json!({"deny": {UNKNOWN: 0}})),
        ],
    )
}

#[test]
fn every_key_of_baseline_deny_is_documented() -> Result<()> {
    let at = |prefix: &'static str, configuration| probe(prefix, prefix, configuration);
    check(
        "baseline-deny",
        "key",
        &[
            at("", json!({UNKNOWN: 0})),
            at("userAgent.", json!({"userAgent": {UNKNOWN: 0}})),
            at("exempt.", json!({"exempt": {UNKNOWN: 0}})),
            at("deny.", json!({"deny": {UNKNOWN: 0}})),
        ],
    )
}

#[test]
fn every_key_of_egress_allowlist_is_documented() -> Result<()> {
    let at = |prefix: &'static str, configuration| probe(prefix, prefix, configuration);
    check(
        "egress-allowlist",
        "key",
        &[
            at("", json!({UNKNOWN: 0})),
            at("identity.", json!({"identity": {UNKNOWN: 0}})),
            at("deny.", json!({"deny": {UNKNOWN: 0}})),
            probe("workloads[].", "workloads[0].", json!({"workloads": [{UNKNOWN: 0}]})),
            probe("sources[].", "sources[0].", json!({"rules": [], "sources": [{UNKNOWN: 0}]})),
        ],
    )?;
    check("egress-allowlist", "field of a rule", &[probe("", "rules[0].", json!({"rules": [{UNKNOWN: 0}]}))])
}

fn resource(kind: &str, spec: &Value) -> Value {
    json!({"resources": [{
        "apiVersion": "security.istio.io/v1", "kind": kind, "metadata": {"name": "p", "namespace": "shop"}, "spec": spec
    }]})
}

#[test]
fn every_field_of_policies_is_documented() -> Result<()> {
    let policy = |rule: Value| resource("AuthorizationPolicy", &json!({"rules": [rule]}));
    let spec = "shop/p: resources[0].spec.";
    let unknown = json!({UNKNOWN: 0});
    for (header, place, configuration) in [
        ("field of spec", spec, resource("AuthorizationPolicy", &unknown)),
        ("field of PeerAuthentication", spec, resource("PeerAuthentication", &unknown)),
        (
            "field of source",
            "shop/p: resources[0].spec.rules[0].from[0].source.",
            policy(json!({"from": [{"source": unknown}]})),
        ),
        (
            "field of operation",
            "shop/p: resources[0].spec.rules[0].to[0].operation.",
            policy(json!({"to": [{"operation": unknown}]})),
        ),
    ] {
        check("identity-authz", header, &[probe("", place, configuration)])?;
    }
    Ok(())
}

/// The name of a key of `when` without what stands in brackets.
fn bare(key: &str) -> &str {
    key.split('[').next().unwrap_or_default()
}

#[test]
fn every_key_of_conditions_is_documented() -> Result<()> {
    let policy = |key: &str| {
        resource(
            "AuthorizationPolicy",
            &json!({"action": "DENY", "rules": [{"when": [{"key": key, "values": ["x"]}]}]}),
        )
    };
    let unknown = |lines: &[String]| {
        let listed = lines.iter().find_map(|line| line.split_once("unknown key `")?.1.split_once("`, expected "));
        listed.map(|(_, keys)| words(keys).map(|key| bare(key).to_owned()).collect::<BTreeSet<_>>())
    };
    let known = unknown(&refusal("identity-authz", &policy(UNKNOWN))?).context("the filter lists no keys")?;
    let documented = documented(&page::named("docs/identity-authz.md")?, "key of when");
    let bare: BTreeSet<_> = documented.iter().map(|key| bare(key).to_owned()).collect();
    let missing: Vec<_> = known.difference(&bare).collect();
    ensure!(missing.is_empty(), "not documented: {missing:?}");
    for key in &documented {
        let lines = refusal("identity-authz", &policy(key))?;
        let refused = lines.iter().any(|line| line.contains("].key: "));
        ensure!(!refused, "the filter does not know `{key}`: {lines:#?}");
    }
    Ok(())
}

/// The counters of a configured filter after a request of sqlmap, without `sallyport.<filter>.`.
fn counters(filter: &str, configuration: &Value) -> Result<BTreeSet<String>> {
    let (mut vm, root) = Vm::configured(module(filter)?, &configuration.to_string())?;
    let request = Request::new("GET", "shop", "/").with("user-agent", b"sqlmap/1.8");
    vm.request(root, Connection::plaintext(1), request)?;
    let prefix = format!("sallyport.{}.", filter.replace('-', "_"));
    let name = |name: String| name.strip_prefix(&prefix).map(str::to_owned).context(name);
    vm.defined_counters().into_iter().map(name).collect()
}

/// Compares a documented name with a counter: `<…>` is any text without dots.
fn stands_for(documented: &str, counter: &str) -> bool {
    let (documented, counter): (Vec<_>, Vec<_>) = (documented.split('.').collect(), counter.split('.').collect());
    documented.len() == counter.len()
        && documented.iter().zip(counter).all(|(part, found)| match part.split_once('<') {
            Some((before, _)) => found.starts_with(before),
            None => *part == found,
        })
}

#[test]
fn every_counter_is_documented() -> Result<()> {
    let policy = |name: &str, action: &str| {
        json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"action": action, "rules": [{}]}
        })
    };
    let peer_authentication = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "strict", "namespace": "shop"}, "spec": {"mtls": {"mode": "STRICT"}}
    });
    let resources = [policy("no", "DENY"), policy("seen", "AUDIT"), peer_authentication];
    let mut custom = policy("ask", "CUSTOM");
    custom["spec"]["provider"] = json!({"name": "opa"});
    let found = [
        counters("identity-authz", &json!({"defaultAction": "ALLOW", "resources": resources}))?,
        counters("identity-authz", &json!({"stage": "custom", "customProviders": ["opa"], "resources": [custom]}))?,
        counters("baseline-deny", &json!({"presets": ["scanners"], "userAgent": {"missing": "deny"}}))?,
        counters("egress-allowlist", &json!({"rules": [{"name": "no", "action": "DENY", "hosts": ["x.com"]}]}))?,
    ];
    let found: BTreeSet<_> = found.into_iter().flatten().collect();
    let documented = documented(&page::named("docs/operations.md")?, "counter");
    for counter in &found {
        ensure!(documented.iter().any(|name| stands_for(name, counter)), "not documented: {counter}");
    }
    for name in &documented {
        ensure!(found.iter().any(|counter| stands_for(name, counter)), "no filter counts {name}, there are {found:#?}");
    }
    Ok(())
}
