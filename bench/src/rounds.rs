//! Measures the variants in interleaved rounds, each beside requests without a filter, so that a change in machine speed
//! affects all of them alike.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::Http2Connection;

use crate::server::Server;
use crate::settings::Settings;
use crate::variant::{REQUEST, Series, Variant};

/// Requests in flight at once.
pub(crate) const BATCH: usize = 50;

/// Requests of a subject between two batches of requests without a filter, and the size of those batches: small, so that
/// both run at the same machine speed. The first requests of a round are not counted, because the CPU caches still hold
/// the code and data of other subjects, which a worker in production does not have.
const BASELINE_BATCH: usize = 4 * BATCH;

/// Maximum number of requests of a subject per round.
const MAX_REQUESTS: f64 = 4_000.0;

/// Requests before the first round: V8 recompiles frequently run functions with more optimization, which a worker in
/// production reaches within minutes.
const WARM_UP_REQUESTS: usize = 50_000;
/// CPU time of the server after which the warm-up ends early.
const WARM_UP_TIME: Duration = Duration::from_secs(1);

/// Time between two requests at the fixed rate of 500 per second.
const INTERVAL: Duration = Duration::from_millis(2);

/// The measured cost of one variant, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measurement {
    /// CPU time of the server per request beyond that of a request without a filter.
    pub(crate) added: f64,
    /// Median absolute deviation of `added` over the rounds.
    pub(crate) deviation: f64,
    /// CPU time of the server per request.
    pub(crate) total: f64,
    /// Client latency at the fixed rate: 50th and 99th percentile.
    pub(crate) latency: [f64; 2],
}

/// A variant under measurement.
struct Subject {
    connection: Http2Connection,
    /// Requests per round.
    requests: usize,
    /// CPU time relative to requests without a filter, by round. A ratio does not change when the machine slows down.
    ratios: Vec<f64>,
    /// CPU time of a request without a filter, by round, in microseconds.
    baselines: Vec<f64>,
    /// Client latencies at the fixed rate, in microseconds.
    latencies: Vec<f64>,
}

/// The measurements of a run.
pub(crate) struct Measurements {
    /// Number of completed rounds.
    pub(crate) rounds: usize,
    /// One measurement per variant, in their order.
    pub(crate) variants: Vec<Measurement>,
}

/// Measures all variants of a server.
pub(crate) fn measure(server: &Server, variants: &[Variant], settings: &Settings) -> Result<Measurements> {
    let mut subjects = Vec::new();
    let no_filter = variants.iter().find(|variant| variant.series == Series::NoFilter);
    let mut baseline = client(server, *no_filter.context("no variant without a filter")?)?;
    for variant in variants {
        let context = || format!("warming up {}, which has to allow the request", variant.id());
        subjects.push(Subject::warm_up(server, *variant, settings.round_time).with_context(context)?);
    }
    let mut random = fastrand::Rng::with_seed(1);
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < settings.rounds && (rounds == 0 || start.elapsed() < settings.time_limit) {
        if rounds.is_multiple_of(20) {
            eprintln!("bench: round {rounds} of {}", settings.rounds);
        }
        rounds += 1;
        let mut order: Vec<_> = subjects.iter_mut().collect();
        // A new order in every round, so that no subject always follows the most expensive one.
        random.shuffle(&mut order);
        for subject in order {
            subject.run_round(server, &mut baseline)?;
        }
    }
    // Several short passes, so that a slow phase of the machine does not hit one subject alone.
    let passes = 4;
    for _ in 0..passes {
        for subject in &mut subjects {
            subject.measure_latency(settings.latency_requests.div_ceil(passes))?;
        }
    }
    let baselines: Vec<_> = subjects.iter().flat_map(|subject| subject.baselines.iter().copied()).collect();
    let baseline = median(&baselines);
    Ok(Measurements { rounds, variants: subjects.iter().map(|subject| subject.measurement(baseline)).collect() })
}

fn client(server: &Server, variant: Variant) -> Result<Http2Connection> {
    server.client(&variant.id(), variant.series.has_dns_san())?.http2()
}

fn send(connection: &mut Http2Connection, requests: usize) -> Result<()> {
    (0..requests / BATCH).try_for_each(|_| connection.send(&REQUEST, BATCH))
}

