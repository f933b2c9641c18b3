//! The cost of the most expensive requests, connections and tunnels for `egress-allowlist`, in instructions of the module:
//! they grow no faster than their bytes, and stay below what a worker has for one. And the cost of a configuration near
//! the bound of its combinations.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use host_tests::filter;
use host_tests::wasm_host::{Connection, Request, Speaker, TunnelEvent, Vm};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

/// Patterns of a list.
const PATTERNS: usize = 1_000;

/// Bytes of the headers that a proxy accepts, as Envoy does by default.
const HEADERS: usize = 60 << 10;

/// The longest name, and the longest ClientHello.
const NAME: usize = 253;
const HELLO: usize = 16_000;

/// What a hostile client sends.
enum Sent {
    Request(Request),
    /// A connection that passes through, with this server name.
    Passthrough(String),
    /// The bytes inside a tunnel to [`OPEN`].
    Tunnel(Vec<u8>),
}

const OPEN: &str = "open.test:443";

struct Row {
    name: &'static str,
    configuration: fn() -> Value,
    /// Makes something of about so many bytes.
    sent: fn(usize) -> Sent,
    largest: usize,
    /// Most instructions at the largest size, a fifth above what it takes.
    limit: u64,
}

/// Rules for [`OPEN`] and for these hosts, with a DENY for names below others.
fn rules(hosts: &dyn Fn(usize) -> String) -> Value {
    let hosts: Vec<_> = (0..PATTERNS).map(hosts).collect();
    json!({"directRemoteAddress": "connection", "rules": [
        {"name": "open", "hosts": ["open.test"]},
        {"name": "hosts", "hosts": hosts},
        {"name": "never", "action": "DENY", "hosts": ["*.never.test"]}
    ]})
}

/// A cluster-wide Cilium policy with these patterns for everyone who has an identity.
fn cilium(pattern: &dyn Fn(usize) -> String) -> Value {
    let names: Vec<_> = (0..PATTERNS).map(|number| json!({"matchPattern": pattern(number)})).collect();
    json!({"resources": [{
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "c"},
        "spec": {"endpointSelector": {}, "egress": [{"toFQDNs": names}]}
    }]})
}

/// A name of so many bytes: a text again and again, and an end.
fn name(bytes: usize, repeated: &str, end: &str) -> String {
    let start: String = repeated.chars().cycle().take(bytes.saturating_sub(end.len())).collect();
    format!("{}{end}", start.trim_end_matches(['.', '-']))
}

fn connect(authority: &str) -> Sent {
    Sent::Request(Request::new("CONNECT", authority, ""))
}

/// A ClientHello with this many bytes of extensions, the server name last.
fn many_extensions(bytes: usize) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()[..], bytes].concat();
    let numbers = 0x100..;
    let empty: Vec<u8> =
        numbers.take(bytes / 4).flat_map(|number: u16| [number.to_be_bytes(), [0, 0]].concat()).collect();
    let server = [&[0][..], &sized(b"open.test")].concat();
    let extensions = [empty, [&[0, 0][..], &sized(&sized(&server))].concat()].concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &sized(&[0xc0, 0x2b]), &[1, 0], &sized(&extensions)].concat();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let message = [&[1][..], length.get(1..).unwrap_or_default(), &body].concat();
    message.chunks(1 << 14).flat_map(|part| [&[22, 3, 1][..], &sized(part)].concat()).collect()
}

