//! What is settled of connections once for all their requests, and found again by a mark on them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sallyport_policy::ConnectionCache;

use crate::cache::peers::CachedConnection;
use crate::cache::tag::ConnectionTag;

/// What is settled of a connection by its handshake.
#[derive(Debug, PartialEq, Eq)]
pub enum CachedDecision {
    /// All its requests are let in.
    AllowAll,
    /// Its requests are decided by what it matches.
    Matches(ConnectionCache),
}

/// What was settled of connections, each with a mark of its own.
///
/// Whether a connection has a certain mark is cheaper to ask than which connection it is. So while callers are alike,
/// the next is asked for the mark of the latest; who turns out to be another is found by what is remembered of them.
#[derive(Debug)]
pub struct DecisionCache {
    marks: Vec<ConnectionTag>,
    /// The one at each place has the mark at that place.
    known: RefCell<Vec<Rc<CachedDecision>>>,
    /// The place of the latest, once there is one; of one without a mark, a place that has none.
    latest: Cell<Option<usize>>,
    /// The mark that the next connection is asked for: that of the latest, unless the one before it was another.
    expected: Cell<Option<usize>>,
}

impl DecisionCache {
    /// With marks for so many different ones; with fewer, or none, where the proxy cannot keep them.
    pub fn new(most: usize) -> Self {
        Self {
            marks: ConnectionTag::some(most),
            known: RefCell::default(),
            latest: Cell::new(None),
            expected: Cell::new(None),
        }
    }

    /// Whether the current connection is settled as the latest is; not asked while callers take turns.
    pub fn is_same_as_last(&self) -> bool {
        match self.expected.get() {
            Some(place) => self.marks.get(place).is_some_and(ConnectionTag::is_set),
            None => false,
        }
    }

    /// What is settled of the latest connection.
    pub fn latest(&self) -> Option<Rc<CachedDecision>> {
        self.latest.get().and_then(|latest| self.known.borrow().get(latest).cloned())
    }

    /// What is settled of the current connection, by `settle` when that is first asked.
    pub fn of(
        &self,
        connection: &CachedConnection,
        settle: impl FnOnce() -> Option<CachedDecision>,
    ) -> Option<Rc<CachedDecision>> {
        let settled = connection.settled.get_or_init(|| settle().map(|settled| self.mark(settled)));
        let Some(settled) = settled.clone() else {
            self.expected.set(None);
            return None;
        };
        let known = self.known.borrow();
        let place = known.iter().position(|known| Rc::ptr_eq(known, &settled));
        let latest = Some(place.unwrap_or(known.len()));
        let before = self.latest.replace(latest);
        self.expected.set(place.filter(|_| before.is_none() || before == latest));
        Some(settled)
    }

    /// Marks the current connection as one of which this is settled, if there is a mark for it.
    fn mark(&self, settled: CachedDecision) -> Rc<CachedDecision> {
        let mut known = self.known.borrow_mut();
        let place = known.iter().position(|one| **one == settled).unwrap_or(known.len());
        let Some(mark) = self.marks.get(place) else { return Rc::new(settled) };
        match (known.get(place).map(Rc::clone), mark.is_set()) {
            (Some(shared), true) => shared,
            (Some(shared), false) => {
                mark.set();
                shared
            }
            // No connection has a new mark: a proxy that says so of this one tells none of them apart.
            (None, true) => Rc::new(settled),
            (None, false) => {
                mark.set();
                let shared = Rc::new(settled);
                known.push(Rc::clone(&shared));
                shared
            }
        }
    }
}
