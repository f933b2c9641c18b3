//! Python with the modules that it has, in two implementations. Up to 3.11 it sends CONNECT of HTTP/1.0.

use anyhow::{Context, Result, ensure};
use testbed::Printed;

use crate::fixture::{Fixture, PUBLIC, Way};

pub(crate) const FETCH: &str = include_str!("fetch.py");

pub(crate) const WAYS: [Way; 3] = [Way::Http, Way::Connect, Way::Sni];

/// Fetches a page of a host.
pub(crate) fn fetch(fixture: &Fixture, way: Way, host: &str) -> Result<Printed> {
    let at = |listener: &str| -> Result<String> { Ok(format!("127.0.0.1:{}", fixture.port(listener)?)) };
    let (proxy, instead) = match way {
        Way::Sni => (String::new(), at("tls")?),
        _ => (format!("http://{}", at("forward-proxy")?), String::new()),
    };
    fixture.run(&["-c", FETCH, &fixture.url(way, host, ""), "outside.pem", &proxy, &instead])
}

fn check(fixture: &Fixture) -> Result<()> {
    for way in WAYS {
        fixture.expect_reached(way, &fetch(fixture, way, PUBLIC)?, &format!("this is {PUBLIC}"))?;
        let printed = fetch(fixture, way, &way.undeclared())?;
        ensure!(!printed.succeeded, "{}: {printed:#?}", way.name());
        fixture.expect_denied(way, &printed)?;
    }
    Ok(())
}

#[test]
fn python_reaches_declared_hosts_alone() -> Result<()> {
    check(&Fixture::start("python3")?)
}

#[test]
fn pypy_reaches_declared_hosts_alone() -> Result<()> {
    check(&Fixture::start(testbed::pypy()?.to_str().context("a path in UTF-8")?)?)
}
