//! Examples of `envoy-config/` in a real Envoy, under traffic that they let through, deny, report and never see: every
//! alert fires when its condition is true and at no other time, and every metric, label and field of a log that pages,
//! dashboard, console page and alerts name is there.

mod alerts;
mod custom;
mod edge;
mod egress;
mod egress_by_sni;
mod egress_client;
mod example;
mod ingress;
mod layer4;
mod layer4_client;
mod log_fields;
mod names;
mod rules;
mod samples;
mod stack;

use std::sync::LazyLock;

use anyhow::{Result, anyhow};

use crate::example::Observed;

/// An example, and how it is played.
struct Example {
    name: &'static str,
    observed: &'static LazyLock<Result<Observed, String>>,
}

macro_rules! examples {
    ($($name:literal: $play:path),+) => {
        &[$(Example {
            name: $name,
            observed: {
                static OBSERVED: LazyLock<Result<Observed, String>> =
                    LazyLock::new(|| $play().map_err(|error| format!("{}: {error:#}", $name)));
                &OBSERVED
            },
        }),+]
    };
}

/// Each is played once for all tests.
static EXAMPLES: &[Example] = examples![
    "ingress": ingress::ingress,
    "ingress-migration": ingress::migration,
    "egress": egress::egress,
    "layer4": layer4::layer4,
    "custom": custom::custom,
    "edge": edge::edge,
    "egress-by-sni": egress_by_sni::egress_by_sni,
    "egress-client": egress_client::egress_client,
    "layer4-client": layer4_client::layer4_client
];

impl Example {
    fn observed(&self) -> Result<&'static Observed> {
        self.observed.as_ref().map_err(|error| anyhow!("{error}"))
    }
}
