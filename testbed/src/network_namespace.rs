//! Network namespaces: machines of their own on this one, with nothing but what a test puts into them.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fd::AsFd;
use rustix::process::{Gid, Uid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space, set_thread_gid, set_thread_uid};

/// A network namespace, removed when dropped.
#[derive(Debug)]
pub struct NetworkNamespace {
    name: String,
}

impl NetworkNamespace {
    /// Makes a namespace in which only loopback is up. Needs root, and `ip` of iproute2.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("sallyport-{}-{number}", std::process::id()) };
        ip(&["netns", "add", &namespace.name])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name, for `ip`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command of `ip` in the namespace; words are separated by blanks.
    pub fn ip(&self, command: &str) -> Result<()> {
        let words: Vec<&str> = ["-n", &self.name].into_iter().chain(command.split(' ')).collect();
        ip(&words)
    }

    /// Runs `work` in a thread in this namespace, as this user where one is given. Sockets that it opens, threads and
    /// programs that it starts are in the namespace, and stay there.
    pub fn run<T: Send>(&self, user: Option<u32>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let enter = || {
            let file = File::open(format!("/run/netns/{}", self.name))?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .context("entering a namespace")?;
            if let Some(user) = user {
                set_thread_gid(Gid::from_raw(user))?;
                set_thread_uid(Uid::from_raw(user))?;
            }
            work()
        };
        thread::scope(|scope| scope.spawn(enter).join()).map_err(|_| anyhow!("a thread panicked"))?
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        let _gone = ip(&["netns", "delete", &self.name]);
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("ip is missing: apt-get install iproute2")?;
    ensure!(output.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}
