//! Clients that people have, run against `envoy-config/egress.yaml`: each reaches a declared host and no other, and
//! prints what `docs/egress.md` says. They have to be installed: `apt-get install curl git openssl python3`; PyPy is
//! fetched once where it is not (`tools/find-pypy`).

mod curl;
mod fixture;
mod git;
mod local_proxy;
mod openssl;
mod python;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::fixture::Way;

/// The programs that run here, each with the ways that its test goes.
const CLIENTS: [(&str, &[Way]); 5] = [
    ("curl", &curl::WAYS),
    ("git", &git::WAYS),
    ("openssl", &openssl::WAYS),
    ("python3", &python::WAYS),
    ("pypy3", &python::WAYS),
];

#[test]
fn each_row_of_the_page_about_these_programs_is_compared() -> Result<()> {
    let rows = testbed::client_messages()?;
    let documented: BTreeSet<_> =
        rows.iter().flat_map(|row| row.clients.iter().map(|client| (client.as_str(), row.way.as_str()))).collect();
    let compared: BTreeSet<_> =
        CLIENTS.iter().flat_map(|(client, ways)| ways.iter().map(|way| (*client, way.name()))).collect();
    let ours: BTreeSet<_> =
        documented.into_iter().filter(|(client, _)| CLIENTS.iter().any(|(ours, _)| ours == client)).collect();
    ensure!(ours == compared, "not compared: {:?}", ours.symmetric_difference(&compared).collect::<Vec<_>>());
    Ok(())
}
