//! 10,000 policies in 100 files: what `check` takes for them. `make command-speed` prints it for the command as it is
//! installed.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const FILES: usize = 100;
const POLICIES: usize = 100;

/// CPU time that is allowed for the command as it is installed.
const MOST_SECONDS: f64 = 2.0;

/// The variable that names the command, and that has its time compared.
const COMMAND: &str = "SALLYPORT";

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

/// CPU seconds of all children that have ended (proc(5), `cutime` and `cstime`).
fn seconds_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(13).take(2).map(str::parse).collect::<Result<_, _>>()?;
    let output = Command::new("getconf").arg("CLK_TCK").output()?;
    let a_second: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(ticks.iter().sum::<f64>() / a_second)
}

/// Most memory of a process so far, in MiB; `None` once it has ended.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}

#[test]
fn ten_thousand_policies_are_checked_in_two_seconds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_policies(folder.path())?;
    let given = std::env::var_os(COMMAND).map(PathBuf::from);
    let command = given.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_sallyport")));
    let (before, start) = (seconds_of_children()?, Instant::now());
    let mut child = Command::new(&command).arg("check").arg(folder.path()).stdout(Stdio::piped()).spawn()?;
    let mut memory = 0;
    while child.try_wait()?.is_none() {
        memory = memory.max(peak(child.id()).unwrap_or_default());
        thread::sleep(Duration::from_millis(5));
    }
    let (seconds, elapsed) = (seconds_of_children()? - before, start.elapsed().as_secs_f64());
    let output = child.wait_with_output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && printed.contains(&format!("nothing found in {FILES} files")), "{printed}");
    println!(
        "check: {} policies in {FILES} files: {elapsed:.1} s, {seconds:.1} s of CPU, {memory} MiB",
        FILES * POLICIES
    );
    ensure!(memory < 256, "{memory} MiB");
    // What is not optimised takes longer.
    ensure!(given.is_none() || seconds < MOST_SECONDS, "{seconds} s");
    Ok(())
}
