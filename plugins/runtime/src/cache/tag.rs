//! A mark on connections that the proxy keeps for as long as they last.

use crate::cache::unique_key::Name;
use crate::host;

/// The key under which each connection says how many marks it has.
const COUNT: &str = "sallyport.marks";

/// How many marks a connection gets at most. They stay with it while configurations come and go.
const MOST: u8 = 16;

/// Tells connections that were marked from those that were not, by one crossing that brings no bytes back: the proxy
/// does not have to call for memory, which is most of what asking for a value costs.
///
/// The mark is a filter state of the connection, under a name that no other configuration has, so neither another filter
/// nor another configuration of this one takes it for its own. Clients cannot reach it: what they send becomes filter state
/// of other types and names.
#[derive(Debug)]
pub(crate) struct ConnectionTag {
    name: Name,
}

impl ConnectionTag {
    /// So many marks, which no connection has so far; none where the proxy cannot keep them. To be asked for once in each
    /// root context, where the proxy takes each name once.
    pub(crate) fn some(most: usize) -> Vec<Self> {
        match host::declare_for_connections(COUNT) {
            Ok(()) => (0..most).map_while(|_| Self::new()).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn new() -> Option<Self> {
        let name = Name::new(b'+')?;
        host::declare_for_connections(name.as_str()).ok()?;
        Some(Self { name })
    }

    /// Whether the connection of the current request has it. Where the proxy does not tell, it has not.
    pub(crate) fn is_set(&self) -> bool {
        host::has_property(self.name.as_bytes())
    }

    /// Marks the connection of the current request, which does not have it, unless it has too many marks already.
    pub(crate) fn set(&self) {
        let Ok(count) = host::property(COUNT) else { return };
        let count = match count.as_deref() {
            None => 0,
            Some([count]) => *count,
            Some(_) => return,
        };
        if count < MOST && host::set_filter_state(COUNT, &[count + 1]).is_ok() {
            let _unmarked = host::set_filter_state(self.name.as_str(), b"");
        }
    }
}
