//! Response to a denied client, without the policy or the reason.

use crate::config::error_code::ErrorCode;
use crate::config::reader::ConfigNode;

/// `deny`: the reply to a denied HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyResponse {
    status: u32,
    body: String,
}

/// A body is a sentence, not a page: it is kept in every worker.
const MAX_BODY: usize = 4096;

impl Default for DenyResponse {
    fn default() -> Self {
        Self { status: 403, body: "RBAC: access denied".to_owned() }
    }
}

impl DenyResponse {
    /// The HTTP status, 400 to 599. Default: 403.
    pub fn status(&self) -> u32 {
        self.status
    }

    /// Body. Default: `RBAC: access denied`, as in Envoy's RBAC filter.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Response with this status and body.
    pub(crate) fn new(status: u32, body: &str) -> Self {
        Self { status, body: body.to_owned() }
    }

    /// Reads `deny`; what it does not say is as in `default`.
    pub(crate) fn read(node: Option<&ConfigNode<'_>>, default: Self) -> Option<Self> {
        let Some(node) = node else { return Some(default) };
        let object = node.object()?;
        let Self { status, body } = default;
        let status = match object.optional("status") {
            Some(node) => node.whole_number(400, 599).and_then(|number| u32::try_from(number).ok()),
            None => Some(status),
        };
        let body = match object.optional("body") {
            Some(node) => read_body(&node),
            None => Some(body),
        };
        object.finish();
        Some(Self { status: status?, body: body? })
    }
}

fn read_body(node: &ConfigNode<'_>) -> Option<String> {
    let text = node.text()?;
    if text.len() > MAX_BODY {
        node.error_as(ErrorCode::LimitExceeded, format!("has {} bytes, the limit is {MAX_BODY}", text.len()));
        return None;
    }
    Some(text.to_owned())
}
