//! What `sallyport check` prints about the folders of `tests/check`.

use crate::output::assert_prints;

#[test]
fn faults_in_each_format() {
    for format in ["pretty", "json", "sarif", "github"] {
        assert_prints("check", &["check", "faults", "--format", format], &format!("faults.{format}"), 1);
    }
}
