//! The match fields of the policy language: one module a field, with its value type, its index and its lookup.
//!
//! This file is the one list of them. A new field gets a module, a variant of [`Field`] at the place of its cost, a
//! variant of [`Values`] and a line in each `match` here; the compiler names every place that lacks it.

mod host;
mod method;
mod namespace;
mod path;
mod port;
mod principal;

pub(crate) use host::HostPattern;
pub(crate) use method::MethodPattern;
pub(crate) use namespace::NamespacePattern;
pub(crate) use path::PathPattern;
pub(crate) use port::Port;
pub(crate) use principal::{PrincipalPattern, TrustDomains};

use std::fmt;
use std::hash::Hash;

use hashbrown::HashMap;

use crate::index::{BuildError, Matched, ValueId};
use crate::request::{HostFailure, Request};

/// A match field, in the order of what it costs to know: what belongs to the connection before what belongs to the
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Field {
    Principal,
    Namespace,
    Port,
    Method,
    Host,
    Path,
}

impl Field {
    /// How many fields there are.
    pub(crate) const COUNT: usize = 6;

    /// Its place in tables by field.
    pub(crate) fn slot(self) -> usize {
        match self {
            Self::Principal => 0,
            Self::Namespace => 1,
            Self::Port => 2,
            Self::Method => 3,
            Self::Host => 4,
            Self::Path => 5,
        }
    }
}

/// The values that a policy lists for one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Principals(Vec<PrincipalPattern>),
    Namespaces(Vec<NamespacePattern>),
    Ports(Vec<Port>),
    Methods(Vec<MethodPattern>),
    Hosts(Vec<HostPattern>),
    Paths(Vec<PathPattern>),
}

impl Values {
    /// The field that they are of.
    pub(crate) fn field(&self) -> Field {
        match self {
            Self::Principals(_) => Field::Principal,
            Self::Namespaces(_) => Field::Namespace,
            Self::Ports(_) => Field::Port,
            Self::Methods(_) => Field::Method,
            Self::Hosts(_) => Field::Host,
            Self::Paths(_) => Field::Path,
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
            Self::Ports(values) => sample(values, most),
            Self::Methods(values) => sample(values, most),
            Self::Hosts(values) => sample(values, most),
            Self::Paths(values) => sample(values, most),
        }
    }

    /// Takes in the values of `more` if they are of the same field; gives `more` back otherwise.
    pub(crate) fn absorb(&mut self, more: Self) -> Result<(), Self> {
        match (self, more) {
            (Self::Principals(values), Self::Principals(more)) => values.extend(more),
            (Self::Namespaces(values), Self::Namespaces(more)) => values.extend(more),
            (Self::Ports(values), Self::Ports(more)) => values.extend(more),
            (Self::Methods(values), Self::Methods(more)) => values.extend(more),
            (Self::Hosts(values), Self::Hosts(more)) => values.extend(more),
            (Self::Paths(values), Self::Paths(more)) => values.extend(more),
            (_, more) => return Err(more),
        }
        Ok(())
    }

    /// The definition of what a list matches; the indexes must agree with it.
    #[cfg(test)]
    pub(crate) fn matches<R: Request>(&self, request: &mut R) -> Result<bool, HostFailure> {
        Ok(match self {
            Self::Principals(values) => {
                request.peer()?.id().is_some_and(|id| values.iter().any(|value| value.matches(id)))
            }
            Self::Namespaces(values) => {
                request.peer()?.id().is_some_and(|id| values.iter().any(|value| value.matches(id)))
            }
            Self::Ports(values) => request.destination_port()?.is_some_and(|port| values.contains(&Port::new(port))),
            Self::Methods(values) => {
                request.method()?.is_some_and(|method| values.iter().any(|value| value.matches(method)))
            }
            Self::Hosts(values) => request.host()?.is_some_and(|host| values.iter().any(|value| value.matches(host))),
            Self::Paths(values) => request.path()?.is_some_and(|path| values.iter().any(|value| value.matches(path))),
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
    fn number(&mut self, patterns: &[P]) -> Vec<ValueId> {
        let mut ids = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let next = ValueId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
            ids.push(*self.0.entry(pattern.clone()).or_insert(next));
        }
        ids
    }

    fn into_entries(self) -> impl Iterator<Item = (P, ValueId)> {
        self.0.into_iter()
    }
}

/// Collects the values of all fields; [`finish`](Self::finish) makes the indexes.
#[derive(Default)]
pub(crate) struct FieldsBuilder {
    principals: Numbered<PrincipalPattern>,
    namespaces: Numbered<NamespacePattern>,
    ports: Numbered<Port>,
    methods: Numbered<MethodPattern>,
    hosts: Numbered<HostPattern>,
    paths: Numbered<PathPattern>,
}

impl FieldsBuilder {
    /// The numbers of some values within their field.
    pub(crate) fn add(&mut self, values: &Values) -> Vec<ValueId> {
        match values {
            Values::Principals(values) => self.principals.number(values),
            Values::Namespaces(values) => self.namespaces.number(values),
            Values::Ports(values) => self.ports.number(values),
            Values::Methods(values) => self.methods.number(values),
            Values::Hosts(values) => self.hosts.number(values),
            Values::Paths(values) => self.paths.number(values),
        }
    }

    pub(crate) fn finish(self) -> Result<Fields, BuildError> {
        Ok(Fields {
            principals: principal::Index::new(self.principals.into_entries())?,
            namespaces: namespace::Index::new(self.namespaces.into_entries())?,
            ports: port::Index::new(self.ports.into_entries()),
            methods: method::Index::new(self.methods.into_entries())?,
            hosts: host::Index::new(self.hosts.into_entries())?,
            paths: path::Index::new(self.paths.into_entries())?,
        })
    }
}

/// The indexes of all fields.
pub(crate) struct Fields {
    principals: principal::Index,
    namespaces: namespace::Index,
    ports: port::Index,
    methods: method::Index,
    hosts: host::Index,
    paths: path::Index,
}

impl Fields {
    /// The values of `field` that a request matches.
    pub(crate) fn lookup<R: Request>(&self, field: Field, request: &mut R) -> Result<Matched, HostFailure> {
        let mut matched = Matched::new();
        match field {
            Field::Principal => self.principals.lookup(request.peer()?, &mut matched),
            Field::Namespace => self.namespaces.lookup(request.peer()?, &mut matched),
            Field::Port => self.ports.lookup(request.destination_port()?, &mut matched),
            Field::Method => self.methods.lookup(request.method()?, &mut matched),
            Field::Host => self.hosts.lookup(request.host()?, &mut matched),
            Field::Path => self.paths.lookup(request.path()?, &mut matched),
        }
        Ok(matched)
    }
}
