//! What `sallyport explain` and `sallyport test` print about the files of `tests/explain` and `tests/test`.

use crate::output::{assert_prints, sallyport};

#[test]
fn explanations_name_the_rule_or_what_is_missing() {
    let orders = ["explain", "policies", "--to", "shop/app=orders"];
    let cases: [(&str, i32, &[&str]); 7] = [
        ("allowed", 0, &["--from", "shop/frontend", "--path", "/orders/1"]),
        ("reading", 1, &["--from", "shop/frontend", "--path", "//admin%2fx"]),
        ("no_certificate", 1, &["--curl", "curl -X POST https://orders.shop/orders/1"]),
        (
            "claim",
            1,
            &["--from", "billing/x", "--method", "POST", "--path", "/refunds", "--port", "8443", "--claim", "group=a"],
        ),
        (
            "claim_list",
            0,
            &[
                "--from",
                "spiffe://cluster.local/ns/billing/sa/x",
                "--method",
                "POST",
                "--path",
                "/refunds",
                "--port",
                "8443",
                "--claim",
                "group=a",
                "--claim",
                "group=finance",
                "--claim",
                "iss=x",
            ],
        ),
        ("no_port", 1, &["--from", "billing/x", "--method", "POST", "--path", "/refunds", "--claim", "group=finance"]),
        ("strict", 1, &["--default-action", "ALLOW"]),
    ];
    for (name, code, flags) in cases {
        let call: Vec<&str> = match name {
            "strict" => ["explain", "policies", "--to", "bank/app=x"].iter().chain(flags).copied().collect(),
            _ => orders.iter().chain(flags).copied().collect(),
        };
        assert_prints("explain", &call, &format!("{name}.pretty"), code);
        let call: Vec<&str> = call.into_iter().chain(["--format", "json"]).collect();
        assert_prints("explain", &call, &format!("{name}.json"), code);
    }
}

#[test]
fn policies_without_an_answer_are_faults() {
    assert_prints("explain", &["explain", "policies", "--to", "bank/app=x", "--format", "json"], "no_default.json", 1);
}

#[test]
fn tests_pass_fail_and_cover_rules() {
    for format in ["pretty", "json", "junit"] {
        assert_prints("test", &["test", "orders.yaml", "--format", format], &format!("orders.{format}"), 1);
    }
}

#[test]
fn misspelt_cases_are_faults() {
    assert_prints("test", &["test", "misspelt.yaml", "--format", "json"], "misspelt.json", 1);
}

#[test]
fn coverage_below_the_threshold_fails() {
    for (threshold, code) in [("66", 0), ("67", 1)] {
        let output = sallyport("test", &["test", "passing", "policies", "--threshold", threshold]);
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn access_is_listed_by_workload_and_by_caller() {
    let calls: [(&str, &[&str]); 3] = [
        ("who_to", &["--to", "shop/app=orders"]),
        ("who_from", &["--from", "billing/x"]),
        ("who_default", &["--to", "bank/app=x", "--default-action", "ALLOW"]),
    ];
    for (name, flags) in calls {
        for format in ["pretty", "json"] {
            let call: Vec<&str> = ["who", "policies", "--format", format].iter().chain(flags).copied().collect();
            assert_prints("explain", &call, &format!("{name}.{format}"), 0);
        }
    }
}
