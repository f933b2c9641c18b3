//! Carries decisions out: the reply, and what is left of them in filter state, counters and the log.

use std::cell::{Cell, RefCell};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::{DenyReply, PolicyName};

use crate::counter::Counter;
use crate::host::{self, Level};
use crate::vm::Action;

/// How many denials a worker logs a second; the rest are counted.
const LOGGED_A_SECOND: u32 = 10;

/// A denial, in the words that the proxy's operators read.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Whether the request is turned away, or only would be.
    pub enforced: bool,
    /// Whether the proxy failed to say what the decision needed.
    pub failure: bool,
    /// What `%RESPONSE_CODE_DETAILS%` shows.
    pub details: &'a str,
    /// The policy that matched, if one did.
    pub policy: Option<&'a PolicyName>,
    /// The pattern of the configuration that matched, where it is to be counted by itself.
    pub pattern: Option<&'a str>,
    /// The principal of the peer, if it has one.
    pub principal: Option<&'a str>,
    /// Why, in one line.
    pub reason: &'a str,
}

/// The counters of one plugin and what it may still log.
#[derive(Debug)]
pub struct Verdicts {
    filter: &'static str,
    allowed: Counter,
    denied: Counter,
    would_deny: Counter,
    errors: Counter,
    policies: HashMap<PolicyName, Hits, FxBuildHasher>,
    audited: HashMap<PolicyName, Counter, FxBuildHasher>,
    /// Defined when a pattern is first hit; patterns come from the configuration, so there are no more than it has.
    patterns: RefCell<HashMap<String, Hits, FxBuildHasher>>,
    logged: Cell<u32>,
    unlogged: Cell<u32>,
}

#[derive(Debug)]
struct Hits {
    denied: Counter,
    would_deny: Counter,
}

impl Hits {
    fn new(name: &str) -> Self {
        Self {
            denied: Counter::new(&format!("{name}.denied")),
            would_deny: Counter::new(&format!("{name}.would_deny")),
        }
    }

    fn increment(&self, enforced: bool) {
        match enforced {
            true => self.denied.increment(),
            false => self.would_deny.increment(),
        }
    }

    fn flush(&self) {
        self.denied.flush();
        self.would_deny.flush();
    }
}

