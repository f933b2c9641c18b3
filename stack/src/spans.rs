//! A collector of spans, in Zipkin's JSON: the last thousand, to be read again by trace.

use std::collections::VecDeque;
use std::sync::Mutex;

use anyhow::Result;
use serde_json::Value;

use crate::web::{self, Answer};

/// How many spans are kept.
const KEPT: usize = 1000;

/// Takes `POST /api/v2/spans` on port 9411, and gives `GET /trace/<id>`.
pub(crate) fn serve() -> Result<()> {
    let spans: Mutex<VecDeque<Value>> = Mutex::default();
    web::serve(9411, move |request| {
        let Ok(mut spans) = spans.lock() else { return Answer::text(500, "a thread has died") };
        if let Some(trace) = request.url().strip_prefix("/trace/") {
            let of_trace = |span: &&Value| span.get("traceId").and_then(Value::as_str) == Some(trace);
            return Answer::json(&spans.iter().filter(of_trace).cloned().collect());
        }
        match serde_json::from_reader(request.as_reader()) {
            Ok(Value::Array(reported)) => {
                spans.extend(reported);
                let surplus = spans.len().saturating_sub(KEPT);
                spans.drain(..surplus);
                Answer::text(202, "")
            }
            _ => Answer::text(400, "expected a list of spans"),
        }
    })
}
