//! External authorization: who shows the golden badge may pass.

use anyhow::Result;

use crate::web::{self, Answer};

/// Answers Envoy's checks on port 9000.
pub(crate) fn serve() -> Result<()> {
    web::serve(9000, |request| match web::header(request, "x-badge") {
        Some("gold") => Answer::text(200, "pass"),
        _ => Answer::text(403, "reports are for who shows the golden badge\n"),
    })
}
