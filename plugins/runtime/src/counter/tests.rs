use super::*;
use crate::fake_host::FakeHost;

#[test]
fn counts_reach_the_proxy_at_a_flush_and_only_then() {
    let host = FakeHost::default();
    let counter = Counter::new(&host, "f.allowed");
    counter.increment();
    counter.add(4);
    assert_eq!(host.counter("f.allowed"), Some(0));
    counter.flush();
    counter.flush();
    assert_eq!(host.counter("f.allowed"), Some(5));
}

#[test]
fn counts_that_the_proxy_refuses_are_flushed_later() {
    let host = FakeHost::default();
    let counter = Counter::new(&host, "f.denied");
    counter.add(2);
    host.failing.set(Some("increment_counter"));
    counter.flush();
    host.failing.set(None);
    counter.increment();
    counter.flush();
    assert_eq!(host.counter("f.denied"), Some(3));
}

#[test]
fn a_proxy_without_metrics_is_never_asked_to_count() {
    let host = FakeHost::default();
    host.failing.set(Some("define_counter"));
    let counter = Counter::new(&host, "f.allowed");
    counter.add(u32::MAX);
    counter.increment();
    counter.flush();
    assert_eq!(host.take_calls(), ["define_counter sallyport.f.allowed"]);
}
