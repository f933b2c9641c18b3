//! Soak of a real Envoy: changing callers over changing connections, with updates; memory of the process and of the VMs.

use std::fs;

use anyhow::{Context, Result, ensure};
use testbed::{CertificateAuthority, Client, Identity, SubjectAltName, http2_request};

use crate::loading::UPDATED_RULES;
use crate::rounds::BATCH;
use crate::threshold::{Outcome, Threshold};
use crate::updates::UpdatedFilter;
use crate::variant::{REQUEST, rule_per_caller};

/// Callers with a certificate of their own.
const CALLERS: usize = 200;

/// Batches of requests on a connection.
const BATCHES: u64 = 2;

/// Requests on a connection.
pub(crate) const REQUESTS_PER_CONNECTION: u64 = BATCHES * BATCH as u64;

/// Most growth of the process between a tenth and the end, in MiB: what an allocator keeps apart.
const MAX_GROWTH: usize = 16;

/// Memory of Envoy and of its VMs, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident memory of the process.
    pub(crate) process: usize,
    /// Linear memory of all VMs.
    pub(crate) vms: usize,
}

/// Result of a soak.
#[derive(Clone, Debug)]
pub(crate) struct EnvoySoakResult {
    pub(crate) requests: u64,
    pub(crate) connections: u64,
    pub(crate) updates: u64,
    /// After a tenth of the requests, and after all.
    pub(crate) memory: [Memory; 2],
}

/// Sends `requests` over new connections of changing callers, and updates the policies `updates` times meanwhile.
pub(crate) fn soak(updates: u64, requests: u64) -> Result<EnvoySoakResult> {
    let connections = requests.div_ceil(REQUESTS_PER_CONNECTION).max(10);
    let updated = UpdatedFilter::start("identity-authz", &configuration(0))?;
    let callers = callers(updated.server.authority())?;
    let clients = callers.iter().map(|caller| updated.client(caller)).collect::<Result<Vec<_>>>()?;
    let request = http2_request(&REQUEST.map(|(name, value)| (name.to_vec(), value.to_vec())))?;
    let batch = [request.as_slice(); BATCH];
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut memory, mut done) = ([Memory::default(); 2], 0);
    for number in 0..connections {
        if number * updates / connections > done {
            done += 1;
            updated.write(&configuration(done))?;
        }
        // The last caller is in no policy.
        let caller = rng.usize(..CALLERS);
        let client: &Client = clients.get(caller).context("a client")?;
        let mut connection = client.http2()?;
        for _ in 0..BATCHES {
            let answers = connection.are_ok(&batch)?;
            let allowed = caller + 1 < CALLERS;
            ensure!(answers.iter().all(|answer| *answer == allowed), "caller {caller} was answered {answers:?}");
        }
        if number + 1 == connections / 10 {
            memory[0] = measure(updated.server.process()?)?;
        }
        if number % (connections / 20).max(1) == 0 {
            eprintln!("bench: {number} of {connections} connections, {done} updates");
        }
    }
    memory[1] = measure(updated.server.process()?)?;
    Ok(EnvoySoakResult { requests: connections * REQUESTS_PER_CONNECTION, connections, updates: done, memory })
}

/// The thresholds of a soak: neither grows.
pub(crate) fn thresholds(result: &EnvoySoakResult) -> [Threshold; 2] {
    let [early, late] = result.memory;
    let grown = |name: &str, early: usize, late: usize, limit: usize| Threshold {
        name: format!("MiB of {name} gained between a tenth and all of the soak"),
        limit: format!("at most {limit}"),
        outcome: Some(Outcome {
            value: (late.saturating_sub(early) >> 20).to_string(),
            met: late.saturating_sub(early) <= limit << 20,
        }),
    };
    [
        grown("the process", early.process, late.process, MAX_GROWTH),
        grown("linear memory of the VMs", early.vms, late.vms, 0),
    ]
}

/// A policy that lets all callers in but the last, and differs by version.
fn configuration(version: u64) -> String {
    let others = (0..UPDATED_RULES - CALLERS).map(|number| format!("other-{number}-of-{version}"));
    let callers = (0..CALLERS - 1).map(name).chain(others);
    rule_per_caller(&callers.map(|caller| format!("cluster.local/ns/shop/sa/{caller}")).collect::<Vec<_>>()).to_string()
}

fn name(caller: usize) -> String {
    format!("soaked-{caller}")
}

fn callers(authority: &CertificateAuthority) -> Result<Vec<Identity>> {
    let uri = |caller| format!("spiffe://cluster.local/ns/shop/sa/{}", name(caller));
    (0..CALLERS).map(|caller| authority.issue(&[SubjectAltName::Uri(uri(caller))])).collect()
}

/// Reads the memory of a process (proc(5), `status` and `maps`).
fn measure(process: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: usize = resident.trim().trim_end_matches(" kB").parse()?;
    Ok(Memory { process: kibibytes << 10, vms: linear_memory(&fs::read_to_string(format!("/proc/{process}/maps"))?) })
}

/// The linear memory in a list of mappings: V8 keeps at least 4 GiB behind the memory of a VM out of reach, so that no
/// address of 32 bits leaves it.
fn linear_memory(maps: &str) -> usize {
    let mapping = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16));
        let (start, end) = (start.ok()?, end.ok()?);
        Some((start, end, words.next()?.to_owned(), words.nth(3).is_some()))
    };
    let mappings: Vec<_> = maps.lines().filter_map(mapping).collect();
    let pairs = mappings.iter().zip(mappings.iter().skip(1));
    let memories = pairs.filter(|((_, end, rights, is_named), (start, next, behind, _))| {
        rights == "rw-p" && !is_named && behind == "---p" && start == end && next - start >= (4 << 30) - (end - start)
    });
    memories.map(|((start, end, ..), _)| end - start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_memory_has_room_behind_it() {
        let maps = "\
            100000000000-100000200000 rw-p 00000000 00:00 0 \n\
            100000200000-100300000000 ---p 00000000 00:00 0 \n\
            200000000000-200000100000 rw-p 00000000 00:00 0 [heap]\n\
            200000100000-200300000000 ---p 00000000 00:00 0 \n\
            300000000000-300000100000 rw-p 00000000 00:00 0 \n\
            300000100000-300000200000 ---p 00000000 00:00 0 \n\
            400000000000-400000300000 rw-p 00000000 00:00 0 \n\
            400000400000-400400000000 ---p 00000000 00:00 0 \n";
        assert_eq!(linear_memory(maps), 2 << 20);
    }
}
