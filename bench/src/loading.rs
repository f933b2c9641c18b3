//! The cost of rules before the first request, and the growth over updates and requests: time and linear memory of one
//! VM.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use host_tests::filter;
use host_tests::wasm_host::{Connection, Request, Root, Vm};
use serde_json::json;

use crate::variant::{self, CALLER};

/// The kind of rules that a configuration repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Principals,
    RulePerPrincipal,
    RulePerPath,
    Clauses,
    Hosts,
    UserAgents,
}

impl Shape {
    /// All shapes, in the order of the table.
    pub(crate) const ALL: [Self; 5] =
        [Self::Principals, Self::RulePerPrincipal, Self::RulePerPath, Self::Hosts, Self::UserAgents];

    /// The shapes that are updated in Envoy.
    pub(crate) const UPDATED: [Self; 6] =
        [Self::Principals, Self::RulePerPrincipal, Self::RulePerPath, Self::Clauses, Self::Hosts, Self::UserAgents];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Principals => "principals in one rule",
            Self::RulePerPrincipal => "rules with one principal each",
            Self::RulePerPath => "rules with one path each, for one principal",
            Self::Clauses => "clauses of rules with ten principals and ten paths each",
            Self::Hosts => "hosts (egress-allowlist)",
            Self::UserAgents => "user-agent patterns (baseline-deny)",
        }
    }

    pub(crate) fn filter(self) -> &'static str {
        match self {
            Self::Principals | Self::RulePerPrincipal | Self::RulePerPath | Self::Clauses => "identity-authz",
            Self::Hosts => "egress-allowlist",
            Self::UserAgents => "baseline-deny",
        }
    }

    /// A small configuration that denies the request.
    pub(crate) fn denies(self) -> String {
        match self.filter() {
            "baseline-deny" => variant::denied_user_agents(&["Mozilla*".to_owned()]),
            "egress-allowlist" => json!({"rules": [{"name": "other", "hosts": ["other.example.com"]}]}),
            _ => json!({"defaultAction": "DENY", "resources": []}),
        }
        .to_string()
    }

    pub(crate) fn configuration(self, rules: usize) -> String {
        match self {
            Self::Principals => variant::principals(rules),
            Self::RulePerPrincipal => variant::rule_per_principal(rules),
            Self::RulePerPath => variant::rule_per_path(rules),
            Self::Clauses => variant::clauses(rules),
            Self::Hosts => variant::hosts(rules),
            Self::UserAgents => variant::user_agents(rules),
        }
        .to_string()
    }
}

/// Time and memory of loading one configuration.
#[derive(Clone, Debug)]
pub(crate) struct LoadResult {
    /// The kind of rules.
    pub(crate) shape: Shape,
    /// The number of rules, or of values where one rule has them all.
    pub(crate) rules: usize,
    /// Time from the configuration to its acceptance, in seconds.
    pub(crate) seconds: f64,
    /// Linear memory of the VM afterwards, in bytes.
    pub(crate) memory: usize,
}

/// Growth of one VM over many updates and requests.
#[derive(Clone, Debug)]
pub(crate) struct SoakResult {
    /// The number of configuration updates.
    pub(crate) updates: u64,
    /// The number of requests after the updates.
    pub(crate) requests: u64,
    /// Mean seconds per update, of the first tenth and of the rest.
    pub(crate) update_seconds: [f64; 2],
    /// Bytes of linear memory after the first tenth of the updates, and after all of them.
    pub(crate) memory_after_updates: [usize; 2],
    /// Bytes of linear memory after the first tenth of the requests, and after all of them.
    pub(crate) memory_after_requests: [usize; 2],
}

/// The number of rules of the policy that is updated.
pub(crate) const UPDATED_RULES: usize = 1_000;

/// Requests per connection: few enough that a tenth of the soak has more connections than the filter caches.
pub(crate) const REQUESTS_PER_CONNECTION: u64 = 10;

/// Loads rules of all shapes up to a size, each into a VM of its own.
pub(crate) fn load(max_size: usize) -> Result<Vec<LoadResult>> {
    let mut results = Vec::new();
    for shape in Shape::ALL {
        let module = filter::load(shape.filter())?;
        for rules in [10, 100, 1_000, 10_000, 100_000].into_iter().filter(|size| *size <= max_size) {
            let configuration = shape.configuration(rules);
            let mut vm = Vm::start(&module)?;
            let start = Instant::now();
            vm.configure(configuration.as_bytes())??;
            results.push(LoadResult { shape, rules, seconds: start.elapsed().as_secs_f64(), memory: vm.memory() });
        }
    }
    Ok(results)
}

/// Updates a VM's configuration `updates` times, each time with another principal, then sends `requests` requests over
/// new connections.
pub(crate) fn soak(updates: u64, requests: u64) -> Result<SoakResult> {
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    let configuration = |number: u64| {
        let rules = Shape::RulePerPrincipal.configuration(UPDATED_RULES);
        rules.replace("caller-17\"", &format!("caller-{number}-of-updates\""))
    };
    let mut root = vm.configure(configuration(0).as_bytes())??;
    let mut update_seconds = Vec::new();
    let memory_after_updates = memory_at_tenth_and_end(&mut vm, updates, |vm, done, count| {
        let mut total = Duration::ZERO;
        for number in done..done + count {
            let configuration = configuration(number);
            let start = Instant::now();
            root = vm.update(root, configuration.as_bytes())??;
            total += start.elapsed();
        }
        update_seconds.push(total.div_f64(f64::from(u32::try_from(count.max(1))?)).as_secs_f64());
        Ok(())
    })?;
    let memory_after_requests =
        memory_at_tenth_and_end(&mut vm, requests, |vm, done, count| send(vm, root, done, count))?;
    let update_seconds = update_seconds.try_into().map_err(|_| anyhow!("expected two parts of the updates"))?;
    Ok(SoakResult { updates, requests, update_seconds, memory_after_updates, memory_after_requests })
}

fn send(vm: &mut Vm, root: Root, done: u64, count: u64) -> Result<()> {
    let caller = format!("spiffe://{CALLER}");
    let connection = |number: u64| Connection::mtls((done + number) / REQUESTS_PER_CONNECTION, &caller);
    let allowed = vm.soak(root, count, &Request::new("GET", "api.example.com", "/orders/17"), connection)?;
    ensure!(allowed == count, "{allowed} of {count} requests were allowed");
    Ok(())
}

/// Runs `act` on ranges (first, count) that cover `times`; returns the memory after a tenth and at the end.
fn memory_at_tenth_and_end(
    vm: &mut Vm,
    times: u64,
    mut act: impl FnMut(&mut Vm, u64, u64) -> Result<()>,
) -> Result<[usize; 2]> {
    let tenth = times / 10;
    act(vm, 0, tenth)?;
    let early = vm.memory();
    act(vm, tenth, times - tenth)?;
    Ok([early, vm.memory()])
}
