//! What stands for the internet: one TLS server behind every name of the outside.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use anyhow::Result;
use testbed::{Identity, TlsServer};

/// Serves TLS on port 443 with the certificate in this folder until the process ends.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let read = |name: &str| fs::read_to_string(folder.join("current").join(name));
    let identity = Identity::from_pem(read("workload.pem")?, read("workload.key")?);
    let _server = TlsServer::start_at(SocketAddr::from(([0, 0, 0, 0], 443)), &identity)?;
    loop {
        thread::park();
    }
}
