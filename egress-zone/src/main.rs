//! `tools/egress-zone [--address IP]... FILE`: prints the DNS zone that leads clients to an egress gateway.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use egress_zone::{parse_address, zone};

const USAGE: &str = "\
Usage: tools/egress-zone [--address IP]... FILE

Prints the DNS zone that leads clients to an egress gateway: the names that its rules list have the gateway's address, and
no other name exists.

  FILE           An Envoy configuration with the filter egress-allowlist, such as envoy-config/egress.yaml, a file that
                 Envoy takes the filter's configuration from, or that configuration by itself
  --address IP   An address at which clients reach the gateway; several are all given out. 192.0.2.53, which stands for
                 it in the documentation, where none is said
";

/// The address where none is said. Nobody has it (RFC 5737), so nothing is reached until it is replaced.
const PLACEHOLDER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);

/// Arguments of a run.
struct Arguments {
    file: String,
    addresses: Vec<IpAddr>,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match parse(&arguments) {
        Err(error) => {
            eprintln!("egress-zone: {error:#}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Ok(arguments) => match print_zone(arguments) {
            Err(error) => {
                eprintln!("egress-zone: {error:#}");
                ExitCode::FAILURE
            }
            Ok(()) => ExitCode::SUCCESS,
        },
    }
}

fn parse(arguments: &[String]) -> Result<Arguments> {
    let (mut file, mut addresses) = (None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let address = match argument.strip_prefix("--address") {
            Some("") => Some(rest.next().context("--address: an IP address has to follow")?.as_str()),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        if let Some(address) = address {
            let address = parse_address(address)?;
            ensure!(!addresses.contains(&address), "--address: {address} is said twice");
            addresses.push(address);
        } else if argument.starts_with('-') {
            bail!("unknown option {argument}");
        } else if let Some(earlier) = file.replace(argument.clone()) {
            bail!("expected one FILE, found {earlier} and {argument}");
        }
    }
    Ok(Arguments { file: file.context("FILE is missing")?, addresses })
}

fn print_zone(Arguments { file, mut addresses }: Arguments) -> Result<()> {
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    if addresses.is_empty() {
        eprintln!("egress-zone: {PLACEHOLDER} stands for the address of the gateway; say it with --address");
        addresses.push(PLACEHOLDER.into());
    }
    print!("{}", zone(&file, &text, &addresses)?);
    Ok(())
}
