use super::*;
use crate::egress::request::EgressProtocol;
use crate::test_support::client_hello_writer::{client_hello, hello_for, record};

fn tunnel(host: &str, port: u16) -> Tunnel {
    tunnel_for(host, port, false)
}

fn tunnel_for(host: &str, port: u16, tls_alone: bool) -> Tunnel {
    let host = Host::parse(host.as_bytes()).expect("a host");
    let destination = Destination { protocol: EgressProtocol::Connect, host, port, address: None };
    Tunnel::new(destination, tls_alone, false, SourceMode::Enforce)
}

#[test]
fn rules_for_tls_alone_end_what_is_no_tls_on_any_port() {
    let inspect = |bytes: &[u8]| tunnel_for("good.com", 8443, true).inspect(bytes);
    assert_eq!(inspect(b"SSH-2.0-x\r\n"), Err(TunnelFault::NotTlsByRule));
    assert_eq!(inspect(&hello_for("good.com")), Ok(TunnelStep::Pass));
    assert_eq!(inspect(&hello_for("evil.com")), other("evil.com"));
}

/// One test a row: host and port of the tunnel, the client's bytes, and the step after them, whatever pieces they come
/// in.
macro_rules! steps {
    ($($name:ident: $host:expr, $port:expr, $bytes:expr => $expected:expr;)*) => {
        mod steps {
            use super::*;

            $(
                #[test]
                fn $name() {
                    let bytes: Vec<u8> = $bytes;
                    for size in [usize::MAX, 1] {
                        let mut tunnel = tunnel($host, $port);
                        let steps = bytes.chunks(size).map(|piece| tunnel.inspect(piece));
                        let step = steps.filter(|step| *step != Ok(TunnelStep::Hold)).next();
                        assert_eq!(step.unwrap_or(Ok(TunnelStep::Hold)), $expected, "in pieces of {size}");
                    }
                }
            )*
        }
    };
}

fn other(name: &str) -> Result<TunnelStep, TunnelFault> {
    Err(TunnelFault::OtherServerName(name.as_bytes().into()))
}

const NO_TLS: Result<TunnelStep, TunnelFault> = Err(TunnelFault::NotTls);

steps! {
    its_host: "good.com", 443, hello_for("good.com") => Ok(TunnelStep::Pass);
    capitals_and_a_final_dot: "good.com", 443, hello_for("GOOD.com.") => Ok(TunnelStep::Pass);
    its_host_on_another_port: "good.com", 8443, hello_for("good.com") => Ok(TunnelStep::Pass);
    another_host: "good.com", 443, hello_for("evil.com") => other("evil.com");
    another_host_on_another_port: "good.com", 22, hello_for("evil.com") => other("evil.com");
    a_name_below_it: "good.com", 443, hello_for("a.good.com") => other("a.good.com");
    two_final_dots: "good.com", 443, hello_for("good.com..") => other("good.com..");
    a_nul_behind_it: "good.com", 443, hello_for("good.com\0.evil.com") => other("good.com\0.evil.com");
    no_name: "good.com", 443, record(22, &client_hello(&[])) => Err(TunnelFault::NoServerName);
    no_name_to_an_address: "192.0.2.1", 443, record(22, &client_hello(&[])) => Ok(TunnelStep::Pass);
    a_name_to_an_address: "192.0.2.1", 443, hello_for("good.com") => other("good.com");
    the_address_as_name: "192.0.2.1", 443, hello_for("192.0.2.1") => Ok(TunnelStep::Pass);
    malformed: "good.com", 443, record(22, &[2; 50]) => Err(TunnelFault::ClientHello(ClientHelloError::Message));
    malformed_on_another_port: "good.com", 22, record(22, &[2; 50]) =>
        Err(TunnelFault::ClientHello(ClientHelloError::Message));

    ssh: "good.com", 22, b"SSH-2.0-x\r\n".to_vec() => Ok(TunnelStep::Pass);
    ssh_on_443: "good.com", 443, b"SSH-2.0-x\r\n".to_vec() => NO_TLS;
    http_on_443: "good.com", 443, b"GET / HTTP/1.1\r\n\r\n".to_vec() => NO_TLS;
    one_byte: "good.com", 22, vec![0] => Ok(TunnelStep::Pass);
    telnet: "good.com", 23, vec![255, 253, 1] => Ok(TunnelStep::Pass);
    nothing: "good.com", 443, vec![] => Ok(TunnelStep::Hold);

    a_handshake_of_a_version_that_gnutls_takes: "good.com", 22, vec![22, 0, 0, 0, 9] =>
        Err(TunnelFault::ClientHello(ClientHelloError::Record));
    an_alert_that_openssl_passes_over: "good.com", 22, [record(21, &[1, 90]), hello_for("good.com")].concat() =>
        Err(TunnelFault::ClientHello(ClientHelloError::Record));
    a_byte_of_an_alert: "good.com", 22, vec![21] => Ok(TunnelStep::Hold);
    no_alert: "good.com", 22, vec![21, 4] => Ok(TunnelStep::Pass);
    sslv2: "good.com", 22, vec![0x80, 0x2e, 1, 3, 1] => Err(TunnelFault::Sslv2);
    sslv2_of_its_own_version: "good.com", 22, vec![0x80, 0x2e, 1, 0, 2] => Err(TunnelFault::Sslv2);
    sslv2_on_443: "good.com", 443, vec![0x80, 0x2e, 1, 3, 1] => NO_TLS;
    three_bytes_of_sslv2: "good.com", 22, vec![0x80, 0x2e, 1] => Ok(TunnelStep::Hold);
    four_bytes_of_sslv2: "good.com", 22, vec![0x80, 0x2e, 1, 0] => Ok(TunnelStep::Hold);
    a_remote_procedure_call: "good.com", 2049, vec![0x80, 0, 1, 3] => Ok(TunnelStep::Pass);
    other_bytes_beyond_ascii: "good.com", 22, vec![0x80, 0x2e, 2] => Ok(TunnelStep::Pass);
}

#[test]
fn what_is_held_at_the_end_is_no_protocol() {
    assert_eq!(tunnel("good.com", 443).end(), Ok(()));
    for held in [&hello_for("good.com")[..40], &[21], &[0x80]] {
        let mut tunnel = tunnel("good.com", 22);
        assert_eq!(tunnel.inspect(held), Ok(TunnelStep::Hold));
        assert_eq!(tunnel.inspected(), held.len());
        assert_eq!(tunnel.end(), Err(TunnelFault::Unfinished));
    }
}
