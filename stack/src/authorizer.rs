//! An external authorization service that allows requests with the header `x-badge: gold`.

use anyhow::Result;

use crate::web::{self, Reply};

/// Serves Envoy's authorization checks on port 9000.
pub(crate) fn serve() -> Result<()> {
    web::serve(9000, |request| match web::header(request, "x-badge") {
        Some("gold") => Reply::text(200, "allowed"),
        _ => Reply::text(403, "reports need the header `x-badge: gold`\n"),
    })
}
