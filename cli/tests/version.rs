//! The version that the command prints.

use std::process::Command;

use anyhow::{Result, ensure};

#[test]
fn the_version_has_the_commit_or_says_that_it_is_unknown() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_sallyport")).arg("--version").output()?;
    let printed = String::from_utf8(output.stdout)?;
    let commit = option_env!("SALLYPORT_COMMIT").unwrap_or("unknown commit");
    ensure!(printed == format!("sallyport {} ({commit})\n", env!("CARGO_PKG_VERSION")), "{printed}");
    Ok(())
}
