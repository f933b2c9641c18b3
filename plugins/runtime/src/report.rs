//! Reports of decisions: the reply, filter state, counters and the log.

use std::cell::{Cell, RefCell};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use sallyport_policy::{DenyResponse, NO_PROVIDER, PolicyName, printable};

use crate::counter::Counter;
use crate::host::{Host, Level};
use crate::vm::Action;

/// Denials that a worker logs a second; the rest are counted.
const MAX_LOGGED_A_SECOND: u32 = 10;

/// Segment of the counters of what nothing allows.
const UNMATCHED: &str = "unmatched";

/// The most characters of a pattern in the name of its counter.
const MAX_SEGMENT: usize = 200;

/// Denial in the words that the proxy's operators read.
#[derive(Clone, Copy, Debug)]
pub struct DenialReport<'a> {
    /// True if the request is denied, or only reported.
    pub enforced: bool,
    /// True if the proxy failed to supply what the decision needed.
    pub failure: bool,
    /// True if it is denied since nothing allows it, rather than by a policy or a fault of its own.
    pub unmatched: bool,
    /// Value of `%RESPONSE_CODE_DETAILS%`.
    pub details: &'a str,
    /// Policy that matched, if one did.
    pub policy: Option<&'a PolicyName>,
    /// Pattern of the configuration that matched, if it has a counter of its own.
    pub pattern: Option<&'a str>,
    /// Principal of the peer, if it has one.
    pub principal: Option<&'a str>,
    /// Reason in one line.
    pub reason: &'a str,
}

/// Counters of one plugin, and its budget of log lines.
#[derive(Debug)]
pub struct Reporter<H> {
    host: H,
    filter: &'static str,
    allowed: Counter<H>,
    denied: Counter<H>,
    would_deny: Counter<H>,
    errors: Counter<H>,
    /// Counters of policies and patterns, by name. A pattern's is defined at its first hit; patterns come from the
    /// configuration, so their number is bounded.
    named: RefCell<HashMap<String, Counter<H>, FxBuildHasher>>,
    /// Lines logged since the last tick.
    logged: Cell<u32>,
    /// Lines not logged since the last tick.
    suppressed: Cell<u32>,
}

