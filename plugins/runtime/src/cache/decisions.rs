//! Cache of decisions: what a policy computed for all requests of a connection.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::cache::cached_decision::CachedDecision;
use crate::cache::peers::CachedConnection;
use crate::cache::tag::ConnectionTag;
use crate::host::Host;

/// Tags that one configuration allocates at most, those that take the place of retired ones included.
const MAX_ALLOCATED: usize = 512;

/// Time that a certificate has to be good for, for its connection to be tagged. It bounds how often tags are retired.
const MIN_TAGGED_FOR: Duration = Duration::from_secs(15 * 60);

/// Distinct results, each with a tag that the connections of that result have.
///
/// Testing for a tag is cheaper than reading a connection's token. So while callers are alike, the next connection is
/// tested for the tag of the last one; a connection without it is found by its token.
///
/// A tag stays with its connection, so it is retired as soon as the certificate of one of its connections ends: the
/// others are given another one when they come back.
#[derive(Debug)]
pub(crate) struct DecisionCache<H> {
    host: H,
    /// Tags in the order of their allocation, retired ones included, with room for more.
    tags: Box<[OnceCell<ConnectionTag<H>>]>,
    /// Number of results that can have a tag.
    capacity: usize,
    pub(super) results: RefCell<Vec<TaggedResult>>,
    /// Index of the result of the last hit, [`UNTAGGED`] if it is none of `results`.
    last: Cell<Option<usize>>,
    /// Index of the tag to test the next connection for: that of the last hit, unless the one before it was another.
    probe: Cell<Option<usize>>,
}

const UNTAGGED: usize = usize::MAX;

#[derive(Debug)]
pub(super) struct TaggedResult {
    decision: Rc<CachedDecision>,
    /// Index of its tag, `None` if there is none left.
    tag: Option<usize>,
    /// True if a connection has the tag.
    is_tag_used: bool,
    /// Earliest end of a certificate of the connections that have the tag.
    retire_at: Duration,
}

impl<H: Host> DecisionCache<H> {
    /// Makes a cache with `count` tags; with fewer or none if the host cannot store them.
    pub(crate) fn new(host: H, count: usize) -> Self {
        let allocated = ConnectionTag::allocate(host, count);
        let capacity = allocated.len();
        let mut tags: Vec<_> = allocated.into_iter().map(OnceCell::from).collect();
        if capacity > 0 {
            tags.resize_with(MAX_ALLOCATED, OnceCell::new);
        }
        Self {
            host,
            tags: tags.into_boxed_slice(),
            capacity,
            results: RefCell::default(),
            last: Cell::new(None),
            probe: Cell::new(None),
        }
    }

    /// Reports whether the current connection has the result of the last one. Not tested while callers take turns.
    #[inline(always)]
    pub(crate) fn is_same_as_last(&self) -> bool {
        match self.probe.get().and_then(|index| self.tags.get(index)).and_then(OnceCell::get) {
            Some(tag) => tag.is_set(),
            None => false,
        }
    }

    /// Result of the last connection.
    pub(crate) fn last(&self) -> Option<Rc<CachedDecision>> {
        let results = self.results.try_borrow().ok()?;
        self.last.get().and_then(|index| results.get(index)).map(|result| Rc::clone(&result.decision))
    }

    /// Result of the current connection, by `compute` when it is first asked for.
    pub(crate) fn get_or_insert(
        &self,
        connection: &CachedConnection,
        now: Duration,
        compute: impl FnOnce() -> Option<CachedDecision>,
    ) -> Option<Rc<CachedDecision>> {
        let decision = connection.decision.get_or_init(|| compute().map(|decision| self.share(decision)));
        let Some(decision) = decision.clone() else {
            self.probe.set(None);
            return None;
        };
        let mut results = self.results.borrow_mut();
        let index = results.iter().position(|result| Rc::ptr_eq(&result.decision, &decision)).unwrap_or(UNTAGGED);
        let tag = results.get_mut(index).and_then(|result| self.offer_tag(result, connection, now));
        let before = self.last.replace(Some(index));
        self.probe.set(tag.filter(|_| before.is_none() || before == Some(index)));
        Some(decision)
    }

    /// Retires the tags of connections whose certificate has ended.
    pub(crate) fn on_tick(&self, now: Duration) {
        for result in self.results.borrow_mut().iter_mut() {
            if result.retire_at <= now && result.retire_at < Duration::MAX {
                result.tag = self.allocate_tag();
                (result.is_tag_used, result.retire_at) = (false, Duration::MAX);
                self.probe.set(None);
            }
        }
    }

    /// Index of a new tag, `None` if there is no room or the host cannot store it.
    fn allocate_tag(&self) -> Option<usize> {
        let index = self.tags.iter().position(|tag| tag.get().is_none())?;
        self.tags.get(index)?.set(ConnectionTag::new(self.host)?).ok()?;
        Some(index)
    }

    /// Shared copy of a result, if there is one or room for one.
    fn share(&self, decision: CachedDecision) -> Rc<CachedDecision> {
        let mut results = self.results.borrow_mut();
        if let Some(result) = results.iter().find(|result| *result.decision == decision) {
            return Rc::clone(&result.decision);
        }
        let decision = Rc::new(decision);
        if results.len() < self.capacity {
            let tag = Some(results.len());
            let shared = Rc::clone(&decision);
            results.push(TaggedResult { decision: shared, tag, is_tag_used: false, retire_at: Duration::MAX });
        }
        decision
    }

    /// Index of a result's tag if the current connection has it, or is given it now.
    fn offer_tag(&self, result: &mut TaggedResult, connection: &CachedConnection, now: Duration) -> Option<usize> {
        let index = result.tag?;
        let has_it = match connection.tag.get() {
            Some((offered, has_it)) if offered == index => has_it,
            _ => self.tag(index, result, connection.certificate_end, now),
        };
        connection.tag.set(Some((index, has_it)));
        has_it.then_some(index)
    }

    /// Tags the current connection as one of this result. Returns whether it has the tag.
    fn tag(&self, index: usize, result: &mut TaggedResult, certificate_end: Option<Duration>, now: Duration) -> bool {
        let end = certificate_end.unwrap_or(Duration::MAX);
        let Some(tag) = self.tags.get(index).and_then(OnceCell::get) else { return false };
        if end < now.saturating_add(MIN_TAGGED_FOR) {
            return false;
        }
        match (result.is_tag_used, tag.is_set()) {
            // No connection has an unused tag: a host that reports one here cannot be relied on.
            (false, true) => {
                result.tag = None;
                return false;
            }
            // The connection was dropped from the cache and comes back.
            (true, true) => {}
            (_, false) if tag.set() => {}
            (_, false) => return false,
        }
        (result.is_tag_used, result.retire_at) = (true, result.retire_at.min(end));
        true
    }
}
