//! The cost of the most expensive requests that a client can send, relative to a request without a filter.

use std::time::Duration;

use anyhow::{Context, Result};
use host_tests::hostile_requests::{HostileRequest, LARGEST, hostile_requests};
use serde_json::{Value, json};
use testbed::{Http2Connection, http2_request};

use crate::rounds::{BATCH, median, microseconds_each};
use crate::server::{Listener, Server};
use crate::settings::Settings;
use crate::threshold::{Outcome, Threshold};
use crate::variant::{REQUEST, http_filter, wasm};

/// Most requests without a filter that a hostile request may cost as much as: 1 ms where an empty one takes 10 µs.
pub(crate) const MAX_RATIO: f64 = 100.0;

/// Most rounds: each takes as long as many rounds of plain requests.
const MAX_ROUNDS: usize = 40;

/// Rounds after which a row is warm: V8 recompiles what runs often.
const WARM_UP_ROUNDS: u32 = 100;

/// The listener without a filter.
const BARE: &str = "bare";

/// The measured cost of a hostile request.
#[derive(Clone, Debug)]
pub(crate) struct HostileResult {
    pub(crate) filter: &'static str,
    pub(crate) name: &'static str,
    /// CPU time that the filter adds to the request, in microseconds.
    pub(crate) added: f64,
    /// The same, in requests without a filter.
    pub(crate) ratio: f64,
}

/// A hostile request under measurement.
struct Subject {
    row: &'static HostileRequest,
    /// The encoded request.
    request: Vec<u8>,
    /// A connection to the filter, and one to the same listener without it.
    connections: [Http2Connection; 2],
    /// Requests per round.
    requests: usize,
    ratios: Vec<f64>,
    empties: Vec<f64>,
}

/// Measures hostile requests in interleaved rounds: all, or those whose name contains one of `names`.
pub(crate) fn measure(settings: &Settings, names: &[&str]) -> Result<Vec<HostileResult>> {
    let is_picked = |row: &HostileRequest| names.is_empty() || names.iter().any(|name| row.name.contains(name));
    let rows: Vec<_> = hostile_requests().filter(|row| is_picked(row)).collect();
    let server = Server::start(|_| listeners(&rows))?;
    let mut empty = server.client(BARE, true)?.http2()?;
    warm_up(&server, &mut empty, settings.round_time)?;
    let subjects = rows.iter().enumerate().map(|(number, row)| {
        eprintln!("bench: {}: {}", row.filter, row.name);
        let subject = Subject::warm_up(&server, number, row, settings.round_time);
        subject.with_context(|| format!("warming up {}: {}", row.filter, row.name))
    });
    let mut subjects: Vec<_> = subjects.collect::<Result<_>>()?;
    for _ in 0..settings.rounds.min(MAX_ROUNDS) {
        for subject in &mut subjects {
            subject.run_round(&server, &mut empty)?;
        }
    }
    Ok(subjects.iter().map(Subject::result).collect())
}

/// A threshold for the most expensive of all.
pub(crate) fn threshold(results: &[HostileResult]) -> Threshold {
    let worst = results.iter().max_by(|one, other| one.ratio.total_cmp(&other.ratio));
    Threshold {
        name: format!("the most expensive hostile request of {} KiB, in requests without a filter", LARGEST >> 10),
        limit: format!("at most {MAX_RATIO}"),
        outcome: worst.map(|worst| Outcome {
            value: format!("{:.0} ({}: {})", worst.ratio, worst.filter, worst.name),
            met: worst.ratio <= MAX_RATIO,
        }),
    }
}

fn listeners(rows: &[&HostileRequest]) -> Vec<Listener> {
    let bare = |name: &str, filters: Vec<Value>| Listener { name: name.to_owned(), filters };
    let mut listeners = vec![bare(BARE, Vec::new())];
    for (number, row) in rows.iter().enumerate() {
        // Claims are metadata that another filter sets.
        let (_, claims) = (row.request)(LARGEST);
        let metadata = (!claims.is_empty()).then(|| {
            let metadata = json!({"metadata_namespace": "envoy.filters.http.jwt_authn", "value": {"payload": claims}});
            http_filter("set_metadata.v3.Config", json!({"metadata": [metadata]}))
        });
        let configuration = (row.configuration)().to_string();
        let path = testbed::filter_path(row.filter);
        let filter = wasm(&format!("hostile-{number}"), row.filter, &path, &configuration);
        listeners.push(bare(&name(number, false), metadata.iter().cloned().collect()));
        listeners.push(bare(&name(number, true), metadata.into_iter().chain([filter]).collect()));
    }
    listeners
}

/// The name of a row's listener, with its filter or without.
fn name(number: usize, has_filter: bool) -> String {
    format!("hostile-{number}-{}", if has_filter { "filter" } else { "bare" })
}

fn warm_up(server: &Server, empty: &mut Http2Connection, round_time: Duration) -> Result<()> {
    let mut elapsed = Duration::ZERO;
    while elapsed < round_time * WARM_UP_ROUNDS {
        elapsed += server.cpu_time_of(|| empty.send(&REQUEST, BATCH))?;
    }
    Ok(())
}

impl Subject {
    fn warm_up(server: &Server, number: usize, row: &'static HostileRequest, round_time: Duration) -> Result<Self> {
        let (request, _) = (row.request)(LARGEST);
        let connect = |has_filter| server.client(&name(number, has_filter), true)?.http2();
        let connections = [connect(true)?, connect(false)?];
        let mut subject = Self {
            row,
            request: http2_request(&request.0)?,
            connections,
            requests: 1,
            ratios: Vec::new(),
            empties: Vec::new(),
        };
        let (mut elapsed, mut last) = (Duration::ZERO, Duration::ZERO);
        while elapsed < round_time * WARM_UP_ROUNDS {
            last = subject.send(server, true)?;
            elapsed += last;
        }
        while last * u32::try_from(subject.requests)? < round_time {
            subject.requests += 1;
        }
        Ok(subject)
    }

    /// Sends the requests of one round, and returns the CPU time of the server.
    fn send(&mut self, server: &Server, has_filter: bool) -> Result<Duration> {
        let [filter, bare] = &mut self.connections;
        let connection = if has_filter { filter } else { bare };
        let request = self.request.as_slice();
        server.cpu_time_of(|| (0..self.requests).try_for_each(|_| connection.are_ok(&[request]).map(drop)))
    }

    fn run_round(&mut self, server: &Server, empty: &mut Http2Connection) -> Result<()> {
        let with_filter = self.send(server, true)?;
        let bare = self.send(server, false)?;
        let empties = 4 * BATCH;
        let empty = server.cpu_time_of(|| (0..4).try_for_each(|_| empty.send(&REQUEST, BATCH)))?;
        let empty = microseconds_each(empty, empties);
        self.ratios.push(microseconds_each(with_filter.saturating_sub(bare), self.requests) / empty);
        self.empties.push(empty);
        Ok(())
    }

    fn result(&self) -> HostileResult {
        let ratio = median(&self.ratios);
        HostileResult { filter: self.row.filter, name: self.row.name, added: ratio * median(&self.empties), ratio }
    }
}
