//! Probes: requests, random ones among them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::Result;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fields::{Attribute, Field};
use super::policy_set::PolicySet;

/// A request and its connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Probe {
    /// The connection.
    pub caller: Caller,
    /// The method.
    pub method: String,
    /// The authority.
    pub host: String,
    /// The path with its query.
    pub path: String,
    /// Further headers; names may be repeated.
    pub headers: Vec<(String, String)>,
    /// The JWT, if there is one.
    pub token: Option<Token>,
}

/// A client and its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Caller {
    /// The client's identity.
    pub peer: Peer,
    /// The SNI.
    pub server_name: Option<String>,
    /// The address of the direct peer.
    pub direct_address: Ipv4Addr,
    /// The client's address, sent by the PROXY protocol.
    pub source: String,
    /// The destination address and port, sent likewise; the address has the family of `source`.
    pub destination: (String, u16),
}

/// The identity of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Peer {
    /// A plaintext connection.
    Plaintext,
    /// TLS without a client certificate.
    NoCertificate,
    /// A certificate with this SPIFFE ID, written without the scheme.
    Spiffe(String),
    /// A certificate with this URI SAN.
    Uri(String),
    /// A certificate with this DNS SAN alone.
    Dns(String),
    /// A certificate with this SPIFFE ID, signed by an authority that Envoy does not trust.
    Untrusted(String),
}

/// A JWT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Token {
    /// The claims, each as JSON, by name; `roles` is the claim `realm.roles`.
    pub claims: BTreeMap<String, String>,
    /// True if it is signed by an issuer that Envoy does not trust.
    pub forged: bool,
}

impl Token {
    /// Returns the payload.
    pub fn payload(&self) -> Result<Value> {
        let mut payload = json!({});
        for (name, claim) in &self.claims {
            let claim: Value = serde_json::from_str(claim)?;
            if let Value::Object(keys) = &mut payload {
                match name.as_str() {
                    "roles" => keys.insert("realm".to_owned(), json!({"roles": claim})),
                    _ => keys.insert(name.clone(), claim),
                };
            }
        }
        Ok(payload)
    }
}

impl Default for Probe {
    /// Returns the plainest request, to which shrinking leads.
    fn default() -> Self {
        let caller = Caller {
            peer: Peer::Plaintext,
            server_name: None,
            direct_address: Ipv4Addr::LOCALHOST,
            source: "198.51.100.1".to_owned(),
            destination: ("192.0.2.1".to_owned(), 443),
        };
        let string = str::to_owned;
        Self {
            caller,
            method: string("GET"),
            host: string("shop.example"),
            path: string("/"),
            headers: Vec::new(),
            token: None,
        }
    }
}

const PEERS: [&str; 8] = [
    "cluster.local/ns/shop/sa/web",
    "cluster.local/ns/shop/sa/cart",
    "cluster.local/ns/shop/sa/a.b",
    "cluster.local/ns/pay/sa/web",
    "other.example/ns/shop/sa/web",
    "old.example/ns/shop/sa/cart",
    "cluster.local/billing",
    "prod.example/team/ns/shop/sa/web",
];
const DIRECT: [&str; 4] = ["127.0.0.1", "127.0.0.2", "127.0.1.7", "127.0.1.6"];
const SOURCES: [&str; 5] = ["198.51.100.1", "10.1.2.3", "10.9.9.9", "2001:db8::5", "::ffff:10.1.2.3"];
const FORWARDED: [&str; 6] = [
    "10.1.2.3",
    "10.1.2.3, 198.51.100.7",
    "198.51.100.7, 10.9.9.9",
    "2001:db8::5",
    "::ffff:10.1.2.3",
    "not an address",
];
const PORTS: [u16; 3] = [443, 8080, 65535];
const SERVER_NAMES: [&str; 3] = ["shop.example", "pay.example", "shop.internal"];
const METHODS: [&str; 7] = ["GET", "POST", "PATCH", "DELETE", "PROPFIND", "get", "Patch"];
const HOSTS: [&str; 7] =
    ["shop.example", "SHOP.example", "shop.example:8080", "pay.example", "shop", "pay.example.", "shop.example.:80"];
