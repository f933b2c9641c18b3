use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// Self-signed certificate that ends at the start of this day, in PEM.
fn certificate(year: i32, month: u8, day: u8) -> String {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, month, day);
    params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").pem()
}

const DAY: u64 = 24 * 60 * 60;

#[test]
fn the_end_is_read_in_both_encodings_of_time() {
    // RFC 5280 has UTCTime up to 2049 and GeneralizedTime from 2050 on.
    let rows = [
        ((2025, 1, 1), 20_089),
        ((2028, 2, 29), 21_243),
        ((2028, 3, 1), 21_244),
        ((2049, 12, 31), 29_219),
        ((2050, 1, 1), 29_220),
        ((2100, 2, 28), 47_540),
        ((2100, 3, 1), 47_541),
        ((2121, 1, 1), 55_152),
    ];
    for ((year, month, day), days) in rows {
        let end = certificate_end(certificate(year, month, day).as_bytes());
        assert_eq!(end, Some(Duration::from_secs(days * DAY)), "{year}-{month}-{day}");
    }
}

#[test]
fn the_time_of_the_day_counts_and_every_other_form_is_refused() {
    assert_eq!(seconds(1970, b"0102030405Z"), Some(Duration::from_secs(DAY + 3 * 3600 + 4 * 60 + 5)));
    assert_eq!(seconds(1960, b"0102030405Z"), Some(Duration::from_secs(3 * 3600 + 4 * 60 + 5)));
    for text in [
        "",
        "Z",
        "0102030405",
        "01020304Z",
        "0102030405+0100",
        "0102030405.5Z",
        "0002030405Z",
        "1302030405Z",
        "0100030405Z",
        "0300030405Z",
        "0132030405Z",
        "0102240405Z",
        "0102036005Z",
        "010203046aZ",
        "01020304+5Z",
    ] {
        assert_eq!(seconds(2025, text.as_bytes()), None, "{text}");
    }
}

#[test]
fn of_several_certificates_the_first_counts() {
    let chain = [certificate(2030, 1, 1), certificate(2025, 1, 1)].concat();
    assert_eq!(certificate_end(chain.as_bytes()), Some(Duration::from_secs(21_915 * DAY)));
}

#[test]
fn what_is_no_certificate_has_no_end() {
    let whole = certificate(2030, 1, 1);
    for text in ["", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "\u{e9}"]
    {
        assert_eq!(certificate_end(text.as_bytes()), None, "{text}");
    }
    assert_eq!(certificate_end(b"\xff\xfe"), None);
    let (body, end) = whole.split_once("-----END").expect("an end");
    for length in 0..body.len() {
        let cut = format!("{}-----END{end}", &body[..length]);
        // The end stands in the first half of the text; nothing here may panic or invent one.
        if let Some(end) = certificate_end(cut.as_bytes()) {
            assert_eq!(end, Duration::from_secs(21_915 * DAY), "cut at {length}");
        }
    }
}

#[test]
fn changed_bytes_never_panic() {
    let whole = certificate(2030, 1, 1);
    for index in 0..whole.len() {
        let mut bytes = whole.clone().into_bytes();
        for byte in [0, b'A', b'/', 0xff] {
            bytes[index] = byte;
            let _any = certificate_end(&bytes);
        }
    }
}
