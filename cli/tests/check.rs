//! What `sallyport check` prints about the folders of `tests/check`, in each format.

use std::path::Path;
use std::process::{Command, Output};

use snapbox::{Assert, Data, data::DataFormat};

/// Runs the command in `tests/check`.
#[expect(clippy::expect_used, reason = "a test without the command has failed")]
fn sallyport(arguments: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check");
    Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .output()
        .expect("the command runs")
}

/// Compares what a call prints with a file of `tests/check`; `SNAPSHOTS=overwrite` writes the file.
fn assert_prints(arguments: &[&str], file: &str, code: i32) {
    let output = sallyport(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check").join(file);
    let expected = Data::read_from(&path, Some(DataFormat::Text));
    Assert::new()
        .action_env("SNAPSHOTS")
        .normalize_paths(false)
        .eq(String::from_utf8_lossy(&output.stdout).into_owned(), expected);
}

#[test]
fn faults_in_each_format() {
    for format in ["pretty", "json", "sarif", "github"] {
        assert_prints(&["check", "faults", "--format", format], &format!("faults.{format}"), 1);
    }
}
