//! The match fields of the policy language: one module a field, with its value type, its index and its lookup.
//!
//! This file is the one list of them. A new field gets a module, a variant of [`FieldKind`] at the place of its cost, a
//! variant of [`Values`] and a line in each `match` here; the compiler names every place that lacks it.

/// Numbers and prints a pattern as the text that it holds.
macro_rules! string_pattern_newtype {
    ($pattern:ty) => {
        impl AsRef<crate::matcher::string_pattern::StringPattern> for $pattern {
            fn as_ref(&self) -> &crate::matcher::string_pattern::StringPattern {
                &self.0
            }
        }

        impl std::fmt::Display for $pattern {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

#[cfg(test)]
mod definition;
pub(crate) mod header;
pub(crate) mod host;
pub(crate) mod ip_block;
pub(crate) mod metadata;
pub(crate) mod method;
pub(crate) mod namespace;
pub(crate) mod path;
pub(crate) mod port;
pub(crate) mod principal;
pub(crate) mod request_principal;
pub(crate) mod server_name;
pub(crate) mod service_account;
pub(crate) mod time;
pub(crate) mod trust_domain;

use std::fmt;
use std::hash::Hash;

use request_principal::RequestPrincipal;

use crate::attributes::jwt_claims::ClaimSource;
use crate::attributes::names::{HeaderName, MetadataKey};
use crate::attributes::readings::{self, path::PathReadings};
use crate::attributes::request::{Request, without_query};
use crate::attributes::wording::describe_reading;
use crate::authz::fields::header::{HeaderIndex, HeaderPattern, HeaderSyntax};
use crate::authz::fields::host::HostPattern;
use crate::authz::fields::ip_block::IpBlock;
use crate::authz::fields::metadata::MetadataPattern;
use crate::authz::fields::method::MethodPattern;
use crate::authz::fields::namespace::NamespacePattern;
use crate::authz::fields::path::PathPattern;
use crate::authz::fields::port::Port;
use crate::authz::fields::principal::PrincipalPattern;
use crate::authz::fields::request_principal::RequestPrincipalPattern;
use crate::authz::fields::server_name::ServerNamePattern;
use crate::authz::fields::service_account::ServiceAccount;
use crate::authz::fields::time::TimeWindow;
use crate::authz::fields::trust_domain::TrustDomainPattern;
use crate::collections::map::OrderedMap;
use crate::collections::sort::sort_by;
#[cfg(test)]
use crate::identity::error::AttributeError;
use crate::identity::error::EvalError;
use crate::matcher::clause::Condition;
#[cfg(test)]
use crate::matcher::clause::Quantifier;
use crate::matcher::field_match::{FieldMatch, missing_index, position};
use crate::matcher::readings_index::ReadingsIndex;
use crate::matcher::string_index::{LiteralPrefix, StringIndex};
use crate::matcher::value_ids::{Interner, StringInterner, ValueId};
#[cfg(test)]
use std::net::IpAddr;

/// A match field: two numbers, which are quick to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Field {
    pub(crate) kind: FieldKind,
    /// Which of its kind: headers and values of metadata are numbered in the order of first mention, of the others there
    /// is one.
    number: u32,
}

/// What a match field is of, in the order of what it costs to know: what belongs to the connection before what belongs to
/// the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FieldKind {
    Principal,
    Namespace,
    ServiceAccount,
    TrustDomain,
    SourceIp,
    RemoteIp,
    DestinationIp,
    Port,
    ServerName,
    Time,
    Method,
    Host,
    Path,
    Header,
    RequestPrincipal,
    Metadata,
}

impl From<FieldKind> for Field {
    fn from(kind: FieldKind) -> Self {
        Self { kind, number: 0 }
    }
}

/// Whose address is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// The peer of the connection, whatever a request says of addresses.
    Source,
    /// The client, as the proxy finds it out: by `X-Forwarded-For` or the PROXY protocol where it trusts them.
    Remote,
    /// What the connection was addressed to, on the proxy's side.
    Destination,
}

#[cfg(test)]
impl Address {
    fn of<R: Request + ?Sized>(self, request: &mut R) -> Result<Option<IpAddr>, AttributeError> {
        match self {
            Self::Source => request.source_ip(),
            Self::Remote => request.remote_ip(),
            Self::Destination => request.destination_ip(),
        }
    }
}

