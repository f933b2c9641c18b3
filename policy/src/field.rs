//! The match fields of the policy language: one module a field, with its value type, its index and its lookup.
//!
//! This file is the one list of them. A new field gets a module, a variant of [`Field`] at the place of its cost, a
//! variant of [`Values`] and a line in each `match` here; the compiler names every place that lacks it.

mod header;
mod host;
mod method;
mod namespace;
mod path;
mod port;
mod principal;
mod service_account;
mod source_ip;

pub(crate) use header::{HeaderDialect, HeaderName, HeaderPattern, Index as HeaderIndex};
pub(crate) use host::HostPattern;
pub(crate) use method::MethodPattern;
pub(crate) use namespace::NamespacePattern;
pub(crate) use path::{Index as PathIndex, PathPattern};
pub(crate) use port::Port;
pub(crate) use principal::{PrincipalPattern, TrustDomains};
pub(crate) use service_account::ServiceAccount;
pub(crate) use source_ip::IpBlock;

use std::fmt;
use std::hash::Hash;

use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

#[cfg(test)]
use crate::index::Of;
use crate::index::{BuildError, Matched, ValueId};
use crate::order::sort_by;
use crate::request::{HostFailure, Obstacle, Request};

/// A match field, in the order of what it costs to know: what belongs to the connection before what belongs to the
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Field {
    Principal,
    Namespace,
    ServiceAccount,
    SourceIp,
    Port,
    Method,
    Host,
    Path,
    /// A header, numbered in the order of first mention.
    Header(u16),
}

impl Field {
    /// All of them but headers, in the order of their slots.
    const FIXED: [Self; 8] = [
        Self::Principal,
        Self::Namespace,
        Self::ServiceAccount,
        Self::SourceIp,
        Self::Port,
        Self::Method,
        Self::Host,
        Self::Path,
    ];

    /// Its place in tables by field.
    pub(crate) fn slot(self) -> usize {
        match self {
            Self::Principal => 0,
            Self::Namespace => 1,
            Self::ServiceAccount => 2,
            Self::SourceIp => 3,
            Self::Port => 4,
            Self::Method => 5,
            Self::Host => 6,
            Self::Path => 7,
            Self::Header(number) => Self::FIXED.len() + usize::from(number),
        }
    }
}

/// What a request has of one field.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldMatch {
    /// The values that the request matches: by one of its values, where there are several.
    pub(crate) any: Matched,
    /// For each value of a header, what it matches by itself; other fields have one value and leave this empty.
    pub(crate) each: Vec<Matched>,
}

/// What a request has of each field, each looked up once.
pub(crate) struct FieldMatches(SmallVec<[Option<FieldMatch>; 12]>);

impl FieldMatches {
    /// Room for fields of so many slots.
    pub(crate) fn new(slots: usize) -> Self {
        Self(smallvec![None; slots])
    }

    /// What is known of the field in `slot`, from `look_up` the first time. Fails as that does, and where there is no
    /// such slot: a field without an index decides nothing.
    pub(crate) fn of(
        &mut self,
        slot: usize,
        look_up: impl FnOnce() -> Result<FieldMatch, Obstacle>,
    ) -> Result<&FieldMatch, Obstacle> {
        let Some(slot) = self.0.get_mut(slot) else {
            return Err(HostFailure { attribute: "a field of the policy", answer: "it has no index" }.into());
        };
        Ok(match slot {
            Some(matched) => matched,
            None => slot.insert(look_up()?),
        })
    }
}

impl From<Matched> for FieldMatch {
    fn from(any: Matched) -> Self {
        Self { any, each: Vec::new() }
    }
}

/// The values that a policy lists for one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Principals(Vec<PrincipalPattern>),
    Namespaces(Vec<NamespacePattern>),
    ServiceAccounts(Vec<ServiceAccount>),
    SourceIps(Vec<IpBlock>),
    Ports(Vec<Port>),
    Methods(Vec<MethodPattern>),
    Hosts(Vec<HostPattern>),
    Paths(Vec<PathPattern>),
    Header(HeaderName, Vec<HeaderPattern>),
}

