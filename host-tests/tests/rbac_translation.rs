//! The oracle's translation of policies to Envoy's RBAC, held against `host-tests/oracle/translations.yaml`: one test
//! for each row and protocol.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use host_tests::rbac_oracle::{Dialect, Mesh, Protocol, translate};
use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;
use serde_json::{Value, json};

/// Policies, and the configurations of the filters that Istio writes for them.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Row {
    name: String,
    #[serde(default = "default_trust_domains")]
    trust_domains: Vec<String>,
    policies: Vec<Value>,
    http: Value,
    tcp: Value,
}

fn default_trust_domains() -> Vec<String> {
    vec!["cluster.local".to_owned()]
}

impl Row {
    fn check(&self, protocol: Protocol) -> Result<()> {
        let mesh = Mesh { trust_domains: self.trust_domains.clone(), dialect: Dialect::Istio };
        let found = json!(translate(&self.policies, &mesh, protocol)?.filters());
        let expected = match protocol {
            Protocol::Http => &self.http,
            Protocol::Tcp => &self.tcp,
        };
        ensure!(found == *expected, "found {found:#}\nexpected {expected:#}");
        Ok(())
    }
}

fn trials() -> Result<Vec<Trial>> {
    let path = testbed::root().join("host-tests/oracle/translations.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let rows: Vec<Row> = serde_json::from_value(testbed::read_yaml(&text)?)?;
    ensure!(rows.len() > 3, "only {} rows", rows.len());
    let trial = |row: &Row, protocol: Protocol| {
        let row = row.clone();
        Trial::test(format!("{protocol:?}: {}", row.name), move || {
            row.check(protocol).map_err(|error| format!("{error:#}").into())
        })
    };
    Ok(rows.iter().flat_map(|row| [Protocol::Http, Protocol::Tcp].map(|protocol| trial(row, protocol))).collect())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("the rows could not be read: {error:#}");
            ExitCode::FAILURE
        }
    }
}
