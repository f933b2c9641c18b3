//! A collector of Zipkin spans in JSON, which keeps the latest thousand and returns them by trace.

use std::collections::VecDeque;
use std::sync::Mutex;

use anyhow::Result;
use serde_json::Value;

use crate::web::{self, Reply};

/// The number of spans that are kept.
const CAPACITY: usize = 1000;

/// Serves `POST /api/v2/spans` and `GET /trace/<id>` on port 9411.
pub(crate) fn serve() -> Result<()> {
    let spans: Mutex<VecDeque<Value>> = Mutex::default();
    web::serve(9411, move |request| {
        let Ok(mut spans) = spans.lock() else { return Reply::text(500, "internal error") };
        if let Some(trace) = request.url().strip_prefix("/trace/") {
            let of_trace = |span: &&Value| span.get("traceId").and_then(Value::as_str) == Some(trace);
            return Reply::json(&spans.iter().filter(of_trace).cloned().collect());
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
