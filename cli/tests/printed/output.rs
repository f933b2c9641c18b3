//! Runs of the command, and what they print.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use snapbox::{Assert, Data, data::DataFormat};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Runs the command in a folder of `tests`.
#[expect(clippy::expect_used, reason = "a test without the command has failed")]
pub(crate) fn sallyport(name: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(arguments)
        .current_dir(folder(name))
        .env_remove("NO_COLOR")
        .output()
        .expect("the command runs")
}

/// Compares what a call in a folder of `tests` prints with a file there; `SNAPSHOTS=overwrite` writes the file.
pub(crate) fn assert_prints(name: &str, arguments: &[&str], file: &str, code: i32) {
    let output = sallyport(name, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    let expected = Data::read_from(&folder(name).join(file), Some(DataFormat::Text));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Assert::new().action_env("SNAPSHOTS").normalize_paths(false).eq(printed, expected);
}
