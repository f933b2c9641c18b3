use sallyport_policy::IdentityAuthz;

use super::*;
use crate::fake_host::FakeHost;

/// Plugin that allows what its configuration says.
struct TestPlugin {
    host: &'static FakeHost,
    allows: bool,
    ticks: Cell<u32>,
}

impl Plugin for TestPlugin {
    const NAME: &'static str = "test";

    type Host = &'static FakeHost;

    /// Number of calls for its body.
    type Stream = usize;

    fn configure(host: Self::Host, configuration: Bytes) -> Result<Self, ConfigErrors> {
        match &*configuration {
            b"allow" | b"deny" => Ok(Self { host, allows: *configuration == *b"allow", ticks: Cell::new(0) }),
            // The errors of a real configuration.
            _ => IdentityAuthz::parse(&*configuration).map(|_| Self { host, allows: false, ticks: Cell::new(0) }),
        }
    }

    fn on_request_headers(&self) -> Action {
        if self.allows { Action::Continue } else { Action::Pause }
    }

    fn on_tick(&self) {
        self.ticks.set(self.ticks.get() + 1);
        self.host.log(Level::Info, if self.allows { "tick of allow" } else { "tick of deny" });
    }
}

impl ConnectionPlugin for TestPlugin {
    fn on_new_connection(&self) -> (Action, Option<usize>) {
        self.on_request()
    }
}

impl BodyPlugin for TestPlugin {
    fn on_request(&self) -> (Action, Option<usize>) {
        (self.on_request_headers(), self.allows.then_some(0))
    }

    /// Holds fewer than three bytes, three calls long.
    fn on_request_body(&self, calls: &mut usize, held: usize, ended: bool) -> Action {
        *calls += 1;
        if held < 3 && *calls < 3 && !ended { Action::Pause } else { Action::Continue }
    }

    fn on_end(&self, calls: usize) {
        self.host.log(Level::Info, &format!("ended after {calls} calls"));
    }
}

impl BytesPlugin for TestPlugin {
    fn on_first_bytes(&self, _from: Side, _is_probe: bool) -> Action {
        self.on_request_headers()
    }
}

/// VM with a plugin under each root context.
fn vm(plugins: &[(u32, &str)]) -> (Vm<TestPlugin>, &'static FakeHost) {
    let host = FakeHost::leaked();
    let vm = Vm::new(host);
    for (root, configuration) in plugins {
        assert!(configure(&vm, *root, configuration), "{configuration}");
    }
    (vm, host)
}

fn configure(vm: &Vm<TestPlugin>, root: u32, configuration: &str) -> bool {
    vm.host.configuration.replace(configuration.as_bytes().to_vec());
    vm.host.contexts.borrow_mut().insert(root);
    vm.on_configure(root, configuration.len())
}

fn request(vm: &Vm<TestPlugin>, context: u32, root: u32) -> Action {
    vm.on_context_create(context, root);
    vm.on_request_headers(context)
}

fn lines(host: &FakeHost) -> Vec<String> {
    host.log.take().into_iter().map(|(_, line)| line).collect()
}

#[test]
fn each_request_is_decided_by_the_plugin_of_its_root_context() {
    let (vm, _) = vm(&[(9, "deny"), (2, "allow"), (5, "deny")]);
    for (root, expected) in [(2, Action::Continue), (5, Action::Pause), (9, Action::Pause), (2, Action::Continue)] {
        assert_eq!(request(&vm, 100 + root, root), expected, "root context {root}");
    }
    assert!(configure(&vm, 2, "deny"));
    assert_eq!(request(&vm, 200, 2), Action::Pause);
}

#[test]
fn a_request_without_a_plugin_is_answered_with_503() {
    let (vm, host) = vm(&[(2, "allow")]);
    assert_eq!(request(&vm, 100, 3), Action::Pause);
    // The root context of another context says nothing about this one.
    vm.on_context_create(101, 2);
    assert_eq!(vm.on_request_headers(102), Action::Pause);
    assert_eq!(vm.on_request_headers(101), Action::Pause);
    let reply = (503, "sallyport_not_configured".to_owned(), String::new());
    assert_eq!(host.replies.take(), [reply.clone(), reply.clone(), reply]);
    assert_eq!(lines(host)[0], "sallyport test: a request came to a filter without a configuration");
}

