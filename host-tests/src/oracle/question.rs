//! Random requests.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::Result;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fields::{Attribute, Field};
use super::policy_set::PolicySet;

/// A request and the connection that it comes by.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Question {
    /// The connection.
    pub caller: Caller,
    /// The method.
    pub method: String,
    /// The authority.
    pub host: String,
    /// The path with its query.
    pub path: String,
    /// Further headers, repeated ones too.
    pub headers: Vec<(String, String)>,
    /// A token, if there is one.
    pub token: Option<Token>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Caller {
    /// The client's certificate.
    pub peer: Peer,
    /// The server name of its TLS.
    pub server_name: Option<String>,
    /// The address that it connects from.
    pub direct: Ipv4Addr,
    /// The client's address, by the PROXY protocol.
    pub source: String,
    /// The address and port that it was connected to, likewise; of the same family.
    pub destination: (String, u16),
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Peer {
    /// It speaks plaintext.
    Plaintext,
    /// It speaks TLS and presents no certificate.
    NoCertificate,
    /// Its certificate has this SPIFFE ID, written without the scheme.
    Spiffe(String),
    /// Its certificate has this URI.
    Uri(String),
    /// Its certificate has this DNS name alone.
    Dns(String),
    /// Its certificate is of an authority that nobody trusts and has this SPIFFE ID.
    Untrusted(String),
}

/// A token's claims, each as JSON; `roles` is within `realm`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Token {
    /// By name.
    pub claims: BTreeMap<String, String>,
    /// Whether its signature is of an issuer that nobody trusts.
    pub forged: bool,
}

