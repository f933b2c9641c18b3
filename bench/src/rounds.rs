//! Variants take turns, round by round, so that whatever the machine does meanwhile meets them all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::Http2Connection;

use crate::server::Server;
use crate::variant::{REQUEST, Series};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    /// The CPU time of the server that one turn aims at.
    pub(crate) turn: Duration,
    /// Requests at a fixed rate for each variant.
    pub(crate) timed: u32,
}

/// Requests that are sent at once.
const BATCH: usize = 50;

/// The most requests of a turn.
const MOST: f64 = 4_000.0;

/// How often no filter has its turn in a round: every other variant is compared with it.
const BASELINE_TURNS: usize = 3;

/// Time between two requests at the fixed rate, 500 a second.
const INTERVAL: Duration = Duration::from_millis(2);

/// What was measured of one variant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// CPU time a request of the server, in microseconds, no filter's of the same round taken off.
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
    whole: Vec<f64>,
    added: Vec<f64>,
    waits: Vec<f64>,
}

/// Measures all variants of a server, in their order.
pub(crate) fn measure(server: &Server, extent: Extent) -> Result<Vec<Measured>> {
    let mut contestants = Vec::new();
    for variant in &server.variants {
        let mut connection = server.client(variant)?.http2()?;
        let context = || format!("{} does not let the request in", variant.id());
        connection.send(&REQUEST, BATCH).with_context(context)?;
        connection.send(&REQUEST, BATCH)?;
        let mut contestant =
            Contestant { connection, requests: BATCH, whole: Vec::new(), added: Vec::new(), waits: Vec::new() };
        let cost = contestant.turn(server)?;
        contestant.requests = batches((extent.turn.as_secs_f64() * 1e6 / cost).min(MOST)) * BATCH;
        contestants.push(contestant);
    }
    let baseline = server.variants.iter().position(|variant| variant.series == Series::NoFilter);
    let baseline = baseline.context("nothing to compare with")?;
    let mut dice = 1_u64;
    for round in 0..extent.rounds {
        if round % 20 == 0 {
            eprintln!("bench: round {round} of {}", extent.rounds);
        }
        let mut order: Vec<_> = (0..contestants.len()).chain([baseline; BASELINE_TURNS - 1]).collect();
        // Another order in every round: nobody always comes after the dearest.
        order.sort_by_cached_key(|_| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            dice >> 33
        });
        let mut turns = vec![Vec::new(); contestants.len()];
        for at in order {
            let cost = contestants.get_mut(at).context("a place in the list")?.turn(server)?;
            turns.get_mut(at).context("a place in the list")?.push(cost);
        }
        let nothing = median(turns.get(baseline).context("a place in the list")?);
        for (contestant, turns) in contestants.iter_mut().zip(&turns) {
            let whole = median(turns);
            contestant.whole.push(whole);
            contestant.added.push(whole - nothing);
        }
    }
    // Several short turns, for the same reason as above.
    let turns = 4;
    for _ in 0..turns {
        for contestant in &mut contestants {
            contestant.wait_for(extent.timed / turns)?;
        }
    }
    Ok(contestants.iter().map(Contestant::measured).collect())
}

impl Contestant {
    /// The CPU time of one request in this turn, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a turn is far below 2^53 nanoseconds")]
    fn turn(&mut self, server: &Server) -> Result<f64> {
        let before = server.cpu_time()?;
        for _ in 0..self.requests / BATCH {
            self.connection.send(&REQUEST, BATCH)?;
        }
        Ok((server.cpu_time()? - before) as f64 / self.requests as f64 / 1e3)
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

    fn measured(&self) -> Measured {
        let added = median(&self.added);
        let distances: Vec<_> = self.added.iter().map(|value| (value - added).abs()).collect();
        Measured {
            added,
            spread: median(&distances),
            whole: median(&self.whole),
            waits: [percentile(&self.waits, 50), percentile(&self.waits, 99)],
        }
    }
}

fn batches(requests: f64) -> usize {
    let mut batches = 1;
    while f64::from(u32::try_from((batches + 1) * BATCH).unwrap_or(u32::MAX)) < requests {
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
