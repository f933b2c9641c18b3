//! Tags on connections: empty filter states that last as long as the connection.

use crate::cache::unique_key::UniqueKey;
use crate::host::Host;

/// Tag of connections, kept in their filter state.
///
/// A tag is a filter state of the connection under a key that no other filter and no other configuration uses. Testing
/// for it copies no bytes, so the host need not call back for memory, which is most of what reading a value costs.
/// Clients cannot set it: what they send becomes filter state of other types and keys.
#[derive(Debug)]
pub(crate) struct ConnectionTag<H> {
    host: H,
    key: UniqueKey,
}

/// Key under which a connection stores how many tags it has.
const COUNT_KEY: &str = "sallyport.marks";

/// Tags that one connection gets at most. They stay with it while configurations come and go.
const MAX_TAGS: u8 = 16;

impl<H: Host> ConnectionTag<H> {
    /// Allocates `count` tags that no connection has yet; fewer or none if the host cannot store them. To be called once
    /// in each root context: Envoy rejects a second declaration of a key.
    pub(crate) fn allocate(host: H, count: usize) -> Vec<Self> {
        match host.declare_for_connections(COUNT_KEY) {
            Ok(()) => (0..count).map_while(|_| Self::new(host)).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Allocates one tag more. Like [`Self::allocate`] for callbacks of the root context alone.
    pub(crate) fn new(host: H) -> Option<Self> {
        let key = UniqueKey::new(host, b'+')?;
        host.declare_for_connections(key.as_str()).ok()?;
        Some(Self { host, key })
    }

    /// Reports whether the current stream's connection has the tag. False if the host call fails.
    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        self.host.has_property(self.key.as_bytes())
    }

    /// Tags the current stream's connection, which does not have the tag, unless it has [`MAX_TAGS`] already. Returns
    /// whether it did.
    pub(crate) fn set(&self) -> bool {
        let Ok(count) = self.host.property(COUNT_KEY) else { return false };
        let count = match count.as_deref() {
            None => 0,
            Some([count]) => *count,
            Some(_) => return false,
        };
        count < MAX_TAGS
            && self.host.set_filter_state(COUNT_KEY, &[count + 1]).is_ok()
            && self.host.set_filter_state(self.key.as_str(), b"").is_ok()
    }
}
