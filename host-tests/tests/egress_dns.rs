//! `envoy-config/egress-dns` in a real unbound, with zones that `egress-zone` makes from rules.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use egress_zone::zone;
use serde_json::json;
use tempfile::TempDir;
use testbed::DnsTransport::{Tcp, Udp};
use testbed::{Configuration, Envoy, Options, Unbound, ask_dns};

/// The address of the gateway.
const GATEWAY: &str = "192.0.2.53";

/// Types other than A that clients ask for: AAAA as every C library, HTTPS and SVCB as browsers and Apple's, the others as
/// mail servers and tools.
const OTHER_KINDS: [&str; 11] = ["AAAA", "HTTPS", "SVCB", "TXT", "MX", "SRV", "NS", "CNAME", "SOA", "PTR", "CAA"];

/// The zone of rules at the gateway's addresses.
fn zone_of(rules: &str, addresses: &[&str]) -> Result<String> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
    zone("rules.yaml", rules, &addresses)
}

/// Starts unbound with the zone of rules.
fn start(folder: &TempDir, rules: &str) -> Result<Unbound> {
    Unbound::start(folder.path(), &zone_of(rules, &[GATEWAY])?)
}

/// What a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// A with the address of the gateway; nothing for any other type, without an error.
    Declared,
    /// Nothing, without an error: the name has others below it.
    Empty,
    /// The name does not exist.
    Undeclared,
}

/// Asks for A and every other type, by UDP and TCP.
fn check(unbound: &Unbound, name: &str, expected: Expected) -> Result<()> {
    let code = if expected == Expected::Undeclared { "NXDOMAIN" } else { "NOERROR" };
    for transport in [Udp, Tcp] {
        for kind in ["A", "ANY"] {
            let answer = ask_dns(unbound.address(), transport, name, kind)?;
            let addresses: Vec<IpAddr> =
                if expected == Expected::Declared { vec![GATEWAY.parse()?] } else { Vec::new() };
            ensure!(answer.code == code && answer.addresses == addresses, "{name} {kind} {transport:?}: {answer:?}");
            ensure!(answer.records == addresses.len(), "{name} {kind} {transport:?}: {answer:?}");
        }
        for kind in OTHER_KINDS {
            let answer = ask_dns(unbound.address(), transport, name, kind)?;
            ensure!(answer.code == code && answer.records == 0, "{name} {kind} {transport:?}: {answer:?}");
        }
    }
    Ok(())
}

#[test]
fn dns_leads_declared_names_to_the_gateway_and_has_no_others() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let unbound = start(&folder, &fs::read_to_string(testbed::root().join("envoy-config/egress.yaml"))?)?;
    for name in ["api.partner.example", "API.Partner.EXAMPLE", "updates.example.org", "uPdAtEs.example.org"] {
        check(&unbound, name, Expected::Declared)?;
    }
    for name in ["partner.example", "org"] {
        check(&unbound, name, Expected::Empty)?;
    }
    // A DENY opens nothing.
    for name in ["evil.example", "Evil.Example", "x.api.partner.example", "x.files.partner.example", "com"] {
        check(&unbound, name, Expected::Undeclared)?;
    }
    // The zone answered all of it, and nobody else was asked.
    let statistics = unbound.control(&["stats_noreset"])?;
    ensure!(statistics.contains("\ntotal.num.recursivereplies=0\n"), "{statistics}");
    Ok(())
}

#[test]
fn dns_leads_all_names_below_a_star_to_the_gateway() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rules = "rules: [{name: web, hosts: ['*.wild.example', a.b.wild.example, x.both.example, '*.both.example',
                 both.example, _dmarc.under.example]}]";
    let unbound = start(&folder, rules)?;
    for name in [
        "a.wild.example",
        "A.Wild.Example",
        "z.y.x.wild.example",
        // Names that are listed beside the star, and those around them.
        "a.b.wild.example",
        "b.wild.example",
        "c.b.wild.example",
        "d.a.b.wild.example",
        "both.example",
        "x.both.example",
        "y.x.both.example",
        "_dmarc.under.example",
    ] {
        check(&unbound, name, Expected::Declared)?;
    }
    check(&unbound, "wild.example", Expected::Empty)?;
    check(&unbound, "notwild.example", Expected::Undeclared)?;
    check(&unbound, "wild.example.evil.org", Expected::Undeclared)
}

#[test]
fn names_that_unbound_answers_by_itself_otherwise_are_those_of_the_rules() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rules = "rules: [{name: web, hosts: [api.shop.test, nas.home.arpa, api.shop.invalid, api.shop.onion]}]";
    let unbound = start(&folder, rules)?;
    for end in ["shop.test", "home.arpa", "shop.invalid", "shop.onion"] {
        let host = if end == "home.arpa" { "nas" } else { "api" };
        check(&unbound, &format!("{host}.{end}"), Expected::Declared)?;
        check(&unbound, &format!("other.{end}"), Expected::Undeclared)?;
    }
    Ok(())
}

#[test]
fn in_report_mode_dns_leads_every_name_to_the_gateway() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let unbound = start(&folder, "{mode: report, rules: [{name: web, hosts: [api.partner.example]}]}")?;
    for name in ["api.partner.example", "partner.example", "evil.example", "com"] {
        check(&unbound, name, Expected::Declared)?;
    }
    Ok(())
}

