//! Hosts without the port that clients send.

use crate::lints::policy::{blocks, texts};
use crate::lints::{Lint, Linter};
use crate::source::Span;
use crate::tree::Node;

pub(super) const HOST_WITHOUT_PORT: Lint = Lint {
    code: "host-without-port",
    title: "An ALLOW for another port than 80 and 443 lists a host without the port that clients send",
    fix: "write the host with its port, or add `HOST:*`",
};

/// Ports that clients do not send.
const DEFAULT_PORTS: [&str; 2] = ["80", "443"];

pub(super) fn lint(linter: &mut Linter<'_>) {
    let mut found: Vec<(Span, String, String)> = Vec::new();
    for policy in linter.policies.iter().filter(|policy| policy.action == "ALLOW") {
        for operation in policy.rules.iter().flat_map(|rule| blocks(rule, "to", "operation")) {
            let ports = texts(operation, "ports");
            let Some(port) = ports.iter().find(|port| !DEFAULT_PORTS.contains(port)) else { continue };
            let hosts = operation.get("hosts").map_or(&[][..], Node::items);
            let known = texts(operation, "hosts");
            for host in hosts {
                let Some(name) = host.as_str().filter(|name| !name.contains([':', '*'])) else { continue };
                let with_port =
                    |other: &&str| other.strip_prefix(name).is_some_and(|rest| rest.starts_with([':', '*']));
                if !known.iter().any(with_port) {
                    let message =
                        format!("clients of port {port} send the host as `{name}:{port}`, which this does not match");
                    found.push((host.span, message, format!("write `{name}:{port}`, or add `{name}:*`")));
                }
            }
        }
    }
    for (span, message, help) in found {
        linter.warn(HOST_WITHOUT_PORT, span, message, help);
    }
}
