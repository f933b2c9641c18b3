//! git, which clones a repository from a web server.

use std::fs;

use anyhow::{Result, ensure};
use testbed::{Printed, run_program};

use crate::fixture::{Fixture, PARTNER, PAYMENTS, PUBLIC, Way};

pub(crate) const WAYS: [Way; 4] = [Way::Http, Way::Connect, Way::ConnectInMtls, Way::Sni];

/// The content of the one file of the repository.
const CONTENT: &str = "cloned through the gateway";

/// Makes a repository that the web servers can serve.
fn publish(fixture: &Fixture) -> Result<()> {
    let folder = fixture.folder();
    let git = |arguments: &[&str]| -> Result<()> {
        let printed = run_program("git", arguments, "", folder)?;
        ensure!(printed.succeeded, "git {arguments:?}: {printed:#?}");
        Ok(())
    };
    git(&["init", "--quiet", "source"])?;
    fs::write(folder.join("source/file"), CONTENT)?;
    git(&["-C", "source", "add", "file"])?;
    let author = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
    git(&[&["-C", "source"], &author[..], &["commit", "--quiet", "--message=one"]].concat())?;
    git(&["clone", "--quiet", "--bare", "source", "site/repository.git"])?;
    git(&["-C", "site/repository.git", "update-server-info"])
}

/// Clones the repository from a host into a new folder.
fn clone(fixture: &Fixture, way: Way, host: &str) -> Result<Printed> {
    let resolve = |host: &str, port: u16| format!("http.curloptResolve={host}:{port}:127.0.0.1");
    let mtls = fixture.port("mtls")?;
    let mut url = fixture.url(way, host, "repository.git");
    let mut settings = vec!["http.sslCAInfo=outside.pem".to_owned()];
    match way {
        Way::ConnectInMtls => settings.extend([
            format!("http.proxy=https://egress:{mtls}"),
            resolve("egress", mtls),
            "http.proxySSLCAInfo=gateway/trusted.pem".to_owned(),
            format!("http.proxySSLCert={PAYMENTS}.pem"),
            format!("http.proxySSLKey={PAYMENTS}.key"),
        ]),
        Way::Sni => {
            let port = fixture.port("tls")?;
            url = format!("https://{host}:{port}/repository.git");
            settings.push(resolve(host, port));
        }
        _ => settings.push(format!("http.proxy=http://127.0.0.1:{}", fixture.port("forward-proxy")?)),
    }
    let clone = fixture.folder().join("clone");
    if clone.exists() {
        fs::remove_dir_all(clone)?;
    }
    let settings = settings.iter().flat_map(|setting| ["-c", setting]);
    fixture.run(&settings.chain(["clone", "--quiet", &url, "clone"]).collect::<Vec<_>>())
}

#[test]
fn git_reaches_declared_hosts_alone() -> Result<()> {
    let fixture = Fixture::start("git")?;
    publish(&fixture)?;
    for way in WAYS {
        let host = if way == Way::ConnectInMtls { PARTNER } else { PUBLIC };
        let printed = clone(&fixture, way, host)?;
        let cloned = fs::read_to_string(fixture.folder().join("clone/file")).unwrap_or_default();
        ensure!(printed.succeeded && cloned == CONTENT, "{}: {printed:#?}", way.name());
        let printed = clone(&fixture, way, &way.undeclared())?;
        ensure!(!printed.succeeded, "{}: {printed:#?}", way.name());
        fixture.expect_denied(way, &printed)?;
    }
    Ok(())
}
