//! The memory that `check` takes for 10,000 policies in 100 files.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

const FILES: usize = 100;
const POLICIES: usize = 100;

fn write_policies(folder: &Path) -> Result<()> {
    for file in 0..FILES {
        let mut text = String::new();
        for number in file * POLICIES..(file + 1) * POLICIES {
            let (team, caller, app) = (number % 200, number * 7 % 200, number % 1000);
            let action = if number % 7 == 0 { "DENY" } else { "ALLOW" };
            write!(
                text,
                "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: policy-{number}\n  \
                 namespace: team-{team}\nspec:\n  selector:\n    matchLabels:\n      app: app-{app}\n  action: {action}\n  \
                 rules:\n  - from:\n    - source:\n        principals: [\"cluster.local/ns/team-{caller}/sa/caller-{number}\"]\n    \
                 to:\n    - operation:\n        methods: [\"GET\", \"HEAD\"]\n        \
                 paths: [\"/api/v1/things-{number}\", \"/api/v1/things-{number}/*\"]\n"
            )?;
        }
        fs::write(folder.join(format!("team-{file:03}.yaml")), text)?;
    }
    Ok(())
}

/// Most memory of a process so far, in MiB; `None` once it has ended.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}

#[test]
fn a_check_of_ten_thousand_policies_takes_less_than_256_mib() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_policies(folder.path())?;
    let command = env!("CARGO_BIN_EXE_sallyport");
    let mut child = Command::new(command).arg("check").arg(folder.path()).stdout(Stdio::piped()).spawn()?;
    let mut memory = 0;
    while child.try_wait()?.is_none() {
        memory = memory.max(peak(child.id()).unwrap_or_default());
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && printed.contains(&format!("nothing found in {FILES} files")), "{printed}");
    ensure!((1..256).contains(&memory), "{memory} MiB");
    Ok(())
}