const PATHS: [&str; 26] = [
    "/",
    "/orders",
    "/orders?x=/admin",
    "/orders/",
    "/orders/1",
    "/orders/1/",
    "/orders/1/items",
    "/orders/1/items?a",
    "/orders/1/items/2",
    "/orders//items",
    "/orders/a=b%20c",
    "/admin",
    "/admin/",
    "/admin//x",
    "/Orders",
    "/orders/%31",
    "/%61dmin",
    "/orders/caf%c3%a9",
    "/orders/../admin",
    "/x/%2e%2e/admin",
    "//admin",
    "/orders;v=1",
    "/orders/..;/admin",
    "/admin%2fx",
    "/group%2Fproject/1",
    "/orders/1/./items?/../a",
];
/// Paths with characters that Envoy's path templates do not match.
const PATHS_BEYOND_TEMPLATES: [&str; 2] = ["/orders/1|2", "/admin/\"x\"/items"];
const ROLES: [&str; 9] =
    ["admin", "user", "", "administrator", "Admin", "admin,user", " admin\t", "user, admin", "guest,  user"];
const ISSUERS: [&str; 4] =
    [r#""https://accounts.example""#, r#""accounts""#, r#""""#, r#""https://accounts.example/team""#];
const SUBJECTS: [&str; 4] = [r#""ann""#, r#""bob""#, r#""team/ann""#, "7"];
const CLAIMS: [&str; 13] = [
    r#""admin""#,
    r#""user""#,
    r#"["admin","user"]"#,
    r#"["user"]"#,
    "[]",
    r#""""#,
    "1",
    "true",
    "false",
    "1000",
    r#"[1,"user"]"#,
    "-1.0",
    r#"{"admin":"admin"}"#,
];

fn pick<'a>(values: &[&'a str], random: &mut Rng) -> &'a str {
    random.choice(values.iter().copied()).unwrap_or_default()
}

/// Returns true in two of three cases.
fn likely(random: &mut Rng) -> bool {
    random.usize(..3) > 0
}

impl Caller {
    /// Generates a connection; half of them satisfy a rule of `set`.
    pub fn random(set: &PolicySet, random: &mut Rng) -> Self {
        let unauthenticated = [Peer::Plaintext, Peer::NoCertificate, Peer::Dns("web.example".to_owned())];
        let kinds = if set.matches_any_principal() { 2 } else { 3 };
        let peer = match random.usize(..5) {
            0 => random.choice(unauthenticated.into_iter().take(kinds)).unwrap_or(Peer::Plaintext),
            _ => Peer::Spiffe(pick(&PEERS, random).to_owned()),
        };
        let mut caller = Self { peer, ..Probe::default().caller };
        caller.direct_address = pick(&DIRECT, random).parse().unwrap_or(Ipv4Addr::LOCALHOST);
        caller.server_name = likely(random).then(|| pick(&SERVER_NAMES, random).to_owned());
        caller.set_source(pick(&SOURCES, random), random);
        caller.destination.1 = random.choice(PORTS).unwrap_or_default();
        if random.bool() {
            for (field, value, negated) in set.random_rule_terms(random) {
                if let Some(example) = field.example(value).filter(|_| !negated) {
                    caller.satisfy(field, example, random);
                }
            }
        }
        if caller.peer == Peer::Plaintext {
            caller.server_name = None;
        }
        caller
    }

    /// Sets the source, and a destination of the same address family.
    fn set_source(&mut self, source: &str, random: &mut Rng) {
        source.clone_into(&mut self.source);
        let destinations: &[&str] =
            if source.contains(':') { &["2001:db8::1", "2001:db8:9::1"] } else { &["192.0.2.1", "192.0.2.9"] };
        pick(destinations, random).clone_into(&mut self.destination.0);
    }

