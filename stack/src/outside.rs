//! A TLS server in place of the internet, behind every external host name.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use anyhow::Result;
use testbed::{Identity, TlsServer};

/// Serves TLS on port 443 with the certificate in this folder, until the process ends.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    serve_as(&folder.join("current"), "workload", 443)
}

/// Serves TLS on a port with one of the visitor's certificates, until the process ends.
pub(crate) fn impersonate(name: &str, port: u16) -> Result<()> {
    serve_as(Path::new("/certificates/current"), name, port)
}

fn serve_as(folder: &Path, name: &str, port: u16) -> Result<()> {
    let read = |kind: &str| fs::read_to_string(folder.join(format!("{name}.{kind}")));
    let identity = Identity::from_pem(read("pem")?, read("key")?);
    let _server = TlsServer::start_at(SocketAddr::from(([0, 0, 0, 0], port)), &identity)?;
    loop {
        thread::park();
    }
}