#[test]
fn a_first_configuration_that_takes_much_memory_is_refused() {
    let (vm, host) = vm(&[]);
    host.memory_pages.set(8193);
    assert!(!configure(&vm, 2, "allow"));
    let line = "sallyport test: configuration refused, it takes 512 MiB of memory to load, the limit is 512; shorten long values, or split the policies between proxies";
    assert_eq!(lines(host), [line]);
    assert_eq!(request(&vm, 100, 2), Action::Pause);
    host.memory_pages.set(8192);
    assert!(configure(&vm, 2, "allow"));
    // What comes after it may find the memory grown.
    host.memory_pages.set(8193);
    assert!(configure(&vm, 3, "allow"));
    assert_eq!(request(&vm, 101, 3), Action::Continue);
}

#[test]
fn a_vm_without_room_denies_what_it_does_not_load() {
    let (vm, host) = vm(&[(2, "allow")]);
    host.contexts.borrow_mut().remove(&2);
    vm.on_tick(3);
    host.memory_pages.set(57_345);
    host.log.take();
    assert!(configure(&vm, 3, "allow"), "Envoy would go on without the filter");
    assert!(lines(host)[0].starts_with("sallyport test: a configuration is not loaded, and what it is for is denied"));
    assert_eq!(request(&vm, 100, 3), Action::Pause);
    assert_eq!(host.replies.take(), [(503, "sallyport_not_configured".to_owned(), String::new())]);
    // A root context that is configured again does not keep what it had.
    host.memory_pages.set(57_344);
    assert!(configure(&vm, 3, "allow"));
    assert_eq!(request(&vm, 101, 3), Action::Continue);
    host.memory_pages.set(57_345);
    assert!(configure(&vm, 3, "deny"));
    assert_eq!(request(&vm, 102, 3), Action::Pause);
}

#[test]
fn streams_are_followed_until_they_end() {
    let (vm, host) = vm(&[(2, "allow"), (5, "deny")]);
    for context in [100, 101, 102] {
        vm.on_context_create(context, 2);
        assert_eq!(vm.on_request(context), Action::Continue);
    }
    assert_eq!(vm.on_request_body(100, 2, false), Action::Pause);
    assert_eq!(vm.on_request_body(101, 3, false), Action::Continue);
    assert_eq!(vm.on_request_body(102, 2, true), Action::Continue);
    assert_eq!(vm.on_request_body(100, 2, false), Action::Pause);
    assert_eq!(vm.on_request_body(100, 2, false), Action::Continue, "its third call");
    for context in [100, 101, 102] {
        vm.on_delete(context);
    }
    assert!(vm.streams.borrow().is_empty());
    // A stream that is not followed goes on.
    assert_eq!(vm.on_request_body(100, 2, false), Action::Continue);
    vm.on_context_create(103, 5);
    assert_eq!(vm.on_request(103), Action::Pause);
    assert!(vm.streams.borrow().is_empty());
    vm.on_context_create(104, 9);
    assert_eq!(vm.on_request(104), Action::Pause);
    assert_eq!(host.replies.take(), [(503, "sallyport_not_configured".to_owned(), String::new())]);
}

#[test]
fn the_body_of_a_stream_whose_plugin_is_gone_is_held() {
    let (vm, host) = vm(&[(2, "allow"), (5, "allow")]);
    vm.on_context_create(100, 2);
    assert_eq!(vm.on_request(100), Action::Continue);
    host.contexts.borrow_mut().remove(&2);
    vm.on_tick(5);
    assert_eq!(vm.on_request_body(100, 9, false), Action::Pause);
}

