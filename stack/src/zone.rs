//! The zone of the application's DNS: made from the rules of the egress gateway, and again whenever they change.

use std::fs;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Pause between two looks at the rules.
const INTERVAL: Duration = Duration::from_millis(500);

/// Time limit for unbound to load a zone.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// The command of `unbound-control auth_zone_reload .` as it is on the wire.
const RELOAD: &[u8] = b"UBCT1 auth_zone_reload .\n";

/// The zone that unbound has, or is to have next.
struct Zone {
    rules: PathBuf,
    folder: PathBuf,
    address: IpAddr,
    /// The rules that were read last, whether there is a zone of them or not.
    seen: Option<String>,
    /// True if unbound has not been told of a zone yet.
    untold: bool,
}

/// Keeps `root.zone` in `folder` as the rules have it, and tells unbound by the socket `unbound.ctl` there. Rules that the
/// filter refuses do not take the place of those before, in DNS either.
pub(crate) fn serve(rules: &Path, folder: &Path, address: &str) -> Result<()> {
    let address = egress_zone::parse_address(address)?;
    let mut zone = Zone { rules: rules.to_owned(), folder: folder.to_owned(), address, seen: None, untold: false };
    let mut last = String::new();
    loop {
        let state =
            zone.update().map_or_else(|error| format!("{error:#}"), |()| "DNS has the zone of the rules".to_owned());
        if state != last {
            println!("{state}");
            last = state;
        }
        thread::sleep(INTERVAL);
    }
}

impl Zone {
    /// Makes the zone if the rules have changed, and tells unbound until it has loaded it.
    fn update(&mut self) -> Result<()> {
        let text = fs::read_to_string(&self.rules).with_context(|| self.rules.display().to_string())?;
        if self.seen.as_ref() != Some(&text) {
            let zone = egress_zone::zone(&self.rules.to_string_lossy(), &text, &[self.address])?;
            let new = self.folder.join("root.zone.new");
            fs::write(&new, zone)?;
            fs::rename(new, self.folder.join("root.zone"))?;
            self.seen = Some(text);
            self.untold = true;
        }
        if self.untold {
            self.reload().context("unbound does not load the zone yet")?;
            self.untold = false;
        }
        Ok(())
    }

    fn reload(&self) -> Result<()> {
        let mut socket = UnixStream::connect(self.folder.join("unbound.ctl"))?;
        socket.set_read_timeout(Some(CONTROL_TIMEOUT))?;
        socket.write_all(RELOAD)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        ensure!(answer == "ok\n", "{}", answer.trim_end());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    const RULES: &str = "rules: [{name: web, hosts: [api.partner.example]}]";

    fn zone(folder: &Path) -> Result<Zone> {
        fs::write(folder.join("egress.yaml"), RULES)?;
        let (rules, address) = (folder.join("egress.yaml"), "10.231.77.2".parse()?);
        Ok(Zone { rules, folder: folder.to_owned(), address, seen: None, untold: false })
    }

    fn written(folder: &Path) -> Result<String> {
        Ok(fs::read_to_string(folder.join("root.zone"))?.lines().last().unwrap_or_default().to_owned())
    }

    /// Answers one command, and returns it.
    fn unbound(folder: &Path, answer: &'static [u8]) -> Result<thread::JoinHandle<Result<String>>> {
        let listener = UnixListener::bind(folder.join("unbound.ctl"))?;
        Ok(thread::spawn(move || {
            let (mut socket, _) = listener.accept()?;
            let mut command = vec![0; RELOAD.len()];
            socket.read_exact(&mut command)?;
            socket.write_all(answer)?;
            Ok(String::from_utf8(command)?)
        }))
    }

    #[test]
    fn a_zone_is_there_before_unbound_which_is_told_once_it_is() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut zone = zone(folder.path())?;
        let error = zone.update().err().context("there is no unbound")?;
        ensure!(error.to_string() == "unbound does not load the zone yet", "{error:#}");
        ensure!(written(folder.path())? == "api.partner.example. A 10.231.77.2");

        let unbound = unbound(folder.path(), b"ok\n")?;
        zone.update()?;
        ensure!(unbound.join().ok().context("a command")?? == "UBCT1 auth_zone_reload .\n");
        // Nobody listens any more, and nothing has changed.
        zone.update()
    }

    #[test]
    fn changed_rules_make_another_zone_and_refused_ones_do_not() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut zone = zone(folder.path())?;
        zone.update().err().context("there is no unbound")?;
        fs::write(folder.path().join("egress.yaml"), "rules: [{name: web, hosts: ['*.com']}]")?;
        let error = zone.update().err().context("the rules are refused")?;
        ensure!(format!("{error:#}").contains("rules[0].hosts[0]: bad host `*.com`"), "{error:#}");
        ensure!(written(folder.path())? == "api.partner.example. A 10.231.77.2");

        fs::write(folder.path().join("egress.yaml"), "rules: [{name: web, hosts: ['*.wild.example']}]")?;
        let unbound = unbound(folder.path(), b"error failed to read .\n")?;
        let error = zone.update().err().context("unbound refuses")?;
        ensure!(format!("{error:#}") == "unbound does not load the zone yet: error failed to read .", "{error:#}");
        ensure!(written(folder.path())? == "*.wild.example. A 10.231.77.2");
        unbound.join().ok().context("a command")?.map(drop)
    }
}
