//! The running stack: brought up and removed by Compose, and asked from within.

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

use super::answer::expect;
use super::command::output;
use super::policies;

/// How long anything in the stack may take to become what it should.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// The Envoys of the stack.
pub(super) const ENVOYS: [&str; 4] = ["gateway", "app-envoy", "postgres-envoy", "egress"];

/// The name of the Compose project.
const PROJECT: &str = "sallyport-stack";

/// What is made beside Compose bears this label.
pub(super) const LABEL: &str = "sallyport.stack";

/// Between two looks at a stack that does not work yet.
const PAUSE: Duration = Duration::from_millis(200);

/// The stack of this machine: there is one.
#[derive(Default)]
pub(super) struct Stack {
    /// The containers, by service.
    containers: OnceLock<BTreeMap<String, String>>,
}

/// A flood of requests that goes on.
pub(super) struct Flood(Child);

impl Stack {
    /// Builds what the stack needs, starts it anew and waits until it works.
    pub(super) fn up() -> Result<Self> {
        testbed::build_filters()?;
        // What it pulls and builds takes minutes the first time, and it says so.
        let images = output(Command::new(testbed::root().join("tools/stack-images")).stderr(Stdio::inherit()))?;
        let stack = Self::default();
        stack.down()?;
        policies::lay_out()?;
        let variables = [
            format!("COMPOSE_PROJECT_NAME={PROJECT}"),
            format!("STACK_POLICIES={}", policies::folder().display()),
            images.trim_end().to_owned(),
        ];
        fs::write(variables_file(), variables.join("\n") + "\n")?;
        compose(&["up", "--detach"])?;
        stack.until_it_works()?;
        Ok(stack)
    }

    /// Removes it.
    pub(super) fn down(&self) -> Result<()> {
        compose(&["down", "--volumes", "--remove-orphans", "--timeout", "1"])?;
        self.docker(&["network", "prune", "--force", "--filter", &format!("label={LABEL}")])?;
        policies::clear()?;
        match fs::remove_file(variables_file()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Runs `docker` with these arguments, and gives what it printed.
    pub(super) fn docker(&self, arguments: &[&str]) -> Result<String> {
        output(Command::new("docker").args(arguments))
    }

    /// The container of a service.
    pub(super) fn container(&self, service: &str) -> Result<&str> {
        let containers = match self.containers.get() {
            Some(containers) => containers,
            None => {
                let found = self.list_containers()?;
                self.containers.get_or_init(|| found)
            }
        };
        let id =
            containers.get(service).with_context(|| format!("no container of {service}: `make stack` starts it"))?;
        Ok(id)
    }

    fn list_containers(&self) -> Result<BTreeMap<String, String>> {
        let project = format!("label=com.docker.compose.project={PROJECT}");
        let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}}";
        let printed = self.docker(&["ps", "--all", "--filter", &project, "--format", format])?;
        let of_line = |line: &str| line.split_once(' ').map(|(service, id)| (service.to_owned(), id.to_owned()));
        Ok(printed.lines().filter_map(of_line).collect())
    }

    /// The address of a container on a network of the stack.
    pub(super) fn address(&self, service: &str, network: &str) -> Result<String> {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", self.network(network));
        Ok(self.docker(&["inspect", "--format", &format, self.container(service)?])?.trim().to_owned())
    }

    /// The full name of a network of the stack.
    pub(super) fn network(&self, network: &str) -> String {
        format!("{PROJECT}_{network}")
    }

    /// The networks that a container is on, by their full names.
    pub(super) fn networks_of(&self, service: &str) -> Result<Vec<String>> {
        let format = "{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}";
        let printed = self.docker(&["inspect", "--format", format, self.container(service)?])?;
        Ok(printed.split_whitespace().map(str::to_owned).collect())
    }

    /// The address that a network, by its full name, has for the machine itself.
    pub(super) fn machine(&self, network: &str) -> Result<String> {
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        Ok(self.docker(&["network", "inspect", "--format", format, network])?.trim().to_owned())
    }

    /// Where a port of a service is published on this machine.
    pub(super) fn published(&self, service: &str, port: u16) -> Result<String> {
        let printed = self.docker(&["port", self.container(service)?, &port.to_string()])?;
        Ok(printed.lines().next().context("the port is not published")?.to_owned())
    }

    /// Asks from a container, as `ask.rs` has it.
    pub(super) fn ask_from(&self, service: &str, arguments: &[&str]) -> Result<Value> {
        let printed = self.docker(&[&["exec", self.container(service)?, "/stack", "ask"], arguments].concat())?;
        serde_json::from_str(&printed).with_context(|| printed.clone())
    }

