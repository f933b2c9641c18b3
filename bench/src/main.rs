//! Measures the cost of each filter per request in a real Envoy, beside native filters, and the cost of loading rules.
//!
//! `bench` runs for about twenty minutes and writes `docs/performance.md` with its chart; it fails if a threshold on that
//! page is not met. `bench hostile`, `bench updates` and `bench soak` measure one section of the page and replace it; names after `hostile` pick
//! requests. `bench chart` draws the chart again from the numbers on the page. Environment
//! variables ([`settings`]) make a smaller run: `BENCH_ROUNDS=5 BENCH_LARGEST=1000 BENCH_REQUESTS=10000
//! BENCH_FOLDER=/tmp/bench` takes a few minutes.

mod chart;
mod comparison;
mod document;
mod hostile;
mod loading;
mod results;
mod rounds;
mod section;
mod server;
mod settings;
mod soak;
mod threshold;
mod updates;
mod variant;

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use time::OffsetDateTime;

use document::Environment;
use results::Results;
use server::Server;
use settings::Settings;
use threshold::Threshold;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and writes the page, or one section of it; true if every measured threshold is met.
fn run(part: &[&str]) -> Result<bool> {
    let settings = Settings::read(|name| env::var(name).ok())?;
    // An unusable output folder fails before the measurement, not after it.
    fs::create_dir_all(&settings.folder).with_context(|| format!("creating {}", settings.folder.display()))?;
    let path = settings.folder.join("performance.md");
    let thresholds = match part {
        [] => measure_all(&settings, &path)?,
        ["hostile", names @ ..] => {
            let results = hostile::measure(&settings, names)?;
            section::write(&path, section::HOSTILE, &section::hostile(&results, &about()?)?)?;
            vec![hostile::threshold(&results)]
        }
        ["updates"] => {
            let results = updates::measure(settings.largest)?;
            section::write(&path, section::UPDATES, &section::updates(&results, &about()?)?)?;
            Vec::new()
        }
        ["soak"] => {
            let result = soak::soak(settings.updates, settings.requests)?;
            section::write(&path, section::ENVOY_SOAK, &section::envoy_soak(&result, &about()?))?;
            soak::thresholds(&result).into()
        }
        ["chart"] => {
            chart::redraw(&path)?;
            return Ok(true);
        }
        other => bail!(
            "there is no part `{}`; parts are hostile, with names of requests or without, soak, updates and chart",
            other.join(" ")
        ),
    };
    println!("{}", fs::read_to_string(&path)?);
    for threshold in &thresholds {
        let value = threshold.outcome.as_ref().map_or("", |outcome| &outcome.value);
        println!("{:<12}  {}: {value}, {}", threshold.verdict(), threshold.name, threshold.limit);
    }
    Ok(thresholds.iter().filter_map(|threshold| threshold.outcome.as_ref()).all(|outcome| outcome.met))
}

/// Measures and writes the whole page.
fn measure_all(settings: &Settings, path: &Path) -> Result<Vec<Threshold>> {
    let variants = variant::all(settings.largest);
    eprintln!("bench: starting one Envoy with {} listeners", variants.len());
    let server = Server::start(|folder| variant::listeners(&variants, folder))?;
    let envoy = server.version()?;
    let measurements = rounds::measure(&server, &variants, settings)?;
    drop(server);
    eprintln!("bench: loading rules");
    let loads = loading::load(settings.largest)?;
    eprintln!("bench: soaking one VM: {} updates, {} requests", settings.updates, settings.requests);
    let soak = loading::soak(settings.updates, settings.requests)?;
    let requests = variants.into_iter().zip(measurements.variants).collect();
    let results = Results { rounds: measurements.rounds, requests, loads, soak };
    eprintln!("bench: hostile requests");
    let hostile = hostile::measure(settings, &[])?;
    eprintln!("bench: updates");
    let updates = updates::measure(settings.largest)?;
    let mut thresholds = threshold::thresholds(&results);
    thresholds.push(hostile::threshold(&hostile));
    let comparisons = comparison::comparisons(&results);

    let environment = Environment { date: date(), machine: machine()?, envoy };
    let page = document::page(&results, &thresholds, &comparisons, &environment, "performance.svg")?;
    // The soak of Envoy takes too long to be a part of this.
    let soak = section::kept(path, section::ENVOY_SOAK);
    fs::write(path, page).with_context(|| format!("writing {}", path.display()))?;
    chart::redraw(path)?;
    section::write(path, section::HOSTILE, &section::hostile(&hostile, &about()?)?)?;
    section::write(path, section::UPDATES, &section::updates(&updates, &about()?)?)?;
    if let Some(soak) = soak {
        section::write(path, section::ENVOY_SOAK, &soak)?;
    }
    Ok(thresholds)
}

fn date() -> String {
    OffsetDateTime::now_utc().date().to_string()
}

/// The date and the machine of a section.
fn about() -> Result<String> {
    Ok(format!("{}, on {}", date(), machine()?))
}

/// Describes the processors and the kernel, from /proc.
fn machine() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let names: Vec<_> =
        processors.lines().filter_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).collect();
    let system = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{} × {}, Linux {}", names.len(), names.first().unwrap_or(&"unknown processor"), system.trim()))
}
