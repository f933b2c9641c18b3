//! `who` of connections against `explain`: random policies of the layer 4 and of HTTP, asked by callers and ports. What is
//! allowed is a row, and a row without conditions is allowed.

use fastrand::Rng;
use sallyport_analysis::{Access, Answer, Caller, Deciders, Layer, Project, Settings, SimulatedRequest, Workload, who};

const CALLERS: [&str; 3] =
    ["cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/batch", "cluster.local/ns/guests/sa/web"];

const PORTS: [u16; 2] = [5432, 3306];

const SOURCES: [&str; 7] = [
    "principals: [cluster.local/ns/shop/sa/web]",
    "principals: ['*/sa/web']",
    "namespaces: [shop]",
    "notNamespaces: [guests]",
    "ipBlocks: [10.0.0.0/8]",
    "requestPrincipals: ['*']",
    "namespaces: [guests], requestPrincipals: ['*']",
];

const OPERATIONS: [&str; 5] =
    ["ports: ['5432']", "notPorts: ['5432']", "methods: [GET]", "paths: [/a], ports: ['3306']", "hosts: [a.test]"];

const CONDITIONS: [&str; 3] = [
    "{key: 'request.headers[x-a]', values: [b]}",
    "{key: connection.sni, values: [db.shop]}",
    "{key: source.namespace, values: [shop]}",
];

/// Returns some items of a list, joined by `form`.
fn some(random: &mut Rng, items: &[&str], form: impl Fn(&str) -> String) -> Vec<String> {
    let count = random.usize(0..3);
    (0..count).filter_map(|_| random.choice(items).map(|item| form(item))).collect()
}

fn rule(random: &mut Rng) -> String {
    let parts = [
        ("from", some(random, &SOURCES, |source| format!("{{source: {{{source}}}}}"))),
        ("to", some(random, &OPERATIONS, |operation| format!("{{operation: {{{operation}}}}}"))),
        ("when", some(random, &CONDITIONS, str::to_owned).into_iter().take(1).collect()),
    ];
    let parts = parts.iter().filter(|(_, items)| !items.is_empty());
    let parts: Vec<String> = parts.map(|(key, items)| format!("{key}: [{}]", items.join(", "))).collect();
    format!("{{{}}}", parts.join(", "))
}

fn policies(random: &mut Rng) -> String {
    // A DENY takes most of what is allowed back.
    let actions: &[&str] = if random.bool() { &["ALLOW", "ALLOW", "DENY"] } else { &["ALLOW", "ALLOW"] };
    let policy = |(number, action): (usize, &&str)| {
        let rules: Vec<String> = (0..random.usize(1..3)).map(|_| rule(random)).collect();
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{number}, namespace: shop}}\nspec: {{action: {action}, rules: [{}]}}\n---\n",
            rules.join(", ")
        )
    };
    actions.iter().enumerate().map(policy).collect()
}

/// Reports whether a row can be for a port, and whether nothing else is asked.
fn is_for(row: &Access, port: u16) -> bool {
    row.ports.is_empty() || row.ports.contains(&port.to_string())
}

fn is_open(row: &Access) -> bool {
    row.conditions.is_empty() && !row.from.starts_with("address ")
}

#[test]
fn rows_of_connections_are_what_is_allowed() {
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let (mut allowed, mut denied, mut open) = (0, 0, 0);
    for _ in 0..400 {
        let text = policies(&mut random);
        let workload = Workload { namespace: "shop".to_owned(), labels: Some(Vec::new()), ..Workload::default() };
        let settings = Settings { workload: Some(workload), layer: Layer::Tcp, ..Settings::default() };
        let mut project = Project::new(settings);
        project.add("p.yaml", &text);
        let contents = project.contents();
        let deciders = Deciders::for_identity(&project, &contents)
            .unwrap_or_else(|findings| panic!("seed {seed}\n{text}{findings:#?}"));
        for caller in CALLERS {
            let id = format!("spiffe://{caller}");
            let rows = who(&project, Some(&id));
            assert!(rows.iter().all(|row| row.methods.is_empty() && row.paths.is_empty() && row.hosts.is_empty()));
            for port in PORTS {
                let request = SimulatedRequest {
                    caller: Caller { certificate: Some(vec![id.clone()]), ..Caller::default() },
                    is_connection: true,
                    port: Some(port),
                    source_ip: "10.0.0.7".parse().ok(),
                    server_name: Some(b"db.shop".to_vec()),
                    ..SimulatedRequest::default()
                };
                let is_allowed = deciders.explain(&request).answer == Answer::Allowed;
                let rows: Vec<&Access> = rows.iter().filter(|row| is_for(row, port)).collect();
                let place = format!("seed {seed}, {caller} to {port}\n{text}{rows:#?}");
                assert!(!is_allowed || !rows.is_empty(), "explain allows it, and who has no row: {place}");
                let is_listed = rows.iter().any(|row| is_open(row));
                assert!(is_allowed || !is_listed, "who lists it, and explain denies it: {place}");
                allowed += usize::from(is_allowed);
                denied += usize::from(!is_allowed);
                open += usize::from(is_listed);
            }
        }
    }
    assert!(
        allowed > 100 && denied > 100 && open > 20,
        "{allowed} allowed, {denied} denied, {open} without conditions"
    );
}