#[test]
fn a_refused_configuration_logs_every_fault_and_keeps_the_good_one() {
    let (vm, host) = vm(&[(2, "allow")]);
    assert!(!configure(&vm, 2, r#"{"mode": "enforced", "resources": [], "x": 1, "defaultAction": "DENY"}"#));
    let lines = lines(host);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], "sallyport test: configuration refused, 2 faults:");
    assert_eq!(request(&vm, 100, 2), Action::Continue);
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused() {
    let (vm, host) = vm(&[]);
    host.failing.set(Some("configuration"));
    assert!(!configure(&vm, 2, "allow"));
    assert_eq!(lines(host), ["sallyport test: the configuration could not be read: InternalFailure"]);
}

#[test]
fn a_proxy_without_timers_is_warned_about() {
    let (vm, host) = vm(&[]);
    host.failing.set(Some("set_tick_period"));
    assert!(configure(&vm, 2, "allow"));
    assert_eq!(lines(host), ["sallyport test: this proxy has no timers, counters stand still"]);
}

#[test]
fn plugins_of_gone_root_contexts_are_flushed_and_dropped() {
    let (vm, host) = vm(&[(2, "deny"), (5, "allow")]);
    vm.on_tick(5);
    assert_eq!(lines(host), ["tick of allow"]);
    host.contexts.borrow_mut().remove(&2);
    host.take_calls();
    vm.on_tick(5);
    assert_eq!(lines(host), ["tick of allow", "tick of deny"]);
    // What the last flush says is about a context that exists.
    assert_eq!(host.take_calls(), ["set_effective_context 5"]);
    assert_eq!(vm.plugins.borrow().len(), 1);
}

#[test]
fn updates_without_a_tick_between_them_leave_no_plugins_behind() {
    let (vm, host) = vm(&[(2, "allow")]);
    for context in 3..50 {
        host.contexts.borrow_mut().insert(context);
        assert!(configure(&vm, context, "allow"));
        // Envoy has both until the new one has taken over.
        host.contexts.borrow_mut().remove(&(context - 1));
        assert!(vm.plugins.borrow().len() <= 2, "{} plugins", vm.plugins.borrow().len());
        assert_eq!(request(&vm, 1_000 + context, context), Action::Continue);
    }
}

#[test]
fn a_denied_connection_is_closed_and_stays_paused() {
    let (vm, host) = vm(&[(2, "deny")]);
    vm.on_context_create(100, 2);
    assert_eq!(vm.on_new_connection(100), Action::Pause);
    assert_eq!(vm.on_downstream_data(100), Action::Pause);
    assert_eq!(host.closed.get(), 2);
    vm.on_connection_close(100);
    assert!(vm.connections.borrow().is_empty());
}

#[test]
fn an_allowed_connection_is_decided_once() {
    let (vm, host) = vm(&[(2, "allow")]);
    vm.on_context_create(100, 2);
    assert_eq!(vm.on_connection(100), Action::Continue);
    assert_eq!(vm.on_bytes(100, Side::Downstream, 1), Action::Continue);
    // A new configuration decides new connections.
    assert!(configure(&vm, 2, "deny"));
    assert_eq!(vm.on_bytes(100, Side::Upstream, 1), Action::Continue);
    assert_eq!(host.closed.get(), 0);
}

#[test]
fn first_bytes_of_a_denied_or_unknown_connection_go_nowhere() {
    let (vm, host) = vm(&[(2, "deny")]);
    vm.on_context_create(100, 2);
    assert_eq!(vm.on_connection(100), Action::Continue);
    host.failing.set(Some("close_downstream"));
    for from in [Side::Upstream, Side::Downstream] {
        assert_eq!(vm.on_bytes(100, from, 1), Action::Pause);
        assert_eq!(vm.on_bytes(101, from, 1), Action::Pause);
    }
    let lines = lines(host);
    assert_eq!(lines[0], "sallyport test: a connection could not be closed: InternalFailure");
    assert!(lines.contains(&"sallyport test: a connection came to a filter without a configuration".to_owned()));
}

#[test]
fn a_filter_for_http_alone_closes_connections() {
    let (vm, host) = vm(&[(2, "allow")]);
    assert_eq!(vm.refuse_connection(), Action::Pause);
    assert_eq!(host.closed.get(), 1);
    let line = "sallyport test: this filter is for HTTP, put it into http_filters; a connection was closed";
    assert_eq!(lines(host), [line]);
}