const ROWS: &[Row] = &[
    Row {
        name: "a long host",
        configuration: || rules(&|number| format!("*.h{number}.test")),
        sent: |bytes| connect(&name(bytes, "a.", "h1.test:443")),
        largest: HEADERS,
        limit: 110_400,
    },
    Row {
        name: "a host of one long label",
        configuration: || rules(&|number| format!("*.h{number}.test")),
        sent: |bytes| connect(&name(bytes, "a", ".test:443")),
        largest: HEADERS,
        limit: 110_400,
    },
    Row {
        name: "bytes that the reason escapes",
        configuration: || rules(&|number| format!("h{number}.test")),
        sent: |bytes| Sent::Request(Request::new("CONNECT", "", "").with_host(&vec![0xff; bytes])),
        largest: HEADERS,
        limit: 60_300,
    },
    Row {
        name: "hosts joined by commas",
        configuration: || rules(&|number| format!("h{number}.test")),
        sent: |bytes| Sent::Request(Request::new("GET", &name(bytes, "h1.test,", "h1.test"), "/")),
        largest: HEADERS,
        limit: 98_900,
    },
    Row {
        name: "a header by the thousand",
        configuration: || rules(&|number| format!("h{number}.test")),
        sent: |bytes| {
            let request = Request::new("CONNECT", "h1.test:443", "");
            Sent::Request((0..bytes / 8).fold(request, |request, _| request.with("x-role", b"ab")))
        },
        largest: HEADERS,
        limit: 20_800,
    },
    Row {
        name: "a long server name",
        configuration: || rules(&|number| format!("*.h{number}.test")),
        sent: |bytes| Sent::Passthrough(name(bytes, "a.", "h1.test")),
        largest: HEADERS,
        limit: 91_300,
    },
    Row {
        name: "a name of many labels below stars",
        configuration: || rules(&|number| format!("*.a.*.a.h{number}.test")),
        sent: |bytes| connect(&format!("{}:443", name(bytes, "a.", ".h1.test"))),
        largest: NAME,
        limit: 147_200,
    },
    Row {
        name: "a name against stars in every place",
        configuration: || {
            rules(&|number| format!("{}a.test", "*.a.".repeat(number % 20 + 1).replacen("*.a.", "a.", 1)))
        },
        sent: |bytes| connect(&format!("{}:443", name(bytes, "a.", ".test"))),
        largest: NAME,
        limit: 525_000,
    },
    Row {
        name: "Cilium patterns that all match",
        configuration: || cilium(&|number| format!("**.{}*.test", "a".repeat(number % 60 + 1))),
        sent: |bytes| {
            connect(&format!(
                "{}:443",
                name(bytes, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.", "aaa.test")
            ))
        },
        largest: NAME,
        limit: 384_000,
    },
    Row {
        name: "Cilium patterns whose first part occurs again and again",
        configuration: || cilium(&|number| format!("*a*b{number}*.test")),
        sent: |bytes| connect(&format!("{}:443", name(bytes.min(60), "ab", ".test"))),
        largest: NAME,
        limit: 144_600,
    },
    Row {
        name: "a ClientHello with many extensions",
        configuration: || rules(&|number| format!("h{number}.test")),
        sent: |bytes| Sent::Tunnel(many_extensions(bytes)),
        largest: HELLO,
        limit: 612_200,
    },
    Row {
        name: "a ClientHello in records of one byte",
        configuration: || rules(&|number| format!("h{number}.test")),
        sent: |bytes| {
            let hello = many_extensions(bytes);
            Sent::Tunnel(hello.iter().skip(5).flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect())
        },
        largest: HELLO,
        limit: 7_663_000,
    },
    Row {
        name: "a thousand sources that cannot be known",
        configuration: || {
            let source =
                |number: usize| json!({"source": {"namespaces": [format!("n{number}")], "ipBlocks": ["192.0.2.0/24"]}});
            let items: Vec<_> = (0..10)
                .map(|item| json!({"from": (0..100).map(|number| source(item * 100 + number)).collect::<Vec<_>>(), "mode": "open"}))
                .collect();
            let mut configuration = rules(&|number| format!("h{number}.test"));
            if let Value::Object(keys) = &mut configuration {
                keys.insert("sources".to_owned(), json!(items));
            }
            configuration
        },
        sent: |bytes| Sent::Passthrough(name(bytes, "a.", "h1.test")),
        largest: NAME,
        limit: 864_400,
    },
    Row {
        name: "an address in networks of every length",
        configuration: || {
            let entry = |length: usize| {
                json!({
                    "apiVersion": "networking.istio.io/v1",
                    "kind": "ServiceEntry",
                    "metadata": {"name": format!("e{length}"), "namespace": "shop"},
                    "spec": {"hosts": ["open.test"], "addresses": [format!("2001:db8::/{length}")], "ports": [{"number": 443}]}
                })
            };
            json!({"serviceEntryAddresses": "host", "resources": (1..=128).map(entry).collect::<Vec<_>>()})
        },
        sent: |_| connect("[2001:db8::1]:443"),
        largest: NAME,
        limit: 879_700,
    },
];

/// Returns the instructions of what has so many bytes.
fn instructions(row: &Row, bytes: usize) -> Result<u64> {
    let module = filter::load_metered("egress-allowlist")?;
    let (mut vm, root) = Vm::configured(&module, &(row.configuration)().to_string())?;
    let mut cost = 0;
    // The first ones fill what is kept for later ones.
    for _ in 0..3 {
        let before = vm.instructions();
        match (row.sent)(bytes) {
            Sent::Request(request) => {
                let connection = Connection::mtls(1, "spiffe://cluster.local/ns/shop/sa/web");
                vm.request(root, connection, request)?;
            }
            Sent::Passthrough(name) => {
                let connection = Connection { server_name: Some(name.into_bytes()), ..Connection::plaintext(1) };
                vm.connection(root, connection, Speaker::Client)?;
            }
            Sent::Tunnel(bytes) => {
                let request = Request::new("CONNECT", OPEN, "");
                let outcome =
                    vm.tunnel(root, Connection::plaintext(1), request, &[TunnelEvent::Bytes(bytes.clone())])?;
                ensure!(outcome.forwarded.concat() == bytes, "the tunnel is ended: {outcome:?}");
            }
        }
        cost = vm.instructions() - before;
    }
    Ok(cost)
}

fn check(row: &Row) -> Result<()> {
    let (half, whole) = (instructions(row, row.largest / 2)?, instructions(row, row.largest)?);
    println!("{}: {half} instructions for half of the bytes, {whole} for all", row.name);
    ensure!(whole <= half * 5 / 2, "{half} instructions for half of the bytes, {whole} for all");
    ensure!(whole <= row.limit, "{whole} instructions, the limit is {}", row.limit);
    Ok(())
}

/// A configuration of rules with 500 sources each, which do not join: this many combinations with one list of hosts.
fn combinations(count: usize) -> String {
    let source = |number: usize| json!({"source": {"namespaces": [format!("n{number}")], "ipBlocks": [format!("10.{}.{}.0/24", number / 256, number % 256)]}});
    let from: Vec<_> = (0..500).map(source).collect();
    let rule =
        |number: usize| json!({"name": format!("r{number}"), "from": from, "hosts": [format!("h{number}.test")]});
    json!({"rules": (0..count / 500).map(rule).collect::<Vec<_>>()}).to_string()
}

/// Loads a configuration of so many combinations, which may take so many bytes of memory.
fn check_combinations(count: usize, most: usize) -> Result<()> {
    let module = filter::load("egress-allowlist")?;
    let json = combinations(count);
    let start = Instant::now();
    let (mut vm, root) = Vm::configured(&module, &json)?;
    println!(
        "{count} combinations in {} bytes load in {:.2} s and take {} bytes of memory",
        json.len(),
        start.elapsed().as_secs_f64(),
        vm.memory()
    );
    let request = Request::new("CONNECT", "h7.test:443", "");
    let outcome = vm.request(root, Connection::mtls(1, "spiffe://cluster.local/ns/n3/sa/web"), request)?;
    ensure!(!outcome.continues, "{outcome:?}");
    ensure!(vm.memory() < most, "{} bytes", vm.memory());
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let rows = ROWS.iter().map(|row| {
        let run = move || check(row).context("egress-allowlist").map_err(|error| format!("{error:#}").into());
        Trial::test(row.name, run)
    });
    let load = |name, count, most| {
        Trial::test(name, move || check_combinations(count, most).map_err(|error| format!("{error:#}").into()))
    };
    let many = load("a configuration of many combinations", 100_000, 32 << 20);
    let near = load("a configuration near the bound of combinations", 1_000_000, 300 << 20).with_ignored_flag(true);
    libtest_mimic::run(&arguments, rows.chain([many, near]).collect()).exit_code()
}