impl Token {
    /// The payload.
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

impl Default for Question {
    /// The plainest request there is, which shrinking leads to.
    fn default() -> Self {
        let caller = Caller {
            peer: Peer::Plaintext,
            server_name: None,
            direct: Ipv4Addr::LOCALHOST,
            source: "198.51.100.1".to_owned(),
            destination: ("192.0.2.1".to_owned(), 443),
        };
        let text = str::to_owned;
        Self {
            caller,
            method: text("GET"),
            host: text("shop.example"),
            path: text("/"),
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
const SOURCES: [&str; 4] = ["198.51.100.1", "10.1.2.3", "10.9.9.9", "2001:db8::5"];
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
/// Paths with bytes that Envoy's templates do not take.
const PATHS_BEYOND_TEMPLATES: [&str; 2] = ["/orders/1|2", "/admin/\"x\"/items"];
const ROLES: [&str; 9] =
    ["admin", "user", "", "administrator", "Admin", "admin,user", " admin\t", "user, admin", "guest,  user"];
const ISSUERS: [&str; 4] =
    [r#""https://accounts.example""#, r#""accounts""#, r#""""#, r#""https://accounts.example/team""#];
const SUBJECTS: [&str; 4] = [r#""ann""#, r#""bob""#, r#""team/ann""#, "7"];
const CLAIMS: [&str; 9] = [
    r#""admin""#,
    r#""user""#,
    r#"["admin","user"]"#,
    r#"["user"]"#,
    "[]",
    r#""""#,
    "1",
    "true",
    r#"{"admin":"admin"}"#,
];

fn some<'a>(of: &[&'a str], random: &mut Rng) -> &'a str {
    random.choice(of.iter().copied()).unwrap_or_default()
}

fn often(random: &mut Rng) -> bool {
    random.usize(..3) > 0
}

impl Caller {
    /// A connection; half of the time it is one that a rule of `set` asks for.
    pub fn random(set: &PolicySet, random: &mut Rng) -> Self {
        let nobody = [Peer::Plaintext, Peer::NoCertificate, Peer::Dns("web.example".to_owned())];
        let others = if set.asks_for_any_principal() { 2 } else { 3 };
        let peer = match random.usize(..5) {
            0 => random.choice(nobody.into_iter().take(others)).unwrap_or(Peer::Plaintext),
            _ => Peer::Spiffe(some(&PEERS, random).to_owned()),
        };
        let mut caller = Self { peer, ..Question::default().caller };
        caller.direct = some(&DIRECT, random).parse().unwrap_or(Ipv4Addr::LOCALHOST);
        caller.server_name = often(random).then(|| some(&SERVER_NAMES, random).to_owned());
        caller.come_from(some(&SOURCES, random), random);
        caller.destination.1 = random.choice(PORTS).unwrap_or_default();
        if random.bool() {
            for (field, value, negated) in set.some_rule(random) {
                if let Some(witness) = field.witness(value).filter(|_| !negated) {
                    caller.satisfy(field, witness, random);
                }
            }
        }
        if caller.peer == Peer::Plaintext {
            caller.server_name = None;
        }
        caller
    }

    fn come_from(&mut self, source: &str, random: &mut Rng) {
        source.clone_into(&mut self.source);
        let destinations: &[&str] =
            if source.contains(':') { &["2001:db8::1", "2001:db8:9::1"] } else { &["192.0.2.1", "192.0.2.9"] };
        some(destinations, random).clone_into(&mut self.destination.0);
    }

    fn satisfy(&mut self, field: &Field, witness: &str, random: &mut Rng) {
        match field.attribute {
            Attribute::Peer => self.peer = Peer::Spiffe(witness.to_owned()),
            Attribute::Direct => self.direct = witness.parse().unwrap_or(self.direct),
            Attribute::Remote if !witness.starts_with("::ffff") => self.come_from(witness, random),
            Attribute::Destination => {
                let source = if witness.contains(':') { "2001:db8::5" } else { "198.51.100.1" };
                self.come_from(source, random);
                witness.clone_into(&mut self.destination.0);
            }
            Attribute::Port => self.destination.1 = witness.parse().unwrap_or(self.destination.1),
            Attribute::ServerName => self.server_name = Some(witness.to_owned()),
            _ => {}
        }
    }
}

impl Question {
    /// A request by this connection; half of the time it is one that a rule of `set` asks for.
    pub fn random(caller: &Caller, set: &PolicySet, random: &mut Rng) -> Self {
        let text = |of: &[&str], random: &mut Rng| some(of, random).to_owned();
        let mut question = Self { caller: caller.clone(), ..Self::default() };
        question.method = text(&METHODS, random);
        question.host = text(&HOSTS, random);
        question.path = match random.usize(..10) {
            0 if !set.guards_by_template() => text(&PATHS_BEYOND_TEMPLATES, random),
            _ => text(&PATHS, random),
        };
        for name in ["x-role", "x-team"] {
            // Several values that are alike are one, to both.
            let value = text(&ROLES, random);
            let times = random.choice([0, 1, 1, 2]).filter(|times| *times < 2 || !value.contains(',')).unwrap_or(1);
            question.headers.extend((0..times).map(|_| (name.to_owned(), value.clone())));
        }
        if random.bool() {
            question.headers.push(("x-forwarded-for".to_owned(), text(&FORWARDED, random)));
        }
        if often(random) {
            let mut claims = BTreeMap::new();
            for (name, values) in [
                ("iss", &ISSUERS[..]),
                ("sub", &SUBJECTS),
                ("aud", &CLAIMS),
                ("azp", &CLAIMS),
                ("group", &CLAIMS),
                ("roles", &CLAIMS),
            ] {
                if often(random) {
                    claims.insert(name.to_owned(), text(values, random));
                }
            }
            question.token = Some(Token { claims, forged: random.usize(..8) == 0 });
        }
        if random.bool() {
            for (field, value, negated) in set.some_rule(random) {
                match field.witness(value) {
                    Some(witness) if !negated => question.satisfy(field, witness),
                    _ => {}
                }
            }
        }
        question
    }

    fn satisfy(&mut self, field: &Field, witness: &str) {
        match field.attribute {
            Attribute::Method => witness.clone_into(&mut self.method),
            Attribute::Host => witness.clone_into(&mut self.host),
            Attribute::Path => witness.clone_into(&mut self.path),
            Attribute::Remote => self.set_header("x-forwarded-for", witness),
            Attribute::Header(name) => self.set_header(name, witness),
            Attribute::Claim(name) => self.set_claim(name, witness.to_owned()),
            Attribute::RequestPrincipal => {
                if let Some((issuer, subject)) = witness.split_once(' ') {
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
