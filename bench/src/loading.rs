//! What rules cost before the first request, and what is left behind by updates and requests: time and linear memory
//! of one VM.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use host_tests::filter;
use host_tests::host::{Connection, Request, Root, Vm};

use crate::variant::{self, CALLER};

/// What there are many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Principals,
    RuleEach,
    Paths,
    Hosts,
    UserAgents,
}

impl Shape {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 5] = [Self::Principals, Self::RuleEach, Self::Paths, Self::Hosts, Self::UserAgents];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Principals => "principals in one rule",
            Self::RuleEach => "rules of a principal each",
            Self::Paths => "rules of a path each, under one principal",
            Self::Hosts => "hosts (egress-allowlist)",
            Self::UserAgents => "user-agent patterns (baseline-deny)",
        }
    }

    fn filter(self) -> &'static str {
        match self {
            Self::Principals | Self::RuleEach | Self::Paths => "identity-authz",
            Self::Hosts => "egress-allowlist",
            Self::UserAgents => "baseline-deny",
        }
    }

    fn configuration(self, rules: usize) -> String {
        match self {
            Self::Principals => variant::principals(rules),
            Self::RuleEach => variant::rule_each(rules),
            Self::Paths => variant::paths_under_one_principal(rules),
            Self::Hosts => variant::hosts(rules),
            Self::UserAgents => variant::user_agents(rules),
        }
        .to_string()
    }
}

/// What it took to load so many rules.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) shape: Shape,
    pub(crate) rules: usize,
    /// In seconds.
    pub(crate) time: f64,
    /// In bytes.
    pub(crate) memory: usize,
}

/// One VM over its life.
#[derive(Clone, Debug)]
pub(crate) struct Soaked {
    pub(crate) updates: u64,
    pub(crate) requests: u64,
    /// The seconds of one update, in the mean of the first tenth and of all after it.
    pub(crate) times: [f64; 2],
    /// Bytes of linear memory after the first tenth of the updates, and after all of them.
    pub(crate) by_updates: [usize; 2],
    /// Bytes of linear memory after the first tenth of the requests, and after all of them.
    pub(crate) by_requests: [usize; 2],
}

/// Rules of the policy that is updated.
pub(crate) const UPDATED_RULES: usize = 1_000;

/// How many requests come by one connection: so few that a tenth of the soak has more connections than the filter
/// remembers.
pub(crate) const REQUESTS_A_CONNECTION: u64 = 10;

/// Loads policies of all shapes up to a size, each into a VM of its own.
pub(crate) fn load(largest: usize) -> Result<Vec<Loaded>> {
    let mut found = Vec::new();
    for shape in Shape::ALL {
        let module = filter::load(shape.filter())?;
        for rules in [10, 100, 1_000, 10_000, 100_000].into_iter().filter(|size| *size <= largest) {
            let configuration = shape.configuration(rules);
            let mut vm = Vm::start(&module)?;
            let start = Instant::now();
            vm.configure(configuration.as_bytes())??;
            found.push(Loaded { shape, rules, time: start.elapsed().as_secs_f64(), memory: vm.memory() });
        }
    }
    Ok(found)
}

/// Updates a VM's configuration so often, each time with another principal in it, then sends so many requests by ever
/// new connections.
pub(crate) fn soak(updates: u64, requests: u64) -> Result<Soaked> {
    let mut vm = Vm::start(&filter::load("identity-authz")?)?;
    let configuration = |number: u64| {
        let shape = Shape::RuleEach.configuration(UPDATED_RULES);
        shape.replace("caller-17\"", &format!("caller-{number}-of-updates\""))
    };
    let mut root = vm.configure(configuration(0).as_bytes())??;
    let mut times = Vec::new();
    let by_updates = tenth_and_all(&mut vm, updates, |vm, done, count| {
        let mut whole = Duration::ZERO;
        for number in done..done + count {
            let configuration = configuration(number);
            let start = Instant::now();
            root = vm.update(root, configuration.as_bytes())??;
            whole += start.elapsed();
        }
        times.push(whole.div_f64(f64::from(u32::try_from(count.max(1))?)).as_secs_f64());
        Ok(())
    })?;
    let by_requests = tenth_and_all(&mut vm, requests, |vm, done, count| send(vm, root, done, count))?;
    let times = times.try_into().map_err(|_| anyhow!("there are two parts of the updates"))?;
    Ok(Soaked { updates, requests, times, by_updates, by_requests })
}

fn send(vm: &mut Vm, root: Root, done: u64, count: u64) -> Result<()> {
    let caller = format!("spiffe://{CALLER}");
    let by = |number: u64| Connection::mtls((done + number) / REQUESTS_A_CONNECTION, &caller);
    let gone_on = vm.soak(root, count, &Request::new("GET", "api.example.com", "/orders/17"), by)?;
    ensure!(gone_on == count, "{gone_on} of {count} requests went on");
    Ok(())
}

/// Does something so many times, and tells the memory after a tenth and at the end.
fn tenth_and_all(vm: &mut Vm, times: u64, mut act: impl FnMut(&mut Vm, u64, u64) -> Result<()>) -> Result<[usize; 2]> {
    let tenth = times / 10;
    act(vm, 0, tenth)?;
    let early = vm.memory();
    act(vm, tenth, times - tenth)?;
    Ok([early, vm.memory()])
}
