//! Carries decisions out: the reply, and what is left of them in filter state, counters and the log.

use std::cell::{Cell, RefCell};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::{DenyResponse, PolicyName, printable};

use crate::counter::Counter;
use crate::host::{self, Level};
use crate::vm::Action;

/// How many denials a worker logs a second; the rest are counted.
const LOGGED_A_SECOND: u32 = 10;

/// The most characters of a pattern in the name of its counter.
const MAX_SEGMENT: usize = 200;

/// A denial, in the words that the proxy's operators read.
#[derive(Clone, Copy, Debug)]
pub struct DenialReport<'a> {
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
pub struct Reporter {
    filter: &'static str,
    allowed: Counter,
    denied: Counter,
    would_deny: Counter,
    errors: Counter,
    /// Those of policies and patterns, by name. That of a pattern is defined when it is first hit; patterns come from the
    /// configuration, so there are no more than it has.
    named: RefCell<HashMap<String, Counter, FxBuildHasher>>,
    logged: Cell<u32>,
    suppressed: Cell<u32>,
}

impl Reporter {
    /// Defines `sallyport.<filter>.{allowed,denied,would_deny,errors}`, and for each of `policies`
    /// `sallyport.<filter>.policy.<namespace>.<name>.{denied,would_deny}`, with `preset.<name>.v<version>` for a built-in
    /// list. A pattern that is hit gets `sallyport.<filter>.pattern.<pattern>.{denied,would_deny}`.
    pub fn new<'p>(filter: &'static str, policies: impl Iterator<Item = &'p PolicyName>) -> Self {
        let counter = |name: &str| Counter::new(&format!("{filter}.{name}"));
        let reporter = Self {
            filter,
            allowed: counter("allowed"),
            denied: counter("denied"),
            would_deny: counter("would_deny"),
            errors: counter("errors"),
            named: RefCell::default(),
            logged: Cell::new(0),
            suppressed: Cell::new(0),
        };
        for policy in policies {
            reporter.define_hits(&policy.counter());
        }
        reporter
    }

    /// Defines `sallyport.<filter>.policy.<namespace>.<name>.matching_audit_rule` for each of `policies`.
    pub fn auditing<'p>(self, policies: impl Iterator<Item = &'p PolicyName>) -> Self {
        for policy in policies {
            self.count_named(audits(policy), 0);
        }
        self
    }

    /// Marks what an AUDIT policy matches, by its counter and the filter state `wasm.sallyport.<filter>.audit`.
    pub fn audit(&self, policy: &PolicyName) {
        self.count_named(audits(policy), 1);
        self.set("audit", &policy.to_string());
    }

    /// Lets a request go on.
    pub fn allow(&self) -> Action {
        self.allowed.increment();
        Action::Continue
    }

    /// Answers a request that is turned away with `reply`; reports one that only would be, and lets it go on.
    pub fn deny(&self, answer: &DenialReport<'_>, reply: &DenyResponse) -> Action {
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
    pub fn deny_connection(&self, answer: &DenialReport<'_>) -> Action {
        self.report(answer);
        match answer.enforced {
            true => Action::Pause,
            false => Action::Continue,
        }
    }

    fn report(&self, answer: &DenialReport<'_>) {
        self.count(answer);
        self.show(answer);
        self.log(answer);
    }

    /// Tells the proxy what was counted, and allows the log the next lines.
    pub fn on_tick(&self) {
        for counter in [&self.allowed, &self.denied, &self.would_deny, &self.errors] {
            counter.flush();
        }
        self.named.borrow().values().for_each(Counter::flush);
        self.logged.set(0);
        let suppressed = self.suppressed.take();
        if suppressed > 0 {
            host::log(
                Level::Info,
                &format!("sallyport {}: {suppressed} more denials in the last second, not logged", self.filter),
            );
        }
    }

    fn count(&self, answer: &DenialReport<'_>) {
        if answer.failure {
            self.errors.increment();
        }
        match answer.enforced {
            true => self.denied.increment(),
            false => self.would_deny.increment(),
        }
        if let Some(policy) = answer.policy {
            self.count_hit(&policy.counter(), answer.enforced);
        }
        if let Some(pattern) = answer.pattern {
            let name = format!("pattern.{}", stat_segment(pattern));
            self.define_hits(&name);
            self.count_hit(&name, answer.enforced);
        }
    }

    /// Defines both counters of a policy or a pattern.
    fn define_hits(&self, name: &str) {
        for enforced in [true, false] {
            self.count_named(counter_name(name, enforced), 0);
        }
    }

    fn count_hit(&self, name: &str, enforced: bool) {
        self.count_named(counter_name(name, enforced), 1);
    }

    /// Adds to `sallyport.<filter>.<name>`, which is defined when it is first named.
    fn count_named(&self, name: String, hits: u32) {
        let mut named = self.named.borrow_mut();
        let define = || Counter::new(&format!("{}.{name}", self.filter));
        named.entry_ref(name.as_str()).or_insert_with(define).add(hits);
    }

    /// Sets `wasm.sallyport.<filter>.{decision,policy,principal,reason}`.
    fn show(&self, answer: &DenialReport<'_>) {
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

    fn log(&self, answer: &DenialReport<'_>) {
        if self.logged.get() >= LOGGED_A_SECOND {
            self.suppressed.set(self.suppressed.get().saturating_add(1));
            return;
        }
        self.logged.set(self.logged.get() + 1);
        let principal = answer.principal.map(|principal| printable(principal.as_bytes()));
        let by = principal.filter(|principal| !answer.reason.contains(principal.as_str()));
        let by = by.map_or_else(String::new, |principal| format!(" by {principal}"));
        host::log(Level::Info, &format!("sallyport {}: {}: {}{by}", self.filter, decision(answer), answer.reason));
    }
}

/// The name of the counter of a policy or a pattern.
fn counter_name(name: &str, enforced: bool) -> String {
    format!("{name}.{}", if enforced { "denied" } else { "would_deny" })
}

fn audits(policy: &PolicyName) -> String {
    format!("{}.audited", policy.counter())
}

/// A pattern as a part of a counter's name, which dots and blanks would take apart.
fn stat_segment(pattern: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '*');
    let shown = pattern.chars().take(MAX_SEGMENT);
    shown.map(|character| if plain(character) { character } else { '_' }).collect()
}

fn decision(answer: &DenialReport<'_>) -> &'static str {
    match answer.enforced {
        true => "deny",
        false => "would_deny",
    }
}