impl Verdicts {
    /// Defines `sallyport.<filter>.{allowed,denied,would_deny,errors}`, and for each of `policies`
    /// `sallyport.<filter>.policy.<namespace>.<name>.{denied,would_deny}`, with `preset.<name>.v<version>` for a built-in
    /// list. A pattern that is hit gets `sallyport.<filter>.pattern.<pattern>.{denied,would_deny}`.
    pub fn new<'p>(filter: &'static str, policies: impl Iterator<Item = &'p PolicyName>) -> Self {
        let counter = |name: &str| Counter::new(&format!("{filter}.{name}"));
        let of_policy = |policy: &PolicyName| (policy.clone(), Hits::new(&format!("{filter}.{}", policy.counter())));
        Self {
            filter,
            allowed: counter("allowed"),
            denied: counter("denied"),
            would_deny: counter("would_deny"),
            errors: counter("errors"),
            policies: policies.map(of_policy).collect(),
            audited: HashMap::default(),
            patterns: RefCell::default(),
            logged: Cell::new(0),
            unlogged: Cell::new(0),
        }
    }

    /// Defines `sallyport.<filter>.policy.<namespace>.<name>.audited` for each of `policies`.
    pub fn auditing<'p>(mut self, policies: impl Iterator<Item = &'p PolicyName>) -> Self {
        let filter = self.filter;
        let of_policy =
            |policy: &PolicyName| (policy.clone(), Counter::new(&format!("{filter}.{}.audited", policy.counter())));
        self.audited = policies.map(of_policy).collect();
        self
    }

    /// Marks what an AUDIT policy matches, by its counter and the filter state `wasm.sallyport.<filter>.audit`.
    pub fn audit(&self, policy: &PolicyName) {
        if let Some(counter) = self.audited.get(policy) {
            counter.increment();
        }
        self.set("audit", &policy.to_string());
    }

    /// Lets a request go on.
    pub fn allow(&self) -> Action {
        self.allowed.increment();
        Action::Continue
    }

    /// Answers a request that is turned away with `reply`; reports one that only would be, and lets it go on.
    pub fn deny(&self, answer: &Answer<'_>, reply: &DenyReply) -> Action {
        self.report(answer);
        if !answer.enforced {
            return Action::Continue;
        }
        if let Err(failed) = host::reply_denied(reply.status(), answer.details, reply.body()) {
            // The request stays paused, so nothing goes through; the client waits until its timeout.
            host::log(
                Level::Error,
                &format!("sallyport {}: a denial could not be sent: {}", self.filter, failed.answer()),
            );
        }
        Action::Pause
    }

    /// Turns a connection away, or reports that it only would be; [`Vm`](crate::Vm) closes what is paused.
    pub fn deny_connection(&self, answer: &Answer<'_>) -> Action {
        self.report(answer);
        match answer.enforced {
            true => Action::Pause,
            false => Action::Continue,
        }
    }

    fn report(&self, answer: &Answer<'_>) {
        self.count(answer);
        self.show(answer);
        self.log(answer);
    }

    /// Tells the proxy what was counted, and allows the log the next lines.
    pub fn on_tick(&self) {
        for counter in [&self.allowed, &self.denied, &self.would_deny, &self.errors] {
            counter.flush();
        }
        self.policies.values().for_each(Hits::flush);
        self.audited.values().for_each(Counter::flush);
        self.patterns.borrow().values().for_each(Hits::flush);
        self.logged.set(0);
        let unlogged = self.unlogged.take();
        if unlogged > 0 {
            host::log(
                Level::Info,
                &format!("sallyport {}: {unlogged} more denials in the last second, not logged", self.filter),
            );
        }
    }

    fn count(&self, answer: &Answer<'_>) {
        if answer.failure {
            self.errors.increment();
        }
        match answer.enforced {
            true => self.denied.increment(),
            false => self.would_deny.increment(),
        }
        if let Some(hits) = answer.policy.and_then(|policy| self.policies.get(policy)) {
            hits.increment(answer.enforced);
        }
        if let Some(pattern) = answer.pattern {
            let mut patterns = self.patterns.borrow_mut();
            let hits = patterns
                .entry_ref(pattern)
                .or_insert_with(|| Hits::new(&format!("{}.pattern.{}", self.filter, in_a_counter(pattern))));
            hits.increment(answer.enforced);
        }
    }

    /// Sets `wasm.sallyport.<filter>.{decision,policy,principal,reason}`.
    fn show(&self, answer: &Answer<'_>) {
        self.set("decision", decision(answer));
        if let Some(policy) = answer.policy {
            self.set("policy", &policy.to_string());
        }
        if let Some(principal) = answer.principal {
            self.set("principal", principal);
        }
        self.set("reason", answer.reason);
    }

    /// Sets filter state. What cannot be set is missing from the access log; the decision stands.
    fn set(&self, key: &str, value: &str) {
        let _unset = host::set_filter_state(&format!("sallyport.{}.{key}", self.filter), value.as_bytes());
    }

    fn log(&self, answer: &Answer<'_>) {
        if self.logged.get() >= LOGGED_A_SECOND {
            self.unlogged.set(self.unlogged.get().saturating_add(1));
            return;
        }
        self.logged.set(self.logged.get() + 1);
        let by = answer.principal.filter(|principal| !answer.reason.contains(principal));
        let by = by.map_or_else(String::new, |principal| format!(" by {principal}"));
        host::log(Level::Info, &format!("sallyport {}: {}: {}{by}", self.filter, decision(answer), answer.reason));
    }
}

/// A pattern as a part of a counter's name, which dots and blanks would take apart.
fn in_a_counter(pattern: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '*');
    pattern.chars().map(|character| if plain(character) { character } else { '_' }).collect()
}

fn decision(answer: &Answer<'_>) -> &'static str {
    match answer.enforced {
        true => "deny",
        false => "would_deny",
    }
}