#[test]
fn a_gateway_with_an_ipv6_address_is_in_aaaa() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let zone =
        zone_of("rules: [{name: web, hosts: [x.com, '*.y.com']}]", &["192.0.2.53", "192.0.2.54", "2001:db8::53"])?;
    let unbound = Unbound::start(folder.path(), &zone)?;
    for name in ["x.com", "a.y.com"] {
        let answer = ask_dns(unbound.address(), Udp, name, "AAAA")?;
        ensure!(answer.addresses == ["2001:db8::53".parse::<IpAddr>()?], "{answer:?}");
        let mut answer = ask_dns(unbound.address(), Udp, name, "A")?;
        answer.addresses.sort();
        ensure!(answer.addresses == ["192.0.2.53".parse::<IpAddr>()?, "192.0.2.54".parse()?], "{answer:?}");
        let answer = ask_dns(unbound.address(), Udp, name, "HTTPS")?;
        ensure!(answer.code == "NOERROR" && answer.records == 0, "{answer:?}");
    }
    Ok(())
}

#[test]
fn another_zone_takes_its_place_and_without_one_nothing_resolves() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let unbound = start(&folder, "rules: [{name: web, hosts: [old.example]}]")?;
    check(&unbound, "new.example", Expected::Undeclared)?;
    let new = zone_of("rules: [{name: web, hosts: [new.example]}]", &[GATEWAY])?;
    unbound.reload(&new)?;
    check(&unbound, "new.example", Expected::Declared)?;
    check(&unbound, "old.example", Expected::Undeclared)?;

    let Err(error) = unbound.reload("no zone at all\n") else { bail!("unbound loaded what is no zone") };
    ensure!(error.to_string() == "unbound-control: error failed to read .", "{error}");
    for name in ["new.example", "evil.example"] {
        let answer = ask_dns(unbound.address(), Udp, name, "A")?;
        ensure!(answer.code == "SERVFAIL", "{name}: {answer:?}");
    }
    unbound.reload(&new)?;
    check(&unbound, "new.example", Expected::Declared)?;

    let other = tempfile::tempdir()?;
    let Err(error) = Unbound::start(other.path(), "no zone at all\n") else { bail!("unbound started without a zone") };
    ensure!(error.to_string().contains("error parsing zonefile"), "{error}");
    Ok(())
}

#[test]
fn envoys_own_dns_filter_has_errors_for_what_a_declared_name_lacks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let table = json!({"virtual_domains": [
        {"name": "api.partner.example", "endpoint": {"address_list": {"address": [GATEWAY]}}},
    ]});
    let listener = json!({
        "name": "dns",
        "address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": 0}},
        "listener_filters": [{
            "name": "envoy.filters.udp.dns_filter",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig",
                "stat_prefix": "dns",
                "server_config": {"inline_dns_table": table},
            },
        }],
    });
    let bootstrap = Configuration::new(json!({"static_resources": {"listeners": [listener]}}));
    let binary = testbed::envoy_binary()?;
    let options = Options { binary, folder: folder.path().to_owned(), workers: 1, detached: false };
    let envoy = Envoy::start(&bootstrap, &options)?;
    let dns = envoy.listener("dns")?;
    let rows = [
        ("api.partner.example", "A", "NOERROR"),
        ("api.partner.example", "AAAA", "NXDOMAIN"),
        ("api.partner.example", "HTTPS", "NOTIMP"),
        ("api.partner.example", "TXT", "NOTIMP"),
        ("Api.Partner.Example", "A", "NXDOMAIN"),
    ];
    for (name, kind, code) in rows {
        let answer = ask_dns(dns, Udp, name, kind)?;
        ensure!(answer.code == code, "{name} {kind}: {answer:?}");
    }
    Ok(())
}

/// The command of the documentation that sorts undeclared names out of unbound's log.
fn documented_command() -> Result<String> {
    let page = fs::read_to_string(testbed::root().join("docs/egress.md"))?;
    let mut lines = page.lines().filter_map(|line| line.strip_prefix("    "));
    lines.find(|line| line.contains("NXDOMAIN")).map(str::to_owned).context("docs/egress.md has no such command")
}

#[test]
fn names_that_dns_does_not_declare_are_sorted_out_of_its_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let unbound = start(&folder, "rules: [{name: web, hosts: [api.partner.example, '*.wild.example']}]")?;
    let asked = [
        ("evil.example", "A"),
        ("api.partner.example", "A"),
        ("EVIL.example", "AAAA"),
        ("other.example", "HTTPS"),
        ("api.partner.example", "AAAA"),
        ("a.wild.example", "TXT"),
        // Not to be taken for more than one field, and not for another answer.
        ("a IN NOERROR b.example", "A"),
    ];
    for (name, kind) in asked {
        ask_dns(unbound.address(), Udp, name, kind)?;
    }
    ask_dns(unbound.address(), Tcp, "evil.example", "A")?;
    let command = documented_command()?;
    let output = Command::new("bash").args(["-c", &command]).current_dir(folder.path()).output()?;
    let printed = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<_> = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    ensure!(rows.first().map(String::as_str) == Some("3 evil.example 127.0.0.1"), "{printed}");
    ensure!(rows.len() == 3 && rows.contains(&"1 other.example 127.0.0.1".to_owned()), "{printed}");
    ensure!(rows.contains(&"1 a?in?noerror?b.example 127.0.0.1".to_owned()), "{printed}");
    Ok(())
}
