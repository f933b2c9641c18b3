//! Configurations that the filter refuses, in a real Envoy.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::{CertificateAuthority, Configuration, Envoy, Options, SubjectAltName, TokenIssuer, wait};

use super::LIMIT;
use super::listener::{filter_configuration, listener};
use crate::envoy_version::{EnvoyVersion, EnvoyVersions};
use crate::suite::case::Case;

/// Gives the configuration of each case to one Envoy, in a listener of its own. Returns the lines that the filter logs
/// about each, by the case's name. Fails if Envoy accepts one of the listeners.
pub fn refusals(
    filter: &str,
    cases: &[Case],
    binary: PathBuf,
    folder: PathBuf,
) -> Result<BTreeMap<String, Vec<String>>> {
    let authority = CertificateAuthority::new("trusted")?;
    fs::write(folder.join("trusted.pem"), authority.pem())?;
    authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?.write(&folder, "server")?;
    let access_log = folder.join("access.log");
    let (versions, version) = (EnvoyVersions::load()?, EnvoyVersion::of(&binary)?);
    let mut resources = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let name = format!("refused-{index}");
        let configuration = filter_configuration(filter, &name, &case.configuration_bytes()?);
        let mut listener = listener(&name, "none", &folder, &access_log, &configuration, &TokenIssuer::new("trusted"));
        if let Value::Object(keys) = &mut listener {
            keys.insert("@type".to_owned(), json!("type.googleapis.com/envoy.config.listener.v3.Listener"));
        }
        versions.remove_unknown_settings(version, &mut listener);
        resources.push(listener);
    }
    // Static listeners would end Envoy with the first of them.
    let discovery = folder.join("listeners.json");
    fs::write(&discovery, serde_json::to_vec(&json!({"version_info": "1", "resources": resources}))?)?;
    let bootstrap = json!({
        "node": {"id": "suite", "cluster": "suite"},
        "dynamic_resources": {"lds_config": {"resource_api_version": "V3", "path_config_source": {"path": discovery}}}
    });
    let envoy = Envoy::start(&Configuration::new(bootstrap), &Options { binary, folder, workers: 1, detached: false })?;
    wait::until("the listeners to be refused", LIMIT, || {
        Ok((envoy.stat("listener_manager.lds.update_rejected")? > 0).then_some(()))
    })?;
    if envoy.admin_get("/listeners")?.contains("refused-") {
        bail!("Envoy accepted a configuration that the filter refuses:\n{}", envoy.admin_get("/listeners")?);
    }
    logged_refusals(&envoy.log()?, cases)
}

/// Finds the filter's lines in Envoy's log, `wasm log <vm_id>: <line>`, where the VM is named after the case's index.
fn logged_refusals(log: &str, cases: &[Case]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once("wasm log refused-") else { continue };
        let Some((vm, message)) = rest.split_once(": ") else { continue };
        let index: usize =
            vm.split(' ').next().unwrap_or_default().parse().with_context(|| format!("in the line {line}"))?;
        let case = cases.get(index).context("a case that does not exist")?;
        // The first line gives the number of errors, the others are the errors.
        if !message.starts_with("sallyport ") {
            found.entry(case.name.clone()).or_default().push(message.to_owned());
        }
    }
    Ok(found)
}
