//! Removes one protection at a time, and checks that the claim which depends on it fails.

use anyhow::{Context, Result, ensure};
use testbed::wait;

use super::stack::{LABEL, Stack, TIMEOUT};
use super::{Check, composition, layers, policies};

/// The deny-all policy, as written in each file.
const DENY_ALL: &str = "            - apiVersion: security.istio.io/v1
              kind: AuthorizationPolicy
              metadata: {name: deny-all-ingress, namespace: istio-system}
              spec: {}
";

const REPORT: (&str, &str) = ("mode: enforce", "mode: report");

/// Declares the undeclared host.
const DECLARED: (&str, &str) =
    ("serverNames: [api.partner.example]", "serverNames: [api.partner.example, undeclared.example]");

/// The result of a request that was not denied.
const ALLOWED: &str = "got 200";

pub(super) const CHECKS: [Check; 12] = [
    Check {
        claim: "without deny-all",
        run: |s| with_edit(s, &layers::DENIED_BY_DEFAULT, "ledger.yaml", &[(DENY_ALL, "")], ALLOWED),
    },
    Check {
        claim: "without the internal network",
        run: |s| with_network(s, &s.network("front"), &layers::NO_EGRESS_BYPASS, "the application reached gateway"),
    },
    Check { claim: "with an internal network that has Docker's default options", run: ordinary_internal_network },
    Check {
        claim: "with identity-authz in report mode",
        run: |s| with_edit(s, &layers::STRANGER_DENIED, "app.yaml", &[REPORT], ALLOWED),
    },
    Check {
        claim: "with identity-authz in report mode at the gateway",
        run: |s| with_edit(s, &composition::ACCOUNT_DENIED, "gateway.yaml", &[REPORT], ALLOWED),
    },
    Check {
        claim: "with identity-authz in report mode before the database",
        run: |s| with_edit(s, &layers::DATABASE_DENIED, "postgres.yaml", &[REPORT], "got R"),
    },
    Check {
        claim: "with baseline-deny in report mode",
        run: |s| with_edit(s, &layers::ATTACK_TOOL_DENIED, "baseline.yaml", &[REPORT], ALLOWED),
    },
    Check {
        claim: "with egress-allowlist in report mode",
        run: |s| with_edit(s, &layers::UNDECLARED_HOST_DENIED, "egress.yaml", &[REPORT], ALLOWED),
    },
    Check {
        claim: "with the undeclared host declared",
        run: |s| with_edit(s, &layers::UNDECLARED_HOST_DENIED, "egress.yaml", &[DECLARED], ALLOWED),
    },
    Check {
        claim: "with the undeclared host declared, which DNS has from the same rules",
        run: |s| with_edit(s, &layers::UNDECLARED_NAME_MISSING, "egress.yaml", &[DECLARED], "NOERROR"),
    },
    Check {
        claim: "with every trust domain trusted",
        run: |s| {
            let any = ("spiffe://cluster.local/", "spiffe://");
            // The handshake succeeds, so the policies deny the request.
            with_edit(s, &layers::OTHER_DOMAIN_REFUSED, "trusted.yaml", &[any], "got 403")
        },
    },
    Check {
        claim: "with PERMISSIVE, and a policy that needs no certificate",
        run: |s| {
            let anyone = (
                "principals: [cluster.local/ns/demo/sa/hello-gateway-istio]",
                "notPrincipals: [cluster.local/ns/demo/sa/nobody]",
            );
            let changes = [("mode: STRICT", "mode: PERMISSIVE"), anyone];
            with_edit(s, &layers::PLAINTEXT_DENIED, "app.yaml", &changes, ALLOWED)
        },
    },
];

/// Edits a policy file, waits for the check to fail, restores the file and waits for the check to pass.
fn with_edit(s: &Stack, check: &Check, file: &str, changes: &[(&str, &str)], expected: &str) -> Result<String> {
    let failed = policies::with_edit(file, changes, || wait_until_failing(s, check, expected));
    wait_until_passing(s, check).and(failed)
}

/// Adds a network to the application, waits for the check to fail, removes the network and waits for the check to pass.
fn with_network(s: &Stack, network: &str, check: &Check, expected: &str) -> Result<String> {
    let container = s.container("app")?;
    s.docker(&["network", "connect", network, container])?;
    let failed = wait_until_failing(s, check, expected);
    s.docker(&["network", "disconnect", network, container])?;
    wait_until_passing(s, check).and(failed)
}

/// Adds an internal network on which the host machine has an address.
fn ordinary_internal_network(s: &Stack) -> Result<String> {
    let network = s.network("ordinary");
    s.docker(&["network", "create", "--internal", "--label", LABEL, &network])?;
    let failed = with_network(s, &network, &layers::HOST_UNREACHABLE, "the application reached the host machine");
    s.docker(&["network", "rm", &network])?;
    failed
}

/// Waits until the check fails with an error that contains `expected`.
fn wait_until_failing(s: &Stack, check: &Check, expected: &str) -> Result<String> {
    let failed = wait::until_ok("the check to fail", TIMEOUT, || {
        let error = format!("{:#}", (check.run)(s).err().context("it still passes")?);
        ensure!(error.contains(expected), "{error}");
        Ok(error)
    });
    let error = failed.with_context(|| check.claim)?;
    Ok(format!("{}: {error}", check.claim))
}

fn wait_until_passing(s: &Stack, check: &Check) -> Result<()> {
    let passed = wait::until_ok("the check to pass again", TIMEOUT, || (check.run)(s).map(drop));
    passed.with_context(|| check.claim)
}
