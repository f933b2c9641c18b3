//! `openssl s_client`, which sends CONNECT of HTTP/1.0.

use anyhow::{Result, ensure};
use testbed::{Printed, client_hello, run_program};

use crate::fixture::{FRONTEND, Fixture, PUBLIC, Way};

pub(crate) const WAYS: [Way; 3] = [Way::Connect, Way::Sni, Way::ConnectInMtls];

/// Sends a request to a host.
fn request(fixture: &Fixture, way: Way, host: &str) -> Result<Printed> {
    let authority = fixture.authority(host);
    let at = |listener: &str| -> Result<String> { Ok(format!("127.0.0.1:{}", fixture.port(listener)?)) };
    let get = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let (options, input) = match way {
        Way::Connect => {
            (format!("-proxy {} -connect {authority} -servername {host}", at("forward-proxy")?), get.into_bytes())
        }
        Way::Sni => (format!("-connect {} -servername {host}", at("tls")?), get.into_bytes()),
        // It does no TLS in TLS, but shows the answer to a CONNECT. The web server closes a tunnel in which plain text
        // follows the first message of TLS.
        _ => {
            let connect = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
            let hello = client_hello(Some(host.as_bytes()))?;
            let input = [connect.as_bytes(), &hello, get.as_bytes()].concat();
            (format!("-connect {} -cert {FRONTEND}.pem -key {FRONTEND}.key", at("mtls")?), input)
        }
    };
    let authority = if way == Way::ConnectInMtls { "gateway/trusted.pem" } else { "outside.pem" };
    let fixed = ["s_client", "-ign_eof", "-verify_return_error", "-CAfile", authority];
    let arguments: Vec<_> = fixed.into_iter().chain(options.split(' ')).collect();
    run_program("openssl", &arguments, input, fixture.folder())
}

#[test]
fn openssl_reaches_declared_hosts_alone() -> Result<()> {
    let fixture = Fixture::start("openssl")?;
    for way in WAYS {
        let expected = if way == Way::ConnectInMtls { "HTTP/1.1 200 OK" } else { "this is updates.example.org" };
        let printed = request(&fixture, way, PUBLIC)?;
        ensure!(printed.output.contains(expected), "{}: {printed:#?}", way.name());
        fixture.expect_denied(way, &request(&fixture, way, &way.undeclared())?)?;
    }
    Ok(())
}
