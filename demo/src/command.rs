//! Answers of the command `sallyport` about the shop's policies, without a proxy.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use testbed::Configuration;

/// Folder of the shop's policies as files, below the folder of the demo.
const POLICIES: &str = "policies";

/// Filters of the shop, with their keys in the configuration file of the command.
const FILTERS: [(&str, &str); 2] =
    [("sallyport.baseline_deny", "baselineDeny"), ("sallyport.identity_authz", "identityAuthz")];

/// JSON pointer to the filters of `envoy-config/ingress.yaml`.
const HTTP_FILTERS: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

/// Checks `ingress` and explains two requests; true if each answer is the expected one.
pub(crate) fn print_answers(ingress: &str, folder: &Path) -> Result<bool> {
    let root = testbed::root();
    let policies = folder.join(POLICIES);
    write_policies(&root.join(ingress), &policies)?;
    let policies = policies.strip_prefix(root).unwrap_or(&policies).to_string_lossy().into_owned();
    let frontend = ["explain", &policies, "--from", "shop/frontend", "--path", "/orders/17"];
    let deletes = [&frontend[..], &["--method", "DELETE"]].concat();
    println!("\nThe command `sallyport` says the same without a proxy (docs/command.md):");
    let mut as_expected = true;
    for (arguments, code) in [(&["check", ingress][..], 0), (&frontend, 0), (&deletes, 1)] {
        let program = program()?;
        println!("\n$ sallyport {}", arguments.join(" "));
        let status = Command::new(&program).args(arguments).current_dir(root).status();
        let status = status.with_context(|| format!("running {}", program.display()))?;
        if status.code() != Some(code) {
            println!("\nUNEXPECTED OUTCOME: {status}");
            as_expected = false;
        }
    }
    Ok(as_expected)
}

/// Returns the command, which `make demo` builds beside this program.
fn program() -> Result<std::path::PathBuf> {
    let program = env::current_exe()?.with_file_name("sallyport");
    ensure!(
        program.exists(),
        "{} is not built: cargo build --locked --package sallyport-cli, or make demo, which does it",
        program.display()
    );
    Ok(program)
}

/// Writes the configurations that an Envoy configuration has inside as the files that a team keeps.
fn write_policies(ingress: &Path, folder: &Path) -> Result<()> {
    let mut ingress = Configuration::read(ingress)?;
    let filters = ingress.at(HTTP_FILTERS)?.as_array().cloned().unwrap_or_default();
    let (mut settings, mut resources) = (Map::new(), Vec::new());
    for (name, key) in FILTERS {
        let filter = filters.iter().find(|filter| filter.get("name") == Some(&Value::from(name)));
        let configuration = filter.and_then(|filter| filter.pointer("/typed_config/config/configuration/value"));
        let mut configuration = configuration.cloned().with_context(|| format!("no {name}"))?;
        let own = configuration.as_object_mut().and_then(|keys| keys.remove("resources"));
        resources.extend(own.iter().filter_map(Value::as_array).flatten().cloned());
        settings.insert(key.to_owned(), configuration);
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("sallyport.yaml"), format!("{:#}\n", Value::Object(settings)))?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": resources});
    fs::write(folder.join("policies.json"), format!("{list:#}\n"))?;
    Ok(())
}
