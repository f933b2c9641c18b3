//! The would-be denials in the access logs, held against what the filters counted: Envoy writes its logs late.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::Value;
use testbed::wait;

use super::assertions::has;
use super::stack::{ENVOYS, Stack, TIMEOUT};

/// Time limit for Envoy to write its logs, which it does every ten seconds.
const FLUSH_LIMIT: Duration = Duration::from_secs(25);

/// Time after which a filter has reported its counters: they are flushed once a second.
const COUNTER_DELAY: f64 = 1.5;

/// Would-be denials of the stack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WouldBeDenials {
    /// Descriptions, each with its number of occurrences, in their order.
    pub(super) rows: BTreeMap<String, u64>,
    /// Number in the logs, by Envoy.
    listed: BTreeMap<String, u64>,
    /// Number that the filters counted, by Envoy.
    counted: BTreeMap<String, u64>,
    /// Requests and connections in the logs.
    logged: u64,
    /// Start of the last of them, as logged.
    until: Option<String>,
}

impl WouldBeDenials {
    /// Reads the logs until they have, of each Envoy, as many would-be denials as its filters counted before the
    /// call, or until Envoy has had the time to write them.
    pub(super) fn settled(s: &Stack) -> Result<Self> {
        let counted = counted(s)?;
        let mut incomplete = None;
        let complete = wait::until("the logs", FLUSH_LIMIT, || {
            incomplete = None;
            let found = Self { counted: counted.clone(), ..Self::logged(s)? };
            match found.is_complete() {
                true => return Ok(Some(found)),
                false => incomplete = Some(found),
            }
            Ok(None)
        });
        complete.or_else(|error| incomplete.ok_or(error))
    }

    /// Reads what the logs have so far.
    fn logged(s: &Stack) -> Result<Self> {
        let mut found = Self::default();
        for service in ENVOYS {
            s.access_log(service)?.iter().for_each(|entry| found.add(service, entry));
        }
        Ok(found)
    }

    fn add(&mut self, service: &str, entry: &Value) {
        if has_text(entry, "refused_handshake") {
            return;
        }
        self.logged += 1;
        self.until = self.until.take().max(text(entry, "time"));
        // The gateway has two filters, with their fields under different keys.
        for decision in std::iter::once(entry).chain(entry.get("baseline")) {
            if has(decision, "decision", "would_deny") {
                *self.rows.entry(describe(service, entry, decision)).or_default() += 1;
                *self.listed.entry(counted_under(service).to_owned()).or_default() += 1;
            }
        }
    }

    /// Reports whether the logs have every would-be denial that was counted. The surplus of one Envoy, of requests after
    /// the count, does not stand in for what another one has not written yet.
    pub(super) fn is_complete(&self) -> bool {
        self.counted.iter().all(|(envoy, counted)| self.listed.get(envoy).unwrap_or(&0) >= counted)
    }
}

impl fmt::Display for WouldBeDenials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (row, count) in &self.rows {
            writeln!(f, "{count:5} x {row}")?;
        }
        let Some(until) = &self.until else {
            return f.write_str("No request is in the logs, so nothing is known yet.");
        };
        match self.rows.values().sum::<u64>() {
            0 => f.write_str("No would-be denial")?,
            1 => f.write_str("1 would-be denial")?,
            listed => write!(f, "{listed} would-be denials")?,
        }
        let counted = self.counted.values().sum::<u64>();
        let requests = if self.logged == 1 { "request or connection" } else { "requests and connections" };
        write!(f, " in the logs of {} {requests}, the last of which began at {until}.", self.logged)?;
        match self.is_complete() {
            true => write!(f, " The filters counted {counted}."),
            false => write!(
                f,
                "\nThe filters counted {counted}: the list is incomplete. Connections are logged when they end, so run \
                 this again before you enforce."
            ),
        }
    }
}

/// The label `workload` that Prometheus gives to the metrics of an Envoy, whose log can have several workloads.
fn counted_under(service: &str) -> &str {
    service.trim_end_matches("-envoy")
}

