use super::*;
use crate::fake_host::FakeHost;

fn with(path: &str, value: &[u8]) -> FakeHost {
    let host = FakeHost::default();
    host.set(path, value);
    host
}

#[test]
fn booleans_are_one_byte_of_zero_or_one() {
    let malformed = Err(HostError::MALFORMED);
    let rows: [(&[u8], _); 5] =
        [(&[0], Ok(Some(false))), (&[1], Ok(Some(true))), (&[2], malformed), (b"", malformed), (b"true", malformed)];
    for (value, expected) in rows {
        assert_eq!(boolean(&with("connection\0mtls", value), "connection\0mtls"), expected, "{value:?}");
    }
    assert_eq!(boolean(&FakeHost::default(), "connection\0peer_certificate_valid"), Ok(None));
}

#[test]
fn integers_are_eight_bytes_little_endian() {
    let rows: [(&[u8], _); 3] = [
        (&[1, 2, 0, 0, 0, 0, 0, 0], Ok(Some(513))),
        (&[1, 2], Err(HostError::MALFORMED)),
        (&[0; 9], Err(HostError::MALFORMED)),
    ];
    for (value, expected) in rows {
        assert_eq!(integer(&with("connection\0id", value), "connection\0id"), expected, "{value:?}");
    }
}

#[test]
fn addresses_come_with_and_without_a_port() {
    let address = |text: &str| text.parse::<IpAddr>().map(Some).map_err(|_| "not an address");
    let rows = [
        ("10.0.0.7:4711", address("10.0.0.7")),
        ("10.0.0.7", address("10.0.0.7")),
        ("[fd00::7]:4711", address("fd00::7")),
        ("fd00::7", address("fd00::7")),
        ("/run/envoy.sock", Ok(None)),
        ("@abstract", Ok(None)),
        ("", Ok(None)),
        ("10.0.0", Err("not an address")),
        ("localhost:80", Err("not an address")),
    ];
    for (text, expected) in rows {
        let read = remote_ip(&with("source\0address", text.as_bytes())).map_err(|error| error.status);
        assert_eq!(read, expected, "{text}");
    }
    assert_eq!(remote_ip(&FakeHost::default()), Err(missing("source.address")));
}

#[test]
fn the_direct_address_has_to_be_set() {
    let error = direct_remote_ip(&FakeHost::default()).expect_err("nothing is set");
    assert_eq!(
        error.to_string(),
        "the proxy did not tell filter_state.sallyport.direct_remote_address: it is not set; set it by a filter set_filter_state before this one, as envoy-config/ingress.yaml does for requests and layer4.yaml for connections, or write directRemoteAddress: connection where no X-Forwarded-For is trusted (docs/listener-settings.md)"
    );
}

#[test]
fn the_port_of_dynamic_forwarding_stands_before_that_of_the_connection() {
    let host = with("destination\0port", &443_u64.to_le_bytes());
    assert_eq!(upstream_port(&host), Ok(Some(443)));
    host.set("filter_state\0envoy.upstream.dynamic_port", b"8443");
    assert_eq!(upstream_port(&host), Ok(Some(8443)));
    for bad in ["", "65536", "-1", "http"] {
        host.set("filter_state\0envoy.upstream.dynamic_port", bad.as_bytes());
        assert_eq!(upstream_port(&host).map_err(|error| error.status), Err("not a port"), "{bad}");
    }
    assert!(destination_port(&with("destination\0port", &65_536_u64.to_le_bytes())).is_err());
}

#[test]
fn failures_name_the_attribute_and_the_status() {
    let host = FakeHost::default();
    host.failing.set(Some("property connection.requested_server_name"));
    let error = server_name(&host).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("the proxy did not tell connection.requested_server_name: InternalFailure"));
    host.failing.set(None);
    host.set("connection\0requested_server_name", b"");
    assert!(matches!(server_name(&host), Ok(None)));
}
