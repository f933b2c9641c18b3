//! The library of the command `sallyport` for a web page: JSON texts in, JSON texts out.
//!
//! Each call takes `{"files": [{"name", "text"}], "settings": {...}}` and what else it needs. Files that are the ones of the
//! call before are not read again. It runs in a Web Worker, so it may take its time.
//!
//! ```
//! let answer = sallyport_playground::explain(r#"{
//!     "files": [{"name": "deny.yaml", "text": "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: none, namespace: shop}, spec: {}}"}],
//!     "requests": [{"from": "shop/frontend", "path": "/orders"}]
//! }"#);
//! assert!(answer.contains(r#""answer":"denied""#), "{answer}");
//! ```

#[cfg(feature = "answers")]
mod answers;
#[cfg(feature = "files")]
mod downloads;
mod input;
mod kept;
mod place;
mod request;
#[cfg(feature = "files")]
mod test_file;

use sallyport_analysis::{Finding, Project, formats};
use serde_json::{Value, json};

#[cfg(feature = "answers")]
pub use crate::answers::{access, check, explain, version};
#[cfg(feature = "files")]
pub use crate::downloads::{curl, render, test_files};
use crate::input::Input;

/// Reads a call and writes what comes of it.
fn answer(input: &str, call: impl Fn(&Input) -> Result<Value, String>) -> String {
    let read = Input::parse(input).and_then(|input| call(&input));
    read.unwrap_or_else(|error| json!({"error": error})).to_string()
}

/// Returns the faults that keep the filters from loading.
fn faults(findings: Vec<Finding>, project: &Project) -> Value {
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
