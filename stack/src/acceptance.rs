//! The acceptance test of the stack: checks every claim of its README, and that the claims fail without their protection.

mod ablation;
mod assertions;
mod clients;
mod command;
mod composition;
mod layers;
mod migration;
mod observability;
mod policies;
mod prometheus;
mod resilience;
mod stack;
mod would_be_denials;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use testbed::PageView;

use self::stack::Stack;
use self::would_be_denials::WouldBeDenials;

/// A claim about the stack, and the function that checks it.
struct Check {
    /// The claim.
    claim: &'static str,
    /// Returns the observation if the claim holds, and fails if it does not.
    run: fn(&Stack) -> Result<String>,
}

/// A section of the report.
struct Section {
    title: &'static str,
    checks: &'static [Check],
}

const SECTIONS: [Section; 6] = [
    Section { title: "Layers of defence", checks: &layers::CHECKS },
    Section { title: "Composition with Envoy's own features", checks: &composition::CHECKS },
    Section { title: "Changes at run time", checks: &migration::CHECKS },
    Section { title: "Ablation: each claim fails without its protection", checks: &ablation::CHECKS },
    Section { title: "Resilience: fail closed while a container is stopped", checks: &resilience::CHECKS },
    Section { title: "Observability", checks: &observability::CHECKS },
];

/// Starts the stack and runs every check; true if all pass.
pub(crate) fn run() -> Result<bool> {
    let start = Instant::now();
    let stack = Stack::up()?;
    println!("Healthy after {} s.", start.elapsed().as_secs());
    let (mut passed, mut failed) = (0, 0);
    for section in SECTIONS {
        println!("\n{}\n{}", section.title, "-".repeat(section.title.len()));
        for check in section.checks {
            match (check.run)(&stack) {
                Ok(observation) => {
                    passed += 1;
                    println!("pass    {:66} {observation}", check.claim);
                }
                Err(error) => {
                    failed += 1;
                    println!("FAIL    {:66} {error:#}", check.claim);
                }
            }
        }
    }
    println!("\n{passed} of {} checks passed after {} s.", passed + failed, start.elapsed().as_secs());
    print_addresses(&stack)?;
    Ok(failed == 0)
}

/// Starts the stack without checks.
pub(crate) fn up() -> Result<()> {
    print_addresses(&Stack::up()?)
}

fn print_addresses(stack: &Stack) -> Result<()> {
    println!(
        "The shop: http://{}/   Prometheus: http://{}/consoles/sallyport.html",
        stack.published("gateway", 8080)?,
        stack.published("prometheus", 9090)?
    );
    if let Ok(grafana) = stack.published("grafana", 3000) {
        println!("Grafana: http://{grafana}/d/sallyport");
    }
    println!("To migrate: make stack-report, make stack-would-deny, make stack-enforce. To remove: make stack-down");
    Ok(())
}

/// Removes containers, networks, volumes and the active policy files.
pub(crate) fn down() -> Result<()> {
    Stack::default().down()
}

/// Switches the running stack to report mode with PERMISSIVE mTLS (`report`), or back to the repository's policies
/// (`enforce`), and returns when every Envoy decides by it.
pub(crate) fn mode(mode: &str) -> Result<()> {
    ensure!(policies::folder().exists(), "the stack is not running: start it with `make stack-up`");
    match mode {
        "report" => policies::report()?,
        "enforce" => policies::enforce()?,
        _ => bail!("expected `report` or `enforce`, found `{mode}`"),
    }
    migration::wait_until_in_effect(&Stack::default(), mode == "report")?;
    println!("Every Envoy of the stack is in {mode} mode.");
    Ok(())
}

/// Prints the would-be denials of the stack in report mode, and of how many requests. False if some are not logged yet.
pub(crate) fn would_deny() -> Result<bool> {
    let found = WouldBeDenials::settled(&Stack::default())?;
    println!("{found}");
    Ok(found.is_complete())
}

/// Runs programs that people have against the egress gateway of the stack, which is started if it is not running; true if
/// each reaches the declared host alone and prints what `docs/egress.md` says.
pub(crate) fn clients() -> Result<bool> {
    let stack = if policies::folder().exists() { Stack::default() } else { Stack::up()? };
    clients::run(&stack)
}

/// Seconds of requests before the pictures are taken, so that the charts show some.
const PICTURE_SECONDS: u32 = 180;

/// Takes the documentation's pictures of the console page and of the shop's page in the running stack, in both colour
/// schemes. It is healthy: allowed requests go through it, and some that are denied.
pub(crate) fn pictures() -> Result<()> {
    let stack = Stack::default();
    println!("Sending requests for {PICTURE_SECONDS} s.");
    let load = stack.start_load(PICTURE_SECONDS)?;
    // So few that no alert fires.
    for _ in 0..PICTURE_SECONDS / 20 {
        stack.request(&["path=/", "user-agent: sqlmap/1.8"])?;
        stack.request(&["path=/account"])?;
        stack.request_app("gateway", &["path=/admin"])?;
        stack.request_app("stranger", &["path=/orders"])?;
        stack.calls()?;
        thread::sleep(Duration::from_secs(18));
    }
    load.expect_all(200)?;
    let console = format!("http://{}/consoles/sallyport.html?minutes=5", stack.published("prometheus", 9090)?);
    let shop = format!("http://{}/", stack.published("gateway", 8080)?);
    for (name, address, size) in [("stack-console", &console, [1280, 1250]), ("stack-shop", &shop, [1000, 640])] {
        for (scheme, is_dark) in [("light", false), ("dark", true)] {
            let file = testbed::root().join("docs").join(format!("{name}-{scheme}.png"));
            testbed::screenshot(address, PageView { size, is_dark, has_reduced_motion: true }, &file)?;
            println!("{}", file.display());
        }
    }
    Ok(())
}
