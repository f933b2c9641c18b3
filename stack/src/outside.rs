//! Web servers in place of the internet, behind every external host name.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use anyhow::Result;
use testbed::{Identity, TlsServer, WebServer};

/// The files that the web servers have, which `envoy-config/stack/clients/prepare` makes.
const SITE: &str = "/site";

/// Serves TLS on port 443 with the certificate in this folder, and plain HTTP on port 80, until the process ends.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let at = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let identity = read_identity(&folder.join("current"), "workload")?;
    let _https = WebServer::start_at(at(443), Path::new(SITE), Some(&identity))?;
    let _http = WebServer::start_at(at(80), Path::new(SITE), None)?;
    loop {
        thread::park();
    }
}

/// Serves TLS on a port with one of the visitor's certificates, until the process ends.
pub(crate) fn impersonate(name: &str, port: u16) -> Result<()> {
    let identity = read_identity(Path::new("/certificates/current"), name)?;
    let _server = TlsServer::start_at(SocketAddr::from(([0, 0, 0, 0], port)), &identity)?;
    loop {
        thread::park();
    }
}

fn read_identity(folder: &Path, name: &str) -> Result<Identity> {
    let read = |kind: &str| fs::read_to_string(folder.join(format!("{name}.{kind}")));
    Ok(Identity::from_pem(read("pem")?, read("key")?))
}
