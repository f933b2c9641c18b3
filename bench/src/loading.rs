//! What rules cost before the first request, and what is left behind by updates and requests: time and linear memory
//! of one VM.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use host_tests::host::{Connection, Module, Request, Root, Vm};

use crate::variant::{self, CALLER};

/// What it took to load so many principals.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) rules: usize,
    /// In seconds.
    pub(crate) time: f64,
    /// In bytes.
    pub(crate) memory: usize,
}

/// The linear memory of one VM over its life, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Soaked {
    pub(crate) updates: u64,
    pub(crate) requests: u64,
    /// After the first tenth of the updates, and after all of them.
    pub(crate) by_updates: [usize; 2],
    /// After the first tenth of the requests, and after all of them.
    pub(crate) by_requests: [usize; 2],
}

/// Rules of the policy that is updated.
const UPDATED_RULES: usize = 100;

/// How many requests come by one connection.
const REQUESTS_A_CONNECTION: u64 = 100;

fn module() -> Result<Module> {
    testbed::build_filters()?;
    Module::load(&testbed::filter_path("identity-authz"))
}

/// Loads policies of some sizes, each into a VM of its own.
pub(crate) fn load(sizes: &[usize]) -> Result<Vec<Loaded>> {
    let module = module()?;
    let one = |rules: usize| {
        let configuration = variant::principals(rules).to_string();
        let mut vm = Vm::start(&module)?;
        let start = Instant::now();
        vm.configure(configuration.as_bytes())??;
        Ok(Loaded { rules, time: start.elapsed().as_secs_f64(), memory: vm.memory() })
    };
    sizes.iter().map(|rules| one(*rules)).collect()
}

/// Updates a VM's configuration so often, then sends so many requests by ever new connections.
pub(crate) fn soak(updates: u64, requests: u64) -> Result<Soaked> {
    let mut vm = Vm::start(&module()?)?;
    let configuration = variant::principals(UPDATED_RULES).to_string();
    let mut root = vm.configure(configuration.as_bytes())??;
    let by_updates = tenth_and_all(&mut vm, updates, |vm, _, count| {
        for _ in 0..count {
            let next = vm.configure(configuration.as_bytes())??;
            vm.delete(root)?;
            root = next;
        }
        Ok(())
    })?;
    let by_requests = tenth_and_all(&mut vm, requests, |vm, done, count| send(vm, root, done, count))?;
    Ok(Soaked { updates, requests, by_updates, by_requests })
}

fn send(vm: &mut Vm, root: Root, done: u64, count: u64) -> Result<()> {
    let by = |number: u64| Connection {
        id: (done + number) / REQUESTS_A_CONNECTION,
        certificate: Some(vec![format!("spiffe://{CALLER}")]),
        validated: Some(true),
        tls: true,
        source: SocketAddr::from(([198, 51, 100, 1], 40_000)),
        destination: SocketAddr::from(([192, 0, 2, 1], 443)),
        server_name: None,
        filter_state: BTreeMap::new(),
        metadata: Vec::new(),
    };
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
