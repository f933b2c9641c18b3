//! Output of `make manifests`.

use anyhow::{Result, ensure};
use host_tests::manifests::tally;

const EXPECTED: &str = "\
kind                  loads  passed over   refused
AuthorizationPolicy       3            0         3
PeerAuthentication        1            0         0
Service                   0            1         0
ServiceEntry              1            0         0
VirtualService            0            1         0
without a kind            0            0         1

refused, by reason, with the first file:
     1  AuthorizationPolicy: apiVersion: `…` is AuthorizationPolicy of Linkerd, which no filter reads; leave the resource out (all.json)
     2  AuthorizationPolicy: spec.rules[].to[].operation.paths[]: bad path `…`: a star inside is taken literally and never matches, write `…` (broken.yml)
     1  AuthorizationPolicy: spec.rules[].to[].operation.ports[]: expected a string, this is a number; write \"80\" (broken.yml)
     1  without a kind: kind: missing, write the kind of the resource, as in kind: AuthorizationPolicy (broken.yml)

no YAML, such as templates:
     1  charts/template.yaml
";

#[test]
fn manifests_are_counted_by_kind_and_reason() -> Result<()> {
    let printed = tally(&testbed::root().join("host-tests/manifests"))?.to_string();
    ensure!(printed == EXPECTED, "{printed}");
    Ok(())
}
