//! Starting, inspecting and stopping an Envoy process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::client::Client;
use crate::configuration::Configuration;
use crate::wait;

/// Time limit for Envoy to compile the filters and open its listeners.
const START_TIMEOUT: Duration = Duration::from_secs(240);

const CONFIGURATION_FILE: &str = "envoy.json";
const ADMIN_FILE: &str = "admin-address";

/// Options for running Envoy.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Envoy binary.
    pub binary: PathBuf,
    /// A folder for its configuration, its logs and its output.
    pub folder: PathBuf,
    /// The number of worker threads.
    pub workers: usize,
    /// Lets Envoy outlive this process. Some builds of Envoy exit with their parent process, so a detached one is started
    /// by a shell of its own.
    pub detached: bool,
}

/// A running Envoy, stopped when dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Option<Child>,
    admin: SocketAddr,
    log: PathBuf,
    detached: bool,
}

impl Envoy {
    /// Starts Envoy and waits until it is ready. Fails with the last lines of its log if it exits.
    pub fn start(configuration: &Configuration, options: &Options) -> Result<Self> {
        let mut bootstrap = configuration.clone();
        if let Value::Object(keys) = bootstrap.at("")? {
            let free = json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}});
            keys.insert("admin".to_owned(), free);
        }
        let file = options.folder.join(CONFIGURATION_FILE);
        let admin_file = options.folder.join(ADMIN_FILE);
        let log = options.folder.join("envoy.log");
        fs::write(&file, serde_json::to_vec_pretty(bootstrap.value())?)?;
        if admin_file.exists() {
            fs::remove_file(&admin_file)?;
        }
        let mut command = match options.detached {
            false => Command::new(&options.binary),
            true => {
                let mut shell = Command::new("sh");
                shell.args(["-c", r#""$@" & wait $!"#, "sh"]).arg(&options.binary).process_group(0);
                shell
            }
        };
        let mut child = command
            .arg("-c")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(&admin_file)
            .args(["--concurrency", &options.workers.to_string()])
            .args(["--use-dynamic-base-id", "--log-level", "info", "--file-flush-interval-msec", "20"])
            .args(["--drain-time-s", "1", "--parent-shutdown-time-s", "2"])
            .stdin(Stdio::null())
            .stdout(File::create(options.folder.join("envoy.out"))?)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", options.binary.display()))?;
        let admin = wait::until("Envoy to open its admin port", START_TIMEOUT, || {
            if let Some(status) = child.try_wait()? {
                bail!("Envoy exited with {status}:\n{}", last_lines(&log));
            }
            Ok(fs::read_to_string(&admin_file).ok().and_then(|text| text.trim().parse().ok()))
        })?;
        let mut envoy = Self { child: Some(child), admin, log, detached: options.detached };
        wait::until("Envoy to be ready", START_TIMEOUT, || {
            if let Some(status) = envoy.exit_status()? {
                bail!("Envoy exited with {status}:\n{}", last_lines(&envoy.log));
            }
            Ok(envoy.admin_get("/ready").is_ok_and(|answer| answer.starts_with("LIVE")).then_some(()))
        })?;
        Ok(envoy)
    }

    fn exit_status(&mut self) -> Result<Option<std::process::ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    /// Leaves Envoy running when this value is dropped.
    pub fn detach(mut self) {
        self.child = None;
    }

    /// The process ID of Envoy, or of the shell that started a detached one; `None` after [`Self::detach`].
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The address of the admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The contents of Envoy's log so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Fetches an admin path and returns the body.
    pub fn admin_get(&self, path: &str) -> Result<String> {
        let answer = Client::plaintext(self.admin).get(path)?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// The local address of a listener. Fails if there is no such listener.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.listeners()?.remove(name).with_context(|| format!("no listener {name}"))
    }

    /// The local addresses of all listeners that have one, by name.
    pub fn listeners(&self) -> Result<BTreeMap<String, SocketAddr>> {
        let page: Value = serde_json::from_str(&self.admin_get("/listeners?format=json")?)?;
        let statuses = page.get("listener_statuses").and_then(Value::as_array).context("no listeners")?;
        let with_address = statuses.iter().filter_map(|status| {
            let name = status.get("name").and_then(Value::as_str)?;
            Some((name.to_owned(), status.pointer("/local_address/socket_address")?))
        });
        with_address.map(|(name, address)| Ok((name, socket_address(address)?))).collect()
    }

    /// The value of a counter or gauge; 0 if it does not exist.
    pub fn stat(&self, name: &str) -> Result<u64> {
        let page = self.admin_get("/stats")?;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map_or(Ok(0), |value| Ok(value.parse()?))
    }
}

fn socket_address(address: &Value) -> Result<SocketAddr> {
    let host = address.get("address").and_then(Value::as_str).context("no address")?;
    let port = address.get("port_value").and_then(Value::as_u64).context("no port")?;
    let host = if host == "0.0.0.0" { "127.0.0.1" } else { host };
    Ok(format!("{host}:{port}").parse()?)
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Killing a detached one would only kill its shell. A process that has exited already needs nothing.
            if self.detached {
                let _exited = quit(&Client::plaintext(self.admin));
            }
            let _exited = child.kill();
            let _exited = child.wait();
        }
    }
}

/// Stops the detached Envoy that was started in `folder`, if it still runs.
pub fn stop_detached(folder: &Path) -> Result<()> {
    let admin_file = folder.join(ADMIN_FILE);
    let Some(admin) = fs::read_to_string(&admin_file).ok().and_then(|text| text.trim().parse().ok()) else {
        return Ok(());
    };
    let client = Client::plaintext(admin);
    // Another program may have the port by now: only an Envoy that runs this folder's configuration is stopped.
    let is_ours = client.get("/server_info").is_ok_and(|answer| {
        String::from_utf8_lossy(&answer.body).contains(&*folder.join(CONFIGURATION_FILE).to_string_lossy())
    });
    if is_ours {
        client.send(
            b"POST /quitquitquit HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )?;
    }
    Ok(fs::remove_file(admin_file)?)
}

fn quit(admin: &Client) -> Result<()> {
    admin.send(b"POST /quitquitquit HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    wait::until("Envoy to exit", Duration::from_secs(15), || Ok(admin.get("/ready").is_err().then_some(())))
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
