//! Takes one protection away at a time, and sees the claim fail that rests on it.

use anyhow::{Context, Result, ensure};
use testbed::wait;

use super::running::{LABEL, LIMIT, Stack};
use super::{Claim, claims, composition, policies};

/// The policy as it stands in each file.
const DENY_ALL: &str = "            - apiVersion: security.istio.io/v1
              kind: AuthorizationPolicy
              metadata: {name: deny-all-ingress, namespace: istio-system}
              spec: {}
";

const REPORT: (&str, &str) = ("mode: enforce", "mode: report");

/// What a request is answered with that was not turned away.
const LET_IN: &str = "got 200";

pub(super) const CLAIMS: [Claim; 11] = [
    Claim {
        name: "without deny-all",
        check: |s| by_edit(s, &claims::SHUT_TO_EVERYONE, "ledger.yaml", &[(DENY_ALL, "")], LET_IN),
    },
    Claim {
        name: "without the internal network",
        check: |s| by_network(s, &s.network("front"), &claims::NO_OTHER_WAY, "the application reached gateway"),
    },
    Claim { name: "with an internal network as Docker makes them", check: ordinary_internal_network },
    Claim {
        name: "with identity-authz in report mode",
        check: |s| by_edit(s, &claims::STRANGER_DENIED, "app.yaml", &[REPORT], LET_IN),
    },
    Claim {
        name: "with identity-authz in report mode at the gateway",
        check: |s| by_edit(s, &composition::ACCOUNT_SHUT, "gateway.yaml", &[REPORT], LET_IN),
    },
    Claim {
        name: "with identity-authz in report mode before the database",
        check: |s| by_edit(s, &claims::DATABASE_SHUT, "postgres.yaml", &[REPORT], "got R"),
    },
    Claim {
        name: "with baseline-deny in report mode",
        check: |s| by_edit(s, &claims::ATTACK_TOOL_DENIED, "baseline.yaml", &[REPORT], LET_IN),
    },
    Claim {
        name: "with egress-allowlist in report mode",
        check: |s| by_edit(s, &claims::UNDECLARED_SHUT, "egress.yaml", &[REPORT], LET_IN),
    },
    Claim {
        name: "with the outside declared as a whole",
        check: |s| {
            let whole =
                ("serverNames: [api.partner.example]", "serverNames: [api.partner.example, undeclared.example]");
            by_edit(s, &claims::UNDECLARED_SHUT, "egress.yaml", &[whole], LET_IN)
        },
    },
    Claim {
        name: "with every trust domain trusted",
        check: |s| {
            let any = ("spiffe://cluster.local/", "spiffe://");
            // The handshake succeeds, and the policies are asked.
            by_edit(s, &claims::OTHER_DOMAIN_REFUSED, "trusted.yaml", &[any], "got 403")
        },
    },
    Claim {
        name: "with PERMISSIVE, and a policy that asks for no certificate",
        check: |s| {
            let anyone = (
                "principals: [cluster.local/ns/demo/sa/hello-gateway-istio]",
                "notPrincipals: [cluster.local/ns/demo/sa/nobody]",
            );
            let changes = [("mode: STRICT", "mode: PERMISSIVE"), anyone];
            by_edit(s, &claims::PLAINTEXT_DENIED, "app.yaml", &changes, LET_IN)
        },
    },
];

/// Changes a policy file, sees the claim fail, puts the file back and sees the claim hold.
fn by_edit(s: &Stack, claim: &Claim, file: &str, changes: &[(&str, &str)], because: &str) -> Result<String> {
    let failed = policies::edited(file, changes, || fails(s, claim, because));
    holds_again(s, claim).and(failed)
}

/// Gives the application a further network, sees the claim fail, takes it away and sees the claim hold.
fn by_network(s: &Stack, network: &str, claim: &Claim, because: &str) -> Result<String> {
    let container = s.container("app")?;
    s.docker(&["network", "connect", network, container])?;
    let failed = fails(s, claim, because);
    s.docker(&["network", "disconnect", network, container])?;
    holds_again(s, claim).and(failed)
}

/// One on which the machine has an address.
fn ordinary_internal_network(s: &Stack) -> Result<String> {
    let network = s.network("ordinary");
    s.docker(&["network", "create", "--internal", "--label", LABEL, &network])?;
    let failed = by_network(s, &network, &claims::NOT_THE_MACHINE, "the application reached the machine");
    s.docker(&["network", "rm", &network])?;
    failed
}

/// Waits until the claim fails, for this reason and no other.
fn fails(s: &Stack, claim: &Claim, because: &str) -> Result<String> {
    let failed = wait::until_ok("the claim to fail", LIMIT, || {
        let said = format!("{:#}", (claim.check)(s).err().context("it holds")?);
        ensure!(said.contains(because), "{said}");
        Ok(said)
    });
    let said = failed.with_context(|| claim.name)?;
    Ok(format!("{}: {said}", claim.name))
}

fn holds_again(s: &Stack, claim: &Claim) -> Result<()> {
    let held = wait::until_ok("the claim to hold again", LIMIT, || (claim.check)(s).map(drop));
    held.with_context(|| claim.name)
}
