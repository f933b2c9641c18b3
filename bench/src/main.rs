//! Measures the cost of each filter per request in a real Envoy, beside native filters, and the cost of loading rules.
//!
//! `bench` runs for about fifteen minutes and writes `docs/performance.md` with its chart; it fails if a threshold on that
//! page is not met. Environment variables ([`settings`]) make a smaller run: `BENCH_ROUNDS=5 BENCH_LARGEST=1000
//! BENCH_REQUESTS=10000 BENCH_FOLDER=/tmp/bench` takes a minute or two.

mod chart;
mod comparison;
mod document;
mod loading;
mod results;
mod rounds;
mod server;
mod settings;
mod threshold;
mod variant;

use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use time::OffsetDateTime;

use document::Environment;
use results::Results;
use server::Server;
use settings::Settings;

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

/// Measures and writes the page; true if every measured threshold is met.
fn run() -> Result<bool> {
    let settings = Settings::read(|name| env::var(name).ok())?;
    // An unusable output folder fails before the measurement, not after it.
    fs::create_dir_all(&settings.folder).with_context(|| format!("creating {}", settings.folder.display()))?;
    let variants = variant::all(settings.largest);
    eprintln!("bench: starting one Envoy with {} listeners", variants.len());
    let server = Server::start(&variants)?;
    let envoy = server.version()?;
    let measurements = rounds::measure(&server, &variants, &settings)?;
    drop(server);
    eprintln!("bench: loading rules");
    let loads = loading::load(settings.largest)?;
    eprintln!("bench: soaking one VM: {} updates, {} requests", settings.updates, settings.requests);
    let soak = loading::soak(settings.updates, settings.requests)?;
    let requests = variants.into_iter().zip(measurements.variants).collect();
    let results = Results { rounds: measurements.rounds, requests, loads, soak };
    let thresholds = threshold::thresholds(&results);
    let comparisons = comparison::comparisons(&results);

    let environment = Environment { date: OffsetDateTime::now_utc().date().to_string(), machine: machine()?, envoy };
    let page = document::page(&results, &thresholds, &comparisons, &environment, "performance.svg")?;
    fs::write(settings.folder.join("performance.svg"), chart::draw(&results)?)?;
    let path = settings.folder.join("performance.md");
    fs::write(&path, &page).with_context(|| format!("writing {}", path.display()))?;
    println!("{page}");
    for threshold in &thresholds {
        let value = threshold.outcome.as_ref().map_or("", |outcome| &outcome.value);
        println!("{:<12}  {}: {value}, {}", threshold.verdict(), threshold.name, threshold.limit);
    }
    Ok(thresholds.iter().filter_map(|threshold| threshold.outcome.as_ref()).all(|outcome| outcome.met))
}

/// Describes the processors and the kernel, from /proc.
fn machine() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let names: Vec<_> =
        processors.lines().filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).collect();
    let system = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{} × {}, Linux {}", names.len(), names.first().unwrap_or(&"unknown processor"), system.trim()))
}