impl FieldKind {
    /// Whether it is the same for all requests of one connection: what the handshake has fixed.
    pub(crate) fn is_of_the_connection(self) -> bool {
        match self {
            Self::Principal | Self::Namespace | Self::ServiceAccount | Self::TrustDomain | Self::ServerName => true,
            // An address can change while a connection lasts, as QUIC's do.
            Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationIp
            | Self::Port
            | Self::Time
            | Self::Method
            | Self::Host
            | Self::Path
            | Self::Header
            | Self::RequestPrincipal
            | Self::Metadata => false,
        }
    }

    /// Whether it is read from the request's headers, pseudo-headers among them.
    pub(crate) fn is_a_header(self) -> bool {
        matches!(self, Self::Method | Self::Host | Self::Path | Self::Header)
    }
}

/// The values that a policy lists for one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Principals(Vec<PrincipalPattern>),
    Namespaces(Vec<NamespacePattern>),
    ServiceAccounts(Vec<ServiceAccount>),
    TrustDomains(Vec<TrustDomainPattern>),
    Ips(Address, Vec<IpBlock>),
    Ports(Vec<Port>),
    ServerNames(Vec<ServerNamePattern>),
    Times(Vec<TimeWindow>),
    Methods(Vec<MethodPattern>),
    Hosts(Vec<HostPattern>),
    Paths(Vec<PathPattern>),
    Header(HeaderName, Vec<HeaderPattern>),
    RequestPrincipals(Vec<RequestPrincipalPattern>),
    Metadata(MetadataKey, Vec<MetadataPattern>),
}

