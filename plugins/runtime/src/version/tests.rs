use super::*;
use crate::fake_host::FakeHost;

#[test]
fn both_gauges_are_set() {
    let host = FakeHost::default();
    set_gauges(&host, "f", 7);
    let gauges: Vec<_> = host.gauges.take().into_iter().collect();
    assert_eq!(gauges, [("sallyport.f.loaded".to_owned(), 7), ("sallyport.f.version".to_owned(), version_number())]);
    let [major, minor, patch] = [0, 1, 2].map(|index| {
        VERSION.split('.').nth(index).and_then(|part| part.parse::<u32>().ok()).expect("a version of three numbers")
    });
    assert_eq!(version_number(), (major * 1000 + minor) * 1000 + patch);
}
