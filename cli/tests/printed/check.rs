//! Output of `sallyport check` about the folders of `tests/check`.

use crate::output::{assert_prints, sallyport};

#[test]
fn faults_in_each_format() {
    for format in ["pretty", "json", "sarif", "junit", "github"] {
        assert_prints("check", &["check", "faults", "--format", format], &format!("faults.{format}"), 1);
    }
}

#[test]
fn configurations_are_read_inside_what_carries_them() {
    assert_prints("check", &["check", "carriers"], "carriers.pretty", 1);
}

#[test]
fn the_configuration_file_is_checked_too() {
    assert_prints("check", &["check", "config"], "config.pretty", 1);
}

#[test]
fn findings_are_silenced_by_line_and_by_code() {
    assert_prints("check", &["check", "ignored", "--format", "json"], "ignored.json", 1);
    assert_prints("check", &["check", "ignored", "--ignore", "deny-without-subpaths"], "silenced.pretty", 0);
}

#[test]
fn a_code_that_is_none_cannot_be_ignored() {
    let output = sallyport("check", &["check", "ignored", "--ignore", "deny-without-subpath"]);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("there is no code `deny-without-subpath`"), "{printed}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn wrong_use_and_unreadable_files_are_told_from_findings() {
    for arguments in [&["check"][..], &["check", "absent.yaml"], &["check", "ignored", "--workload", "/"], &["checks"]]
    {
        assert_eq!(sallyport("check", arguments).status.code(), Some(2), "{arguments:?}");
    }
}
