//! One PostgreSQL server.

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

/// How long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Whom it runs as where the tests run as root, which it refuses.
const NOBODY: &str = "nobody";

/// A running PostgreSQL, ended when dropped. It listens on a socket in its folder and on no port, and lets everyone in
/// who gets there.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    folder: PathBuf,
}

impl Postgres {
    /// The superuser of its databases.
    pub const USER: &'static str = "shop";

    /// Makes an empty cluster in `folder`, which lets others pass through it from then on, starts it and waits until it
    /// takes connections.
    pub fn start(folder: &Path) -> Result<Self> {
        let programs = postgres_programs()?;
        let owner = if geteuid().is_root() { Some(user(NOBODY)?) } else { None };
        let own = folder.join("postgres");
        fs::create_dir(&own)?;
        if let Some((uid, gid)) = owner {
            chown(&own, Some(uid), Some(gid))?;
            fs::set_permissions(folder, Permissions::from_mode(0o711))?;
        }
        let log = own.join("postgres.log");
        let command = |program: &str| -> Result<Command> {
            let mut command = Command::new(programs.join(program));
            if let Some((uid, gid)) = owner {
                command.uid(uid).gid(gid);
            }
            command.current_dir(&own).arg("-D").arg(own.join("data")).stdin(Stdio::null());
            command.stdout(File::options().create(true).append(true).open(&log)?);
            command.stderr(File::options().append(true).open(&log)?);
            Ok(command)
        };
        let told = || fs::read_to_string(&log).unwrap_or_default();
        let cannot_run = || match owner {
            Some(_) => format!("running {} as {NOBODY}, who has to be able to read it", programs.display()),
            None => format!("running {}", programs.display()),
        };
        let made = command("initdb")?
            .args(["--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"])
            .arg(format!("--username={}", Self::USER))
            .status()
            .with_context(cannot_run)?;
        if !made.success() {
            bail!("initdb ended with {made}:\n{}", told());
        }
        let child = command("postgres")?
            .args(["-c", "listen_addresses=", "-c", "log_connections=on", "-c", "fsync=off"])
            .args(["-c", "shared_buffers=16MB", "-c", "dynamic_shared_memory_type=mmap"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", own.display()))
            .spawn()
            .with_context(cannot_run)?;
        let mut postgres = Self { child, folder: own.clone() };
        wait::until("PostgreSQL to take connections", START_LIMIT, || {
            if let Some(status) = postgres.child.try_wait()? {
                bail!("PostgreSQL ended with {status}:\n{}", told());
            }
            Ok(postgres.log()?.contains("database system is ready to accept connections").then_some(()))
        })?;
        Ok(postgres)
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// How many connections it has had, those included that never said anything.
    pub fn connections(&self) -> Result<usize> {
        Ok(self.log()?.matches("connection received").count())
    }

    fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join("postgres.log"))?).into_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, and with its children and shared memory, which a kill would leave. A process that is gone already has
        // nothing to end.
        if let Some(process) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone = kill_process(process, Signal::QUIT);
        }
        let _gone = self.child.wait();
    }
}

/// The numbers of a user and of its group.
fn user(name: &str) -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let numbers = lines.find_map(|fields| match fields.as_slice() {
        [found, _, uid, gid, ..] if *found == name => Some((uid.parse().ok()?, gid.parse().ok()?)),
        _ => None,
    });
    numbers.with_context(|| format!("this machine has no user {name}"))
}
