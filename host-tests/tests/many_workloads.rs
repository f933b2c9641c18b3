//! One configuration with the policies of 50 workloads: each workload's filter applies its own and no other.

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::host::{Connection, Outcome, Request, Root, Vm};
use host_tests::suite::{Case, envoy};
use serde_json::{Value, json};

const WORKLOADS: usize = 50;

/// The policies of each workload: ALLOWs for one caller each, an ALLOW for everyone and a DENY.
const POLICIES: usize = 20;
const CALLERS: usize = POLICIES - 2;

/// A workload, by its number: five in a namespace, with names that other namespaces have too.
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

    /// What its proxy says it fronts.
    fn declared(self) -> Value {
        json!({"namespace": self.namespace(), "labels": {"app": self.app(), "tier": "back"}, "service": self.app()})
    }

    /// How its policies point at it, by turns.
    fn target(self, turn: usize) -> (&'static str, Value) {
        match turn % 3 {
            0 => ("selector", json!({"matchLabels": {"app": self.app()}})),
            1 => ("selector", json!({"matchLabels": {"app": self.app(), "tier": "back"}})),
            _ => ("targetRefs", json!([{"group": "", "kind": "Service", "name": self.app()}])),
        }
    }

    fn policy(self, turn: usize) -> Value {
        let (name, mut spec) = match turn {
            0 => ("no-deletes".to_owned(), json!({"action": "DENY", "rules": [self.deleted_by_anyone()]})),
            1 => ("shared".to_owned(), json!({"rules": [{"to": [{"operation": {"paths": ["/shared/*"]}}]}]})),
            turn => {
                let caller = turn - 2;
                let source = json!({"principals": [self.caller(caller).trim_start_matches("spiffe://")]});
                let operation = json!({"paths": [self.path(caller)]});
                let rule = json!({"from": [{"source": source}], "to": [{"operation": operation}]});
                (format!("caller-{caller}"), json!({"rules": [rule]}))
            }
        };
        let (key, target) = self.target(turn);
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

    fn deleted_by_anyone(self) -> Value {
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

/// All policies, those of one workload far from each other.
fn resources() -> Vec<Value> {
    (0..POLICIES).flat_map(|turn| Workload::all().map(move |workload| workload.policy(turn))).collect()
}

fn configuration(workload: Workload, resources: &[Value]) -> Value {
    json!({"workload": workload.declared(), "resources": resources})
}

/// A request by a caller of `of` in its own connection.
fn ask(vm: &mut Vm, root: Root, of: Workload, caller: usize, method: &str, path: &str) -> Result<Outcome> {
    let connection = Connection::mtls(u64::try_from(of.0 * CALLERS + caller)?, &of.caller(caller));
    vm.request(root, connection, Request::new(method, "orders.shop", path))
}

#[test]
fn in_one_configuration_of_1000_policies_each_of_50_workloads_applies_its_own() -> Result<()> {
    let resources = resources();
    ensure!(resources.len() == 1000, "{} policies", resources.len());
    // As in Envoy, where the filters of one vm_id share a VM.
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    let mut roots = Vec::new();
    for workload in Workload::all() {
        roots.push((workload, vm.configure(configuration(workload, &resources).to_string().as_bytes())??));
        let line = vm.log().last().context("no log")?;
        let expected = "sallyport identity_authz: loaded 1000 resources, 20 apply here, 20 enforced, 0 only reported";
        ensure!(line.message == expected, "{line:?}");
    }
    for (here, root) in roots {
        for of in Workload::all() {
            // All of its own, and by turns some of every other.
            for caller in (0..CALLERS).filter(|caller| of == here || (caller + here.0).is_multiple_of(6)) {
                let outcome = ask(&mut vm, root, of, caller, "GET", &of.path(caller))?;
                ensure!(outcome.goes_on == (of == here), "caller {caller} of {of:?} at {here:?}: {outcome:?}");
            }
            let outcome = ask(&mut vm, root, of, 0, "DELETE", &of.shared())?;
            ensure!(outcome.goes_on == (of != here), "the DENY of {of:?} at {here:?}: {outcome:?}");
        }
    }
    Ok(())
}

#[test]
fn so_it_is_in_envoy() -> Result<()> {
    testbed::build_filters()?;
    let resources = resources();
    let mut cases: Vec<Case> = Vec::new();
    // The first and the last, a neighbour in one namespace, and one of the same name in another.
    for here in [Workload(0), Workload(1), Workload(5), Workload(WORKLOADS - 1)] {
        let configuration = configuration(here, &resources);
        let mut add = |of: Workload, request: Value, expect: Value| -> Result<()> {
            let caller = json!({"peer": of.caller(0)});
            let name = format!("{of:?} at {here:?}: {request}");
            let case = json!({"name": name, "configuration": configuration, "caller": caller, "request": request, "expect": expect});
            cases.push(serde_json::from_value(case)?);
            Ok(())
        };
        for of in [here, Workload(2), Workload(10), Workload(WORKLOADS - 2)] {
            let answer = if of == here { "reached" } else { "denied" };
            add(of, json!({"path": of.path(0)}), json!({"answer": answer}))?;
            let expected = match of == here {
                true => json!({"answer": "denied", "policy": format!("{}/{}-no-deletes", of.namespace(), of.app())}),
                false => json!({"answer": "reached"}),
            };
            add(of, json!({"method": "DELETE", "path": of.shared()}), expected)?;
        }
    }
    let folder = tempfile::tempdir()?;
    let stage = envoy::Stage::start("identity-authz", &cases, testbed::envoy_binary()?, folder.path().to_owned())?;
    for case in &cases {
        stage.play(case).with_context(|| case.name.clone())?;
    }
    stage.check_counters(&cases)
}
