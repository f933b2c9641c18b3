//! The guide for beginners, run as a reader would: its commands in order, each answer as it is printed.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::page;

/// Seconds for one command to print what the page says.
const LIMIT: u32 = 60;

/// Ports that the page names; each run takes free ones.
const PORTS: [&str; 2] = ["8443", "8080"];

#[test]
fn the_guide_for_beginners_works_as_it_stands() -> Result<()> {
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    symlink(testbed::root().join("dist"), folder.path().join("dist"))?;
    let envoy = testbed::envoy_binary()?;
    symlink(envoy, folder.path().join("envoy"))?;
    let mut script = script(&page::named("docs/getting-started.md")?)?;
    // Both are held until both are known, so that they differ.
    let listeners = PORTS.map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    for (port, listener) in PORTS.into_iter().zip(listeners) {
        script = script.replace(port, &listener?.local_addr()?.port().to_string());
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH")?);
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .output()
        .context("bash is missing")?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The commands of a page as one script, which repeats a command until it prints the block that follows it.
fn script(page: &page::Page) -> Result<String> {
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\nset -e\n".to_owned();
    let mut blocks = page.blocks.iter().peekable();
    while let Some((language, commands)) = blocks.next() {
        ensure!(language == "sh", "a block of {language} follows no command:\n{commands}");
        match blocks.next_if(|(language, _)| language == "text") {
            None => script.push_str(commands),
            Some((_, printed)) => {
                write!(
                    script,
                    "SECONDS=0\nuntil printed=$({{\n{commands}}} 2>&1) && grep --quiet --fixed-strings -- '{expected}' <<<\"$printed\"; do\n\
                     if [ $SECONDS -gt {LIMIT} ]; then printf 'expected: %s\\n%s\\n' '{expected}' \"$printed\"; tail -n 20 envoy.log; exit 1; fi\n\
                     sleep 0.1\ndone\n",
                    expected = printed.trim_end().replace('\'', "'\\''"),
                )?;
            }
        }
    }
    ensure!(!page.blocks.is_empty(), "the page has no command");
    Ok(script)
}
