//! The library of the command `sallyport` for a web page: JSON texts in, JSON texts out.
//!
//! Each call takes `{"files": [{"name", "text"}], "settings": {...}}` and what else it needs, and keeps nothing. It runs in
//! a Web Worker, so it may take its time.
//!
//! ```
//! let answer = sallyport_playground::explain(r#"{
//!     "files": [{"name": "deny.yaml", "text": "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: none, namespace: shop}, spec: {}}"}],
//!     "requests": [{"from": "shop/frontend", "path": "/orders"}]
//! }"#);
//! assert!(answer.contains(r#""answer":"denied""#), "{answer}");
//! ```

mod input;
mod output;
mod request;
mod test_file;

use sallyport_analysis::{check as check_files, formats};
use serde_json::{Value, json};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::input::Input;
use crate::request::explain_all;

/// Returns the version of the command that this is the library of.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Checks the files: `{"findings": [...], "passedOver": {...}}`, as `sallyport check --format json` prints it.
#[wasm_bindgen]
pub fn check(input: &str) -> String {
    answer(input, |input| {
        let project = input.project()?;
        Ok(formats::json::report(&check_files(&project, &[]), project.sources()))
    })
}

/// Answers `requests`: `{"answers": [...]}`, each as `sallyport explain --format json` prints it with `column` and the place
/// of `nearest` added; or `{"error": "...", "faults": [...]}` where there is no answer.
#[wasm_bindgen]
pub fn explain(input: &str) -> String {
    answer(input, |input| Ok(json!({"answers": explain_all(input)})))
}

/// Lists who may reach what: `{"access": [...]}`, as `sallyport who --format json` prints it with `file`, `line` and
/// `dryRun` added. Rules of a dry run, which the command leaves out, are listed too.
#[wasm_bindgen]
pub fn access(input: &str) -> String {
    answer(input, output::access)
}

/// Renders the files for `place` and `workload`: `{"files": [{"name", "text"}], "notes": [...]}` or `{"error", "faults"}`.
#[wasm_bindgen]
pub fn render(input: &str) -> String {
    answer(input, output::render)
}

/// Writes `requests` as files for `sallyport test`, with the answers of now: `{"files": [{"name", "text"}]}`.
#[wasm_bindgen]
pub fn test_files(input: &str) -> String {
    answer(input, |input| Ok(json!({"files": test_file::write(input)})))
}

/// Reads a call of curl: `{"method", "host", "path", "port", "headers"}`.
#[wasm_bindgen]
pub fn curl(line: &str) -> String {
    let read = sallyport_analysis::parse_curl(line).map(|curl| {
        json!({
            "method": curl.method,
            "host": curl.host,
            "path": curl.path,
            "port": curl.port,
            "sni": curl.server_name,
            "headers": curl.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>(),
        })
    });
    read.unwrap_or_else(|error| json!({"error": error.to_string()})).to_string()
}

/// Reads a call and writes what comes of it.
fn answer(input: &str, call: impl Fn(&Input) -> Result<Value, String>) -> String {
    let read = Input::parse(input).and_then(|input| call(&input));
    read.unwrap_or_else(|error| json!({"error": error})).to_string()
}

/// Returns the faults that keep the filters from loading.
fn faults(findings: Vec<sallyport_analysis::Finding>, project: &sallyport_analysis::Project) -> Value {
    let report = sallyport_analysis::Report { findings, passed_over: Vec::new() };
    let mut report = formats::json::report(&report, project.sources());
    json!({"error": "the filters refuse these files", "faults": report.get_mut("findings").map(Value::take)})
}
