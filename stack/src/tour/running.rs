//! The running stack: Compose, Docker, and questions to what runs in it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{Client, wait};

/// How long anything in the stack may take to become what it should.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// The Envoys of the stack.
pub(super) const ENVOYS: [&str; 4] = ["gateway", "app-envoy", "postgres-envoy", "egress"];

/// A stack, by the name of its Compose project.
pub(super) struct Stack {
    project: String,
    images: Vec<(String, String)>,
}

/// A flood of requests that goes on.
pub(super) struct Flood(Child);

impl Stack {
    /// The stack that runs, or that is to run.
    pub(super) fn attach() -> Self {
        let project = env::var("STACK_PROJECT").unwrap_or_else(|_| "sallyport-stack".to_owned());
        Self { project, images: Vec::new() }
    }

    /// Builds what the stack needs, starts it anew and waits until it works.
    pub(super) fn up() -> Result<Self> {
        let mut stack = Self::attach();
        testbed::build_filters()?;
        // What it pulls and builds takes minutes the first time, and it says so.
        let chosen = output(Command::new(testbed::root().join("tools/stack-images")).stderr(Stdio::inherit()))?;
        stack.images = chosen
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, image)| (name.to_owned(), image.to_owned()))
            .collect();
        stack.down()?;
        fs::create_dir_all(stack.policies())?;
        for file in fs::read_dir(sources())? {
            let name = file?.file_name();
            fs::copy(sources().join(&name), stack.policies().join(name))?;
        }
        stack.compose(&["up", "--detach"])?;
        stack.until_it_works()?;
        Ok(stack)
    }

    /// Removes it.
    pub(super) fn down(&self) -> Result<()> {
        self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "1"])?;
        match fs::remove_dir_all(self.policies()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The folder of the policies in use, which Envoy watches. Git ignores it.
    pub(super) fn policies(&self) -> PathBuf {
        testbed::root().join(".stack").join(&self.project).join("policies")
    }

    /// Changes a policy file in use, in one step. What is replaced has to be there.
    pub(super) fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.policies().join(file))?;
        ensure!(text.contains(from), "{file} has no {from:?}");
        self.write(file, &text.replace(from, to))
    }

    /// Puts the policy file back that the repository has.
    pub(super) fn restore(&self, file: &str) -> Result<()> {
        self.write(file, &fs::read_to_string(sources().join(file))?)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let new = self.policies().join(format!("{file}.new"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.policies().join(file))?)
    }

    fn compose(&self, arguments: &[&str]) -> Result<String> {
        let has_plugin =
            Command::new("docker").args(["compose", "version"]).output().is_ok_and(|output| output.status.success());
        let mut command = if has_plugin { Command::new("docker") } else { Command::new("docker-compose") };
        if has_plugin {
            command.arg("compose");
        }
        command
            .args(["--project-name", &self.project])
            .args(arguments)
            .current_dir(folder())
            .env("STACK_POLICIES", self.policies())
            .envs(self.images.iter().map(|(name, image)| (name, image)));
        output(&mut command)
    }

    /// Runs `docker` with these arguments, and gives what it printed.
    pub(super) fn docker(&self, arguments: &[&str]) -> Result<String> {
        output(Command::new("docker").args(arguments))
    }

    /// The image that a variable of the Compose file stands for here.
    pub(super) fn image(&self, variable: &str) -> Result<&str> {
        let found = self.images.iter().find(|(name, _)| name == variable);
        Ok(found.with_context(|| format!("no image was chosen for {variable}"))?.1.as_str())
    }

    /// The container of a service.
    pub(super) fn container(&self, service: &str) -> Result<String> {
        let project = format!("label=com.docker.compose.project={}", self.project);
        let service_label = format!("label=com.docker.compose.service={service}");
        let found = self.docker(&["ps", "--all", "--quiet", "--filter", &project, "--filter", &service_label])?;
        let id = found.lines().next().with_context(|| format!("no container of {service}"))?;
        Ok(id.to_owned())
    }

    /// The address of a container on a network of the stack.
    pub(super) fn address(&self, service: &str, network: &str) -> Result<String> {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", self.network(network));
        Ok(self.docker(&["inspect", "--format", &format, &self.container(service)?])?.trim().to_owned())
    }

    /// The full name of a network of the stack.
    pub(super) fn network(&self, network: &str) -> String {
        format!("{}_{network}", self.project)
    }

    /// Where a port of a service is published on this machine.
    pub(super) fn published(&self, service: &str, port: u16) -> Result<String> {
        let printed = self.docker(&["port", &self.container(service)?, &port.to_string()])?;
        Ok(printed.lines().next().context("the port is not published")?.to_owned())
    }

    /// Asks from a container, as `ask.rs` has it.
    pub(super) fn ask_from(&self, service: &str, arguments: &[&str]) -> Result<Value> {
        let container = self.container(service)?;
        let printed = self.docker(&[&["exec", &container, "/stack", "ask"], arguments].concat())?;
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

    /// Begins a flood of requests as the visitor.
    pub(super) fn flood(&self, arguments: &[&str]) -> Result<Flood> {
        let container = self.container("visitor")?;
        let child = Command::new("docker")
            .args(["exec", &container, "/stack", "ask", "flood"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Flood(child))
    }

    /// What the Envoys have written to their access logs.
    pub(super) fn log(&self, service: &str) -> Result<Vec<Value>> {
        let printed = self.docker(&["logs", &self.container(service)?])?;
        Ok(printed.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect())
    }

    /// Waits for an entry of an access log that the condition holds for.
    pub(super) fn logged(&self, service: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until(what, LIMIT, || Ok(self.log(service)?.into_iter().rev().find(|entry| holds(entry))))
    }

    /// What Prometheus answers to a path.
    pub(super) fn prometheus(&self, path: &str) -> Result<String> {
        let address = self.published("prometheus", 9090)?.parse()?;
        let response = Client::plaintext(address).get(path)?;
        let body = String::from_utf8_lossy(&response.body).into_owned();
        ensure!(response.status == 200, "{path}: {} {body}", response.status);
        Ok(body)
    }

    /// The series that a query gives: labels and value.
    pub(super) fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer: Value = serde_json::from_str(&self.prometheus(&format!("/api/v1/query?query={encoded}"))?)?;
        let result = answer.pointer("/data/result").and_then(Value::as_array).context("no result")?;
        let series = |entry: &Value| {
            let value = entry.pointer("/value/1").and_then(Value::as_str)?.parse().ok()?;
            Some((entry.get("metric")?.clone(), value))
        };
        Ok(result.iter().filter_map(series).collect())
    }

    /// The sum of a metric over all series, 0 where there is none.
    pub(super) fn sum(&self, metric: &str) -> Result<f64> {
        Ok(self.query(&format!("sum({metric})"))?.first().map_or(0.0, |(_, value)| *value))
    }

    /// Waits until every call goes as it should.
    pub(super) fn until_it_works(&self) -> Result<()> {
        let mut last = String::new();
        wait::until("the stack to work", LIMIT * 3, || {
            let works = self.works();
            last = works.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
            if !last.is_empty() {
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(works.ok())
        })
        .with_context(|| format!("last: {last}"))
    }

    /// Whether all that is allowed works.
    fn works(&self) -> Result<()> {
        let orders = self.client(&["path=/orders"])?;
        expect(&orders, 200)?;
        let calls = self.calls()?;
        let through: Vec<_> = calls.iter().map(|(_, through)| *through).collect();
        ensure!(through == [true, true, false, false], "{calls:?}");
        expect(&self.client(&["path=/reports", "x-badge: gold"])?, 200)?;
        expect(&self.client(&["path=/version", "x-canary: always"])?, 200)?;
        expect(&self.to_app("gateway", &["path=/orders"])?, 200)?;
        let up = self.sum("up")?;
        ensure!((up - 4.0).abs() < 0.5, "{up} of 4 Envoys are scraped");
        Ok(())
    }

    /// The calls of the application's page, by name, and whether they went through.
    pub(super) fn calls(&self) -> Result<Vec<(String, bool)>> {
        let answer = self.client(&["path=/calls"])?;
        expect(&answer, 200)?;
        let calls: Value = serde_json::from_str(answer.get("body").and_then(Value::as_str).context("no body")?)?;
        let call = |call: &Value| Some((call.get("call")?.as_str()?.to_owned(), call.get("through")?.as_bool()?));
        Ok(calls.as_array().context("no list")?.iter().filter_map(call).collect())
    }
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

/// Holds an answer to a status.
pub(super) fn expect(answer: &Value, status: u16) -> Result<String> {
    ensure!(answer.get("status") == Some(&json!(status)), "expected {status}, got {}", shortened(answer));
    Ok(status.to_string())
}

/// Holds a try to having got no answer at all.
pub(super) fn no_connection(answer: &Value) -> Result<String> {
    ensure!(answer.get("error").is_some(), "expected no connection, got {}", shortened(answer));
    Ok("no connection".to_owned())
}

/// Whether a key of a log entry is this text.
pub(super) fn is(entry: &Value, key: &str, value: &str) -> bool {
    entry.get(key).and_then(Value::as_str) == Some(value)
}

fn shortened(answer: &Value) -> String {
    answer.to_string().chars().take(400).collect()
}

/// Where the stack's files are.
pub(super) fn folder() -> PathBuf {
    testbed::root().join("envoy-config/stack")
}

fn sources() -> PathBuf {
    folder().join("policies")
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{:?}", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let end: Vec<_> = said.lines().rev().take(8).collect();
        bail!(
            "{} failed: {}",
            Path::new(command.get_program()).display(),
            end.into_iter().rev().collect::<Vec<_>>().join(" | ")
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
