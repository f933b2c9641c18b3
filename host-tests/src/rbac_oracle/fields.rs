//! The fields of a policy, with sample values of each kind of matcher and, for each value, an example that it matches.

/// The section of a rule that a field is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Source,
    Operation,
    When,
}

/// The attribute of a request that a field is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    /// The SPIFFE ID of the certificate, without its scheme.
    Peer,
    /// A claim, as JSON.
    Claim(&'static str),
    /// The claims `iss` and `sub`, as plain text with a blank between.
    RequestPrincipal,
    /// The address of the direct peer.
    Direct,
    /// The client's address as earlier proxies report it.
    Remote,
    Destination,
    Port,
    ServerName,
    Method,
    Host,
    Path,
    Header(&'static str),
    /// Metadata that is the same for every request.
    Fixed,
}

/// A field and sample values for it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) section: Section,
    /// Its name, or the key of a condition.
    pub(super) name: &'static str,
    /// The name of its negation, as in `notPaths`; empty for conditions, which have `values` and `notValues`.
    pub(super) negated_name: &'static str,
    pub(super) attribute: Attribute,
    /// Sample values, each with an example that it matches; empty if no request does.
    pub(super) samples: &'static [(&'static str, &'static str)],
}

impl Field {
    const fn source(
        name: &'static str,
        negated_name: &'static str,
        attribute: Attribute,
        samples: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { section: Section::Source, name, negated_name, attribute, samples }
    }

    const fn operation(
        name: &'static str,
        negated_name: &'static str,
        attribute: Attribute,
        samples: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { section: Section::Operation, name, negated_name, attribute, samples }
    }

    const fn when(name: &'static str, attribute: Attribute, samples: &'static [(&'static str, &'static str)]) -> Self {
        Self { section: Section::When, name, negated_name: "", attribute, samples }
    }

    /// Returns the example for a sample value, if there is one.
    pub(super) fn example(&self, value: &str) -> Option<&'static str> {
        let sample = self.samples.iter().find(|(known, _)| *known == value);
        sample.map(|(_, example)| *example).filter(|example| !example.is_empty())
    }

    /// Returns true if a TCP connection has the field's attribute.
    pub(super) fn applies_to_tcp(&self) -> bool {
        match self.attribute {
            Attribute::Peer
            | Attribute::Direct
            | Attribute::Remote
            | Attribute::Destination
            | Attribute::Port
            | Attribute::ServerName => true,
            Attribute::Claim(_)
            | Attribute::RequestPrincipal
            | Attribute::Method
            | Attribute::Host
            | Attribute::Path
            | Attribute::Header(_)
            | Attribute::Fixed => false,
        }
    }

    /// Returns the kind of matcher that a value makes.
    pub(super) fn kind(&self, value: &str) -> &'static str {
        let is_block = matches!(self.attribute, Attribute::Direct | Attribute::Remote | Attribute::Destination);
        let bare = value.trim_matches(['[', ']']);
        match bare.bytes().filter(|byte| *byte == b'*').count() {
            _ if is_block && value.contains('/') => "block",
            _ if value.contains("{**}") => "template {**}",
            _ if value.contains("{*}") => "template {*}",
            0 => "exact",
            _ if bare == "*" => "any",
            1 if bare.starts_with('*') => "suffix",
            1 if bare.ends_with('*') => "prefix",
            1 if bare.contains("/*") || bare.contains("*/") => "prefix",
            _ => "inner star",
        }
    }
}

const PRINCIPALS: &[(&str, &str)] = &[
    ("*", "cluster.local/ns/shop/sa/web"),
    ("cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/web"),
    ("cluster.local/ns/pay/sa/web", "cluster.local/ns/pay/sa/web"),
    ("other.example/ns/shop/sa/web", "other.example/ns/shop/sa/web"),
    ("prod.example/ns/shop/sa/cart", "old.example/ns/shop/sa/cart"),
    ("cluster.local/billing", "cluster.local/billing"),
    ("cluster.local/ns/shop/*", "cluster.local/ns/shop/sa/cart"),
    ("cluster.local/*", "cluster.local/billing"),
    ("prod.example/*", "old.example/ns/shop/sa/cart"),
    ("old.example/ns/*", "prod.example/ns/shop/sa/cart"),
    ("prod.example/team/ns/shop/sa/web", "old.example/team/ns/shop/sa/web"),
    ("*/ns/shop/sa/web", "other.example/ns/shop/sa/web"),
    ("*.example/ns/shop/sa/web", "other.example/ns/shop/sa/web"),
    ("*/sa/web", "cluster.local/ns/pay/sa/web"),
    ("*web", "prod.example/team/ns/shop/sa/web"),
    ("*.b", "cluster.local/ns/shop/sa/a.b"),
];

