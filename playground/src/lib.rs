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

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: now, namespace: shop}
spec: {rules: [{to: [{operation: {paths: [/a]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: soon, namespace: shop, annotations: {istio.io/dry-run: 'true'}}
spec:
  rules:
  - to: [{operation: {paths: [/b]}}]
";

    fn call(function: fn(&str) -> String, more: Value) -> Value {
        let mut input = json!({"files": [{"name": "a.yaml", "text": POLICIES}]});
        let entries = more.as_object().cloned().unwrap_or_default();
        input.as_object_mut().expect("an object").extend(entries);
        serde_json::from_str(&function(&input.to_string())).expect("JSON")
    }

    #[test]
    fn access_has_the_rules_of_a_dry_run_with_their_places() {
        let listed = call(access, json!({}));
        let rows: Vec<Value> = listed["access"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| json!([row["policy"], row["paths"], row["dryRun"], row["file"], row["line"]]))
            .collect();
        assert_eq!(
            json!(rows),
            json!([["shop/now", ["/a"], false, "a.yaml", 4], ["shop/soon", ["/b"], true, "a.yaml", 11],])
        );
    }

    #[test]
    fn a_denial_has_the_place_of_the_nearest_rule() {
        let answer = &call(explain, json!({"requests": [{"path": "/c", "to": "shop"}]}))["answers"][0];
        assert_eq!(answer["answer"], "denied");
        assert_eq!((&answer["nearest"]["policy"], &answer["nearest"]["line"]), (&json!("shop/now"), &json!(4)));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let rows = [
            (json!({"from": "nobody"}), "`nobody` is no caller"),
            (json!({"to": "/app=a"}), "bad workload `/app=a`"),
            (json!({"sourceIp": "::g"}), "`::g` is no address, write it as in 192.0.2.7"),
            (json!({"port": "99999"}), "`99999` is no port, write a number up to 65535"),
            (json!({"headers": ["x"]}), "header `x` has no colon, write it as in x-tenant: blue"),
            (json!({"claims": ["x"]}), "claim `x` has no equals sign, write it as in group=admin"),
        ];
        for (request, expected) in rows {
            let answer = call(explain, json!({"requests": [request]}));
            let error = answer["answers"][0]["error"].as_str().unwrap_or_default();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(explain("{").contains("bad call"));
        assert!(curl("curl 'x").contains("error"));
    }
}
