//! The targets by name, each with its property and its seeds.

use std::io;

use crate::seeds::{self, Suites};
use crate::{
    baseline_deny, destinations, egress_allowlist, forwarded_certificates, header_maps, identity_authz, metadata,
    paths, tokens, tunnels,
};

/// A fuzz target.
pub struct Target {
    /// Name of its binary, and of its folder in `corpus/`.
    pub name: &'static str,
    /// Property; it panics where it does not hold.
    pub check: fn(&[u8]),
    /// Inputs from the suites.
    pub seeds: fn() -> io::Result<Vec<Vec<u8>>>,
}

/// All targets.
pub const TARGETS: [Target; 10] = [
    Target {
        name: "identity_authz",
        check: identity_authz::check,
        seeds: || Ok(Suites::read("identity-authz")?.configurations()),
    },
    Target {
        name: "baseline_deny",
        check: baseline_deny::check,
        seeds: || Ok(Suites::read("baseline-deny")?.configurations()),
    },
    Target {
        name: "egress_allowlist",
        check: egress_allowlist::check,
        seeds: || Ok(Suites::read("egress-allowlist")?.configurations()),
    },
    Target { name: "paths", check: paths::check, seeds: || Ok(Suites::read("identity-authz")?.paths()) },
    Target { name: "metadata", check: metadata::check, seeds: || Ok(Suites::read("identity-authz")?.metadata()) },
    Target { name: "tokens", check: tokens::check, seeds: || Ok(Suites::read("identity-authz")?.tokens()) },
    Target {
        name: "forwarded_certificates",
        check: forwarded_certificates::check,
        seeds: || Ok(Suites::read("identity-authz")?.forwarded_certificates()),
    },
    Target {
        name: "header_maps",
        check: header_maps::check,
        seeds: || Ok(Suites::read("identity-authz")?.header_maps()),
    },
    Target {
        name: "destinations",
        check: destinations::check,
        seeds: || Ok(Suites::read("egress-allowlist")?.destinations()),
    },
    Target { name: "tunnels", check: tunnels::check, seeds: || Ok(seeds::tunnels()) },
];
