//! Runs programs that people have, with a time limit and without the settings of who runs the tests.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::wait;

/// Time limit for one run of a program.
const LIMIT: Duration = Duration::from_secs(60);

/// What a program printed, and whether it succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// True if it exited with 0.
    pub succeeded: bool,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl Printed {
    /// All that it printed.
    pub fn all(&self) -> String {
        format!("{}{}", self.output, self.errors)
    }
}

/// Runs a program with these arguments and this standard input. `folder` is its working folder and its home; of the
/// environment it gets the PATH alone, so settings and proxies of the machine change nothing. The program and all that it
/// started are killed after a minute. A program that is missing fails with the command that installs it on Debian.
pub fn run_program(program: &str, arguments: &[&str], input: impl AsRef<[u8]>, folder: &Path) -> Result<Printed> {
    let [stdin, stdout, stderr] = ["stdin", "stdout", "stderr"].map(|name| folder.join(format!("{name}.txt")));
    fs::write(&stdin, input)?;
    let child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| (OsStr::new("PATH"), path)))
        .env("HOME", folder)
        .stdin(File::open(&stdin)?)
        .stdout(File::create(&stdout)?)
        .stderr(File::create(&stderr)?)
        .process_group(0)
        .spawn();
    let mut group = match child {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error).with_context(|| missing(program)),
        child => child.with_context(|| format!("starting {program}")),
    }
    .map(ProcessGroup)?;
    let ended = wait::until(&format!("{program} to end"), LIMIT, || Ok(group.0.try_wait()?));
    drop(group);
    let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (output, errors) = (read(&stdout)?, read(&stderr)?);
    let status = ended.with_context(|| format!("{program} {}\n{output}{errors}", arguments.join(" ")))?;
    Ok(Printed { succeeded: status.success(), output, errors })
}

fn missing(program: &str) -> String {
    let package = if program == "promtool" { "prometheus" } else { program };
    format!("{program} is missing, which this test needs: apt-get install {package}")
}

/// A program and what it started, killed when dropped.
struct ProcessGroup(Child);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // A group whose processes have all exited is not there any more.
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _exited = kill_process_group(group, Signal::KILL);
        }
        let _exited = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    fn folder(name: &str) -> Result<std::path::PathBuf> {
        let folder = std::env::temp_dir().join(format!("sallyport-program-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    #[test]
    fn a_missing_program_is_named_with_the_command_that_installs_it() -> Result<()> {
        let folder = folder("missing")?;
        let error = run_program("no-such-program", &[], "", &folder).err().map(|error| error.to_string());
        fs::remove_dir_all(folder)?;
        let expected = "no-such-program is missing, which this test needs: apt-get install no-such-program";
        ensure!(error.as_deref() == Some(expected), "{error:?}");
        Ok(())
    }

    #[test]
    fn what_a_program_starts_ends_with_it() -> Result<()> {
        let folder = folder("group")?;
        let printed =
            run_program("sh", &["-c", "read line; echo $line $HOME; sleep 600 & echo $! >pid"], "in", &folder)?;
        let pid: i32 = fs::read_to_string(folder.join("pid"))?.trim().parse()?;
        ensure!(printed.output == format!("in {}\n", folder.display()), "{printed:?}");
        let cmdline = format!("/proc/{pid}/cmdline");
        wait::until("the process in the background to end", LIMIT, || {
            Ok(fs::read(&cmdline).map_or(true, |line| line.is_empty()).then_some(()))
        })?;
        Ok(fs::remove_dir_all(folder)?)
    }
}