impl Values {
    /// The word for what they are compared with.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Principals(_) => "principal".to_owned(),
            Self::Namespaces(_) => "namespace".to_owned(),
            Self::ServiceAccounts(_) => "service account".to_owned(),
            Self::TrustDomains(_) => "trust domain".to_owned(),
            Self::Ips(Address::Source, _) => "source address in".to_owned(),
            Self::Ips(Address::Remote, _) => "remote address in".to_owned(),
            Self::Ips(Address::Destination, _) => "destination address in".to_owned(),
            Self::Ports(_) => "port".to_owned(),
            Self::ServerNames(_) => "SNI".to_owned(),
            Self::Times(_) => "time (UTC)".to_owned(),
            Self::Methods(_) => "method".to_owned(),
            Self::Hosts(_) => "host".to_owned(),
            // Its values say where they are.
            Self::Paths(_) => String::new(),
            Self::Header(name, _) => format!("header {}", name.as_str()),
            Self::RequestPrincipals(_) => "request principal".to_owned(),
            Self::Metadata(key, _) => key.to_string(),
        }
    }

    /// What of a policy they are, where only HTTP has it.
    pub(crate) fn of_http(&self) -> Option<String> {
        match self {
            Self::Methods(_) => Some("methods".to_owned()),
            Self::Hosts(_) => Some("hosts".to_owned()),
            Self::Paths(_) => Some("paths".to_owned()),
            Self::Header(name, _) => Some(format!("request.headers[{}]", name.as_str())),
            Self::RequestPrincipals(_) => Some("requestPrincipals".to_owned()),
            Self::Metadata(MetadataKey::Claim(_), _) => Some("request.auth".to_owned()),
            Self::Principals(_)
            | Self::Namespaces(_)
            | Self::ServiceAccounts(_)
            | Self::TrustDomains(_)
            | Self::Ips(..)
            | Self::Ports(_)
            | Self::ServerNames(_)
            | Self::Times(_)
            | Self::Metadata(MetadataKey::Filter { .. }, _) => None,
        }
    }

    /// How many there are, and the first few as they were written.
    pub(crate) fn sample(&self, most: usize) -> (usize, Vec<String>) {
        fn sample<P: fmt::Display>(values: &[P], most: usize) -> (usize, Vec<String>) {
            (values.len(), values.iter().take(most).map(P::to_string).collect())
        }
        match self {
            Self::Principals(values) => sample(values, most),
            Self::Namespaces(values) => sample(values, most),
            Self::ServiceAccounts(values) => sample(values, most),
            Self::TrustDomains(values) => sample(values, most),
            Self::Ips(_, values) => sample(values, most),
            Self::Ports(values) => sample(values, most),
            Self::ServerNames(values) => sample(values, most),
            Self::Times(values) => sample(values, most),
            Self::Methods(values) => sample(values, most),
            Self::Hosts(values) => sample(values, most),
            Self::Paths(values) => (values.len(), values.iter().take(most).map(PathPattern::place).collect()),
            Self::Header(_, values) => sample(values, most),
            Self::RequestPrincipals(values) => sample(values, most),
            Self::Metadata(_, values) => sample(values, most),
        }
    }

    /// Takes in the values of `more`, if they are of the same field of `source` or `operation`.
    pub(crate) fn merge_values(&mut self, more: &Self) -> bool {
        match (self, more) {
            (Self::Principals(values), Self::Principals(more)) => values.extend_from_slice(more),
            (Self::Namespaces(values), Self::Namespaces(more)) => values.extend_from_slice(more),
            (Self::ServiceAccounts(values), Self::ServiceAccounts(more)) => values.extend_from_slice(more),
            (Self::TrustDomains(values), Self::TrustDomains(more)) => values.extend_from_slice(more),
            (Self::Ips(of, values), Self::Ips(other, more)) if of == other => values.extend_from_slice(more),
            (Self::Ports(values), Self::Ports(more)) => values.extend_from_slice(more),
            (Self::RequestPrincipals(values), Self::RequestPrincipals(more)) => values.extend_from_slice(more),
            (Self::Methods(values), Self::Methods(more)) => values.extend_from_slice(more),
            (Self::Hosts(values), Self::Hosts(more)) => values.extend_from_slice(more),
            (Self::Paths(values), Self::Paths(more)) => values.extend_from_slice(more),
            _ => return false,
        }
        true
    }

    /// The definition of what a list matches; the indexes must agree with it.
    #[cfg(test)]
    pub(crate) fn matches<R: Request + ?Sized>(&self, request: &mut R, of: Quantifier) -> Result<bool, EvalError> {
        Ok(match self {
            Self::Principals(values) => {
                request.peer()?.id().is_some_and(|id| values.iter().any(|value| value.matches(id)))
            }
            Self::Namespaces(values) => {
                request.peer()?.id().is_some_and(|id| values.iter().any(|value| value.matches(id)))
            }
            Self::ServiceAccounts(values) => {
                request.peer()?.id().is_some_and(|id| values.iter().any(|value| value.matches(id)))
            }
            Self::TrustDomains(values) => {
                request.peer()?.id().is_some_and(|id| values.iter().any(|value| value.matches(id)))
            }
            Self::Ips(of, values) => {
                of.of(request)?.is_some_and(|address| values.iter().any(|value| value.contains(address)))
            }
            Self::Ports(values) => request.destination_port()?.is_some_and(|port| values.contains(&Port::new(port))),
            Self::ServerNames(values) => {
                request.server_name()?.is_some_and(|name| definition::server_names(values, name, of))
            }
            Self::Times(values) => {
                let minute = time::minute_of_week(request.time()?);
                values.iter().any(|value| value.contains(minute))
            }
            Self::Methods(values) => request.method()?.is_some_and(|method| definition::methods(values, method, of)),
            Self::Hosts(values) => request.host()?.is_some_and(|host| definition::hosts(values, host, of)),
            Self::Paths(values) => request.path()?.is_some_and(|path| definition::paths(values, path, of)),
            Self::Header(name, patterns) => definition::header(patterns, &request.header(name.as_str())?, of),
            Self::RequestPrincipals(values) => {
                let claims = ClaimSource::default().claims(request)?;
                RequestPrincipal::of(&claims).is_some_and(|one| values.iter().any(|value| value.matches(&one)))
            }
            Self::Metadata(key, values) => {
                let value = ClaimSource::default().value(key, request)?;
                value.is_some_and(|value| values.iter().any(|pattern| pattern.matches(&value)))
            }
        })
    }
}

/// What a field without an index is: asking for it stops a decision.
const UNINDEXED: Field = Field { kind: FieldKind::Header, number: u32::MAX };

/// Collects the values of the fields of `source`, for filters that know no others.
#[derive(Default)]
pub(crate) struct SourcesBuilder {
    principals: StringInterner,
    namespaces: Interner<NamespacePattern>,
    service_accounts: Interner<ServiceAccount>,
    trust_domains: StringInterner,
    source_ips: Interner<IpBlock>,
}

