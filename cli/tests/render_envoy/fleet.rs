//! Three machines, each with a clone of one repository of policies, `sallyport render --watch` and an Envoy, as docs/fleet.md
//! has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use testbed::{Client, Configuration, Envoy, wait};

use crate::fixture::{Shop, Watching, load, output};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs git without the settings of who runs the tests.
fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.args(["-c", "user.name=author", "-c", "user.email=author@shop.example"]).args(arguments);
    output(&mut command).with_context(|| format!("git {}", arguments.join(" ")))
}

/// The repository of the policies, and the clone of who writes them.
struct Repository {
    origin: PathBuf,
    clone: PathBuf,
}

impl Repository {
    fn new(shop: &Shop) -> Result<Self> {
        let repository = Self { origin: shop.path("origin.git"), clone: shop.policies() };
        git(&shop.path(""), &["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"])?;
        git(&repository.clone, &["init", "--quiet", "--initial-branch=main"])?;
        git(&repository.clone, &["remote", "add", "origin", repository.origin.to_str().context("no text")?])?;
        repository.push("first")?;
        Ok(repository)
    }

    fn push(&self, message: &str) -> Result<()> {
        git(&self.clone, &["add", "--all"])?;
        git(&self.clone, &["commit", "--quiet", "--message", message])?;
        git(&self.clone, &["push", "--quiet", "origin", "main"])?;
        Ok(())
    }
}

/// A machine of the fleet.
struct Machine {
    clone: PathBuf,
    metrics: PathBuf,
    rendering: Watching,
    envoy: Envoy,
    web: Client,
}

impl Machine {
    fn start(shop: &Shop, repository: &Repository, name: &str) -> Result<Self> {
        let folder = shop.path(name);
        fs::create_dir(&folder)?;
        git(&folder, &["clone", "--quiet", repository.origin.to_str().context("no text")?, "policies"])?;
        let (clone, metrics) = (folder.join("policies"), folder.join("sallyport.prom"));
        let mut command = shop.command("bootstrap");
        command.args(["--workload", "shop/app=orders,version=v2", "--watch", "--output"]).arg(folder.join("run"));
        command.arg("--metrics").arg(&metrics).args(shop.bootstrap_flags()).arg(&clone);
        let rendering = Watching::start(&mut command)?;
        // Written when all else is.
        wait::until("the files", LIMIT, || Ok(metrics.exists().then_some(())))?;
        let bootstrap = Configuration::read(&folder.join("run/envoy.yaml"))?;
        let envoy = shop.start_in(&folder, bootstrap.value().clone())?;
        let web = shop.client(&envoy, "web")?;
        wait::until("the filters", LIMIT, || Ok((web.get("/orders/1")?.status == 200).then_some(())))?;
        Ok(Self { clone, metrics, rendering, envoy, web })
    }

    fn pull(&self) -> Result<()> {
        git(&self.clone, &["pull", "--quiet", "--ff-only"]).map(drop)
    }

    fn gauge(&self, name: &str) -> Result<u64> {
        self.envoy.stat(&format!("wasmcustom.sallyport.identity_authz.{name}"))
    }

    fn status(&self, path: &str) -> Result<u16> {
        Ok(self.web.get(path)?.status)
    }

    /// The value of a line in the file of `--metrics`.
    fn metric(&self, name: &str) -> Result<u64> {
        let text = fs::read_to_string(&self.metrics)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {name} in {text}"))?.parse()?)
    }
}

