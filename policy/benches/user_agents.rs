//! Cost of a request under 10, 100 and 5,000 patterns for user agents.
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sallyport_policy::{AttributeError, BaselineDeny, Decision, HeaderValues, Peer, Request, UnauthenticatedReason};

const BROWSER: &[u8] =
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";

struct Browser(Peer);

impl Request for Browser {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        Ok(&self.0)
    }

    fn source_ip(&mut self) -> Result<Option<std::net::IpAddr>, AttributeError> {
        Ok(None)
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        Ok(None)
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(b"GET"))
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(None)
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(b"/"))
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, AttributeError> {
        Ok([BROWSER].into_iter().collect())
    }
}

/// A third each of contains, prefix and exact.
fn filter(patterns: usize) -> Option<BaselineDeny> {
    let pattern = |number: usize| match number % 3 {
        0 => format!("\"*tool-{number}x*\""),
        1 => format!("\"tool-{number}x*\""),
        _ => format!("\"tool-{number}x\""),
    };
    let values: Vec<_> = (0..patterns).map(pattern).collect();
    let json = format!(
        r#"{{"resources": [{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {{"name": "tools", "namespace": "edge"}}, "spec": {{"action": "DENY",
            "rules": [{{"when": [{{"key": "request.headers[user-agent]", "values": [{}]}}]}}]}}}}]}}"#,
        values.join(", ")
    );
    BaselineDeny::parse(json.as_bytes()).ok()
}

fn user_agents(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("user agents");
    for patterns in [10, 100, 5_000] {
        let Some(filter) = filter(patterns) else { continue };
        let mut browser = Browser(Peer::Unauthenticated(UnauthenticatedReason::NoCertificate));
        assert_eq!(filter.decide(&mut browser), Decision::Allow);
        group.bench_function(BenchmarkId::from_parameter(patterns), |bencher| {
            bencher.iter(|| black_box(filter.decide(&mut browser) == Decision::Allow))
        });
    }
    group.finish();
}

criterion_group!(benches, user_agents);
criterion_main!(benches);