impl SourcesBuilder {
    /// The field that some values are of, and their numbers within it.
    pub(crate) fn add(&mut self, values: &Values) -> (Field, Vec<ValueId>) {
        match values {
            Values::Principals(values) => (FieldKind::Principal.into(), self.principals.number(values)),
            Values::Namespaces(values) => (FieldKind::Namespace.into(), self.namespaces.number(values)),
            Values::ServiceAccounts(values) => (FieldKind::ServiceAccount.into(), self.service_accounts.number(values)),
            Values::TrustDomains(values) => (FieldKind::TrustDomain.into(), self.trust_domains.number(values)),
            Values::Ips(Address::Source, values) => (FieldKind::SourceIp.into(), self.source_ips.number(values)),
            Values::Ips(..)
            | Values::Ports(_)
            | Values::ServerNames(_)
            | Values::Times(_)
            | Values::Methods(_)
            | Values::Hosts(_)
            | Values::Paths(_)
            | Values::Header(..)
            | Values::RequestPrincipals(_)
            | Values::Metadata(..) => (UNINDEXED, Vec::new()),
        }
    }

    pub(crate) fn finish(self) -> Sources {
        Sources {
            principals: StringIndex::new(self.principals.into_entries()),
            namespaces: namespace::Index::new(self.namespaces.into_entries()),
            service_accounts: service_account::Index::new(self.service_accounts.into_entries()),
            trust_domains: StringIndex::new(self.trust_domains.into_entries()),
            source_ips: ip_block::Index::new(self.source_ips.into_entries()),
        }
    }
}

/// The indexes of the fields of `source`.
pub(crate) struct Sources {
    principals: StringIndex,
    namespaces: namespace::Index,
    service_accounts: service_account::Index,
    trust_domains: StringIndex,
    source_ips: ip_block::Index,
}

impl Sources {
    /// Fills in what a request has of a field of `source`.
    ///
    /// Fails where the proxy does not tell, and where a certificate was presented that proves nothing: whom it is of
    /// cannot be told, so neither can whether a DENY names them.
    pub(crate) fn lookup<R: Request + ?Sized>(
        &self,
        field: Field,
        request: &mut R,
        found: &mut FieldMatch,
    ) -> Result<(), EvalError> {
        let matched = &mut found.any;
        match field.kind {
            FieldKind::Principal => principal::look_up(&self.principals, request.peer()?.require_verified()?, matched),
            FieldKind::Namespace => self.namespaces.lookup(request.peer()?.require_verified()?, matched),
            FieldKind::ServiceAccount => self.service_accounts.lookup(request.peer()?.require_verified()?, matched),
            FieldKind::TrustDomain => {
                trust_domain::look_up(&self.trust_domains, request.peer()?.require_verified()?, matched)
            }
            FieldKind::SourceIp => self.source_ips.lookup(request.source_ip()?, matched),
            _ => return Err(missing_index()),
        }
        Ok(())
    }
}

/// Collects the values of all fields; [`finish`](Self::finish) makes the indexes.
pub(crate) struct FieldsBuilder {
    header_syntax: &'static HeaderSyntax,
    claims: ClaimSource,
    path_readings: PathReadings,
    sources: SourcesBuilder,
    remote_ips: Interner<IpBlock>,
    destination_ips: Interner<IpBlock>,
    ports: Interner<Port>,
    server_names: StringInterner,
    times: Interner<TimeWindow>,
    methods: StringInterner,
    hosts: StringInterner,
    paths: Interner<PathPattern>,
    headers: NumberedLists<HeaderName, HeaderPattern>,
    request_principals: Interner<RequestPrincipalPattern>,
    metadata: NumberedLists<MetadataKey, MetadataPattern>,
}

impl FieldsBuilder {
    pub(crate) fn new(header_syntax: &'static HeaderSyntax, claims: ClaimSource, path_readings: PathReadings) -> Self {
        Self {
            header_syntax,
            claims,
            path_readings,
            sources: SourcesBuilder::default(),
            remote_ips: Interner::default(),
            destination_ips: Interner::default(),
            ports: Interner::default(),
            server_names: StringInterner::default(),
            times: Interner::default(),
            methods: StringInterner::default(),
            hosts: StringInterner::default(),
            paths: Interner::default(),
            headers: OrderedMap::default(),
            request_principals: Interner::default(),
            metadata: OrderedMap::default(),
        }
    }

