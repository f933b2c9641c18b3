//! Soak of a real Envoy: changing callers over changing connections, with updates; memory of the process and of the VMs.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
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

/// Parts of a soak, after each of which memory is measured.
const PARTS: usize = 10;

/// Most growth of the process between a tenth and the end, in bytes: what an allocator keeps apart.
const MAX_PROCESS_GROWTH: usize = 16 << 20;

/// Most growth of the VMs in the second half, in bytes: a page of 64 KiB for the worker's and one for the main thread's.
///
/// The linear memory of a VM is the most that it ever needed at once. An update needs the configuration before it and the
/// new one, whose pieces lie in other gaps each time. So it rises in the first updates, and later by a page now and then.
/// A leak at each update, request or connection makes it rise all the time: of five hundred updates, 256
/// bytes each are two pages.
const MAX_VM_GROWTH: usize = 2 * (64 << 10);

/// Least time between two updates: a filter drops what was replaced within a second, and three configurations at a time
/// would take memory for good.
const BETWEEN_UPDATES: Duration = Duration::from_millis(1_500);

/// Looks at the memory, and the time between two. Envoy checks a new configuration in a VM that it then drops, so the
/// least of them counts.
const LOOKS: usize = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Memory of Envoy and of its VMs, in bytes.
#[derive(Clone, Copy, Debug)]
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
    /// After each tenth of the requests.
    pub(crate) memory: [Memory; PARTS],
}

/// Sends `requests` over new connections of changing callers, and updates the policies meanwhile, `updates` times if
/// that many find [time](BETWEEN_UPDATES).
pub(crate) fn soak(updates: u64, requests: u64) -> Result<EnvoySoakResult> {
    let parts = u64::try_from(PARTS)?;
    let connections = requests.div_ceil(REQUESTS_PER_CONNECTION).next_multiple_of(parts);
    let updated = UpdatedFilter::start("identity-authz", &configuration(0))?;
    let callers = callers(updated.server.authority())?;
    let clients = callers.iter().map(|caller| updated.client(caller)).collect::<Result<Vec<_>>>()?;
    let request = http2_request(&REQUEST.map(|(name, value)| (name.to_vec(), value.to_vec())))?;
    let batch = [request.as_slice(); BATCH];
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut memory, mut done, mut updated_at) = (Vec::with_capacity(PARTS), 0, Instant::now());
    for number in 0..connections {
        if number * updates / connections > done && updated_at.elapsed() >= BETWEEN_UPDATES {
            (done, updated_at) = (done + 1, Instant::now());
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
        if (number + 1) % (connections / parts) == 0 {
            let now = least(updated.server.process()?)?;
            let [process, vms] = [now.process, now.vms].map(|bytes| bytes >> 10);
            eprintln!(
                "bench: {} of {connections} connections, {done} updates: {process} KiB, of which the VMs have {vms}",
                number + 1
            );
            memory.push(now);
        }
    }
    let memory = memory.try_into().map_err(|_| anyhow!("expected {PARTS} parts of the soak"))?;
    Ok(EnvoySoakResult { requests: connections * REQUESTS_PER_CONNECTION, connections, updates: done, memory })
}

impl EnvoySoakResult {
    /// After a tenth of the requests, after half of them, and after all.
    pub(crate) fn stages(&self) -> [Memory; 3] {
        let [tenth, _, _, _, half, .., end] = self.memory;
        [tenth, half, end]
    }
}

/// The thresholds of a soak: memory levels off.
pub(crate) fn thresholds(result: &EnvoySoakResult) -> [Threshold; 2] {
    let [tenth, half, end] = result.stages();
    let grown = |name: &str, early: usize, late: usize, limit: usize| Threshold {
        name: format!("KiB of {name} of the soak"),
        limit: format!("at most {}", limit >> 10),
        outcome: Some(Outcome {
            value: (late.saturating_sub(early) >> 10).to_string(),
            met: late.saturating_sub(early) <= limit,
        }),
    };
    [
        grown("the process gained between a tenth and all", tenth.process, end.process, MAX_PROCESS_GROWTH),
        grown("linear memory of the VMs gained in the second half", half.vms, end.vms, MAX_VM_GROWTH),
    ]
}

/// A policy that lets all callers in but the last, and differs by version. All have the same size.
fn configuration(version: u64) -> String {
    let others = (0..UPDATED_RULES - CALLERS).map(|number| format!("other-{number}-of-{version:06}"));
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

/// Returns the least memory of a process in some looks at it.
fn least(process: u32) -> Result<Memory> {
    let mut least = measure(process)?;
    for _ in 1..LOOKS {
        thread::sleep(BETWEEN_LOOKS);
        let next = measure(process)?;
        least = Memory { process: least.process.min(next.process), vms: least.vms.min(next.vms) };
    }
    Ok(least)
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

    /// The verdicts on a soak whose memory changes as `change` says, by the number of the tenth.
    fn verdicts(change: impl Fn(usize) -> Memory) -> [&'static str; 2] {
        let memory = std::array::from_fn(|part| change(part + 1));
        let result = EnvoySoakResult { requests: 1, connections: 1, updates: 1, memory };
        thresholds(&result).map(|threshold| threshold.verdict())
    }

    #[test]
    fn memory_levels_off_or_is_not_met() {
        let page: usize = 64 << 10;
        assert_eq!(verdicts(|tenth| Memory { process: 0, vms: tenth.min(5) << 20 }), ["met", "met"]);
        let steps = |pages| move |tenth| Memory { process: 0, vms: if tenth > 5 { pages * page } else { 0 } };
        assert_eq!(verdicts(steps(2)), ["met", "met"]);
        assert_eq!(verdicts(steps(3)), ["met", "not met"]);
        assert_eq!(verdicts(|tenth| Memory { process: tenth << 20, vms: 0 }), ["met", "met"]);
        assert_eq!(verdicts(|tenth| Memory { process: tenth << 21, vms: 0 }), ["not met", "met"]);
    }

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
