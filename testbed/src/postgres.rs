//! Starting and stopping a PostgreSQL server.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::repository::postgres_programs;
use crate::wait;

/// Time limit for the server to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The user that runs PostgreSQL when the tests run as root: PostgreSQL refuses to run as root.
const UNPRIVILEGED_USER: &str = "nobody";

/// A running PostgreSQL, stopped when dropped. It listens on a Unix socket in its folder, on no TCP port, and accepts every
/// client without a password.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    folder: PathBuf,
}

impl Postgres {
    /// The superuser of its databases.
    pub const USER: &'static str = "shop";

    /// Creates an empty cluster below `folder`, starts it and waits until it accepts connections. As root, it makes `folder`
    /// searchable by other users.
    pub fn start(folder: &Path) -> Result<Self> {
        let programs = postgres_programs()?;
        let owner = if geteuid().is_root() { Some(user_ids(UNPRIVILEGED_USER)?) } else { None };
        let data_folder = folder.join("postgres");
        fs::create_dir(&data_folder)?;
        if let Some((uid, gid)) = owner {
            chown(&data_folder, Some(uid), Some(gid))?;
            fs::set_permissions(folder, Permissions::from_mode(0o711))?;
        }
        let log = data_folder.join("postgres.log");
        let command = |program: &str| -> Result<Command> {
            let mut command = Command::new(programs.join(program));
            if let Some((uid, gid)) = owner {
                command.uid(uid).gid(gid);
            }
            command.current_dir(&data_folder).arg("-D").arg(data_folder.join("data")).stdin(Stdio::null());
            command.stdout(File::options().create(true).append(true).open(&log)?);
            command.stderr(File::options().append(true).open(&log)?);
            Ok(command)
        };
        let messages = || fs::read_to_string(&log).unwrap_or_default();
        let cannot_run = || match owner {
            Some(_) => format!("running {} as {UNPRIVILEGED_USER}, which needs read access", programs.display()),
            None => format!("running {}", programs.display()),
        };
        let status = command("initdb")?
            .args(["--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"])
            .arg(format!("--username={}", Self::USER))
            .status()
            .with_context(cannot_run)?;
        if !status.success() {
            bail!("initdb exited with {status}:\n{}", messages());
        }
        let child = command("postgres")?
            .args(["-c", "listen_addresses=", "-c", "log_connections=on", "-c", "fsync=off"])
            .args(["-c", "shared_buffers=16MB", "-c", "dynamic_shared_memory_type=mmap"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", data_folder.display()))
            .spawn()
            .with_context(cannot_run)?;
        let mut postgres = Self { child, folder: data_folder.clone() };
        wait::until("PostgreSQL to accept connections", START_TIMEOUT, || {
            if let Some(status) = postgres.child.try_wait()? {
                bail!("PostgreSQL exited with {status}:\n{}", messages());
            }
            Ok(postgres.log()?.contains("database system is ready to accept connections").then_some(()))
        })?;
        Ok(postgres)
    }

    /// The path of the Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// The number of connections so far, including those that sent nothing.
    pub fn connections(&self) -> Result<usize> {
        Ok(self.log()?.matches("connection received").count())
    }

    fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join("postgres.log"))?).into_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT also ends the children and frees the shared memory, which SIGKILL would leave. A process that has exited
        // already needs nothing.
        if let Some(process) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _exited = kill_process(process, Signal::QUIT);
        }
        let _exited = self.child.wait();
    }
}

/// Looks up the user ID and group ID of a user.
fn user_ids(name: &str) -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let numbers = lines.find_map(|fields| match fields.as_slice() {
        [found, _, uid, gid, ..] if *found == name => Some((uid.parse().ok()?, gid.parse().ok()?)),
        _ => None,
    });
    numbers.with_context(|| format!("this machine has no user {name}"))
}
