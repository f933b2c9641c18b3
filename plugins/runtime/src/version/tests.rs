use super::*;
use crate::fake_host::FakeHost;

#[test]
fn all_gauges_are_set() {
    let host = FakeHost::default();
    set_gauges(&host, "f", 7);
    let gauges: Vec<_> = host.gauges.take().into_iter().collect();
    let expected = [("commit", commit_number(COMMIT)), ("loaded", 7), ("version", version_number())];
    assert_eq!(gauges, expected.map(|(name, value)| (format!("sallyport.f.{name}"), value)));
    let [major, minor, patch] = [0, 1, 2].map(|index| {
        VERSION.split('.').nth(index).and_then(|part| part.parse::<u32>().ok()).expect("a version of three numbers")
    });
    assert_eq!(version_number(), (major * 1000 + minor) * 1000 + patch);
}

#[test]
fn a_commit_is_the_number_of_its_first_digits() {
    assert_eq!(commit_number("6385249ec731"), 0x6385_249e);
    assert_eq!(commit_number("6385249ec731 with changes"), 0x6385_249e);
    assert_eq!(commit_number("unknown commit"), 0);
    assert_eq!(commit_number("63"), 0);
}
