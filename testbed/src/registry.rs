//! A registry of images on loopback, and skopeo, which pushes to it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::client::{Client, Response};
use crate::repository::registry_programs;
use crate::wait;

/// Time limit for the registry to start.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most ports that are tried: another program can take a free one before the registry does.
const PORTS: usize = 20;

/// A running docker-registry, stopped when dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    programs: PathBuf,
    address: SocketAddr,
}

impl Registry {
    /// Starts a registry on a free port of 127.0.0.1, which keeps its images in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let programs = registry_programs()?;
        for _ in 0..PORTS {
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let configuration = json!({
                "version": "0.1",
                "storage": {"filesystem": {"rootdirectory": folder.join("registry")}},
                "http": {"addr": address.to_string()}
            });
            let file = folder.join("registry.yaml");
            fs::write(&file, configuration.to_string())?;
            let log = folder.join("registry.log");
            let child = Command::new(programs.join("docker-registry"))
                .arg("serve")
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log)?)
                .spawn()
                .with_context(|| format!("running {}", programs.join("docker-registry").display()))?;
            let mut registry = Self { child, programs: programs.clone(), address };
            let started = wait::until("the registry to start", TIMEOUT, || {
                let text = fs::read_to_string(&log)?;
                Ok(match registry.child.try_wait()? {
                    Some(_) if text.contains("address already in use") => Some(false),
                    Some(status) => bail!("docker-registry exited with {status}:\n{text}"),
                    None => registry.get("/v2/", "*/*").is_ok_and(|answer| answer.status == 200).then_some(true),
                })
            })?;
            if started {
                return Ok(registry);
            }
        }
        bail!("no port of {PORTS} was free")
    }

    /// The address, as it stands in references.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for a path, with this header `accept`.
    pub fn get(&self, path: &str, accept: &str) -> Result<Response> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: registry\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
        Client::plaintext(self.address).send(head.as_bytes())
    }

    /// Runs skopeo with these arguments, and returns what it prints. Fails with that where skopeo does.
    pub fn skopeo(&self, arguments: &[&str]) -> Result<String> {
        // The file without which skopeo trusts nobody is not on every machine.
        let output = Command::new(self.programs.join("skopeo")).arg("--insecure-policy").args(arguments).output()?;
        ensure!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _exited = self.child.kill();
        let _exited = self.child.wait();
    }
}
