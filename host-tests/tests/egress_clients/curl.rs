//! curl, by every way that the gateway has.

use std::fs;

use anyhow::{Result, ensure};
use testbed::access_log;

use crate::fixture::{FRONTEND, Fixture, PARTNER, PAYMENTS, PUBLIC, Way};

/// The ways on which an undeclared host is refused to curl, those to declared hosts first.
pub(crate) const WAYS: [Way; 6] =
    [Way::Http, Way::Connect, Way::ConnectInMtls, Way::Sni, Way::NoCertificate, Way::AnotherSni];

/// More than any buffer on the way holds.
const UPLOAD: usize = 4 * 1024 * 1024;

/// The arguments with which curl goes this way, without the URL.
fn arguments(fixture: &Fixture, way: Way, host: &str, workload: &str) -> Result<Vec<String>> {
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let proxy = format!("127.0.0.1:{}", fixture.port("forward-proxy")?);
    let mtls = format!("egress:{}", fixture.port("mtls")?);
    let secure = format!("--resolve {mtls}:127.0.0.1 --proxy https://{mtls} --proxy-cacert gateway/trusted.pem");
    let options = match way {
        Way::Http | Way::Connect => format!("--proxy http://{proxy}"),
        Way::ConnectInMtls => format!("{secure} --proxy-cert {workload}.pem --proxy-key {workload}.key"),
        Way::NoCertificate => secure,
        Way::Sni => format!("--connect-to {}:127.0.0.1:{}", fixture.authority(host), fixture.port("tls")?),
        Way::AnotherSni => {
            format!("--proxy http://{proxy} --connect-to {}:{}", fixture.authority(host), fixture.authority(PUBLIC))
        }
    };
    Ok([words("--silent --show-error --cacert outside.pem".to_owned()), words(options)].concat())
}

/// Runs curl for a file of a host, with further arguments.
fn curl(fixture: &Fixture, way: Way, host: &str, more: &[&str]) -> Result<testbed::Printed> {
    let arguments = arguments(fixture, way, host, FRONTEND)?;
    let url = fixture.url(way, host, "");
    let all: Vec<_> = arguments.iter().map(String::as_str).chain([url.as_str()]).chain(more.iter().copied()).collect();
    fixture.run(&all)
}

#[test]
fn curl_reaches_declared_hosts_alone() -> Result<()> {
    let fixture = Fixture::start("curl")?;
    for way in WAYS {
        if !matches!(way, Way::NoCertificate | Way::AnotherSni) {
            let expected = format!("this is {PUBLIC}");
            fixture.expect_reached(way, &curl(&fixture, way, PUBLIC, &[])?, &expected)?;
        }
        fixture.expect_denied(way, &curl(&fixture, way, &way.undeclared(), &[])?)?;
    }
    // By HTTP/1.0, as old clients do.
    let proxy = format!("127.0.0.1:{}", fixture.port("forward-proxy")?);
    let one_zero = ["--proxy1.0", &proxy, "--noproxy", ""];
    fixture.expect_reached(Way::Connect, &curl(&fixture, Way::Connect, PUBLIC, &one_zero)?, "this is")?;
    fixture.expect_denied(Way::Connect, &curl(&fixture, Way::Connect, &Way::Connect.undeclared(), &one_zero)?)
}

#[test]
fn curl_in_mtls_is_who_its_certificate_says() -> Result<()> {
    let fixture = Fixture::start("curl")?;
    let url = fixture.url(Way::ConnectInMtls, PARTNER, "");
    for (workload, reached) in [(PAYMENTS, true), (FRONTEND, false)] {
        let mut arguments = arguments(&fixture, Way::ConnectInMtls, PARTNER, workload)?;
        // curl has this option where it is built with nghttp2, from 8.1 on.
        let help = fixture.run(&["--help", "all"])?.output;
        for version in [None, help.contains("--proxy-http2").then_some("--proxy-http2")].into_iter().flatten() {
            arguments.push(version.to_owned());
        }
        let printed = fixture.run(&arguments.iter().map(String::as_str).chain([&*url]).collect::<Vec<_>>())?;
        ensure!(printed.succeeded == reached, "{workload}: {printed:#?}");
        ensure!(printed.output.contains("this is") == reached, "{workload}: {printed:#?}");
    }
    Ok(())
}

