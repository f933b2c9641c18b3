//! A collector of Zipkin spans in JSON, which keeps the latest thousand and returns them by trace, and what the filters
//! decided in them.

use std::collections::VecDeque;
use std::sync::Mutex;

use anyhow::Result;
use serde_json::{Value, json};

use crate::web::{self, Reply};

/// The number of spans that are kept.
const CAPACITY: usize = 1000;

/// Serves `POST /api/v2/spans`, `GET /trace/<id>` and `GET /decisions` on port 9411.
pub(crate) fn serve() -> Result<()> {
    let spans: Mutex<VecDeque<Value>> = Mutex::default();
    web::serve(9411, move |request| {
        let Ok(mut spans) = spans.lock() else { return Reply::text(500, "internal error") };
        if let Some(trace) = request.url().strip_prefix("/trace/") {
            let of_trace = |span: &&Value| span.get("traceId").and_then(Value::as_str) == Some(trace);
            return Reply::json(&spans.iter().filter(of_trace).cloned().collect());
        }
        if request.url() == "/decisions" {
            let mut decisions: Vec<Value> = Vec::new();
            for decision in spans.iter().rev().filter_map(decision) {
                // The latest of a kind is enough.
                if !decisions.contains(&decision) {
                    decisions.push(decision);
                }
            }
            return Reply::json(&Value::Array(decisions));
        }
        match serde_json::from_reader(request.as_reader()) {
            Ok(Value::Array(reported)) => {
                spans.extend(reported);
                let surplus = spans.len().saturating_sub(CAPACITY);
                spans.drain(..surplus);
                Reply::text(202, "")
            }
            _ => Reply::text(400, "expected a list of spans"),
        }
    })
}

/// The decision of a filter about the request of a span: the tags that the Envoys of the stack set from its filter state.
fn decision(span: &Value) -> Option<Value> {
    let tag = |name: &str| {
        let value = span.pointer(&format!("/tags/{name}")).and_then(Value::as_str);
        // Envoy writes a dash for what there is not.
        value.filter(|value| !matches!(*value, "" | "-"))
    };
    let (decision, policy) = (tag("decision"), tag("policy"));
    (decision.is_some() || policy.is_some()).then(|| {
        json!({
            "workload": span.pointer("/localEndpoint/serviceName"),
            "authority": tag("authority"),
            "path": tag("path"),
            "decision": decision.unwrap_or("allow"),
            "policy": policy,
            "reason": tag("reason"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_tells_what_was_decided_and_by_which_policy() {
        let span = json!({"localEndpoint": {"serviceName": "egress"}, "tags": {
            "authority": "undeclared.example:443", "path": "-", "decision": "deny", "policy": "-", "reason": "no rule"
        }});
        let told = json!({"workload": "egress", "authority": "undeclared.example:443", "path": null,
            "decision": "deny", "policy": null, "reason": "no rule"});
        assert_eq!(decision(&span), Some(told));
        let allowed =
            json!({"localEndpoint": {"serviceName": "app"}, "tags": {"path": "/calls", "policy": "demo/app"}});
        let told = decision(&allowed).unwrap_or_default();
        assert_eq!((told.get("decision"), told.get("policy")), (Some(&json!("allow")), Some(&json!("demo/app"))));
        assert_eq!(decision(&json!({"tags": {"decision": "-", "policy": "-"}})), None);
    }
}
