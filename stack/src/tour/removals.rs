//! Takes one protection away at a time, and sees the claim fail that rests on it.

use anyhow::{Result, ensure};
use testbed::wait;

use super::Claim;
use super::claims;
use super::running::{LIMIT, Stack};

/// The policy as it stands in each file.
const DENY_ALL: &str = "            - apiVersion: security.istio.io/v1
              kind: AuthorizationPolicy
              metadata: {name: deny-all-ingress, namespace: istio-system}
              spec: {}
";

pub(super) const CLAIMS: [Claim; 7] = [
    Claim { name: "without deny-all", check: |s| by_edit(s, &claims::SHUT_TO_EVERYONE, "ledger.yaml", DENY_ALL, "") },
    Claim {
        name: "without the internal network",
        check: |s| {
            let (network, container) = (s.network("front"), s.container("app")?);
            s.docker(&["network", "connect", &network, &container])?;
            let failed = fails(s, &claims::NO_OTHER_WAY);
            s.docker(&["network", "disconnect", &network, &container])?;
            let failed = failed?;
            holds_again(s, &claims::NO_OTHER_WAY)?;
            Ok(failed)
        },
    },
    Claim {
        name: "with identity-authz in report mode",
        check: |s| by_edit(s, &claims::STRANGER_DENIED, "app.yaml", "mode: enforce", "mode: report"),
    },
    Claim {
        name: "with identity-authz in report mode before the database",
        check: |s| by_edit(s, &claims::DATABASE_SHUT, "postgres.yaml", "mode: enforce", "mode: report"),
    },
    Claim {
        name: "with egress-allowlist in report mode",
        check: |s| by_edit(s, &claims::UNDECLARED_SHUT, "egress.yaml", "mode: enforce", "mode: report"),
    },
    Claim {
        name: "with PERMISSIVE and no policy for plaintext",
        check: |s| {
            s.edit("app.yaml", "mode: STRICT", "mode: PERMISSIVE")?;
            by_edit(
                s,
                &claims::PLAINTEXT_DENIED,
                "app.yaml",
                "principals: [cluster.local/ns/demo/sa/hello-gateway-istio]",
                "notPrincipals: [cluster.local/ns/demo/sa/nobody]",
            )
        },
    },
    Claim {
        name: "with the outside declared as a whole",
        check: |s| {
            by_edit(
                s,
                &claims::UNDECLARED_SHUT,
                "egress.yaml",
                "serverNames: [api.partner.example]",
                "serverNames: [api.partner.example, undeclared.example]",
            )
        },
    },
];

/// Changes a policy file, sees the claim fail, puts the file back and sees the claim hold.
fn by_edit(s: &Stack, claim: &Claim, file: &str, from: &str, to: &str) -> Result<String> {
    s.edit(file, from, to)?;
    let failed = fails(s, claim);
    s.restore(file)?;
    let failed = failed?;
    holds_again(s, claim)?;
    Ok(failed)
}

fn fails(s: &Stack, claim: &Claim) -> Result<String> {
    let error = wait::until("the claim to fail", LIMIT, || Ok((claim.check)(s).err()))?;
    let said = format!("{error:#}");
    ensure!(!said.is_empty(), "a failure without a word");
    Ok(format!("fails: {}", claim.name))
}

fn holds_again(s: &Stack, claim: &Claim) -> Result<()> {
    wait::until("the claim to hold again", LIMIT, || Ok((claim.check)(s).ok())).map(drop)
}