#[test]
fn uploads_of_curl_arrive_whole_and_none_arrives_at_an_undeclared_host() -> Result<()> {
    let fixture = Fixture::start("curl")?;
    fs::write(fixture.folder().join("upload"), vec![b'x'; UPLOAD])?;
    let expected = format!("{UPLOAD} bytes");
    // By length after `100 Continue`, by length at once, and in chunks.
    let uploads: [&[&str]; 3] = [
        &["--data-binary", "@upload", "--header", "expect: 100-continue"],
        &["--data-binary", "@upload", "--header", "expect:"],
        &["--upload-file", "upload", "--header", "transfer-encoding: chunked"],
    ];
    for upload in uploads {
        for way in [Way::Http, Way::Connect, Way::ConnectInMtls, Way::Sni] {
            fixture.expect_reached(way, &curl(&fixture, way, PUBLIC, upload)?, &expected)?;
        }
        fixture.expect_denied(Way::Http, &curl(&fixture, Way::Http, &Way::Http.undeclared(), upload)?)?;
    }
    Ok(())
}

#[test]
fn a_denial_leaves_the_connection_of_curl_to_its_next_request() -> Result<()> {
    let fixture = Fixture::start("curl")?;
    let denied = fixture.url(Way::Http, &Way::Http.undeclared(), "");
    let allowed = fixture.url(Way::Http, PUBLIC, "");
    let printed = curl(&fixture, Way::Http, PUBLIC, &[&denied, &allowed, "--write-out", "%{num_connects}\n"])?;
    let lines: Vec<_> = printed.output.lines().collect();
    let [first, "1", refused, third, "0"] = lines.as_slice() else { anyhow::bail!("{printed:#?}") };
    ensure!(*first == format!("this is {PUBLIC}") && first == third, "{lines:#?}");
    ensure!(refused.ends_with("not the server's.0"), "{lines:#?}");
    Ok(())
}

#[test]
fn a_wrong_address_of_the_proxy_is_seen_in_the_gateways_log() -> Result<()> {
    let fixture = Fixture::start("curl")?;
    let [plain, mtls] = [fixture.port("forward-proxy")?, fixture.port("mtls")?];
    let ask = |way: Way, proxy: &str, more: &[&str]| -> Result<()> {
        let url = fixture.url(way, PUBLIC, "");
        let arguments = ["--silent", "--show-error", "--cacert", "outside.pem", "--proxy", proxy, &url];
        let printed = fixture.run(&[&arguments[..], more].concat())?;
        ensure!(!printed.output.contains("this is"), "by {proxy}: {printed:#?}");
        Ok(())
    };
    ask(Way::Connect, &format!("https://127.0.0.1:{plain}"), &["--proxy-insecure"])?;
    let entry = fixture.gateway.log_entry(&[("details", "http1.codec_error")])?;
    ensure!(entry.get("status").and_then(serde_json::Value::as_u64) == Some(400), "{entry}");
    for (way, failure) in [(Way::Connect, "HTTPS_PROXY_REQUEST"), (Way::Http, ":HTTP_REQUEST")] {
        ask(way, &format!("http://127.0.0.1:{mtls}"), &[])?;
        fixture.gateway.handshake_failure(failure)?;
    }
    // Versions of curl send the alert before the keys of the handshake or with them.
    ask(Way::Connect, &format!("https://127.0.0.1:{mtls}"), &[])?;
    let of_alert = |entry: &serde_json::Value| {
        let text = entry.to_string();
        text.contains("TLSV1_ALERT_UNKNOWN_CA") || text.contains("DECRYPTION_FAILED_OR_BAD_RECORD_MAC")
    };
    access_log::find(&fixture.folder().join("gateway/envoy.out"), of_alert)?;
    ask(Way::Connect, &format!("https://127.0.0.1:{mtls}"), &["--proxy-insecure"])?;
    fixture.gateway.handshake_failure("PEER_DID_NOT_RETURN_A_CERTIFICATE")?;
    Ok(())
}
