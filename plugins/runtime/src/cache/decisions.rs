//! Cache of decisions: what a policy computed for all requests of a connection.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sallyport_policy::ConnectionCache;

use crate::cache::peers::CachedConnection;
use crate::cache::tag::ConnectionTag;
use crate::host::Host;

/// Result of a policy for all requests of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CachedDecision {
    /// All requests are allowed.
    AllowAll,
    /// Requests are decided with these lookups.
    Matches(ConnectionCache),
}

/// Distinct results, each with a tag that the connections of that result have.
///
/// Testing for a tag is cheaper than reading a connection's token. So while callers are alike, the next connection is
/// tested for the tag of the last one; a connection without it is found by its token.
#[derive(Debug)]
pub(crate) struct DecisionCache<H> {
    tags: Vec<ConnectionTag<H>>,
    /// Results in the order of their tags.
    pub(super) entries: RefCell<Vec<Rc<CachedDecision>>>,
    /// Index of the last hit; beyond the tags if that entry is untagged.
    last: Cell<Option<usize>>,
    /// Index of the tag to test the next connection for: the last hit, unless the one before it was another.
    probe: Cell<Option<usize>>,
}

impl<H: Host> DecisionCache<H> {
    /// Makes a cache with `count` tags; with fewer or none if the host cannot store them.
    pub(crate) fn new(host: H, count: usize) -> Self {
        Self {
            tags: ConnectionTag::allocate(host, count),
            entries: RefCell::default(),
            last: Cell::new(None),
            probe: Cell::new(None),
        }
    }

    /// Whether the current connection has the result of the last one. Not tested while callers take turns.
    #[inline(always)]
    pub(crate) fn is_same_as_last(&self) -> bool {
        match self.probe.get() {
            Some(index) => self.tags.get(index).is_some_and(ConnectionTag::is_set),
            None => false,
        }
    }

    /// Result of the last connection.
    pub(crate) fn last(&self) -> Option<Rc<CachedDecision>> {
        let entries = self.entries.try_borrow().ok()?;
        self.last.get().and_then(|index| entries.get(index).cloned())
    }

    /// Result of the current connection, by `compute` when it is first asked for.
    pub(crate) fn get_or_insert(
        &self,
        connection: &CachedConnection,
        compute: impl FnOnce() -> Option<CachedDecision>,
    ) -> Option<Rc<CachedDecision>> {
        let decision = connection.decision.get_or_init(|| compute().map(|decision| self.tag(decision)));
        let Some(decision) = decision.clone() else {
            self.probe.set(None);
            return None;
        };
        let entries = self.entries.borrow();
        let tagged = entries.iter().position(|entry| Rc::ptr_eq(entry, &decision));
        let index = Some(tagged.unwrap_or(entries.len()));
        let before = self.last.replace(index);
        self.probe.set(tagged.filter(|_| before.is_none() || before == index));
        Some(decision)
    }

    /// Tags the current connection as one of this result, if there is a tag for it.
    fn tag(&self, decision: CachedDecision) -> Rc<CachedDecision> {
        let mut entries = self.entries.borrow_mut();
        let index = entries.iter().position(|entry| **entry == decision).unwrap_or(entries.len());
        let Some(tag) = self.tags.get(index) else { return Rc::new(decision) };
        match (entries.get(index).map(Rc::clone), tag.is_set()) {
            (Some(shared), true) => shared,
            (Some(shared), false) => {
                tag.set();
                shared
            }
            // No connection has a new tag: a host that reports one here cannot be relied on.
            (None, true) => Rc::new(decision),
            (None, false) => {
                tag.set();
                let shared = Rc::new(decision);
                entries.push(Rc::clone(&shared));
                shared
            }
        }
    }
}
