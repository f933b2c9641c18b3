//! Case files of several documents: each is a case file of its own.

use crate::odd_calls::run;

const POLICIES: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  rules: [{to: [{operation: {paths: [/orders/*]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: bills, namespace: shop}
spec:
  selector: {matchLabels: {app: bills}}
  rules: [{to: [{operation: {paths: [/bills/*]}}]}]
";

/// Two documents with a case of the same name, for workloads of their own; the last case of the second one fails.
const CASES: &str = "workload: shop/app=orders
cases:
- {name: its path is open, request: {path: /orders/1}, expect: {answer: reached}}
---
# The other workload.
workload: shop/app=bills
cases:
- {name: its path is open, request: {path: /bills/1}, expect: {answer: reached}}
- {name: the other is not, request: {path: /orders/1}, expect: {answer: reached}}
";

fn play(format: &str) -> (Option<i32>, String) {
    let files = [("p.yaml", POLICIES), ("c.yaml", CASES)];
    let (code, printed, error) = run(&files, &["test", "c.yaml", "p.yaml", "--format", format]);
    assert_eq!(error, "");
    (code, printed)
}

#[test]
fn each_document_is_played_once_and_named_by_its_line() {
    let (code, printed) = play("pretty");
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = printed.lines().collect();
    let [first, of_first, second, of_second, failed, why, counts, coverage] = lines.as_slice() else {
        panic!("{printed}");
    };
    assert_eq!([*first, *of_first], ["c.yaml:1", "  ok      its path is open"]);
    assert_eq!([*second, *of_second], ["c.yaml:6", "  ok      its path is open"]);
    assert_eq!(*failed, "  FAILED  the other is not (c.yaml:9)");
    assert!(why.contains("denied, expected reached"), "{why}");
    assert_eq!([*counts, *coverage], ["2 passed, 1 failed", "coverage: 100 % of 2 rules"]);
}

#[test]
fn machines_are_told_the_document_too() {
    let (_, printed) = play("json");
    let report: serde_json::Value = serde_json::from_str(&printed).unwrap_or_default();
    let cases = report["cases"].as_array().cloned().unwrap_or_default();
    let lines: Vec<_> = cases.iter().map(|case| (case["file"].as_str(), case["line"].as_u64())).collect();
    assert_eq!(lines, [3, 8, 9].map(|line| (Some("c.yaml"), Some(line))), "{printed}");
    let (_, printed) = play("junit");
    for text in ["<testsuite name=\"c.yaml:1\" tests=\"1\"", "<testsuite name=\"c.yaml:6\" tests=\"2\"", "time=\"0."] {
        assert!(printed.contains(text), "{text} in {printed}");
    }
    assert_eq!(printed.matches("<testcase ").count(), 3, "{printed}");
}

#[test]
fn the_only_document_with_cases_is_called_by_its_file() {
    let one = format!("{POLICIES}---\n{}", CASES.split("---").next().unwrap_or_default());
    let (code, printed, error) = run(&[("c.yaml", &one)], &["test", "c.yaml"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{printed}");
    assert!(printed.starts_with("c.yaml\n  ok "), "{printed}");
}