impl Values {
    /// The word for what they are compared with.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Principals(_) => "principal".to_owned(),
            Self::Namespaces(_) => "namespace".to_owned(),
            Self::ServiceAccounts(_) => "service account".to_owned(),
            Self::SourceIps(_) => "source address in".to_owned(),
            Self::Ports(_) => "port".to_owned(),
            Self::Methods(_) => "method".to_owned(),
            Self::Hosts(_) => "host".to_owned(),
            Self::Paths(_) => "path".to_owned(),
            Self::Header(name, _) => format!("header {}", name.as_str()),
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
            Self::SourceIps(values) => sample(values, most),
            Self::Ports(values) => sample(values, most),
            Self::Methods(values) => sample(values, most),
            Self::Hosts(values) => sample(values, most),
            Self::Paths(values) => sample(values, most),
            Self::Header(_, values) => sample(values, most),
        }
    }

    /// Takes in the values of `more`, if they are of the same field.
    pub(crate) fn absorb(&mut self, more: &Self) -> bool {
        match (self, more) {
            (Self::Principals(values), Self::Principals(more)) => values.extend_from_slice(more),
            (Self::Namespaces(values), Self::Namespaces(more)) => values.extend_from_slice(more),
            (Self::ServiceAccounts(values), Self::ServiceAccounts(more)) => values.extend_from_slice(more),
            (Self::SourceIps(values), Self::SourceIps(more)) => values.extend_from_slice(more),
            (Self::Ports(values), Self::Ports(more)) => values.extend_from_slice(more),
            (Self::Methods(values), Self::Methods(more)) => values.extend_from_slice(more),
            (Self::Hosts(values), Self::Hosts(more)) => values.extend_from_slice(more),
            (Self::Paths(values), Self::Paths(more)) => values.extend_from_slice(more),
            (Self::Header(name, values), Self::Header(other, more)) if name == other => values.extend_from_slice(more),
            _ => return false,
        }
        true
    }

    /// The definition of what a list matches; the indexes must agree with it.
    #[cfg(test)]
    pub(crate) fn matches<R: Request>(&self, request: &mut R, of: Of) -> Result<bool, HostFailure> {
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
            Self::SourceIps(values) => {
                request.source_ip()?.is_some_and(|address| values.iter().any(|value| value.contains(address)))
            }
            Self::Ports(values) => request.destination_port()?.is_some_and(|port| values.contains(&Port::new(port))),
            Self::Methods(values) => {
                request.method()?.is_some_and(|method| values.iter().any(|value| value.matches(method)))
            }
            Self::Hosts(values) => request.host()?.is_some_and(|host| values.iter().any(|value| value.matches(host))),
            Self::Paths(values) => request.path()?.is_some_and(|path| values.iter().any(|value| value.matches(path))),
            Self::Header(name, patterns) => {
                let values = request.header(name.as_str())?;
                let listed = |value: &[u8]| patterns.iter().any(|pattern| pattern.matches(value));
                match of {
                    Of::Any => {
                        values.iter().any(|value| listed(value)) || (values.len() > 1 && listed(&values.join(&b',')))
                    }
                    Of::Every => !values.is_empty() && values.iter().all(|value| listed(value)),
                }
            }
        })
    }
}

/// Numbers the distinct patterns of one field.
pub(crate) struct Numbered<P>(HashMap<P, ValueId>);

impl<P> Default for Numbered<P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<P: Clone + Eq + Hash> Numbered<P> {
    pub(crate) fn number(&mut self, patterns: &[P]) -> Vec<ValueId> {
        let mut ids = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let next = ValueId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
            ids.push(*self.0.entry(pattern.clone()).or_insert(next));
        }
        ids
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (P, ValueId)> {
        self.0.into_iter()
    }
}

/// What a field without an index is: asking for it stops a decision.
const NOWHERE: Field = Field::Header(u16::MAX);

/// Collects the values of the fields of `source`, for filters that know no others.
#[derive(Default)]
pub(crate) struct SourcesBuilder {
    principals: Numbered<PrincipalPattern>,
    namespaces: Numbered<NamespacePattern>,
    service_accounts: Numbered<ServiceAccount>,
    source_ips: Numbered<IpBlock>,
}

