//! Results of configurations, requests and connections.

use std::collections::BTreeMap;
use std::fmt;

use super::state::{HostCall, LogLine};

/// A configuration that the plugin refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The lines that it logged meanwhile.
    pub log: Vec<LogLine>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused:")?;
        self.log.iter().try_for_each(|line| write!(f, "\n{}", line.message))
    }
}

impl std::error::Error for Refused {}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOutcome {
    /// True if the filter returned Continue and sent no response: the request goes to the next filter.
    pub continues: bool,
    /// The filter's response, if it sent one.
    pub response: Option<LocalResponse>,
    /// The headers of the filter's or the upstream's response, after the filter's callback for them.
    pub response_headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The filter state that it set.
    pub filter_state: BTreeMap<String, String>,
    /// The host calls that it made, in order.
    pub host_calls: Vec<HostCall>,
    /// The instructions that the module executed; 0 unless it is metered.
    pub instructions: u64,
}

impl RequestOutcome {
    /// Returns the status of the filter's response, if it sent one.
    pub fn status(&self) -> Option<u32> {
        self.response.as_ref().map(|response| response.status)
    }
}

/// The arguments of `proxy_send_local_response`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// The HTTP status.
    pub status: u32,
    /// `%RESPONSE_CODE_DETAILS%`, in which Envoy replaces blanks with underscores.
    pub details: String,
    /// The body.
    pub body: Vec<u8>,
    /// The headers, without those that Envoy adds.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The status for gRPC requests; -1 means the one that corresponds to the HTTP status.
    pub grpc_status: i32,
}

impl LocalResponse {
    /// Returns the headers, after the pseudo-header `:status` that Envoy adds.
    pub(super) fn headers_with_status(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let status = (b":status".to_vec(), self.status.to_string().into_bytes());
        [status].into_iter().chain(self.headers.iter().cloned()).collect()
    }
}

/// The result of a connection in a network filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionOutcome {
    /// True if the filter returned Continue when the connection was opened.
    pub continues: bool,
    /// True if the filter closed the connection.
    pub closed: bool,
    /// True if the first bytes were forwarded: the connection was open and the filter returned Continue.
    pub data_forwarded: bool,
    /// The filter state that the filter set.
    pub filter_state: BTreeMap<String, String>,
    /// The host calls that it made, in order.
    pub host_calls: Vec<HostCall>,
}
