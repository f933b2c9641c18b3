//! Brings the stack up, holds it to every claim, takes protections away to see the claims fail, and prints the table.

mod answer;
mod claims;
mod command;
mod composition;
mod kill;
mod migration;
mod observability;
mod policies;
mod prometheus;
mod removals;
mod running;

use std::env;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use self::running::Stack;

/// A sentence about the stack, and what holds it to it.
struct Claim {
    /// The sentence.
    name: &'static str,
    /// Tries it: what was seen, or what is wrong.
    check: fn(&Stack) -> Result<String>,
}

/// Claims that belong together.
struct Chapter {
    title: &'static str,
    claims: &'static [Claim],
}

const CHAPTERS: [Chapter; 6] = [
    Chapter { title: "The four locks", claims: &claims::CLAIMS },
    Chapter { title: "Together with what Envoy has", claims: &composition::CLAIMS },
    Chapter { title: "Certificates and policies change while it runs", claims: &migration::CLAIMS },
    Chapter { title: "Each claim fails without its protection", claims: &removals::CLAIMS },
    Chapter { title: "Shut while a container is down, working after", claims: &kill::CLAIMS },
    Chapter { title: "What you can see", claims: &observability::CLAIMS },
];

/// Brings the stack up and makes the tour; whether every claim holds.
pub(crate) fn tour() -> Result<bool> {
    let start = Instant::now();
    let stack = Stack::up()?;
    println!("Up and working after {} s.", start.elapsed().as_secs());
    let (mut held, mut failed) = (0, 0);
    for chapter in CHAPTERS {
        println!("\n{}\n{}", chapter.title, "-".repeat(chapter.title.len()));
        for claim in chapter.claims {
            match (claim.check)(&stack) {
                Ok(seen) => {
                    held += 1;
                    println!("holds   {:66} {seen}", claim.name);
                }
                Err(error) => {
                    failed += 1;
                    println!("FAILS   {:66} {error:#}", claim.name);
                }
            }
        }
    }
    println!("\n{held} of {} claims hold, after {} s.", held + failed, start.elapsed().as_secs());
    say_where(&stack)?;
    Ok(failed == 0)
}

/// Brings the stack up, and no more.
pub(crate) fn up() -> Result<()> {
    say_where(&Stack::up()?)
}

fn say_where(stack: &Stack) -> Result<()> {
    println!(
        "The shop: http://{}/   Prometheus: http://{}/consoles/sallyport.html",
        stack.published("gateway", 8080)?,
        stack.published("prometheus", 9090)?
    );
    if let Ok(grafana) = stack.published("grafana", 3000) {
        println!("Grafana: http://{grafana}/d/sallyport");
    }
    println!("make stack-report, make stack-would-deny and make stack-enforce migrate it; make stack-down removes it.");
    Ok(())
}

/// Removes containers, networks, volumes and the policies in use.
pub(crate) fn down() -> Result<()> {
    Stack::default().down()
}

/// Puts the running stack in report mode with PERMISSIVE mTLS, or back to what the repository has.
pub(crate) fn mode(mode: &str) -> Result<()> {
    ensure!(policies::folder().exists(), "no stack runs: `make stack` or `make stack-up` starts it");
    match mode {
        "report" => policies::report(),
        "enforce" => policies::enforce(),
        _ => bail!("expected report or enforce, not {mode}"),
    }
}

/// Prints what would have been denied while the stack was in report mode.
pub(crate) fn would_deny() -> Result<()> {
    let rows = migration::would_deny(&Stack::default())?;
    if rows.is_empty() {
        println!("Nothing would have been denied.");
    }
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// Takes the picture of the console page that the documentation shows, with a headless Chromium.
pub(crate) fn picture() -> Result<()> {
    let page = format!("http://{}/consoles/sallyport.html", Stack::default().published("prometheus", 9090)?);
    let file = testbed::root().join("docs/stack-console.png");
    let browser = env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let size = "--window-size=1280,1280";
    let mut command = Command::new(&browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size])
        .arg(format!("--screenshot={}", file.display()))
        .arg(page);
    // It complains a lot, of what a machine without a desktop does not have.
    command::output(&mut command).context("CHROMIUM names another browser")?;
    println!("{}", file.display());
    Ok(())
}