/// The query of the dashboard's panel about a metric: `max by (LABELS) (METRIC)`.
fn panel(metric: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(testbed::root().join("envoy-config/stack/grafana/dashboard.json"))?;
    let mut open = vec![serde_json::from_str::<Value>(&text)?];
    while let Some(value) = open.pop() {
        let query = value.get("expr").and_then(Value::as_str);
        let labels = query.and_then(|query| {
            let (labels, of) = query.strip_prefix("max by (")?.split_once(") (")?;
            of.strip_prefix(metric)?.starts_with([')', '{']).then_some(labels)
        });
        if let Some(labels) = labels {
            return Ok(labels.split(", ").map(str::to_owned).collect());
        }
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(entries) => open.extend(entries.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    Err(anyhow!("no panel asks for {metric}"))
}

/// The dashboard's view of each machine: the value of the metric by the labels of its panel. Prometheus adds `workload`
/// and `instance`, by which machines are told apart.
fn shown(machines: &[Machine], metric: &str) -> Result<Vec<String>> {
    let labels = panel(metric)?;
    let (added, own): (Vec<_>, Vec<_>) =
        labels.iter().partition(|label| ["workload", "instance"].contains(&label.as_str()));
    ensure!(added.len() == 2, "the panel has one row for several machines: {labels:?}");
    let row = |machine: &Machine| {
        let text = machine.envoy.admin_get("/stats/prometheus")?;
        let is_it = |line: &&str| line.starts_with(&format!("{metric}{{")) && line.contains("identity_authz");
        let line = text.lines().find(is_it).with_context(|| format!("no {metric} of identity_authz"))?;
        ensure!(own.iter().all(|label| line.contains(&format!("{label}=\""))), "{line} has no {own:?}");
        Ok(line.rsplit(' ').next().context("no value")?.to_owned())
    };
    machines.iter().map(row).collect()
}

/// The gauge of each machine, once it is another than before on those that pulled.
fn wait_for_loaded(machines: &[Machine], before: u64) -> Result<()> {
    wait::until_ok("equal gauges", LIMIT, || {
        let gauges = machines.iter().map(|machine| machine.gauge("loaded")).collect::<Result<Vec<_>>>()?;
        let agree = gauges.iter().all(|gauge| *gauge != before && Some(gauge) == gauges.first());
        ensure!(agree, "{gauges:?}, {before} before");
        Ok(())
    })
}

#[test]
fn a_change_reaches_every_envoy_and_a_refused_one_none() -> Result<()> {
    let shop = Shop::new()?;
    let repository = Repository::new(&shop)?;
    let machines = ["one", "two", "three"]
        .iter()
        .map(|name| Machine::start(&shop, &repository, name))
        .collect::<Result<Vec<_>>>()?;
    let [first, others @ ..] = machines.as_slice() else { return Err(anyhow!("no machines")) };
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = machines.iter().map(|machine| load(machine.web.clone(), Arc::clone(&stop))).collect();

    // All have the same policies and the same filter.
    wait_for_loaded(&machines, 0)?;
    let (old, version) = (first.gauge("loaded")?, first.gauge("version")?);
    for machine in &machines {
        ensure!(machine.gauge("version")? == version && version > 0, "version {version}");
        ensure!(machine.status("/stock")? == 403, "the stock is open");
    }

    // What `render` says of its files is what Envoy has, so a number leads back to a commit.
    let told = "sallyport_render_loaded{sallyport_filter=\"identity_authz\"}";
    for machine in &machines {
        ensure!(machine.metric(told)? == old, "{told} {}, Envoy has {old}", machine.metric(told)?);
        ensure!(machine.rendering.said(&format!("identity-authz: gauge loaded {old}")), "nothing was said of {old}");
        ensure!(machine.metric("sallyport_render_bootstrap_timestamp_seconds")? > 0, "no time of envoy.yaml");
    }

    // A change on one machine shows in the gauges, and is on all of them in the end.
    let policy = |path: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: stock, namespace: shop}}\nspec: {{rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]}}\n"
        )
    };
    shop.write("stock.yaml", &policy("/stock"))?;
    repository.push("The stock is open")?;
    first.pull()?;
    wait::until("the change", LIMIT, || Ok((first.status("/stock")? == 200).then_some(())))?;
    wait::until("the gauge", LIMIT, || Ok((first.gauge("loaded")? != old).then_some(())))?;
    let rows = shown(&machines, "sallyport_loaded")?;
    ensure!(rows == [first.gauge("loaded")?, old, old].map(|gauge| gauge.to_string()), "{rows:?}, {old} before");
    for machine in others {
        ensure!(machine.gauge("loaded")? == old && machine.status("/stock")? == 403, "a machine changed by itself");
        machine.pull()?;
    }
    wait_for_loaded(&machines, old)?;
    let new = first.gauge("loaded")?;
    ensure!(shown(&machines, "sallyport_loaded")? == [(); 3].map(|()| new.to_string()), "the dashboard shows others");
    ensure!(
        shown(&machines, "sallyport_version")? == [(); 3].map(|()| version.to_string()),
        "the dashboard shows others"
    );
    for machine in &machines {
        // The gauge is set by the first thread of an Envoy that has the change.
        wait::until("the change", LIMIT, || Ok((machine.status("/stock")? == 200).then_some(())))?;
        ensure!(machine.metric("sallyport_render_refused")? == 0, "refused");
        ensure!(machine.metric("sallyport_render_total{result=\"refused\"}")? == 0, "counted as refused");
    }

    // What is refused reaches none, and is counted on each.
    shop.write("stock.yaml", &policy("/a/*/b"))?;
    repository.push("A path that never matches")?;
    for machine in &machines {
        machine.pull()?;
    }
    for machine in &machines {
        wait::until("the refusal", LIMIT, || Ok((machine.metric("sallyport_render_refused")? == 1).then_some(())))?;
        ensure!(machine.metric("sallyport_render_total{result=\"refused\"}")? > 0);
        ensure!(machine.rendering.said("the files of the last good state stay"), "nothing was said");
        ensure!(machine.gauge("loaded")? == new && machine.status("/stock")? == 200, "the refused change arrived");
    }

    git(&repository.clone, &["revert", "--no-edit", "HEAD", "HEAD~1"])?;
    git(&repository.clone, &["push", "--quiet", "origin", "main"])?;
    for machine in &machines {
        machine.pull()?;
    }
    for machine in &machines {
        wait::until("the way back", LIMIT, || {
            let is_back = machine.gauge("loaded")? == old && machine.metric(told)? == old;
            let is_back = is_back && machine.status("/stock")? == 403;
            Ok((is_back && machine.metric("sallyport_render_refused")? == 0).then_some(()))
        })?;
        ensure!(machine.rendering.said("the files are accepted again"), "nothing was said of the way back");
    }

    stop.store(true, Ordering::Relaxed);
    for load in loads {
        let (count, lost) = load.join().map_err(|_| anyhow!("a load panicked"))?;
        ensure!(lost.is_empty() && count > 0, "{} of {count} requests lost: {:?}", lost.len(), lost.first());
    }
    Ok(())
}