    /// Sets the attribute of `field`, if the connection has it, to `example`.
    fn satisfy(&mut self, field: &Field, example: &str, random: &mut Rng) {
        match field.attribute {
            Attribute::Peer => self.peer = Peer::Spiffe(example.to_owned()),
            Attribute::Direct => self.direct_address = example.parse().unwrap_or(self.direct_address),
            Attribute::Remote => self.set_source(example, random),
            Attribute::Destination => {
                let source = if example.contains(':') { "2001:db8::5" } else { "198.51.100.1" };
                self.set_source(source, random);
                example.clone_into(&mut self.destination.0);
            }
            Attribute::Port => self.destination.1 = example.parse().unwrap_or(self.destination.1),
            Attribute::ServerName => self.server_name = Some(example.to_owned()),
            _ => {}
        }
    }
}

impl Probe {
    /// Generates a request on this connection; half of them satisfy a rule of `set`.
    pub fn random(caller: &Caller, set: &PolicySet, random: &mut Rng) -> Self {
        let string = |values: &[&str], random: &mut Rng| pick(values, random).to_owned();
        let mut probe = Self { caller: caller.clone(), ..Self::default() };
        probe.method = string(&METHODS, random);
        probe.host = string(&HOSTS, random);
        probe.path = match random.usize(..10) {
            0 if !set.denies_by_template() => string(&PATHS_BEYOND_TEMPLATES, random),
            _ => string(&PATHS, random),
        };
        for name in ["x-role", "x-team"] {
            // Only equal values are repeated: about others the two filters differ.
            let value = string(&ROLES, random);
            let times = random.choice([0, 1, 1, 2]).filter(|times| *times < 2 || !value.contains(',')).unwrap_or(1);
            probe.headers.extend((0..times).map(|_| (name.to_owned(), value.clone())));
        }
        if random.bool() {
            probe.headers.push(("x-forwarded-for".to_owned(), string(&FORWARDED, random)));
        }
        if likely(random) {
            let mut claims = BTreeMap::new();
            for (name, values) in [
                ("iss", &ISSUERS[..]),
                ("sub", &SUBJECTS),
                ("aud", &CLAIMS),
                ("azp", &CLAIMS),
                ("group", &CLAIMS),
                ("roles", &CLAIMS),
            ] {
                if likely(random) {
                    claims.insert(name.to_owned(), string(values, random));
                }
            }
            probe.token = Some(Token { claims, forged: random.usize(..8) == 0 });
        }
        if random.bool() {
            for (field, value, negated) in set.random_rule_terms(random) {
                match field.example(value) {
                    Some(example) if !negated => probe.satisfy(field, example),
                    _ => {}
                }
            }
        }
        probe
    }

    /// Sets the attribute of `field`, if it is of the request, to `example`.
    fn satisfy(&mut self, field: &Field, example: &str) {
        match field.attribute {
            Attribute::Method => example.clone_into(&mut self.method),
            Attribute::Host => example.clone_into(&mut self.host),
            Attribute::Path => example.clone_into(&mut self.path),
            Attribute::Remote => self.set_header("x-forwarded-for", example),
            Attribute::Header(name) => self.set_header(name, example),
            Attribute::Claim(name) => self.set_claim(name, example.to_owned()),
            Attribute::RequestPrincipal => {
                if let Some((issuer, subject)) = example.split_once(' ') {
                    self.set_claim("iss", json!(issuer).to_string());
                    self.set_claim("sub", json!(subject).to_string());
                }
            }
            _ => {}
        }
    }

    fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn set_claim(&mut self, name: &str, value: String) {
        let token = self.token.get_or_insert_default();
        token.forged = false;
        token.claims.insert(name.to_owned(), value);
    }
}
