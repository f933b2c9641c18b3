//! Hosts with the ports on which they may be reached.

use crate::egress::host_pattern::DestinationPattern;
use crate::egress::port::PortPattern;

/// Hosts on ports.
pub(crate) struct Entry {
    /// Lists of hosts; a host has to be in each.
    pub(crate) hosts: Vec<Vec<DestinationPattern>>,
    pub(crate) ports: Vec<PortPattern>,
}
