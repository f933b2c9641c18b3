//! The stack: started and removed by Compose, probed from its containers.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::wait;

use super::assertions::expect_status;
use super::command::output;
use super::policies;

/// Time limit for a condition in the stack to become true.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// The Envoys of the stack.
pub(super) const ENVOYS: [&str; 4] = ["gateway", "app-envoy", "postgres-envoy", "egress"];

/// The services of `make stack-clients`: the programs, and their proxy, whose network they share.
const CLIENTS: [&str; 2] = ["clients", "clients-envoy"];

/// The name of the Compose project.
const PROJECT: &str = "sallyport-stack";

/// Label of the Docker objects that are created without Compose.
pub(super) const LABEL: &str = "sallyport.stack";

/// Pause between two health checks of a starting stack.
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The stack on this machine; there is at most one.
#[derive(Default)]
pub(super) struct Stack {
    /// Container IDs by service, listed on first use.
    containers: OnceLock<BTreeMap<String, String>>,
}

/// Continuous load that is running in the background.
pub(super) struct Load(Child);

impl Stack {
    /// Builds the filters and images, starts the stack from scratch and waits until it is healthy.
    pub(super) fn up() -> Result<Self> {
        testbed::build_filters()?;
        // Standard error is shown, because the first run pulls and builds for minutes.
        let images = output(Command::new(testbed::root().join("tools/stack-images")).stderr(Stdio::inherit()))?;
        let stack = Self::default();
        stack.down()?;
        policies::install()?;
        let variables = [
            format!("COMPOSE_PROJECT_NAME={PROJECT}"),
            format!("STACK_POLICIES={}", policies::folder().display()),
            images.trim_end().to_owned(),
        ];
        fs::write(env_file(), variables.join("\n") + "\n")?;
        compose(&["up", "--detach"])?;
        stack.wait_until_healthy()?;
        Ok(stack)
    }

