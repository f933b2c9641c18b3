use super::*;
use crate::fake_host::FakeHost;

#[test]
fn a_fingerprint_is_the_start_of_the_sha_256() {
    // printf abc | sha256sum; the first test vector of FIPS 180-4.
    assert_eq!(fingerprint(b"abc"), 0xba78_16bf);
    assert_eq!(fingerprint(b" "), 0x36a9_e7f1);
}

#[test]
fn the_fingerprint_of_a_struct_does_not_depend_on_the_order_of_its_keys() {
    // Struct {a: "x", b: "y"}: entries of a map with the key in field 1 and in field 2 a value with a text in field 3.
    let (a, b) = (b"\x0a\x08\x0a\x01a\x12\x03\x1a\x01x", b"\x0a\x08\x0a\x01b\x12\x03\x1a\x01y");
    assert_eq!(fingerprint(&[*a, *b].concat()), fingerprint(&[*b, *a].concat()));
    assert_ne!(fingerprint(&[*a, *b].concat()), fingerprint(&[*a, *a].concat()));
}

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