impl<H: Host> Reporter<H> {
    /// Defines `sallyport.<filter>.{allowed,denied,would_deny,errors}`, and for each of `policies`
    /// `sallyport.<filter>.policy.<namespace>.<name>.{denied,would_deny}`, with `preset.<name>.v<version>` for a built-in
    /// list. A pattern that is hit gets `sallyport.<filter>.pattern.<pattern>.{denied,would_deny}`.
    pub fn new<'p>(host: H, filter: &'static str, policies: impl Iterator<Item = &'p PolicyName>) -> Self {
        let counter = |name: &str| Counter::new(host, &format!("{filter}.{name}"));
        let reporter = Self {
            host,
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
            reporter.define_denials(&policy.counter());
        }
        reporter
    }

    /// Defines `sallyport.<filter>.policy.<namespace>.<name>.audited` for each of `policies`.
    pub fn with_audits<'p>(self, policies: impl Iterator<Item = &'p PolicyName>) -> Self {
        for policy in policies {
            self.add(audit_counter(policy), 0);
        }
        self
    }

    /// Defines `sallyport.<filter>.unmatched.{denied,would_deny}`, for a filter that denies what nothing allows.
    pub fn with_unmatched(self) -> Self {
        self.define_denials(UNMATCHED);
        self
    }

    /// Adds to `sallyport.<filter>.<name>`, which counts a kind of denial by itself.
    pub fn count_kind(&self, name: &str, count: u32) {
        self.add(name.to_owned(), count);
    }

    /// Marks a request that an AUDIT policy matches: its counter and the filter state `wasm.sallyport.<filter>.audit`.
    pub fn audit(&self, policy: &PolicyName) {
        self.add(audit_counter(policy), 1);
        self.set_filter_state("audit", &policy.to_string());
    }

    /// Defines `sallyport.<filter>.custom.none`, and `sallyport.<filter>.custom.<provider>` for each of `providers`.
    pub fn with_marks<'p>(self, providers: impl Iterator<Item = &'p str>) -> Self {
        providers.chain([NO_PROVIDER]).for_each(|provider| self.add(mark_counter(provider), 0));
        self
    }

    /// Lets a request go on that is marked for these providers. `error` says why one of them is asked although its
    /// policies may not match.
    pub fn mark(&self, providers: &[&str], error: Option<&str>) -> Action {
        let none: &[&str] = if providers.is_empty() { &[NO_PROVIDER] } else { &[] };
        providers.iter().chain(none).for_each(|provider| self.add(mark_counter(provider), 1));
        if let Some(error) = error {
            self.errors.increment();
            self.set_filter_state("reason", error);
        }
        Action::Continue
    }

    /// Lets a request go on.
    pub fn allow(&self) -> Action {
        self.allowed.increment();
        Action::Continue
    }

    /// Answers a request with `reply` if the denial is enforced, and lets it go on otherwise.
    pub fn deny(&self, denial: &DenialReport<'_>, reply: &DenyResponse) -> Action {
        self.report(denial);
        if !denial.enforced {
            return Action::Continue;
        }
        if let Err(error) = self.host.reply_denied(reply.status(), denial.details, reply.body()) {
            // The request stays paused, so nothing goes through; the client waits until its timeout.
            let status = error.status();
            self.host.log(Level::Error, &format!("sallyport {}: a denial could not be sent: {status}", self.filter));
        }
        Action::Pause
    }

    /// Denies a connection if the denial is enforced, and lets it go on otherwise. [`Vm`](crate::Vm) closes a
    /// connection that is paused.
    pub fn deny_connection(&self, denial: &DenialReport<'_>) -> Action {
        self.report(denial);
        match denial.enforced {
            true => Action::Pause,
            false => Action::Continue,
        }
    }

    /// Flushes the counters and renews the budget of log lines.
    pub fn on_tick(&self) {
        for counter in [&self.allowed, &self.denied, &self.would_deny, &self.errors] {
            counter.flush();
        }
        self.named.borrow().values().for_each(Counter::flush);
        self.logged.set(0);
        let suppressed = self.suppressed.take();
        if suppressed > 0 {
            self.host.log(
                Level::Info,
                &format!("sallyport {}: {suppressed} more denials in the last second, not logged", self.filter),
            );
        }
    }

    fn report(&self, denial: &DenialReport<'_>) {
        self.count(denial);
        self.set_filter_states(denial);
        self.log(denial);
    }

    fn count(&self, denial: &DenialReport<'_>) {
        if denial.failure {
            self.errors.increment();
        }
        match denial.enforced {
            true => self.denied.increment(),
            false => self.would_deny.increment(),
        }
        if let Some(policy) = denial.policy {
            self.add(denial_counter(&policy.counter(), denial.enforced), 1);
        }
        if denial.unmatched {
            self.add(denial_counter(UNMATCHED, denial.enforced), 1);
        }
        if let Some(pattern) = denial.pattern {
            let name = format!("pattern.{}", stat_segment(pattern));
            self.define_denials(&name);
            self.add(denial_counter(&name, denial.enforced), 1);
        }
    }

    /// Defines both counters of a policy or a pattern.
    fn define_denials(&self, name: &str) {
        for enforced in [true, false] {
            self.add(denial_counter(name, enforced), 0);
        }
    }

    /// Adds to `sallyport.<filter>.<name>`, which is defined when it is first named.
    fn add(&self, name: String, count: u32) {
        let mut named = self.named.borrow_mut();
        let define = || Counter::new(self.host, &format!("{}.{name}", self.filter));
        named.entry_ref(name.as_str()).or_insert_with(define).add(count);
    }

    /// Sets `wasm.sallyport.<filter>.{decision,policy,principal,reason}`.
    fn set_filter_states(&self, denial: &DenialReport<'_>) {
        self.set_filter_state("decision", decision_name(denial));
        if let Some(policy) = denial.policy {
            self.set_filter_state("policy", &policy.to_string());
        }
        if let Some(principal) = denial.principal {
            self.set_filter_state("principal", principal);
        }
        self.set_filter_state("reason", denial.reason);
    }

    /// Sets one of this filter's filter states, `wasm.sallyport.<filter>.<key>`. If that fails it is missing from the
    /// access log; the decision stands.
    pub fn set_filter_state(&self, key: &str, value: &str) {
        let _unset = self.host.set_filter_state(&format!("sallyport.{}.{key}", self.filter), value.as_bytes());
    }

    fn log(&self, denial: &DenialReport<'_>) {
        if self.logged.get() >= MAX_LOGGED_A_SECOND {
            self.suppressed.set(self.suppressed.get().saturating_add(1));
            return;
        }
        self.logged.set(self.logged.get() + 1);
        let principal = denial.principal.map(|principal| printable(principal.as_bytes()));
        let by = principal.filter(|principal| !denial.reason.contains(principal.as_str()));
        let by = by.map_or_else(String::new, |principal| format!(" by {principal}"));
        let (filter, decision, reason) = (self.filter, decision_name(denial), denial.reason);
        self.host.log(Level::Info, &format!("sallyport {filter}: {decision}: {reason}{by}"));
    }
}

/// Name of the counter of a policy's or a pattern's denials.
fn denial_counter(name: &str, enforced: bool) -> String {
    format!("{name}.{}", if enforced { "denied" } else { "would_deny" })
}

fn audit_counter(policy: &PolicyName) -> String {
    format!("{}.audited", policy.counter())
}

fn mark_counter(provider: &str) -> String {
    format!("custom.{}", stat_segment(provider))
}

/// Pattern or name as one segment of a counter's name, without the dots and blanks that would split it.
fn stat_segment(pattern: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '*');
    let shown = pattern.chars().take(MAX_SEGMENT);
    shown.map(|character| if plain(character) { character } else { '_' }).collect()
}

fn decision_name(denial: &DenialReport<'_>) -> &'static str {
    match denial.enforced {
        true => "deny",
        false => "would_deny",
    }
}

#[cfg(test)]
mod tests;