impl SourcesBuilder {
    /// The field that some values are of, and their numbers within it.
    pub(crate) fn add(&mut self, values: &Values) -> (Field, Vec<ValueId>) {
        match values {
            Values::Principals(values) => (Field::Principal, self.principals.number(values)),
            Values::Namespaces(values) => (Field::Namespace, self.namespaces.number(values)),
            Values::ServiceAccounts(values) => (Field::ServiceAccount, self.service_accounts.number(values)),
            Values::SourceIps(values) => (Field::SourceIp, self.source_ips.number(values)),
            Values::Ports(_) | Values::Methods(_) | Values::Hosts(_) | Values::Paths(_) | Values::Header(..) => {
                (NOWHERE, Vec::new())
            }
        }
    }

    pub(crate) fn finish(self) -> Result<Sources, BuildError> {
        Ok(Sources {
            principals: principal::Index::new(self.principals.into_entries())?,
            namespaces: namespace::Index::new(self.namespaces.into_entries())?,
            service_accounts: service_account::Index::new(self.service_accounts.into_entries()),
            source_ips: source_ip::Index::new(self.source_ips.into_entries()),
        })
    }
}

/// The indexes of the fields of `source`.
pub(crate) struct Sources {
    principals: principal::Index,
    namespaces: namespace::Index,
    service_accounts: service_account::Index,
    source_ips: source_ip::Index,
}

impl Sources {
    /// How many slots a table by field of `source` needs.
    pub(crate) const SLOTS: usize = 4;

    /// What a request has of a field of `source`.
    ///
    /// Fails where the proxy does not tell, and where a certificate was presented that proves nothing: whom it is of
    /// cannot be told, so neither can whether a DENY names them.
    pub(crate) fn lookup<R: Request>(&self, field: Field, request: &mut R) -> Result<FieldMatch, Obstacle> {
        let mut matched = Matched::new();
        match field {
            Field::Principal => self.principals.lookup(request.peer()?.usable()?, &mut matched),
            Field::Namespace => self.namespaces.lookup(request.peer()?.usable()?, &mut matched),
            Field::ServiceAccount => self.service_accounts.lookup(request.peer()?.usable()?, &mut matched),
            Field::SourceIp => self.source_ips.lookup(request.source_ip()?, &mut matched),
            Field::Port | Field::Method | Field::Host | Field::Path | Field::Header(_) => {
                return Err(HostFailure { attribute: "a field of the source", answer: "it has no index" }.into());
            }
        }
        Ok(matched.into())
    }
}

/// Collects the values of all fields; [`finish`](Self::finish) makes the indexes.
pub(crate) struct FieldsBuilder {
    dialect: HeaderDialect,
    sources: SourcesBuilder,
    ports: Numbered<Port>,
    methods: Numbered<MethodPattern>,
    hosts: Numbered<HostPattern>,
    paths: Numbered<PathPattern>,
    headers: Vec<(HeaderName, Numbered<HeaderPattern>)>,
}

impl FieldsBuilder {
    pub(crate) fn new(dialect: HeaderDialect) -> Self {
        Self {
            dialect,
            sources: SourcesBuilder::default(),
            ports: Numbered::default(),
            methods: Numbered::default(),
            hosts: Numbered::default(),
            paths: Numbered::default(),
            headers: Vec::new(),
        }
    }

    /// The field that some values are of, and their numbers within it.
    pub(crate) fn add(&mut self, values: &Values) -> (Field, Vec<ValueId>) {
        match values {
            Values::Principals(_) | Values::Namespaces(_) | Values::ServiceAccounts(_) | Values::SourceIps(_) => {
                self.sources.add(values)
            }
            Values::Ports(values) => (Field::Port, self.ports.number(values)),
            Values::Methods(values) => (Field::Method, self.methods.number(values)),
            Values::Hosts(values) => (Field::Host, self.hosts.number(values)),
            Values::Paths(values) => (Field::Path, self.paths.number(values)),
            Values::Header(name, values) => self.add_header(name, values),
        }
    }