const NAMESPACES: &[(&str, &str)] = &[
    ("*", "cluster.local/ns/pay/sa/web"),
    ("shop", "cluster.local/ns/shop/sa/web"),
    ("pay", "cluster.local/ns/pay/sa/web"),
    ("sh*", "cluster.local/ns/shop/sa/cart"),
    ("*op", "other.example/ns/shop/sa/web"),
    ("*ho*", "cluster.local/ns/shop/sa/cart"),
    ("s*p", "cluster.local/ns/shop/sa/web"),
    ("s.op", ""),
];

const SERVICE_ACCOUNTS: &[(&str, &str)] = &[
    ("shop/web", "prod.example/team/ns/shop/sa/web"),
    ("pay/web", "cluster.local/ns/pay/sa/web"),
    ("cart", "cluster.local/ns/shop/sa/cart"),
    ("shop/a.b", "cluster.local/ns/shop/sa/a.b"),
];

const TRUST_DOMAINS: &[(&str, &str)] = &[
    ("*", "other.example/ns/shop/sa/web"),
    ("cluster.local", "cluster.local/billing"),
    ("prod.example", "prod.example/team/ns/shop/sa/web"),
    ("old.example", "old.example/ns/shop/sa/cart"),
    ("*.example", "other.example/ns/shop/sa/web"),
    ("cluster.*", "cluster.local/ns/pay/sa/web"),
];

const REQUEST_PRINCIPALS: &[(&str, &str)] = &[
    ("*", "https://accounts.example bob"),
    ("https://accounts.example/ann", "https://accounts.example ann"),
    ("https://accounts.example/team/ann", ""),
    ("accounts/bob", "accounts bob"),
    ("https://accounts.example/*", "https://accounts.example bob"),
    ("https://accounts.example/a*", "https://accounts.example ann"),
    ("*/ann", "accounts ann"),
    ("*.example/ann", "https://accounts.example ann"),
    ("*nn", "accounts team/ann"),
    ("acc*", "accounts bob"),
];

