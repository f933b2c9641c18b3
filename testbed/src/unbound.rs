//! Starting and stopping unbound with the configuration of `envoy-config/egress-dns`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::repository::{root, unbound_programs};
use crate::wait;

/// Time limit for the server to start or to load a zone.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The most ports that are tried: another program can take a free one before unbound does.
const PORTS: usize = 20;

/// A running unbound, stopped when dropped.
#[derive(Debug)]
pub struct Unbound {
    child: Child,
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Unbound {
    /// Starts `envoy-config/egress-dns/unbound.conf` with this zone in `folder`, on a free port of 127.0.0.1. Fails with
    /// what unbound says if it does not start.
    pub fn start(folder: &Path, zone: &str) -> Result<Self> {
        let programs = unbound_programs()?;
        fs::write(folder.join("root.zone"), zone)?;
        for _ in 0..PORTS {
            let port = free_port()?;
            fs::write(folder.join("unbound.conf"), configuration(folder, port)?)?;
            let log = File::create(folder.join("unbound.log"))?;
            let child = Command::new(programs.join("unbound"))
                .arg("-d")
                .arg("-c")
                .arg(folder.join("unbound.conf"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .with_context(|| format!("running {}", programs.join("unbound").display()))?;
            let mut unbound = Self { child, programs: programs.clone(), folder: folder.to_owned(), port };
            let started = wait::until("unbound to start", TIMEOUT, || {
                let exited = unbound.child.try_wait()?;
                let log = unbound.log()?;
                Ok(match exited {
                    Some(_) if log.contains("Address already in use") => Some(false),
                    Some(status) => bail!("unbound exited with {status}:\n{log}"),
                    None => log.contains("start of service").then_some(true),
                })
            })?;
            if started {
                return Ok(unbound);
            }
        }
        bail!("no port of {PORTS} was free")
    }

    /// The address that it listens on, by UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("unbound.log"))?)
    }

    /// Puts another zone in the place of its zone, and tells it so. Fails if unbound does not load it.
    pub fn reload(&self, zone: &str) -> Result<()> {
        fs::write(self.folder.join("root.zone.new"), zone)?;
        fs::rename(self.folder.join("root.zone.new"), self.folder.join("root.zone"))?;
        self.control(&["auth_zone_reload", "."]).map(drop)
    }

    /// Runs a command of `unbound-control`, and returns what it prints. Fails with that if unbound refuses.
    pub fn control(&self, command: &[&str]) -> Result<String> {
        let output = Command::new(self.programs.join("unbound-control"))
            .arg("-c")
            .arg(self.folder.join("unbound.conf"))
            .args(command)
            .output()
            .context("unbound-control")?;
        let printed = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "unbound-control: {}", printed.trim_end());
        Ok(printed)
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _exited = self.child.kill();
        let _exited = self.child.wait();
    }
}

/// The file with another folder, address and port, for a machine without the user that Debian's package makes.
fn configuration(folder: &Path, port: u16) -> Result<String> {
    let mut text = fs::read_to_string(root().join("envoy-config/egress-dns/unbound.conf"))?;
    let folder = folder.to_str().context("a folder that is no text")?;
    let (port, socket) = (format!("\n  port: {port}\n  so-reuseport: no\n"), format!("{folder}/unbound.ctl"));
    for (from, to) in [
        ("/etc/sallyport", folder),
        ("/run/unbound.ctl", &socket),
        ("interface: 0.0.0.0", "interface: 127.0.0.1"),
        ("\n  port: 53\n", &port),
        ("username: \"unbound\"", "username: \"\""),
    ] {
        ensure!(text.contains(from), "unbound.conf has no {from:?}");
        text = text.replace(from, to);
    }
    Ok(text)
}

/// A port of 127.0.0.1 that is free for UDP and TCP at this moment.
fn free_port() -> Result<u16> {
    for _ in 0..PORTS {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = tcp.local_addr()?.port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of {PORTS} was free")
}
