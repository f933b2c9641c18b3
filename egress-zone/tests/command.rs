//! What the command prints, and how it ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The exit code, standard output and standard error of a run in the root folder of the repository.
fn run(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO_BIN_EXE_egress-zone")).args(arguments).current_dir(root).output()?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

const ZONE: &str = "\
; Names that the egress gateway lets someone reach: they have its address, and no other name exists.
; Made by tools/egress-zone from envoy-config/egress.yaml, to be changed there. A name that is here \"for\" a pattern covers more
; than the pattern, for which DNS has none that is as narrow. The gateway decides.
$TTL 60
. SOA gateway.invalid. hostmaster.invalid. 1 3600 600 86400 30
. NS gateway.invalid.
; rules/payments-to-partner
api.partner.example. A 203.0.113.7
api.partner.example. AAAA 2001:db8::7
; shop/updates
updates.example.org. A 203.0.113.7
updates.example.org. AAAA 2001:db8::7
";

#[test]
fn the_zone_of_the_example() -> Result<()> {
    let addresses = ["--address", "203.0.113.7", "--address=2001:db8::7"];
    let (code, zone, errors) = run(&[&addresses[..], &["envoy-config/egress.yaml"]].concat())?;
    ensure!(code == Some(0) && errors.is_empty(), "{code:?}: {errors}");
    ensure!(zone == ZONE, "{zone}");
    Ok(())
}

#[test]
fn without_an_address_there_is_a_placeholder_and_a_warning() -> Result<()> {
    let (code, zone, errors) = run(&["envoy-config/stack/policies/egress.yaml"])?;
    ensure!(code == Some(0), "{code:?}: {errors}");
    ensure!(zone.ends_with("demo/hello-app-to-partner\napi.partner.example. A 192.0.2.53\n"), "{zone}");
    let expected = "egress-zone: 192.0.2.53 stands for the address of the gateway; say it with --address\n";
    ensure!(errors == expected, "{errors}");
    Ok(())
}

#[test]
fn wildcards_and_what_is_wider_than_its_pattern() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rules.yaml");
    fs::write(&file, "rules: [{name: web, hosts: ['*.Wild.example', 'a.*.x.com', a.wild.example]}]")?;
    let (_, zone, _) = run(&["--address", "192.0.2.1", &file.to_string_lossy()])?;
    let names = "; rules/web for a.*.x.com\n*.x.com. A 192.0.2.1\n; rules/web\n*.wild.example. A 192.0.2.1\n";
    ensure!(zone.ends_with(&format!("NS gateway.invalid.\n{names}")), "{zone}");

    fs::write(&file, "{mode: report, rules: []}")?;
    let (_, zone, _) = run(&["--address", "192.0.2.1", &file.to_string_lossy()])?;
    ensure!(zone.ends_with("NS gateway.invalid.\n; mode: report\n*. A 192.0.2.1\n"), "{zone}");
    Ok(())
}

#[test]
fn wrong_use_says_what_is_expected() -> Result<()> {
    let rows: [(&[&str], &str); 7] = [
        (&[], "FILE is missing"),
        (&["a.yaml", "b.yaml"], "expected one FILE, found a.yaml and b.yaml"),
        (&["--zone", "a.yaml"], "unknown option --zone"),
        (&["--addresses=192.0.2.1", "a.yaml"], "unknown option --addresses=192.0.2.1"),
        (&["a.yaml", "--address"], "--address: an IP address has to follow"),
        (&["--address", "192.0.2.1", "--address=192.0.2.1", "a.yaml"], "--address: 192.0.2.1 is said twice"),
        (
            &["--address", "gateway", "a.yaml"],
            "--address: `gateway` is no IP address; write the address at which clients reach the gateway, as in \
             --address 192.0.2.53",
        ),
    ];
    for (arguments, message) in rows {
        let (code, zone, errors) = run(arguments)?;
        ensure!(code == Some(2) && zone.is_empty(), "{arguments:?}: {code:?}");
        ensure!(errors.starts_with(&format!("egress-zone: {message}\n\nUsage: tools/egress-zone ")), "{errors}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_read_or_is_refused_gives_no_zone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rules.yaml");
    let name = file.to_string_lossy().into_owned();
    let rows = [
        ("a: [", format!("{name}: ")),
        ("a: b", format!("{name}: no configuration of egress-allowlist: give ")),
        (
            "rules: [{name: web, hosts: ['*x.com']}, {name: net, hosts: ['*.com']}]",
            format!("{name}: egress-allowlist refuses it: rules[0].hosts[0]: bad host `*x.com`: "),
        ),
    ];
    for (text, message) in rows {
        fs::write(&file, text)?;
        let (code, zone, errors) = run(&["--address", "192.0.2.1", &name])?;
        ensure!(code == Some(1) && zone.is_empty(), "{text}: {code:?}");
        ensure!(errors.starts_with(&format!("egress-zone: {message}")), "{errors}");
    }
    // Every error is told, not the first alone.
    let (_, _, errors) = run(&[&name])?;
    ensure!(errors.contains("\nrules[1].hosts[0]: bad host `*.com`: "), "{errors}");

    let (code, _, errors) = run(&["no-such-file.yaml"])?;
    ensure!(code == Some(1), "{code:?}");
    ensure!(errors == "egress-zone: no-such-file.yaml: No such file or directory (os error 2)\n", "{errors}");

    let (_, _, errors) = run(&["envoy-config/stack/envoy/egress.yaml"])?;
    let elsewhere = "egress-zone: envoy-config/stack/envoy/egress.yaml: egress-allowlist takes its configuration from \
                     /etc/sallyport/policies/egress.yaml; give that file\n";
    ensure!(errors.ends_with(elsewhere), "{errors}");
    Ok(())
}

/// The command of the documentation that makes the zone.
fn documented_command() -> Result<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/egress.md"))?;
    let mut lines = page.lines().filter_map(|line| line.strip_prefix("    "));
    lines
        .find(|line| line.starts_with("tools/egress-zone "))
        .map(str::to_owned)
        .context("docs/egress.md has no command")
}

#[test]
fn the_command_of_the_page_puts_the_zone_into_its_place() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    symlink(root.join("envoy-config"), folder.path().join("envoy-config"))?;
    // The tool builds the command, which is built here already.
    let command = documented_command()?.replace("tools/egress-zone", env!("CARGO_BIN_EXE_egress-zone"));
    let output = Command::new("bash").args(["-c", &command]).current_dir(folder.path()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let zone = fs::read_to_string(folder.path().join("root.zone"))?;
    ensure!(zone.contains("\napi.partner.example. A 192.0.2.53\n"), "{zone}");
    ensure!(!folder.path().join("root.zone.new").exists(), "the new zone is not moved");
    Ok(())
}
