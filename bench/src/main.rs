//! What each filter adds to a request in a real Envoy, beside what Envoy has itself, and what rules cost to load.
//!
//! `bench` measures for some minutes and writes `docs/performance.md` with its chart; it fails where a promise of that
//! page is not kept. `bench --quick FOLDER` does the same in little, to see that it works: it writes into FOLDER, and
//! its numbers mean nothing.

mod chart;
mod document;
mod loading;
mod results;
mod rounds;
mod server;
mod variant;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use time::OffsetDateTime;

use document::Occasion;
use results::Results;
use rounds::Extent;
use server::Server;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every promise is kept, as far as that is asked.
fn run() -> Result<bool> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            let extent = Extent { rounds: 120, turn: Duration::from_millis(12), timed: 600 };
            let work = Work { extent, sizes: &[10, 100, 1_000, 10_000, 100_000], updates: 1_000, requests: 10_000_000 };
            write(&work, false, &testbed::root().join("docs"))
        }
        ["--quick", folder] => {
            let extent = Extent { rounds: 2, turn: Duration::from_millis(1), timed: 8 };
            let work = Work { extent, sizes: &[10, 100], updates: 30, requests: 2_000 };
            write(&work, true, &PathBuf::from(folder)).map(|_| true)
        }
        _ => bail!("expected no argument, or --quick and a folder"),
    }
}

struct Work {
    extent: Extent,
    sizes: &'static [usize],
    updates: u64,
    requests: u64,
}

fn write(work: &Work, quick: bool, folder: &Path) -> Result<bool> {
    eprintln!("bench: starting Envoy with every filter");
    let server = Server::start(quick)?;
    let envoy = server.version()?;
    let measured = rounds::measure(&server, work.extent)?;
    let requests =
        server.variants.iter().zip(measured).map(|(variant, found)| (variant.series, variant.size, found)).collect();
    drop(server);
    eprintln!("bench: loading, updating, soaking");
    let results =
        Results { requests, loaded: loading::load(work.sizes)?, soaked: loading::soak(work.updates, work.requests)? };
    let occasion = Occasion { date: OffsetDateTime::now_utc().date().to_string(), machine: machine()?, envoy };
    let page = document::page(&results, &occasion, work.extent, "performance.svg")?;
    fs::write(folder.join("performance.svg"), chart::draw(&results)?)?;
    let path = folder.join("performance.md");
    fs::write(&path, &page).with_context(|| format!("writing {}", path.display()))?;
    println!("{page}");
    Ok(results.promises().iter().all(|promise| promise.kept))
}

/// Processors and system, in the words of proc(5).
fn machine() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let names: Vec<_> =
        processors.lines().filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).collect();
    let system = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{} × {}, Linux {}", names.len(), names.first().unwrap_or(&"an unnamed processor"), system.trim()))
}
