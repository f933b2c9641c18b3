//! The suites of `identity-authz` through `sallyport test`: its answers are the filter's.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What cases expect of a proxy and the command does not check.
const NOT_CHECKED: [&str; 9] =
    ["details", "principal", "counters", "loaded", "body", "header", "audit", "mark", "destination"];

/// Words of cases about what other parts of the proxy in the suites set: the address of the connection's other end, an
/// identity in filter state, metadata of a filter.
const OF_THE_PROXY: [&str; 5] = ["ipBlocks", "notIpBlocks", "source.ip", "filterState", "envoy.filters.http.suite"];

#[test]
fn the_cases_of_the_filter_have_its_answers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host-tests/suites/identity-authz");
    let target = tempfile::tempdir().expect("a folder");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the suites") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a suite");
        let mut suite: Value = serde_saphyr::from_str(&text).expect("a suite");
        let configuration = suite["configuration"].clone();
        let cases = suite["cases"].as_array_mut().expect("cases");
        cases.retain_mut(|case| {
            let is_played = is_for_the_command(case, &configuration);
            let expect = case["expect"].as_object_mut().expect("an expectation");
            NOT_CHECKED.iter().for_each(|key| {
                expect.remove(*key);
            });
            if expect.get("answer").is_some_and(Value::is_number) {
                expect.insert("answer".to_owned(), Value::from("denied"));
            }
            is_played
        });
        count += cases.len();
        if !cases.is_empty() {
            fs::write(target.path().join(path.file_name().unwrap()).with_extension("json"), suite.to_string())
                .expect("a file");
        }
    }
    assert!(count > 400, "{count} cases");
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(["test", "--format", "json"])
        .arg(target.path())
        .output()
        .expect("the command runs");
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic_with(&String::from_utf8_lossy(&output.stderr)));
    let played = report["cases"].as_array().cloned().unwrap_or_default();
    let failed: Vec<_> = played.iter().filter(|case| case["passed"] == false).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), played.len());
    assert_eq!(played.len(), count, "{report:#}");
}

#[expect(clippy::panic, reason = "a test that cannot read what it has to compare has failed")]
fn panic_with(text: &str) -> ! {
    panic!("{text}")
}

/// Reports whether a case is about a decision, and none that the proxy around the filter makes another.
fn is_for_the_command(case: &Value, shared: &Value) -> bool {
    let is_of_proxy = ["passthrough", "tunnel"].iter().any(|key| case.get(key).is_some())
        || OF_THE_PROXY.iter().any(|word| case["configuration"].to_string().contains(word));
    // With the command all authorizers were asked where no mark says otherwise.
    let configuration = case.get("configuration").unwrap_or(shared);
    let lacks_mark = configuration.get("customProviders").is_some() && case.get("mark").is_none();
    let is_of_proxy = is_of_proxy || lacks_mark;
    let request = &case["request"];
    let has = |key: &str| request.get(key).is_some();
    case["expect"].get("answer").is_some() && case["expect"].get("mark").is_none() && !is_of_proxy && !has("target")
}