/// The numbers of would-be denials that the filters counted, by Envoy, no older than this call.
fn counted(s: &Stack) -> Result<BTreeMap<String, u64>> {
    let asked = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() + COUNTER_DELAY;
    wait::until("the counters to be scraped", TIMEOUT, || {
        let scraped = s.query("min(timestamp(up))")?.first().map(|(_, time)| *time);
        Ok(scraped.filter(|time| *time > asked))
    })?;
    let sums = s.query("sum by (workload) (sallyport_would_deny)")?;
    sums.iter()
        .map(|(labels, sum)| Ok((text(labels, "workload").unwrap_or_default(), format!("{sum:.0}").parse()?)))
        .collect()
}

/// Describes a would-be denial: destination, request, caller, policy and reason.
fn describe(service: &str, entry: &Value, decision: &Value) -> String {
    let request = match service {
        "egress" => text(entry, "authority").map(|authority| format!("CONNECT {authority}")),
        "postgres-envoy" => Some("a connection".to_owned()),
        _ => text(entry, "request"),
    };
    let caller = text(decision, "principal").or_else(|| text(entry, "peer"));
    let by = text(decision, "policy").map(|policy| format!(" by {policy}"));
    format!(
        "{}: {}, for {}: would be denied{}: {}",
        text(entry, "workload").unwrap_or_default(),
        request.unwrap_or_default(),
        caller.as_deref().unwrap_or("a client without a certificate"),
        by.unwrap_or_default(),
        text(decision, "reason").unwrap_or_default()
    )
}

fn text(entry: &Value, key: &str) -> Option<String> {
    Some(entry.get(key)?.as_str()?.to_owned())
}

fn has_text(entry: &Value, key: &str) -> bool {
    text(entry, key).is_some_and(|text| !text.is_empty() && text != "-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn denials(counted: u64, entries: &[Value]) -> WouldBeDenials {
        let counted = BTreeMap::from([("app".to_owned(), counted)]);
        let mut denials = WouldBeDenials { counted, ..WouldBeDenials::default() };
        entries.iter().for_each(|entry| denials.add("app-envoy", entry));
        denials
    }

    fn entry(time: &str, decision: Option<&str>) -> Value {
        json!({"workload": "app", "time": time, "request": "GET /", "decision": decision, "reason": "no policy"})
    }

    #[test]
    fn nothing_is_said_of_logs_without_a_request() {
        let refused = json!({"time": "10:00", "refused_handshake": "no certificate"});
        assert_eq!(denials(0, &[refused]).to_string(), "No request is in the logs, so nothing is known yet.");
    }

    #[test]
    fn of_no_would_be_denial_it_is_said_how_many_requests_and_until_when() {
        let found = denials(0, &[entry("10:02", None), entry("10:01", Some("deny"))]);
        assert!(found.is_complete());
        assert_eq!(
            found.to_string(),
            "No would-be denial in the logs of 2 requests and connections, the last of which began at 10:02. \
             The filters counted 0."
        );
    }

    #[test]
    fn logs_that_lack_what_was_counted_are_called_incomplete() {
        let found = denials(2, &[entry("10:01", Some("would_deny"))]);
        assert!(!found.is_complete());
        assert_eq!(
            found.to_string(),
            "    1 x app: GET /, for a client without a certificate: would be denied: no policy\n\
             1 would-be denial in the logs of 1 request or connection, the last of which began at 10:01.\n\
             The filters counted 2: the list is incomplete. Connections are logged when they end, so run this again \
             before you enforce."
        );
    }

    #[test]
    fn what_one_envoy_logged_late_is_not_made_up_for_by_another() {
        let mut found = denials(1, &[entry("10:01", Some("would_deny")), entry("10:02", Some("would_deny"))]);
        assert!(found.is_complete());
        found.counted.insert("gateway".to_owned(), 1);
        assert!(!found.is_complete(), "{found}");
    }

    #[test]
    fn an_envoy_is_counted_as_one_whatever_workloads_it_logs() {
        let ledger = json!({"workload": "ledger", "time": "10:02", "request": "GET /", "decision": "would_deny"});
        assert!(denials(2, &[entry("10:01", Some("would_deny")), ledger]).is_complete());
    }
}