impl Subject {
    /// Connects, sends the warm-up requests, and sets the number of requests per round.
    fn warm_up(server: &Server, variant: Variant, round_time: Duration) -> Result<Self> {
        let connection = client(server, variant)?;
        let (ratios, baselines, latencies) = (Vec::new(), Vec::new(), Vec::new());
        let mut subject = Self { connection, requests: BATCH, ratios, baselines, latencies };
        let (mut sent, mut elapsed) = (0, Duration::ZERO);
        let mut cost = Duration::ZERO;
        while sent < WARM_UP_REQUESTS && elapsed < WARM_UP_TIME {
            cost = server.cpu_time_of(|| subject.connection.send(&REQUEST, BATCH))?;
            sent += BATCH;
            elapsed += cost;
        }
        let cost = microseconds_each(cost, BATCH);
        subject.requests = batches((round_time.as_secs_f64() * 1e6 / cost).min(MAX_REQUESTS)) * BATCH;
        Ok(subject)
    }

    /// Sends the requests of one round, interleaved with requests to the listener without a filter. Those come in whole
    /// batches, because a variant that scans long lists leaves them cold CPU caches.
    fn run_round(&mut self, server: &Server, baseline: &mut Http2Connection) -> Result<()> {
        send(&mut self.connection, BASELINE_BATCH.min(self.requests))?;
        let (mut own_time, mut baseline_time) = (Duration::ZERO, Duration::ZERO);
        let (mut remaining, mut baseline_requests) = (self.requests, 0);
        while remaining > 0 {
            let batch = remaining.min(BASELINE_BATCH);
            own_time += server.cpu_time_of(|| send(&mut self.connection, batch))?;
            baseline_time += server.cpu_time_of(|| send(baseline, BASELINE_BATCH))?;
            remaining -= batch;
            baseline_requests += BASELINE_BATCH;
        }
        let own = microseconds_each(own_time, self.requests);
        let baseline = microseconds_each(baseline_time, baseline_requests);
        self.ratios.push(own / baseline);
        self.baselines.push(baseline);
        Ok(())
    }

    /// Sends one request at a time at the fixed rate. A latency starts when its request is due, so a request that is sent
    /// late counts as slow.
    fn measure_latency(&mut self, requests: u32) -> Result<()> {
        let start = Instant::now();
        for number in 0..requests {
            let due = start + INTERVAL * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.connection.send(&REQUEST, 1)?;
            self.latencies.push(due.elapsed().as_secs_f64() * 1e6);
        }
        Ok(())
    }

    /// Summarizes the rounds; `baseline` is the cost of a request without a filter in microseconds.
    fn measurement(&self, baseline: f64) -> Measurement {
        let ratio = median(&self.ratios);
        let deviations: Vec<_> = self.ratios.iter().map(|value| (value - ratio).abs()).collect();
        Measurement {
            added: (ratio - 1.0) * baseline,
            deviation: median(&deviations) * baseline,
            total: ratio * baseline,
            latency: [percentile(&self.latencies, 50), percentile(&self.latencies, 99)],
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a round has far fewer than 2^53 requests")]
pub(crate) fn microseconds_each(time: Duration, requests: usize) -> f64 {
    time.as_secs_f64() * 1e6 / requests as f64
}

/// The number of whole batches in `requests`, at least one.
fn batches(requests: f64) -> usize {
    let mut batches = 1;
    while f64::from(u32::try_from((batches + 1) * BATCH).unwrap_or(u32::MAX)) <= requests {
        batches += 1;
    }
    batches
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The given percentile (nearest rank); 0 for no values.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len().saturating_sub(1)) * percent / 100).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        for (values, expected) in [
            (&[][..], 0.0),
            (&[7.0], 7.0),
            (&[9.0, 1.0, 5.0], 5.0),
            (&[4.0, 1.0, 3.0, 2.0], 2.0),
            (&[-3.0, 100.0, -1.0, 0.0, 2.0], 0.0),
        ] {
            assert!((median(values) - expected).abs() < f64::EPSILON, "{values:?}");
        }
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<_> = (0..200).rev().map(f64::from).collect();
        for (percent, expected) in [(0, 0.0), (50, 99.0), (99, 197.0), (100, 199.0)] {
            assert!((percentile(&values, percent) - expected).abs() < f64::EPSILON, "{percent}");
        }
    }

    #[test]
    fn a_round_has_whole_batches_and_at_least_one() {
        for (requests, expected) in [(0.0, 1), (49.0, 1), (99.0, 1), (100.0, 2), (4_000.0, 80), (f64::NAN, 1)] {
            assert_eq!(batches(requests), expected, "{requests}");
        }
    }
}
