//! Brings the stack up, holds it to every claim, takes protections away to see the claims fail, and prints the table.

mod claims;
mod composition;
mod kill;
mod migration;
mod observability;
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

const CHAPTERS: [Chapter; 7] = [
    Chapter { title: "The four locks", claims: &claims::CLAIMS },
    Chapter { title: "Together with what Envoy has", claims: &composition::CLAIMS },
    Chapter { title: "Certificates and policies change while it runs", claims: &migration::CLAIMS },
    Chapter { title: "Each claim fails without its protection", claims: &removals::CLAIMS },
    Chapter { title: "Shut while a container is down, working after", claims: &kill::CLAIMS },
    Chapter { title: "What you can see", claims: &observability::CLAIMS },
    Chapter { title: "At the end", claims: &claims::AT_THE_END },
];

/// Brings the stack up and makes the tour; whether every claim holds.
pub(crate) fn tour() -> Result<bool> {
    let start = Instant::now();
    let stack = Stack::up()?;
    eprintln!("stack: up and working after {} s, the tour begins", start.elapsed().as_secs());
    let (mut held, mut failed) = (0, Vec::new());
    for chapter in CHAPTERS {
        println!("\n{}\n{}", chapter.title, "-".repeat(chapter.title.len()));
        for claim in chapter.claims {
            match (claim.check)(&stack) {
                Ok(seen) => {
                    held += 1;
                    println!("holds   {:72} {seen}", claim.name);
                }
                Err(error) => {
                    println!("FAILS   {:72} {error:#}", claim.name);
                    failed.push(claim.name);
                }
            }
        }
    }
    println!("\n{held} of {} claims hold, after {} s.", held + failed.len(), start.elapsed().as_secs());
    println!(
        "The shop: http://{}/   Prometheus: http://{}/consoles/sallyport.html",
        stack.published("gateway", 8080)?,
        stack.published("prometheus", 9090)?
    );
    println!("make stack-would-deny, make stack-report and make stack-enforce migrate it; make stack-down removes it.");
    Ok(failed.is_empty())
}

/// Removes containers, networks, volumes and the policies in use.
pub(crate) fn down() -> Result<()> {
    Stack::attach().down()
}

/// Puts the running stack in report mode with PERMISSIVE mTLS, or back to what the repository has.
pub(crate) fn mode(mode: &str) -> Result<()> {
    let stack = Stack::attach();
    match mode {
        "report" => migration::report(&stack),
        "enforce" => migration::enforce(&stack),
        _ => bail!("expected report or enforce, not {mode}"),
    }
}

/// Prints what would have been denied since the stack was put in report mode.
pub(crate) fn would_deny() -> Result<()> {
    let rows = migration::would_deny(&Stack::attach())?;
    if rows.is_empty() {
        println!("Nothing would have been denied.");
    }
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// Takes the picture of the console page that the documentation shows, with a headless Chromium.
pub(crate) fn picture() -> Result<()> {
    let page = format!("http://{}/consoles/sallyport.html", Stack::attach().published("prometheus", 9090)?);
    let file = testbed::root().join("docs/stack-console.png");
    let browser = env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    let status = Command::new(&browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1000"])
        .arg(format!("--screenshot={}", file.display()))
        .arg(page)
        .status()
        .with_context(|| format!("{browser}; CHROMIUM names another"))?;
    ensure!(status.success(), "{browser} failed");
    println!("{}", file.display());
    Ok(())
}