    fn add_header(&mut self, name: &HeaderName, values: &[HeaderPattern]) -> (Field, Vec<ValueId>) {
        if !self.headers.iter().any(|(known, _)| known == name) {
            self.headers.push((name.clone(), Numbered::default()));
        }
        let known = (0..).zip(&mut self.headers).find(|(_, (known, _))| known == name);
        known.map_or((NOWHERE, Vec::new()), |(number, (_, numbered))| (Field::Header(number), numbered.number(values)))
    }

    /// Makes the indexes. Fails where there are too many headers or patterns.
    pub(crate) fn finish(self) -> Result<Fields, BuildError> {
        if self.headers.len() >= usize::from(u16::MAX) {
            return Err(format!("{} different headers are too many", self.headers.len()));
        }
        let dialect = self.dialect;
        let header = |(name, numbered)| Header::new(dialect, name, numbered);
        Ok(Fields {
            sources: self.sources.finish()?,
            ports: port::Index::new(self.ports.into_entries()),
            methods: method::Index::new(self.methods.into_entries())?,
            hosts: host::Index::new(self.hosts.into_entries())?,
            paths: path::Index::new(self.paths.into_entries())?,
            headers: self.headers.into_iter().map(header).collect::<Result<_, _>>()?,
        })
    }
}

/// The indexes of all fields.
pub(crate) struct Fields {
    sources: Sources,
    ports: port::Index,
    methods: method::Index,
    hosts: host::Index,
    paths: path::Index,
    headers: Vec<Header>,
}

/// One header, with its patterns as they were written, by number.
struct Header {
    name: HeaderName,
    index: header::Index,
    patterns: Vec<String>,
}

impl Header {
    fn new(dialect: HeaderDialect, name: HeaderName, numbered: Numbered<HeaderPattern>) -> Result<Self, BuildError> {
        let mut entries: Vec<_> = numbered.into_entries().collect();
        sort_by(&mut entries, |(_, one), (_, other)| one.cmp(other));
        let patterns = entries.iter().map(|(pattern, _)| pattern.to_string()).collect();
        Ok(Self { name, index: header::Index::new(dialect, entries.into_iter())?, patterns })
    }
}

impl Fields {
    /// How many slots a table by field needs.
    pub(crate) fn slots(&self) -> usize {
        Field::FIXED.len() + self.headers.len()
    }

    /// What a request has of `field`. Fails as [`Sources::lookup`] does.
    pub(crate) fn lookup<R: Request>(&self, field: Field, request: &mut R) -> Result<FieldMatch, Obstacle> {
        let mut matched = Matched::new();
        match field {
            Field::Principal | Field::Namespace | Field::ServiceAccount | Field::SourceIp => {
                return self.sources.lookup(field, request);
            }
            Field::Port => self.ports.lookup(request.destination_port()?, &mut matched),
            Field::Method => self.methods.lookup(request.method()?, &mut matched),
            Field::Host => self.hosts.lookup(request.host()?, &mut matched),
            Field::Path => self.paths.lookup(request.path()?, &mut matched),
            Field::Header(number) => {
                let Some(header) = self.headers.get(usize::from(number)) else { return Ok(FieldMatch::default()) };
                return Ok(header.index.lookup(&request.header(header.name.as_str())?));
            }
        }
        Ok(matched.into())
    }

    /// A header's name and one of its patterns, as they were written.
    pub(crate) fn header_pattern(&self, field: Field, value: ValueId) -> Option<(&str, &str)> {
        let Field::Header(number) = field else { return None };
        let header = self.headers.get(usize::from(number))?;
        let pattern = usize::try_from(value.0).ok().and_then(|at| header.patterns.get(at))?;
        Some((header.name.as_str(), pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_slot_of_its_own() {
        let slots: Vec<_> =
            Field::FIXED.iter().chain([&Field::Header(0), &Field::Header(1)]).map(|field| field.slot()).collect();
        assert_eq!(slots, (0..slots.len()).collect::<Vec<_>>());
    }
}
