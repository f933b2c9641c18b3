//! `envoy-config/host`: the rules of nftables that let only Envoy's user out, in network namespaces, and the units of
//! systemd. Where the machine has no namespaces to give, the test of the rules says so and proves nothing.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{
    CertificateAuthority, Client, DnsTransport, EgressGateway, NetworkNamespace, Outside, SubjectAltName, TlsServer,
    Unbound, WebServer, ask_dns, wait,
};

/// Users of the host, which have no names in the test.
const ENVOY: u32 = 64_001;
const APPLICATION: u32 = 64_002;

/// A host that the rules of `envoy-config/egress.yaml` list for everybody, and its address.
const LISTED: &str = "updates.example.org";
const LISTED_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The address that names have for applications.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// A server of an attacker.
const EVIL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const EVIL_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x66);
/// The address of the host, of a network whose questions unbound answers.
const HOST: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);

const LIMIT: Duration = Duration::from_secs(2);

/// Counts what reaches the attacker: TCP connections and datagrams.
#[derive(Clone, Default)]
struct Evil(Arc<AtomicUsize>);

impl Evil {
    fn start() -> Result<Self> {
        let evil = Self::default();
        for (address, port) in
            [(EVIL.into(), 443), (EVIL.into(), 8443), (EVIL.into(), 53), (EVIL.into(), 22), (EVIL_6.into(), 443)]
        {
            let listener = TcpListener::bind(SocketAddr::new(address, port))?;
            let count = Arc::clone(&evil.0);
            thread::spawn(move || {
                for _connection in listener.incoming().flatten() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for (address, port) in [(IpAddr::from(EVIL), 443), (EVIL.into(), 53), (EVIL.into(), 123), (EVIL_6.into(), 443)]
        {
            let socket = UdpSocket::bind(SocketAddr::new(address, port))?;
            let count = Arc::clone(&evil.0);
            thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok((_, from)) = socket.recv_from(&mut bytes) {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _answered = socket.send_to(b"seen", from);
                }
            });
        }
        Ok(evil)
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A way out that an application tries; true if it believes that it got there.
type Attempt = (&'static str, fn() -> bool);

fn connects(address: impl Into<IpAddr>, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(address.into(), port), LIMIT).is_ok()
}

/// Sends a datagram, and waits for the answer of the attacker.
fn sends(address: impl Into<IpAddr>, port: u16) -> bool {
    let address = address.into();
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let exchange = || -> Result<bool> {
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.send_to(b"secret", SocketAddr::new(address, port))?;
        let mut answer = [0; 16];
        let (length, _) = socket.recv_from(&mut answer)?;
        Ok(answer.get(..length) == Some(b"seen"))
    };
    exchange().unwrap_or(false)
}

/// Connections that the rules refuse outright.
const REFUSED: &[Attempt] = &[
    ("another port", || connects(EVIL, 8443)),
    ("SSH", || connects(EVIL, 22)),
    ("UDP 443", || sends(EVIL, 443)),
    ("UDP 123", || sends(EVIL, 123)),
    ("UDP 443 by IPv6", || sends(EVIL_6, 443)),
    ("TCP 443 by IPv6", || connects(EVIL_6, 443)),
];

/// Connections that the rules lead to Envoy or unbound, and that come to nothing there.
const LED: &[Attempt] = &[
    ("an address", || tls(EVIL, "", "GET / HTTP/1.1\r\nhost: x\r\n\r\n").is_ok()),
    ("a name that is not listed", || tls(EVIL, "evil.example", "GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n").is_ok()),
    ("another resolver", || sends(EVIL, 53)),
];

/// Speaks TLS with this server name, or none.
fn tls(address: Ipv4Addr, server_name: &str, request: &str) -> Result<u16> {
    let client = Client::tls((address, 443).into(), None)?.with_sni(Some(server_name).filter(|name| !name.is_empty()));
    Ok(client.send(request.as_bytes())?.status)
}

/// The machine with Envoy, and the outside.
struct Machines {
    host: NetworkNamespace,
    outside: NetworkNamespace,
}

impl Machines {
    /// Two machines with a cable between them, by which the host reaches the world.
    fn new() -> Result<Self> {
        let (host, outside) = (NetworkNamespace::new()?, NetworkNamespace::new()?);
        host.ip(&format!("link add out type veth peer name in netns {}", outside.name()))?;
        host.ip(&format!("address add {HOST}/24 dev out"))?;
        host.ip("address add 2001:db8::2/64 dev out nodad")?;
        host.ip("link set out up")?;
        outside.ip("address add 172.31.0.1/24 dev in")?;
        outside.ip("address add 2001:db8::1/64 dev in nodad")?;
        for address in [format!("{LISTED_ADDRESS}/32"), format!("{EVIL}/32"), format!("{EVIL_6}/128")] {
            outside.ip(&format!("address add {address} dev lo"))?;
        }
        outside.ip("link set in up")?;
        host.ip("route add default via 172.31.0.1")?;
        host.ip("-6 route add default via 2001:db8::1")?;
        Ok(Self { host, outside })
    }

    /// Loads rules with these users and ports.
    fn load(&self, folder: &Path, ports: &[(&str, u16)]) -> Result<()> {
        let mut text = fs::read_to_string(testbed::root().join("envoy-config/host/nftables.conf"))?;
        let envoy = ENVOY.to_string();
        for (from, to) in [("\"envoy\"", envoy.as_str()), ("meta skuid root", "meta skuid 0")] {
            ensure!(text.contains(from), "no {from} in the rules");
            text = text.replace(from, to);
        }
        for (from, to) in ports {
            ensure!(text.contains(from), "no {from} in the rules");
            let digits = from.rsplit([' ', ':']).next().context("no port")?;
            // A mark that is no number, so that no port is taken for the beginning of another.
            text = text.replace(from, &from.replace(digits, &format!("<{to}>")));
        }
        let text = text.replace(":<", ":").replace(" <", " ").replace('>', "");
        let file = folder.join("nftables.conf");
        fs::write(&file, text)?;
        self.host.run(None, || {
            // Twice: the second takes the place of the first.
            for _ in 0..2 {
                let output = Command::new("nft").arg("-f").arg(&file).output().context("nft")?;
                ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(())
        })
    }
}

/// A program that starts Envoy as its user.
fn as_envoy(folder: &Path) -> Result<PathBuf> {
    let script = folder.join("envoy");
    let binary = testbed::envoy_binary()?;
    let text =
        format!("#!/bin/sh\nexec setpriv --reuid={ENVOY} --regid={ENVOY} --clear-groups {} \"$@\"\n", binary.display());
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// Says what a test does not prove on this machine, past the capture of what passing tests print.
fn left_out(what: &str) -> Result<()> {
    Ok(writeln!(io::stderr(), "LEFT OUT, nothing is proven of {what}")?)
}

/// Why there can be no namespaces here.
fn obstacle() -> Option<String> {
    let has =
        |program: &str| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    for (program, package) in [("nft", "nftables"), ("ip", "iproute2"), ("setpriv", "util-linux")] {
        let is_there = if program == "ip" { Command::new("ip").arg("-V").output().is_ok() } else { has(program) };
        if !is_there {
            return Some(format!("{program} is missing: apt-get install {package}"));
        }
    }
    NetworkNamespace::new().err().map(|error| format!("{error:#}"))
}

#[test]
fn only_envoy_gets_out_and_applications_are_led_to_it() -> Result<()> {
    if let Some(obstacle) = obstacle() {
        eprintln!(
            "LEFT OUT, nothing is proven of envoy-config/host/nftables.conf, which needs root and network namespaces: {obstacle}"
        );
        return Ok(());
    }
    testbed::build_filters()?;
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
    let machines = Machines::new()?;
    let authority = CertificateAuthority::new("outside")?;
    let identity = authority.issue(&[SubjectAltName::Dns(LISTED.to_owned())])?;
    let (evil, _tls, _web) = machines.outside.run(None, || {
        Ok((
            Evil::start()?,
            TlsServer::start_at((LISTED_ADDRESS, 443).into(), &identity)?,
            WebServer::start_at((LISTED_ADDRESS, 80).into(), folder.path(), None)?,
        ))
    })?;
    let attempt = |attempts: &'static [Attempt]| {
        machines.host.run(Some(APPLICATION), || {
            Ok(attempts.iter().map(|(name, attempt)| (*name, attempt())).collect::<Vec<_>>())
        })
    };

    // Without rules everything gets out: what follows is the rules' doing. A new address of IPv6 is of use after a moment.
    wait::until_ok("the way out without rules", Duration::from_secs(30), || {
        let open = attempt(REFUSED)?;
        ensure!(open.iter().all(|(_, reached)| *reached), "{open:?}");
        Ok(())
    })?;
    ensure!(attempt(&[("another resolver", || sends(EVIL, 53))])? == [("another resolver", true)], "no resolver");
    let before = evil.count();
    ensure!(before > REFUSED.len(), "{before}");

    // Envoy ends with the thread that starts it.
    machines.host.run(None, || with_rules(&machines, folder.path(), &evil))
}

/// With Envoy, unbound and the rules on the host, friends get out by Envoy and nobody else does.
fn with_rules(machines: &Machines, folder: &Path, evil: &Evil) -> Result<()> {
    let before = evil.count();
    // Envoy as its user, and unbound with the zone of its rules.
    let gateway_folder = folder.join("gateway");
    fs::create_dir(&gateway_folder)?;
    fs::set_permissions(&gateway_folder, fs::Permissions::from_mode(0o777))?;
    let binary = as_envoy(folder)?;
    let gateway = EgressGateway::start_before(
        binary,
        &gateway_folder,
        &[(LISTED, LISTED_ADDRESS), ("evil.example", EVIL)],
        Outside::new(80, 443),
    )?;
    let rules = fs::read_to_string(testbed::root().join("envoy-config/egress.yaml"))?;
    let zone = egress_zone::zone("egress.yaml", &rules, &[GATEWAY.into()])?;
    let unbound = Unbound::start(folder, &zone)?;
    let port = |name: &str| Ok::<_, anyhow::Error>(gateway.listener(name)?.port());
    let admin = gateway.envoy().admin();
    machines.load(
        folder,
        &[
            ("redirect to :53", unbound.address().port()),
            ("redirect to :3128", port("forward-proxy")?),
            ("redirect to :443", port("tls")?),
            ("tcp dport 9901", admin.port()),
        ],
    )?;

    // Friends, without any proxy setting.
    machines.host.run(Some(APPLICATION), || {
        for transport in [DnsTransport::Udp, DnsTransport::Tcp] {
            let answer = ask_dns((EVIL, 53).into(), transport, LISTED, "A")?;
            ensure!(answer.addresses == [IpAddr::from(GATEWAY)], "{answer:?}");
            let answer = ask_dns((EVIL, 53).into(), transport, "secret.evil.example", "A")?;
            ensure!(answer.code == "NXDOMAIN", "{answer:?}");
        }
        let request = format!("GET / HTTP/1.1\r\nhost: {LISTED}\r\nconnection: close\r\n\r\n");
        let status = tls(GATEWAY, LISTED, &request).context("TLS to a listed host")?;
        ensure!(status == 200, "TLS: {status}");
        let status = Client::plaintext((GATEWAY, 80).into()).send(request.as_bytes())?.status;
        ensure!(status == 200 || status == 404, "HTTP to a listed host: {status}");
        let other = request.replace(LISTED, "evil.example");
        let status = Client::plaintext((EVIL, 80).into()).send(other.as_bytes())?.status;
        ensure!(status == 403, "HTTP to another host: {status}");
        // The admin interface would stop Envoy.
        ensure!(TcpStream::connect_timeout(&admin, LIMIT).is_err(), "an application reaches the admin interface");
        Ok(())
    })?;

    // Intruders: an application, and root. Nobody but Envoy gets out.
    for user in [Some(APPLICATION), None] {
        let outcomes = machines.host.run(user, || {
            Ok([REFUSED, LED].concat().into_iter().map(|(name, attempt)| (name, attempt())).collect::<Vec<_>>())
        })?;
        ensure!(outcomes.iter().all(|(_, reached)| !reached), "as {user:?}: {outcomes:?}");
    }
    ensure!(evil.count() == before, "{} of them reached the attacker", evil.count() - before);

    // Envoy's user is not held by them, and who comes in is answered.
    ensure!(machines.host.run(Some(ENVOY), || Ok(connects(EVIL, 8443)))?, "Envoy's user does not get out");
    let service = machines.host.run(Some(APPLICATION), || Ok(TcpListener::bind((HOST, 0))?))?;
    let to = service.local_addr()?;
    ensure!(machines.outside.run(None, || Ok(connects(to.ip(), to.port())))?, "who comes in gets no answer");
    Ok(())
}

/// The units with another program in place of theirs, which are not installed here.
fn units(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut units = Vec::new();
    for name in ["envoy.service", "sallyport-render.service"] {
        let text = fs::read_to_string(testbed::root().join("envoy-config/host").join(name))?;
        let text = text.replace("/usr/local/bin/envoy", "/bin/true").replace("/usr/local/bin/sallyport", "/bin/true");
        units.push(folder.join(name));
        fs::write(folder.join(name), text)?;
    }
    Ok(units)
}

#[test]
fn the_units_are_valid_and_hardened() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let units = units(folder.path())?;
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output() else {
        return left_out("the units in envoy-config/host: systemd-analyze is missing");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.trim().is_empty(), "{said}");
    for (unit, most) in units.iter().zip([2.0, 1.0]) {
        let output =
            Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(unit).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let exposure = text
            .lines()
            .find_map(|line| line.split_once("exposure level for ")?.1.split_once(": ").map(|(_, rest)| rest));
        let exposure: f64 = exposure.and_then(|rest| rest.split(' ').next()).context("no exposure")?.parse()?;
        ensure!(exposure <= most, "{}: {exposure}", unit.display());
    }
    Ok(())
}

#[test]
fn the_flags_of_the_unit_are_those_of_the_command() -> Result<()> {
    let text = fs::read_to_string(testbed::root().join("envoy-config/host/sallyport-render.service"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("no ExecStart")?;
    let page = fs::read_to_string(testbed::root().join("cli/src/arguments/render.rs"))?
        + &fs::read_to_string(testbed::root().join("cli/src/arguments.rs"))?;
    for flag in line.split(' ').filter_map(|word| word.strip_prefix("--")) {
        let is_known = page.contains(&format!("pub(crate) {flag}:")) || page.contains(&format!("long = \"{flag}\""));
        ensure!(is_known, "sallyport render has no --{flag}");
    }
    Ok(())
}
