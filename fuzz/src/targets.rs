//! The targets by name, each with its property and its seeds.

use std::io;

use crate::seeds::Suites;
use crate::{baseline_deny, egress_allowlist, identity_authz};

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
pub const TARGETS: [Target; 3] = [
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
];
