//! The observed result of a case, compared with the expected one.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::{Result, bail};

use super::case::{Answer, Expectation};

/// The observed result of a request or connection, in either host.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) status: u16,
    pub(super) details: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// The filter state, by the last part of its key: audit, custom, decision, host, policy, port, principal, reason,
    /// way; and [`DYNAMIC_KEYS`].
    pub(super) filter_state: BTreeMap<String, String>,
}

/// The filter state with the host and the port that Envoy is to connect to.
pub(super) const DYNAMIC_KEYS: [&str; 2] = ["envoy.upstream.dynamic_host", "envoy.upstream.dynamic_port"];

/// The status of a request that reaches the service.
pub(super) const REACHED: u16 = 200;

/// Stands for a status if the connection or stream ends without an answer.
pub(super) const CLOSED: u16 = 0;

impl Observed {
    /// The result of a TCP connection.
    pub(super) fn connection(reached: bool, filter_state: BTreeMap<String, String>) -> Self {
        Self { status: if reached { REACHED } else { CLOSED }, filter_state, ..Self::default() }
    }

    /// Fails with all differences from `expected`.
    ///
    /// `body` is that of a denial by the filter, unless `expected` has another.
    pub(super) fn check(&self, expected: &Expectation, body: &str) -> Result<()> {
        let mut differences = Vec::new();
        let mut differ = |subject: &str, found: &dyn Debug, expected: &dyn Debug| {
            differences.push(format!("{subject}: {found:?}, expected {expected:?}"));
        };
        let denied = expected.answer != Some(Answer::Reached);
        let status = match expected.answer {
            None | Some(Answer::Reached) => REACHED,
            Some(Answer::Closed) => CLOSED,
            Some(Answer::Denied) => 403,
            Some(Answer::Status(status)) => status,
        };
        if self.status != status {
            differ("status", &self.status, &status);
        }
        if let Some(details) = &expected.details
            && self.details.as_ref() != Some(details)
        {
            differ("details", &self.details, details);
        }
        let body = expected.body.as_deref().unwrap_or(body);
        if denied && expected.answer != Some(Answer::Closed) && self.body != body.as_bytes() {
            differ("body", &String::from_utf8_lossy(&self.body), &body);
        }
        if let Some((name, value)) = &expected.header
            && !self.headers.iter().any(|(key, found)| key == name && found == value.as_bytes())
        {
            differ(&format!("header {name}"), &self.headers, value);
        }
        let state = |key: &str| self.filter_state.get(key).map(String::as_str);
        let decision = expected.decision.as_deref().or(denied.then_some("deny"));
        if state("decision") != decision {
            differ("decision", &state("decision"), &decision);
        }
        if state("policy") != expected.policy.as_deref() {
            differ("policy", &state("policy"), &expected.policy);
        }
        if state("audit") != expected.audit.as_deref() {
            differ("audit", &state("audit"), &expected.audit);
        }
        self.check_destination(expected, &mut differ);
        for (key, wanted) in
            [("principal", &expected.principal), ("reason", &expected.reason), ("custom", &expected.mark)]
        {
            if let Some(wanted) = wanted
                && state(key) != Some(wanted)
            {
                differ(key, &state(key), wanted);
            }
        }
        match differences.is_empty() {
            true => Ok(()),
            false => bail!("{}", differences.join("\n")),
        }
    }

    /// Reports where the request goes, by the filter and by what it tells Envoy, if that is not as expected.
    fn check_destination(&self, expected: &Expectation, differ: &mut dyn FnMut(&str, &dyn Debug, &dyn Debug)) {
        let state = |key: &str| self.filter_state.get(key).map(String::as_str);
        let destination = ["host", "port", "way"].map(|key| state(key).unwrap_or_default());
        if let Some(wanted) = &expected.destination
            && destination != *wanted
        {
            differ("destination", &destination, wanted);
        }
        let dynamic = DYNAMIC_KEYS.map(|key| state(key).unwrap_or_default());
        if dynamic != expected.leads_to.as_ref().map_or([""; 2], |leads_to| leads_to.each_ref().map(String::as_str)) {
            differ("destination of the proxy", &dynamic, &expected.leads_to);
        }
    }
}
