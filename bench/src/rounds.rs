//! Variants take turns, round by round, and in each turn requests without a filter go between: whatever the machine
//! does meanwhile meets them all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::Http2Connection;

use crate::server::Server;
use crate::settings::Settings;
use crate::variant::{REQUEST, Series, Variant};

/// Requests that are sent at once.
const BATCH: usize = 50;

/// Requests after which those without a filter have their go, so few that a machine which slows down meets both. A turn
/// begins with so many that are not counted: the caches are full of the other variants then, and a worker in production
/// has no others.
const STRETCH: usize = 4 * BATCH;

/// The most requests of a turn.
const MOST: f64 = 4_000.0;

/// Before the first turn a variant gets so many requests, or so much of the server's time: V8 translates anew, and
/// better, what runs often, and a worker is there within minutes.
const WARM_REQUESTS: usize = 50_000;
const WARM_TIME: Duration = Duration::from_secs(1);

/// Time between two requests at the fixed rate, 500 a second.
const INTERVAL: Duration = Duration::from_millis(2);

/// What was measured of one variant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// CPU time a request of the server, in microseconds, beyond that of requests without a filter.
    pub(crate) added: f64,
    /// Half of the rounds lie this close to `added`.
    pub(crate) spread: f64,
    /// CPU time a request of the server, in microseconds.
    pub(crate) whole: f64,
    /// What the client waits at the fixed rate, in microseconds: half of the requests, 99 of 100.
    pub(crate) waits: [f64; 2],
}

struct Contestant {
    connection: Http2Connection,
    requests: usize,
    /// How many times a request without a filter one with it costs, turn by turn: a machine that slows down slows both.
    times: Vec<f64>,
    /// What requests without a filter cost meanwhile, in microseconds.
    without: Vec<f64>,
    waits: Vec<f64>,
}

/// What a run has found.
pub(crate) struct Found {
    /// Rounds that were played.
    pub(crate) rounds: usize,
    /// Of each variant, in their order.
    pub(crate) measured: Vec<Measured>,
}

/// Measures all variants of a server.
pub(crate) fn measure(server: &Server, variants: &[Variant], settings: &Settings) -> Result<Found> {
    let mut contestants = Vec::new();
    let no_filter = variants.iter().find(|variant| variant.series == Series::NoFilter);
    let mut beside = server.client(*no_filter.context("nothing to compare with")?)?.http2()?;
    for variant in variants {
        let context = || format!("{} does not let the request in", variant.id());
        contestants.push(Contestant::warm(server, *variant, settings.turn).with_context(context)?);
    }
    let mut dice = 1_u64;
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < settings.rounds && (rounds == 0 || start.elapsed() < settings.longest) {
        if rounds.is_multiple_of(20) {
            eprintln!("bench: round {rounds} of {}", settings.rounds);
        }
        rounds += 1;
        let mut order: Vec<_> = contestants.iter_mut().collect();
        // Another order in every round: nobody always comes after the dearest.
        order.sort_by_cached_key(|_| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            dice >> 33
        });
        for contestant in order {
            contestant.turn(server, &mut beside)?;
        }
    }
    // Several short turns, for the same reason as above.
    let turns = 4;
    for _ in 0..turns {
        for contestant in &mut contestants {
            contestant.wait_for(settings.timed.div_ceil(turns))?;
        }
    }
    let without: Vec<_> = contestants.iter().flat_map(|contestant| contestant.without.iter().copied()).collect();
    let without = median(&without);
    Ok(Found { rounds, measured: contestants.iter().map(|contestant| contestant.measured(without)).collect() })
}

fn send(connection: &mut Http2Connection, requests: usize) -> Result<()> {
    (0..requests / BATCH).try_for_each(|_| connection.send(&REQUEST, BATCH))
}

impl Contestant {
    /// Connects, and sends requests until the server is used to them.
    fn warm(server: &Server, variant: Variant, turn: Duration) -> Result<Self> {
        let connection = server.client(variant)?.http2()?;
        let mut warm = Self { connection, requests: BATCH, times: Vec::new(), without: Vec::new(), waits: Vec::new() };
        let (mut sent, mut taken) = (0, Duration::ZERO);
        let mut cost = Duration::ZERO;
        while sent < WARM_REQUESTS && taken < WARM_TIME {
            cost = server.cpu_time_of(|| warm.connection.send(&REQUEST, BATCH))?;
            sent += BATCH;
            taken += cost;
        }
        let cost = microseconds_each(cost, BATCH);
        warm.requests = batches((turn.as_secs_f64() * 1e6 / cost).min(MOST)) * BATCH;
        Ok(warm)
    }

    /// Sends the requests of a turn, and between them others to the listener without a filter: a whole stretch each time,
    /// since a row that walks long lists leaves them cold caches.
    fn turn(&mut self, server: &Server, beside: &mut Http2Connection) -> Result<()> {
        send(&mut self.connection, STRETCH.min(self.requests))?;
        let (mut own, mut without) = (Duration::ZERO, Duration::ZERO);
        let (mut left, mut others) = (self.requests, 0);
        while left > 0 {
            let now = left.min(STRETCH);
            own += server.cpu_time_of(|| send(&mut self.connection, now))?;
            without += server.cpu_time_of(|| send(beside, STRETCH))?;
            left -= now;
            others += STRETCH;
        }
        let (own, without) = (microseconds_each(own, self.requests), microseconds_each(without, others));
        self.times.push(own / without);
        self.without.push(without);
        Ok(())
    }

    /// Sends one request after the other at the fixed rate. A wait begins when the request is due, so that one that is
    /// late counts as late.
    fn wait_for(&mut self, requests: u32) -> Result<()> {
        let start = Instant::now();
        for number in 0..requests {
            let due = start + INTERVAL * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.connection.send(&REQUEST, 1)?;
            self.waits.push(due.elapsed().as_secs_f64() * 1e6);
        }
        Ok(())
    }

    /// Where a request without a filter takes so many microseconds.
    fn measured(&self, without: f64) -> Measured {
        let times = median(&self.times);
        let distances: Vec<_> = self.times.iter().map(|value| (value - times).abs()).collect();
        Measured {
            added: (times - 1.0) * without,
            spread: median(&distances) * without,
            whole: times * without,
            waits: [percentile(&self.waits, 50), percentile(&self.waits, 99)],
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a turn has far fewer than 2^53 requests")]
fn microseconds_each(time: Duration, requests: usize) -> f64 {
    time.as_secs_f64() * 1e6 / requests as f64
}

fn batches(requests: f64) -> usize {
    let mut batches = 1;
    while f64::from(u32::try_from((batches + 1) * BATCH).unwrap_or(u32::MAX)) <= requests {
        batches += 1;
    }
    batches
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The value that so many of a hundred do not exceed; 0 where there are none.
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
    fn a_percentile_is_a_value_that_was_met() {
        let values: Vec<_> = (0..200).rev().map(f64::from).collect();
        for (percent, expected) in [(0, 0.0), (50, 99.0), (99, 197.0), (100, 199.0)] {
            assert!((percentile(&values, percent) - expected).abs() < f64::EPSILON, "{percent}");
        }
    }

    #[test]
    fn a_turn_is_whole_batches_and_one_at_least() {
        for (requests, expected) in [(0.0, 1), (49.0, 1), (99.0, 1), (100.0, 2), (4_000.0, 80), (f64::NAN, 1)] {
            assert_eq!(batches(requests), expected, "{requests}");
        }
    }
}
