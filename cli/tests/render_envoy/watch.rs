//! A folder of manifests that an Envoy follows.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::{Configuration, wait};

use crate::fixture::{Shop, Watching, load, validate};

/// Time limit for what is not measured.
const LIMIT: Duration = Duration::from_secs(30);

/// The longest time from a change of a file to its effect.
const LIVE_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn a_folder_of_manifests_becomes_an_envoy_that_follows_it() -> Result<()> {
    let shop = Shop::new()?;
    let mut command = shop.command("bootstrap");
    command.args(["--workload", "shop/app=orders,version=v2", "--watch", "--output"]).arg(shop.path("run"));
    command.args(shop.bootstrap_flags()).arg(shop.policies());
    let watching = Watching::start(&mut command)?;
    let file = shop.path("run/envoy.yaml");
    // The last file that is written.
    let written = shop.path("run/identity-authz.yaml");
    wait::until("the files", LIMIT, || Ok((file.exists() && written.exists()).then_some(())))?;
    validate(&file)?;
    let envoy = shop.start(Configuration::read(&file)?.value().clone())?;
    let web = shop.client(&envoy, "web")?;
    wait::until("the filters", LIMIT, || Ok((web.get("/orders/1")?.status == 200).then_some(())))?;
    ensure!(web.get("/stock")?.status == 403);
    // The DENY stands behind a `---` in the middle of a file.
    ensure!(web.get("/orders/drafts/1")?.status == 403);
    ensure!(shop.client(&envoy, "billing")?.get("/orders/1")?.status == 403);
    ensure!(web.send(b"GET /orders/1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\n\r\n")?.status == 401);

    // A neighbour asks without a break, and loses no request.
    let stop = Arc::new(AtomicBool::new(false));
    let neighbour = load(web.clone(), Arc::clone(&stop));
    let policy = |path: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: stock, namespace: shop}}\nspec: {{rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]}}\n"
        )
    };
    let begun = Instant::now();
    shop.write("stock.yaml", &policy("/stock"))?;
    wait::until("the new policy", LIMIT, || Ok((web.get("/stock")?.status == 200).then_some(())))?;
    let live_after = begun.elapsed();
    println!("live after {} ms", live_after.as_millis());

    // What is refused changes nothing, and is said.
    let good = std::fs::read_to_string(&written)?;
    shop.write("stock.yaml", &policy("/a/*/b"))?;
    wait::until("the refusal", LIMIT, || Ok(watching.said("the files of the last good state stay").then_some(())))?;
    ensure!(std::fs::read_to_string(&written)? == good);
    ensure!(web.get("/stock")?.status == 200);

    std::fs::remove_file(shop.policies().join("stock.yaml"))?;
    wait::until("the removal", LIMIT, || Ok((web.get("/stock")?.status == 403).then_some(())))?;
    stop.store(true, Ordering::Relaxed);
    let (count, lost) = neighbour.join().map_err(|_| anyhow::anyhow!("the neighbour panicked"))?;
    ensure!(lost.is_empty(), "{} of {count} requests lost: {:?}", lost.len(), lost.first());
    ensure!(count > 0 && live_after < LIVE_WITHIN, "live after {} ms", live_after.as_millis());
    Ok(())
}

#[test]
fn the_file_of_metrics_says_that_the_command_runs_and_what_it_wrote() -> Result<()> {
    let shop = Shop::new()?;
    let refused = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: stock, namespace: shop}\nspec: {rules: [{to: [{operation: {paths: [/a/*/b]}}]}]}\n";
    shop.write("stock.yaml", refused)?;
    let file = shop.path("sallyport.prom");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    command.args(["render", "--for", "bootstrap", "--workload", "shop/app=orders,version=v2", "--watch", "--output"]);
    command.arg(shop.path("run")).arg("--modules").arg(shop.path("nowhere"));
    command.arg("--metrics").arg(&file).arg(shop.policies());
    let watching = Watching::start(&mut command)?;
    wait::until("the file", LIMIT, || Ok(file.exists().then_some(())))?;
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("\nsallyport_render_refused 1\n"), "{text}");
    // Nothing was rendered yet: no time, no number.
    ensure!(!text.contains("timestamp") && !text.contains("loaded"), "{text}");

    std::fs::remove_file(shop.policies().join("stock.yaml"))?;
    wait::until("the way back", LIMIT, || {
        let text = std::fs::read_to_string(&file)?;
        Ok((text.contains("\nsallyport_render_refused 0\n") && text.contains("\nsallyport_render_loaded{"))
            .then_some(()))
    })?;
    let missing = shop.path("nowhere/identity-authz.wasm");
    let line =
        format!("{} is not on this machine; where Envoy does not find it, it refuses the files", missing.display());
    ensure!(watching.said(&line), "nothing was said of the module");

    // Nothing changes, and the file is written once a minute.
    let written = file.metadata()?.modified()?;
    wait::until("the next minute", Duration::from_secs(100), || {
        Ok((file.metadata()?.modified()? > written).then_some(()))
    })
}