    /// The field that some values are of, and their numbers within it.
    pub(crate) fn add(&mut self, values: &Values) -> (Field, Vec<ValueId>) {
        match values {
            Values::Principals(_)
            | Values::Namespaces(_)
            | Values::ServiceAccounts(_)
            | Values::TrustDomains(_)
            | Values::Ips(Address::Source, _) => self.sources.add(values),
            Values::Ips(Address::Remote, values) => (FieldKind::RemoteIp.into(), self.remote_ips.number(values)),
            Values::Ips(Address::Destination, values) => {
                (FieldKind::DestinationIp.into(), self.destination_ips.number(values))
            }
            Values::Ports(values) => (FieldKind::Port.into(), self.ports.number(values)),
            Values::ServerNames(values) => (FieldKind::ServerName.into(), self.server_names.number(values)),
            Values::Times(values) => (FieldKind::Time.into(), self.times.number(values)),
            Values::Methods(values) => (FieldKind::Method.into(), self.methods.number(values)),
            Values::Hosts(values) => (FieldKind::Host.into(), self.hosts.number(values)),
            Values::Paths(values) => (FieldKind::Path.into(), self.paths.number(values)),
            Values::Header(name, values) => add_named(&mut self.headers, FieldKind::Header, name, values),
            Values::RequestPrincipals(values) => {
                (FieldKind::RequestPrincipal.into(), self.request_principals.number(values))
            }
            Values::Metadata(key, values) => add_named(&mut self.metadata, FieldKind::Metadata, key, values),
        }
    }

    /// Makes the indexes.
    pub(crate) fn finish(self) -> Fields {
        let header_syntax = self.header_syntax;
        let header = |(name, (_, numbered))| Header::new(header_syntax, name, numbered);
        let metadata = |(key, (_, numbered)): (MetadataKey, (u32, Interner<MetadataPattern>))| {
            (key, metadata::Index::new(numbered.into_entries()))
        };
        Fields {
            claims: self.claims,
            sources: self.sources.finish(),
            remote_ips: ip_block::Index::new(self.remote_ips.into_entries()),
            destination_ips: ip_block::Index::new(self.destination_ips.into_entries()),
            ports: port::Index::new(self.ports.into_entries()),
            server_names: server_name::index(self.server_names.into_entries()),
            times: time::Index::new(self.times.into_entries()),
            methods: method::index(self.methods.into_entries()),
            hosts: host::index(self.hosts.into_entries()),
            paths: path::Index::new(self.paths.into_entries(), self.path_readings),
            headers: self.headers.into_entries().into_iter().map(header).collect(),
            request_principals: request_principal::Index::new(self.request_principals.into_entries()),
            metadata: self.metadata.into_entries().into_iter().map(metadata).collect(),
        }
    }
}

/// Lists of values under names, each with its number in the order of first mention.
type NumberedLists<N, P> = OrderedMap<N, (u32, Interner<P>)>;

/// Numbers values of which there are several lists, each under a name.
fn add_named<N: Clone + Eq + Hash, P: Clone + Eq + Hash>(
    lists: &mut NumberedLists<N, P>,
    kind: FieldKind,
    name: &N,
    values: &[P],
) -> (Field, Vec<ValueId>) {
    let next = u32::try_from(lists.len()).unwrap_or(u32::MAX);
    let new = || (next, Interner::default());
    lists.entry_or_insert_with(name.clone(), new, |(number, numbered)| {
        (Field { kind, number: *number }, numbered.number(values))
    })
}

/// The indexes of all fields.
pub(crate) struct Fields {
    claims: ClaimSource,
    sources: Sources,
    remote_ips: ip_block::Index,
    destination_ips: ip_block::Index,
    ports: port::Index,
    server_names: ReadingsIndex<StringIndex>,
    times: time::Index,
    methods: ReadingsIndex<StringIndex>,
    hosts: ReadingsIndex<StringIndex>,
    paths: path::Index,
    headers: Vec<Header>,
    request_principals: request_principal::Index,
    metadata: Vec<(MetadataKey, metadata::Index)>,
}

/// One header, with its patterns as they were written, by number.
struct Header {
    name: HeaderName,
    index: Box<dyn HeaderIndex>,
    patterns: Vec<String>,
}

impl Header {
    fn new(header_syntax: &HeaderSyntax, name: HeaderName, numbered: Interner<HeaderPattern>) -> Self {
        let mut entries: Vec<_> = numbered.into_entries().collect();
        sort_by(&mut entries, |(_, one), (_, other)| one.cmp(other));
        let patterns = entries.iter().map(|(pattern, _)| pattern.to_string()).collect();
        Self { name, index: (header_syntax.index)(entries), patterns }
    }
}