const CLAIMS: &[(&str, &str)] = &[
    ("*", r#"["user"]"#),
    ("admin", r#""admin""#),
    ("user", r#"["admin","user"]"#),
    ("ad*", r#"["user","admin"]"#),
    ("*min", r#""admin""#),
    ("1", "1"),
    ("true", r#"["user",true]"#),
    ("1000", "1e3"),
    ("none", ""),
];

const DIRECT: &[(&str, &str)] = &[
    ("127.0.0.1", "127.0.0.1"),
    ("127.0.0.2", "127.0.0.2"),
    ("127.0.1.0/24", "127.0.1.7"),
    ("127.0.0.0/8", "127.0.0.1"),
    ("127.0.1.7/31", "127.0.1.7"),
    ("10.0.0.0/8", ""),
    ("0.0.0.0/0", "127.0.0.1"),
    ("::/0", ""),
];

const REMOTE: &[(&str, &str)] = &[
    ("10.1.2.3", "10.1.2.3"),
    ("10.0.0.0/8", "10.9.9.9"),
    ("10.1.2.0/24", "::ffff:10.1.2.3"),
    ("::ffff:10.1.2.3", "10.1.2.3"),
    ("::ffff:10.0.0.0/104", "10.9.9.9"),
    ("2001:db8::/32", "2001:db8::5"),
    ("2001:db8::5", "2001:db8::5"),
    ("0.0.0.0/0", "::ffff:10.9.9.9"),
    ("::/0", "2001:db8::5"),
    ("::ffff:0:0/96", "::ffff:10.1.2.3"),
    ("::ffff:0:0/80", ""),
];

const DESTINATION: &[(&str, &str)] = &[
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.0/24", "192.0.2.9"),
    ("2001:db8::/64", "2001:db8::1"),
    ("0.0.0.0/0", "192.0.2.1"),
    ("::/0", "2001:db8::1"),
];

const PORTS: &[(&str, &str)] = &[("443", "443"), ("8080", "8080"), ("65535", "65535"), ("1", "")];

const SERVER_NAMES: &[(&str, &str)] =
    &[("*", "pay.example"), ("shop.example", "shop.example"), ("*.example", "pay.example"), ("shop*", "shop.internal")];

const HOSTS: &[(&str, &str)] = &[
    ("*", "pay.example"),
    ("shop.example", "SHOP.example"),
    ("Shop.Example:8080", "shop.example:8080"),
    ("shop.*", "Shop.Example"),
    ("*.EXAMPLE", "pay.example"),
    ("*:8080", "shop.example:8080"),
];

const METHODS: &[(&str, &str)] =
    &[("*", "DELETE"), ("GET", "GET"), ("POST", "POST"), ("P*", "PATCH"), ("*ET", "GET"), ("PROPFIND", "PROPFIND")];

const PATHS: &[(&str, &str)] = &[
    ("*", "/"),
    ("/orders", "/orders?x=/admin"),
    ("/orders/*", "/orders/1"),
    ("/*", "/admin"),
    ("*/items", "/orders/1/items"),
    ("*items", "/orders/1/items?a"),
    ("/orders/{*}", "/orders/a=b%20c"),
    ("/orders/{*}/items", "/orders/1/items?a"),
    ("/{*}", "/admin"),
    ("/orders/{*}/", "/orders/1/"),
    ("/{**}", "/"),
    ("/admin/{**}", "/admin/"),
    ("/{**}/items", "/orders/1/items"),
    ("/orders/{*}/{**}", "/orders/1/items/2"),
    ("/{*}/{*}/items", "/orders/1/items"),
    ("/group%2Fproject/*", "/group%2Fproject/1"),
    ("/orders/caf%C3%A9", "/orders/caf%c3%a9"),
    ("/orders;v=1", "/orders;v=1"),
];

const HEADERS: &[(&str, &str)] = &[
    ("*", ""),
    ("admin", "admin"),
    ("ad*", "admin"),
    ("*min", "admin"),
    ("user", "user"),
    ("admin,user", "admin,user"),
];

const TIERS: &[(&str, &str)] = &[("*", ""), ("gold", ""), ("go*", ""), ("*ld", ""), ("silver", ""), ("[gold]", "")];
const REGIONS: &[(&str, &str)] = &[("[*]", ""), ("[eu]", ""), ("[u*]", ""), ("[*u]", ""), ("[asia]", ""), ("eu", "")];
const WEIGHTS: &[(&str, &str)] = &[("1", ""), ("*", "")];

pub(super) const FIELDS: &[Field] = &[
    Field::source("principals", "notPrincipals", Attribute::Peer, PRINCIPALS),
    Field::source("namespaces", "notNamespaces", Attribute::Peer, NAMESPACES),
    Field::source("serviceAccounts", "notServiceAccounts", Attribute::Peer, SERVICE_ACCOUNTS),
    Field::source("trustDomains", "notTrustDomains", Attribute::Peer, TRUST_DOMAINS),
    Field::source("requestPrincipals", "notRequestPrincipals", Attribute::RequestPrincipal, REQUEST_PRINCIPALS),
    Field::source("ipBlocks", "notIpBlocks", Attribute::Direct, DIRECT),
    Field::source("remoteIpBlocks", "notRemoteIpBlocks", Attribute::Remote, REMOTE),
    Field::operation("hosts", "notHosts", Attribute::Host, HOSTS),
    Field::operation("ports", "notPorts", Attribute::Port, PORTS),
    Field::operation("methods", "notMethods", Attribute::Method, METHODS),
    Field::operation("paths", "notPaths", Attribute::Path, PATHS),
    Field::when("request.headers[x-role]", Attribute::Header("x-role"), HEADERS),
    Field::when("request.headers[X-Team]", Attribute::Header("x-team"), HEADERS),
    Field::when("source.ip", Attribute::Direct, DIRECT),
    Field::when("remote.ip", Attribute::Remote, REMOTE),
    Field::when("source.principal", Attribute::Peer, PRINCIPALS),
    Field::when("source.namespace", Attribute::Peer, NAMESPACES),
    Field::when("source.serviceAccount", Attribute::Peer, SERVICE_ACCOUNTS),
    Field::when("source.trustDomain", Attribute::Peer, TRUST_DOMAINS),
    Field::when("request.auth.principal", Attribute::RequestPrincipal, REQUEST_PRINCIPALS),
    Field::when("request.auth.audiences", Attribute::Claim("aud"), CLAIMS),
    Field::when("request.auth.presenter", Attribute::Claim("azp"), CLAIMS),
    Field::when("request.auth.claims[group]", Attribute::Claim("group"), CLAIMS),
    Field::when("request.auth.claims[realm][roles]", Attribute::Claim("roles"), CLAIMS),
    Field::when("destination.ip", Attribute::Destination, DESTINATION),
    Field::when("destination.port", Attribute::Port, PORTS),
    Field::when("connection.sni", Attribute::ServerName, SERVER_NAMES),
    Field::when("experimental.envoy.filters.http.suite[tier]", Attribute::Fixed, TIERS),
    Field::when("experimental.envoy.filters.http.suite[regions]", Attribute::Fixed, REGIONS),
    Field::when("experimental.envoy.filters.http.suite[weight]", Attribute::Fixed, WEIGHTS),
];

/// A field, whether it is negated, and a kind of matcher.
pub(super) type Term = (&'static Field, bool, &'static str);

/// Returns each term once.
pub(super) fn all_terms() -> Vec<Term> {
    let mut terms: Vec<Term> = Vec::new();
    for field in FIELDS {
        let mut kinds: Vec<_> = field.samples.iter().map(|(value, _)| field.kind(value)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        terms.extend(kinds.into_iter().flat_map(|kind| [(field, false, kind), (field, true, kind)]));
    }
    terms
}
