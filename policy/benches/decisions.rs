//! Cost of a decision under 10, 1,000 and 100,000 rules, and of loading them, without a proxy.
use std::hint::black_box;
use std::net::IpAddr;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sallyport_policy::{
    AttributeError, Decision, EgressAllowlist, EgressRequest, HeaderValues, IdentityAuthz, Peer, Request, SourceMode,
    SpiffeId,
};

const SIZES: [usize; 3] = [10, 1_000, 100_000];
const CALLER: &str = "cluster.local/ns/shop/sa/web";
const HOST: &str = "api.example.com";
const PATH: &str = "/orders/17";

/// A request by the same caller, in or out.
struct Asked(Peer);

impl Request for Asked {
    fn peer(&mut self) -> Result<&Peer, AttributeError> {
        Ok(&self.0)
    }

    fn source_ip(&mut self) -> Result<Option<IpAddr>, AttributeError> {
        Ok(None)
    }

    fn destination_port(&mut self) -> Result<Option<u16>, AttributeError> {
        Ok(Some(443))
    }

    fn server_name(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(HOST.as_bytes()))
    }

    fn method(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(b"GET"))
    }

    fn host(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(HOST.as_bytes()))
    }

    fn path(&mut self) -> Result<Option<&[u8]>, AttributeError> {
        Ok(Some(PATH.as_bytes()))
    }

    fn header(&mut self, _: &str) -> Result<HeaderValues<'_>, AttributeError> {
        Ok(HeaderValues::new())
    }
}

impl EgressRequest for Asked {
    fn is_tls_passthrough(&self) -> bool {
        true
    }
}

fn asked() -> Option<Asked> {
    SpiffeId::parse(format!("spiffe://{CALLER}").as_bytes()).ok().map(|id| Asked(Peer::Authenticated(id)))
}

/// Joins `size` values, the wanted one in the middle.
fn join_values(size: usize, wanted: &str, other: impl Fn(usize) -> String) -> impl Iterator<Item = String> {
    (0..size).map(move |number| if number == size / 2 { wanted.to_owned() } else { other(number) })
}

/// A rule for each, in policies of as many as one may have.
fn resources(action: &str, rules: &[String]) -> String {
    let policy = |(number, rules): (usize, &[String])| {
        format!(
            r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                "metadata": {{"name": "p{number}", "namespace": "shop"}},
                "spec": {{"action": "{action}", "rules": [{}]}}}}"#,
            rules.join(", ")
        )
    };
    let policies: Vec<_> = rules.chunks(512).enumerate().map(policy).collect();
    format!(r#"{{"defaultAction": "ALLOW", "resources": [{}]}}"#, policies.join(", "))
}

/// A configuration of so many rules.
type Configuration = fn(usize) -> String;

/// Configurations of `identity-authz` that let the request in.
const SHAPES: [(&str, Configuration); 4] = [
    ("principals", |size| {
        let principals = join_values(size, CALLER, |number| format!("cluster.local/ns/shop/sa/caller-{number}"));
        let rule = |principal| format!(r#"{{"from": [{{"source": {{"principals": ["{principal}"]}}}}]}}"#);
        resources("ALLOW", &principals.map(rule).collect::<Vec<_>>())
    }),
    ("principals with method and path", |size| {
        let principals = join_values(size, CALLER, |number| format!("cluster.local/ns/shop/sa/caller-{number}"));
        let to = format!(r#""to": [{{"operation": {{"methods": ["GET"], "paths": ["{PATH}"]}}}}]"#);
        let rule = |principal| format!(r#"{{"from": [{{"source": {{"principals": ["{principal}"]}}}}], {to}}}"#);
        resources("ALLOW", &principals.map(rule).collect::<Vec<_>>())
    }),
    ("paths under one principal", |size| {
        let paths = join_values(size, PATH, |number| format!("/things/{number}"));
        let from = format!(r#""from": [{{"source": {{"principals": ["{CALLER}"]}}}}]"#);
        let rule = |path| format!(r#"{{{from}, "to": [{{"operation": {{"paths": ["{path}"]}}}}]}}"#);
        resources("ALLOW", &paths.map(rule).collect::<Vec<_>>())
    }),
    ("not one path each, nor the wanted one", |size| {
        let rule = |number| format!(r#"{{"to": [{{"operation": {{"notPaths": ["/things/{number}", "{PATH}"]}}}}]}}"#);
        resources("DENY", &(0..size).map(rule).collect::<Vec<_>>())
    }),
];

fn identity_authz(criterion: &mut Criterion) {
    for (shape, configuration) in SHAPES {
        let mut group = criterion.benchmark_group(format!("identity-authz, {shape}"));
        for size in SIZES {
            let json = configuration(size);
            let (Ok(loaded), Some(mut request)) = (IdentityAuthz::parse(json.as_bytes()), asked()) else {
                unreachable!("{shape} of {size} is refused")
            };
            assert_eq!(loaded.policy().decide(&mut request), Decision::Allow, "{shape} of {size}");
            group.bench_function(BenchmarkId::new("decide", size), |bencher| {
                bencher.iter(|| black_box(loaded.policy().decide(&mut request) == Decision::Allow))
            });
        }
        group.finish();
    }
}

fn egress_allowlist(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("egress-allowlist, hosts");
    for size in SIZES {
        let hosts = join_values(size, HOST, |number| format!("api-{number}.example.com"));
        let rule = |(number, host)| format!(r#"{{"name": "r{number}", "hosts": ["{host}"]}}"#);
        let json = format!(r#"{{"rules": [{}]}}"#, hosts.enumerate().map(rule).collect::<Vec<_>>().join(", "));
        let (Ok(loaded), Some(mut request)) = (EgressAllowlist::parse(json.as_bytes()), asked()) else {
            unreachable!("{size} hosts are refused")
        };
        assert_eq!(loaded.policy().decide(SourceMode::Enforce, &mut request), Decision::Allow, "{size} hosts");
        group.bench_function(BenchmarkId::new("decide", size), |bencher| {
            bencher.iter(|| black_box(loaded.policy().decide(SourceMode::Enforce, &mut request) == Decision::Allow))
        });
    }
    group.finish();
}

fn loading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loading");
    for (shape, configuration) in SHAPES {
        let json = configuration(1_000);
        group.throughput(Throughput::Elements(1_000));
        group.bench_function(BenchmarkId::new(shape, 1_000), |bencher| {
            bencher.iter(|| black_box(IdentityAuthz::parse(json.as_bytes()).is_ok()))
        });
    }
    group.finish();
}

criterion_group!(benches, identity_authz, egress_allowlist, loading);
criterion_main!(benches);