impl Fields {
    /// Fills in what a request has of `field`. Fails as [`Sources::lookup`] does.
    #[inline(never)]
    pub(crate) fn lookup<R: Request + ?Sized>(
        &self,
        field: Field,
        request: &mut R,
        found: &mut FieldMatch,
    ) -> Result<(), EvalError> {
        let matched = &mut found.any;
        match field.kind {
            FieldKind::Principal
            | FieldKind::Namespace
            | FieldKind::ServiceAccount
            | FieldKind::TrustDomain
            | FieldKind::SourceIp => return self.sources.lookup(field, request, found),
            FieldKind::RemoteIp => self.remote_ips.lookup(request.remote_ip()?, matched),
            FieldKind::DestinationIp => self.destination_ips.lookup(request.destination_ip()?, matched),
            FieldKind::Port => self.ports.lookup(request.destination_port()?, matched),
            FieldKind::ServerName => server_name::look_up(&self.server_names, request.server_name()?, found),
            FieldKind::Time => self.times.lookup(request.time()?, matched),
            FieldKind::Method => method::look_up(&self.methods, request.method()?, found),
            FieldKind::Host => host::look_up(&self.hosts, request.host()?, found),
            FieldKind::Path => self.paths.lookup(request.path()?, found),
            FieldKind::Header => {
                let header = self.headers.get(position(field.number)).ok_or_else(missing_index)?;
                header.index.lookup(&request.header(header.name.as_str())?, found);
            }
            FieldKind::RequestPrincipal => {
                let principal = RequestPrincipal::of(&self.claims.claims(request)?);
                self.request_principals.lookup(principal.as_ref(), matched);
            }
            FieldKind::Metadata => {
                let (key, index) = self.metadata.get(position(field.number)).ok_or_else(missing_index)?;
                index.lookup(self.claims.value(key, request)?.as_ref(), matched);
            }
        }
        Ok(())
    }

    /// Whether a value of the request, of a field that policies ask for, may have several readings.
    pub(crate) fn may_have_several_readings<R: Request + ?Sized>(&self, request: &mut R) -> bool {
        let path = |path| !readings::path::is_plain(without_query(path));
        (!self.paths.is_empty() && request.path().ok().flatten().is_some_and(path))
            || (!self.methods.is_empty()
                && request.method().ok().flatten().is_some_and(|method| !readings::method::is_plain(method)))
            || (!self.hosts.is_empty()
                && request.host().ok().flatten().is_some_and(|host| !readings::host::is_plain(host)))
            || (!self.server_names.is_empty()
                && request.server_name().ok().flatten().is_some_and(|name| name.ends_with(b".")))
    }

    /// Says by which reading of the request's value a list matches it or does not, where that is not as it came; `meets`
    /// says which values are of the list, `template` whether it has a path template.
    pub(crate) fn describe_reading<R: Request + ?Sized>(
        &self,
        condition: &Condition<Field>,
        request: &mut R,
        template: bool,
        meets: &dyn Fn(&[ValueId]) -> bool,
    ) -> Option<String> {
        let of = condition.of;
        let (index, subject, value, readings) = match condition.field.kind {
            FieldKind::Path => return self.paths.describe_reading(request.path().ok()??, of, template, meets),
            FieldKind::Method => {
                let method = request.method().ok()??.to_vec();
                let readings = readings::method::readings(&method);
                (&self.methods, "method", method, readings)
            }
            FieldKind::Host => {
                let host = request.host().ok()??.to_ascii_lowercase();
                let readings = readings::host::readings(&host);
                (&self.hosts, "host", host, readings)
            }
            FieldKind::ServerName => {
                let name = request.server_name().ok()??.to_ascii_lowercase();
                let readings = readings::host::server_name_readings(&name);
                (&self.server_names, "SNI", name, readings)
            }
            _ => return None,
        };
        let (_, reading) = index.deciding(&value, &readings, of, meets)?;
        Some(describe_reading(subject, reading, ""))
    }

    /// What a value of a pseudo-header begins with, by [`StringIndex::beginning`]; none for other fields.
    pub(crate) fn literal_prefix(&self, kind: FieldKind, value: ValueId) -> Option<LiteralPrefix<'_>> {
        let index = match kind {
            FieldKind::Method => self.methods.written(),
            FieldKind::Host => self.hosts.written(),
            FieldKind::Path => self.paths.texts(),
            _ => return None,
        };
        index.literal_prefix(value)
    }

    /// A header's name and one of its patterns, as they were written.
    pub(crate) fn header_pattern(&self, field: Field, value: ValueId) -> Option<(&str, &str)> {
        let header = self.headers.get(position(field.number)).filter(|_| field.kind == FieldKind::Header)?;
        let pattern = usize::try_from(value.0).ok().and_then(|at| header.patterns.get(at))?;
        Some((header.name.as_str(), pattern))
    }
}
