//! `egress-allowlist` where an address leads to a host and Envoy does not take that host.

use anyhow::{Context, Result, ensure};
use host_tests::wasm_host::{Connection, InjectedFailure, Request, RequestOutcome, Root, Vm};
use host_tests::{filter, policy};

/// The status InternalFailure, which Envoy returns for a capability that is not granted.
const INTERNAL_FAILURE: u32 = 10;

const ENTRY: &str = "
serviceEntryAddresses: host
resources:
- apiVersion: networking.istio.io/v1
  kind: ServiceEntry
  metadata: {name: db, namespace: shop}
  spec: {hosts: [db.test], addresses: [240.0.0.1], ports: [{number: 443, name: tls}], exportTo: [\"*\"]}
";

fn configured(yaml: &str) -> Result<(Vm, Root)> {
    Vm::configured(&filter::load("egress-allowlist")?, &policy::configuration(yaml)?)
}

fn connect(vm: &mut Vm, root: Root) -> Result<RequestOutcome> {
    vm.request(root, Connection::without_certificate(1), Request::new("CONNECT", "240.0.0.1:443", ""))
}

fn set_calls(outcome: &RequestOutcome) -> usize {
    outcome.host_calls.iter().filter(|call| call.ends_with("set_envoy_filter_state")).count()
}

/// The calls that set the host and the port.
const CALLS: usize = 2;

#[test]
fn a_host_that_envoy_does_not_take_is_a_denial() -> Result<()> {
    let (mut vm, root) = configured(ENTRY)?;
    let outcome = connect(&mut vm, root)?;
    ensure!(outcome.continues && set_calls(&outcome) == CALLS, "{outcome:?}");
    let call = "proxy_call_foreign_function set_envoy_filter_state".to_owned();
    vm.inject_failure(Some(InjectedFailure { call, status: INTERNAL_FAILURE }));
    let outcome = connect(&mut vm, root)?;
    ensure!(!outcome.continues, "{outcome:?}");
    let reason = outcome.filter_state.get("wasm.sallyport.egress_allowlist.reason").context("no reason")?;
    ensure!(
        reason.starts_with(
            "the proxy did not take the host that the address leads to: InternalFailure: CONNECT to db.test"
        ),
        "{reason}"
    );
    vm.inject_failure(None);
    vm.tick(root)?;
    ensure!(vm.counters().get("sallyport.egress_allowlist.errors") == Some(&1), "{:?}", vm.counters());
    Ok(())
}

#[test]
fn in_report_mode_it_is_reported() -> Result<()> {
    let (mut vm, root) = configured(&format!("mode: report{ENTRY}"))?;
    let call = "proxy_call_foreign_function set_envoy_filter_state".to_owned();
    vm.inject_failure(Some(InjectedFailure { call, status: INTERNAL_FAILURE }));
    let outcome = connect(&mut vm, root)?;
    let decision = outcome.filter_state.get("wasm.sallyport.egress_allowlist.decision");
    ensure!(outcome.continues && decision.is_some_and(|decision| decision == "would_deny"), "{outcome:?}");
    Ok(())
}

#[test]
fn without_the_setting_and_for_a_denial_nothing_is_set() -> Result<()> {
    let by_name = ENTRY.replace("serviceEntryAddresses: host", "ipAddresses: deny");
    let denied = ENTRY.replace("number: 443", "number: 8443");
    for yaml in [by_name, denied] {
        let (mut vm, root) = configured(&yaml)?;
        let outcome = connect(&mut vm, root)?;
        ensure!(!outcome.continues && set_calls(&outcome) == 0, "{outcome:?}");
    }
    Ok(())
}
