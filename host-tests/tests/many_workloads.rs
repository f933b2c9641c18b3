//! One set of policies for 50 workloads: each workload's filter applies its own policies and no others.

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::suite::{Case, envoy};
use host_tests::wasm_host::{Connection, Request, RequestOutcome, Root, Vm};
use serde_json::{Value, json};

const WORKLOADS: usize = 50;

/// The number of policies of each workload: a DENY, an ALLOW for everyone, and an ALLOW for each caller.
const POLICIES: usize = 20;
const CALLERS: usize = POLICIES - 2;

/// A workload, by its number. Each namespace has five, whose names other namespaces use too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Workload(usize);

impl Workload {
    fn all() -> impl Iterator<Item = Self> {
        (0..WORKLOADS).map(Self)
    }

    fn namespace(self) -> String {
        format!("team-{}", self.0 / 5)
    }

    fn app(self) -> String {
        format!("app-{}", self.0 % 5)
    }

    /// Returns the key `workload` of its filter's configuration.
    fn key(self) -> Value {
        json!({"namespace": self.namespace(), "labels": {"app": self.app(), "tier": "back"}, "service": self.app()})
    }

    /// Returns a selector or targetRefs, in turn.
    fn target(self, index: usize) -> (&'static str, Value) {
        match index % 3 {
            0 => ("selector", json!({"matchLabels": {"app": self.app()}})),
            1 => ("selector", json!({"matchLabels": {"app": self.app(), "tier": "back"}})),
            _ => ("targetRefs", json!([{"group": "", "kind": "Service", "name": self.app()}])),
        }
    }

    fn policy(self, index: usize) -> Value {
        let (name, mut spec) = match index {
            0 => ("no-deletes".to_owned(), json!({"action": "DENY", "rules": [self.delete_rule()]})),
            1 => ("shared".to_owned(), json!({"rules": [{"to": [{"operation": {"paths": ["/shared/*"]}}]}]})),
            index => {
                let caller = index - 2;
                let source = json!({"principals": [self.caller(caller).trim_start_matches("spiffe://")]});
                let operation = json!({"paths": [self.path(caller)]});
                let rule = json!({"from": [{"source": source}], "to": [{"operation": operation}]});
                (format!("caller-{caller}"), json!({"rules": [rule]}))
            }
        };
        let (key, target) = self.target(index);
        if let Value::Object(keys) = &mut spec {
            keys.insert(key.to_owned(), target);
        }
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": format!("{}-{name}", self.app()), "namespace": self.namespace()},
            "spec": spec
        })
    }

    fn delete_rule(self) -> Value {
        json!({"to": [{"operation": {"methods": ["DELETE"], "paths": [self.shared()]}}]})
    }

    fn caller(self, number: usize) -> String {
        format!("spiffe://cluster.local/ns/{}/sa/{}-{number}", self.namespace(), self.app())
    }

    fn path(self, caller: usize) -> String {
        format!("/{}/{}/{caller}", self.namespace(), self.app())
    }

    fn shared(self) -> String {
        format!("/shared/{}/{}", self.namespace(), self.app())
    }
}

/// Returns all policies, interleaved by workload.
fn resources() -> Vec<Value> {
    (0..POLICIES).flat_map(|index| Workload::all().map(move |workload| workload.policy(index))).collect()
}

fn configuration(workload: Workload, resources: &[Value]) -> Value {
    json!({"workload": workload.key(), "resources": resources})
}

/// Sends a request of a caller of `owner`, on a connection of its own.
fn send(vm: &mut Vm, root: Root, owner: Workload, caller: usize, method: &str, path: &str) -> Result<RequestOutcome> {
    let connection = Connection::mtls(u64::try_from(owner.0 * CALLERS + caller)?, &owner.caller(caller));
    vm.request(root, connection, Request::new(method, "orders.shop", path))
}

#[test]
fn of_1000_policies_each_of_50_workloads_applies_its_own() -> Result<()> {
    let resources = resources();
    ensure!(resources.len() == 1000, "{} policies", resources.len());
    // As in Envoy, where the filters of one vm_id share a VM.
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    let mut roots = Vec::new();
    for workload in Workload::all() {
        roots.push((workload, vm.configure(configuration(workload, &resources).to_string().as_bytes())??));
        let line = vm.log().iter().rfind(|line| line.message.contains(": loaded ")).context("no log")?;
        let expected = " identity_authz: loaded 1000 resources, 20 apply here, 20 enforced, 0 only reported";
        ensure!(line.message.ends_with(expected), "{line:?}");
    }
    for (here, root) in roots {
        for owner in Workload::all() {
            // All of its own callers, and some of every other workload's.
            for caller in (0..CALLERS).filter(|caller| owner == here || (caller + here.0).is_multiple_of(6)) {
                let outcome = send(&mut vm, root, owner, caller, "GET", &owner.path(caller))?;
                ensure!(outcome.continues == (owner == here), "caller {caller} of {owner:?} at {here:?}: {outcome:?}");
            }
            let outcome = send(&mut vm, root, owner, 0, "DELETE", &owner.shared())?;
            ensure!(outcome.continues == (owner != here), "the DENY of {owner:?} at {here:?}: {outcome:?}");
        }
    }
    Ok(())
}

#[test]
fn in_envoy_each_workload_applies_its_own_policies() -> Result<()> {
    testbed::build_filters()?;
    let resources = resources();
    let mut cases: Vec<Case> = Vec::new();
    // The first and the last, a neighbour in one namespace, and one of the same name in another.
    for here in [Workload(0), Workload(1), Workload(5), Workload(WORKLOADS - 1)] {
        let configuration = configuration(here, &resources);
        let mut add = |owner: Workload, request: Value, expect: Value| -> Result<()> {
            let caller = json!({"peer": owner.caller(0)});
            let name = format!("{owner:?} at {here:?}: {request}");
            let case = json!({"name": name, "configuration": configuration, "caller": caller, "request": request, "expect": expect});
            cases.push(serde_json::from_value(case)?);
            Ok(())
        };
        for owner in [here, Workload(2), Workload(10), Workload(WORKLOADS - 2)] {
            let answer = if owner == here { "reached" } else { "denied" };
            add(owner, json!({"path": owner.path(0)}), json!({"answer": answer}))?;
            let expected = match owner == here {
                true => {
                    json!({"answer": "denied", "policy": format!("{}/{}-no-deletes", owner.namespace(), owner.app())})
                }
                false => json!({"answer": "reached"}),
            };
            add(owner, json!({"method": "DELETE", "path": owner.shared()}), expected)?;
        }
    }
    let folder = tempfile::tempdir()?;
    let fixture =
        envoy::EnvoyFixture::start("identity-authz", &cases, testbed::envoy_binary()?, folder.path().to_owned())?;
    for case in &cases {
        fixture.play(case).with_context(|| case.name.clone())?;
    }
    fixture.check_counters(&cases)
}