    /// Removes containers, networks, volumes and the active policy files.
    pub(super) fn down(&self) -> Result<()> {
        self.remove_clients()?;
        compose(&["down", "--volumes", "--remove-orphans", "--timeout", "1"])?;
        self.docker(&["network", "prune", "--force", "--filter", &format!("label={LABEL}")])?;
        policies::remove()?;
        match fs::remove_file(env_file()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Builds the image of the programs of `make stack-clients`, starts them with their proxy, and makes what they fetch.
    /// Returns their container's ID.
    pub(super) fn start_clients(&self) -> Result<String> {
        output(Command::new(testbed::root().join("tools/stack-images")).arg("--clients").stderr(Stdio::inherit()))?;
        compose(&["--profile", "clients", "up", "--detach", CLIENTS[0], CLIENTS[1]])?;
        let container = self.list_containers()?.remove(CLIENTS[0]).context("no container for the programs")?;
        self.docker(&["exec", &container, "/clients/prepare"])?;
        Ok(container)
    }

    /// Removes the containers of the programs, which Compose knows with their profile only.
    pub(super) fn remove_clients(&self) -> Result<()> {
        let containers = self.list_containers()?;
        for container in CLIENTS.iter().filter_map(|service| containers.get(*service)) {
            self.docker(&["rm", "--force", container])?;
        }
        Ok(())
    }

    /// Runs `docker` with these arguments and returns its output.
    pub(super) fn docker(&self, arguments: &[&str]) -> Result<String> {
        output(Command::new("docker").args(arguments))
    }

    /// The container ID of a service.
    pub(super) fn container(&self, service: &str) -> Result<&str> {
        let containers = match self.containers.get() {
            Some(containers) => containers,
            None => {
                let listed = self.list_containers()?;
                self.containers.get_or_init(|| listed)
            }
        };
        let id = containers
            .get(service)
            .with_context(|| format!("no container for {service}: run `make stack-up` first"))?;
        Ok(id)
    }

    fn list_containers(&self) -> Result<BTreeMap<String, String>> {
        let project = format!("label=com.docker.compose.project={PROJECT}");
        let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
        let printed = self.docker(&["ps", "--all", "--filter", &project, "--format", format])?;
        let of_line = |line: &str| line.split_once(' ').map(|(service, id)| (service.to_owned(), id.to_owned()));
        Ok(printed.lines().filter_map(of_line).collect())
    }

    /// The IP address of a container on a network of the stack.
    pub(super) fn address(&self, service: &str, network: &str) -> Result<String> {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", self.network(network));
        Ok(self.docker(&["inspect", "--format", &format, self.container(service)?])?.trim().to_owned())
    }

    /// The full name of a network of the stack.
    pub(super) fn network(&self, network: &str) -> String {
        format!("{PROJECT}_{network}")
    }

    /// The full names of a container's networks.
    pub(super) fn networks_of(&self, service: &str) -> Result<Vec<String>> {
        let format = "{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}";
        let printed = self.docker(&["inspect", "--format", format, self.container(service)?])?;
        Ok(printed.split_whitespace().map(str::to_owned).collect())
    }

    /// The gateway address of a network, by which containers reach the host machine; `network` is the full name.
    pub(super) fn host_address(&self, network: &str) -> Result<String> {
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        Ok(self.docker(&["network", "inspect", "--format", format, network])?.trim().to_owned())
    }

    /// The address and port on this machine where a port of a service is published.
    pub(super) fn published(&self, service: &str, port: u16) -> Result<String> {
        let printed = self.docker(&["port", self.container(service)?, &port.to_string()])?;
        Ok(printed.lines().next().context("the port is not published")?.to_owned())
    }

    /// Runs a probe (see `probe.rs`) in a container and returns its result.
    pub(super) fn probe_from(&self, service: &str, arguments: &[&str]) -> Result<Value> {
        let printed = self.docker(&[&["exec", self.container(service)?, "/stack", "probe"], arguments].concat())?;
        serde_json::from_str(&printed).with_context(|| printed.clone())
    }

    /// Runs a probe in the container `visitor`.
    pub(super) fn probe(&self, arguments: &[&str]) -> Result<Value> {
        self.probe_from("visitor", arguments)
    }

    /// Sends a request to the gateway.
    pub(super) fn request(&self, arguments: &[&str]) -> Result<Value> {
        self.probe(&[&["http", "gateway:8080"], arguments].concat())
    }

    /// Sends a request to the application's Envoy with one of the visitor's certificates.
    pub(super) fn request_app(&self, identity: &str, arguments: &[&str]) -> Result<Value> {
        self.probe(&[&["http", "app-envoy:8000", &format!("as={identity}")], arguments].concat())
    }

    /// Starts continuous requests through every Envoy of the stack.
    pub(super) fn start_load(&self, seconds: u32) -> Result<Load> {
        let child = Command::new("docker")
            .args(["exec", self.container("visitor")?, "/stack", "probe", "load", "gateway:8080", "path=/checkout"])
            .arg(format!("seconds={seconds}"))
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Load(child))
    }

    /// The entries of an Envoy's access log so far.
    pub(super) fn access_log(&self, service: &str) -> Result<Vec<Value>> {
        let printed = self.docker(&["logs", self.container(service)?])?;
        Ok(printed.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect())
    }

    /// Waits for an access log entry that satisfies `predicate`, and returns the last one.
    pub(super) fn find_log_entry(
        &self,
        service: &str,
        what: &str,
        predicate: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait::until(what, TIMEOUT, || Ok(self.access_log(service)?.into_iter().rev().find(|entry| predicate(entry))))
    }

    /// Waits until the stack is healthy.
    pub(super) fn wait_until_healthy(&self) -> Result<()> {
        let attempt = || self.check_health().inspect_err(|_| thread::sleep(HEALTH_CHECK_INTERVAL));
        wait::until_ok("the stack to be healthy", TIMEOUT * 3, attempt)
    }

    /// Checks that allowed requests succeed, and that undeclared calls of the application fail.
    fn check_health(&self) -> Result<()> {
        expect_status(&self.request(&["path=/checkout"])?, 200)?;
        self.check_calls()?;
        expect_status(&self.request(&["path=/reports", "x-badge: gold"])?, 200)?;
        expect_status(&self.request(&["path=/version", "x-canary: always"])?, 200)?;
        expect_status(&self.request_app("gateway", &["path=/orders"])?, 200)?;
        let up = self.sum("up")?;
        ensure!((up - 4.0).abs() < 0.5, "{up} of 4 Envoys are scraped");
        Ok(())
    }

    /// Checks that exactly the declared calls of the application succeed.
    pub(super) fn check_calls(&self) -> Result<()> {
        let calls = self.calls()?;
        ensure!(calls.len() == 4 && calls.iter().all(|call| call.declared == call.succeeded), "{calls:?}");
        Ok(())
    }

    /// The calls on the application's page.
    pub(super) fn calls(&self) -> Result<Vec<Call>> {
        let answer = self.request(&["path=/calls"])?;
        expect_status(&answer, 200)?;
        let calls: Value = serde_json::from_str(answer.get("body").and_then(Value::as_str).context("no body")?)?;
        let call = |call: &Value| {
            Some(Call {
                name: call.get("call")?.as_str()?.to_owned(),
                declared: call.get("declared")?.as_bool()?,
                succeeded: call.get("succeeded")?.as_bool()?,
            })
        };
        calls.as_array().context("not a list")?.iter().map(|entry| call(entry).context("not a call")).collect()
    }
}

/// A call of the application to another service.
#[derive(Debug)]
pub(super) struct Call {
    /// The called service, as the page names it.
    pub(super) name: String,
    /// True if a policy allows the call.
    pub(super) declared: bool,
    /// True if the call succeeded.
    pub(super) succeeded: bool,
}

impl Load {
    /// Waits for the end. Fails if a request was lost or got another status.
    pub(super) fn expect_all(self, status: u16) -> Result<String> {
        let output = self.0.wait_with_output()?;
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let sent = answer.get("sent").and_then(Value::as_u64).context("no number of requests")?;
        ensure!(sent > 20, "only {sent} requests were sent");
        ensure!(answer.get("statuses") == Some(&json!({status.to_string(): sent})), "{answer}");
        Ok(format!("{sent} requests, all {status}"))
    }
}

/// The folder of the stack's configuration files.
pub(super) fn folder() -> PathBuf {
    testbed::root().join("envoy-config/stack")
}

/// The `.env` file with the images and the policy folder, so that `docker compose` also works by hand.
fn env_file() -> PathBuf {
    folder().join(".env")
}

/// Runs Compose 2 if Docker has the plugin, else Compose 1.
fn compose(arguments: &[&str]) -> Result<String> {
    let has_plugin =
        Command::new("docker").args(["compose", "version"]).output().is_ok_and(|output| output.status.success());
    let mut command = Command::new(if has_plugin { "docker" } else { "docker-compose" });
    if has_plugin {
        command.arg("compose");
    }
    output(command.args(["--project-name", PROJECT]).args(arguments).current_dir(folder()))
}