    /// Asks as the visitor.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Value> {
        self.ask_from("visitor", arguments)
    }

    /// Sends a request to the gateway, as a client.
    pub(super) fn client(&self, arguments: &[&str]) -> Result<Value> {
        self.ask(&[&["http", "gateway:8080"], arguments].concat())
    }

    /// Sends a request to the application's Envoy under one of the visitor's certificates.
    pub(super) fn to_app(&self, identity: &str, arguments: &[&str]) -> Result<Value> {
        self.ask(&[&["http", "app-envoy:8000", &format!("as={identity}")], arguments].concat())
    }

    /// Begins a flood of requests that need every Envoy of the stack, as a client.
    pub(super) fn flood(&self, seconds: u32) -> Result<Flood> {
        let child = Command::new("docker")
            .args(["exec", self.container("visitor")?, "/stack", "ask", "flood", "gateway:8080", "path=/checkout"])
            .arg(format!("seconds={seconds}"))
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Flood(child))
    }

    /// What an Envoy has written to its access log.
    pub(super) fn log(&self, service: &str) -> Result<Vec<Value>> {
        let printed = self.docker(&["logs", self.container(service)?])?;
        Ok(printed.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect())
    }

    /// Waits for an entry of an access log that the condition holds for.
    pub(super) fn logged(&self, service: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until(what, LIMIT, || Ok(self.log(service)?.into_iter().rev().find(|entry| holds(entry))))
    }

    /// Waits until every call goes as it should.
    pub(super) fn until_it_works(&self) -> Result<()> {
        let look = || self.works().inspect_err(|_| thread::sleep(PAUSE));
        wait::until_ok("the stack to work", LIMIT * 3, look)
    }

    /// Whether all that is allowed works, and what the application may not do does not.
    fn works(&self) -> Result<()> {
        expect(&self.client(&["path=/checkout"])?, 200)?;
        self.calls_as_declared()?;
        expect(&self.client(&["path=/reports", "x-badge: gold"])?, 200)?;
        expect(&self.client(&["path=/version", "x-canary: always"])?, 200)?;
        expect(&self.to_app("gateway", &["path=/orders"])?, 200)?;
        let up = self.sum("up")?;
        ensure!((up - 4.0).abs() < 0.5, "{up} of 4 Envoys are scraped");
        Ok(())
    }

    /// Whether those calls of the application's page went through that are declared, and no others.
    pub(super) fn calls_as_declared(&self) -> Result<()> {
        let calls = self.calls()?;
        ensure!(calls.len() == 4 && calls.iter().all(|call| call.declared == call.through), "{calls:?}");
        Ok(())
    }

    /// The calls of the application's page.
    pub(super) fn calls(&self) -> Result<Vec<Call>> {
        let answer = self.client(&["path=/calls"])?;
        expect(&answer, 200)?;
        let calls: Value = serde_json::from_str(answer.get("body").and_then(Value::as_str).context("no body")?)?;
        let call = |call: &Value| {
            Some(Call {
                name: call.get("call")?.as_str()?.to_owned(),
                declared: call.get("declared")?.as_bool()?,
                through: call.get("through")?.as_bool()?,
            })
        };
        calls.as_array().context("no list")?.iter().map(|entry| call(entry).context("no call")).collect()
    }
}

/// A call that the application makes.
#[derive(Debug)]
pub(super) struct Call {
    /// What it calls.
    pub(super) name: String,
    /// Whether it may.
    pub(super) declared: bool,
    /// Whether it could.
    pub(super) through: bool,
}

impl Flood {
    /// Waits for its end; fails if a request was lost or had another status.
    pub(super) fn all_had(self, status: u16) -> Result<String> {
        let output = self.0.wait_with_output()?;
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let asked = answer.get("asked").and_then(Value::as_u64).context("no number")?;
        ensure!(asked > 20, "only {asked} requests were made");
        ensure!(answer.get("statuses") == Some(&json!({status.to_string(): asked})), "{answer}");
        Ok(format!("{asked} requests, all {status}"))
    }
}

/// Where the stack's files are.
pub(super) fn folder() -> PathBuf {
    testbed::root().join("envoy-config/stack")
}

/// What Compose reads the images and the folder of the policies from, so that it can be called by hand as well.
fn variables_file() -> PathBuf {
    folder().join(".env")
}

/// Runs Compose 2 where Docker has it, else Compose 1.
fn compose(arguments: &[&str]) -> Result<String> {
    let has_plugin =
        Command::new("docker").args(["compose", "version"]).output().is_ok_and(|output| output.status.success());
    let mut command = Command::new(if has_plugin { "docker" } else { "docker-compose" });
    if has_plugin {
        command.arg("compose");
    }
    output(command.args(["--project-name", PROJECT]).args(arguments).current_dir(folder()))
}
