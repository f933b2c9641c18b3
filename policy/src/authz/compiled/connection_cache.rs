//! What a connection's handshake has settled for all its requests.

use std::cell::OnceCell;

use crate::attributes::request::Request;
use crate::authz::compiled::CompiledPolicy;
use crate::authz::compiled::fast_path::WaysIn;
use crate::authz::fields::Field;
use crate::matcher::clause::MatchedValues;
use crate::matcher::field_match::FieldMatch;

/// What the requests of one connection match by whom they come from: looked up once, for all of them.
///
/// Connections of which this is equal are decided alike. It is of the policy that has made it, and means nothing to
/// another.
#[derive(Debug)]
pub struct ConnectionCache {
    pub(crate) known: Known,
    /// What follows from that, once it was asked for.
    pub(crate) ways_in: OnceCell<WaysIn>,
}

impl PartialEq for ConnectionCache {
    fn eq(&self, other: &Self) -> bool {
        self.known == other.known
    }
}

impl Eq for ConnectionCache {}

/// What was looked up of the fields that the handshake has fixed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known(Box<[(Field, FieldMatch)]>);

/// A field of which nothing is known before a request.
#[derive(Debug)]
pub(crate) struct Unknown;

impl Known {
    pub(crate) fn of(&self, field: Field) -> Option<&FieldMatch> {
        self.0.iter().find(|(known, _)| *known == field).map(|(_, matched)| matched)
    }
}

impl MatchedValues for &Known {
    type Field = Field;
    type Error = Unknown;

    fn matched(&mut self, field: Field) -> Result<&FieldMatch, Unknown> {
        self.of(field).ok_or(Unknown)
    }
}

impl CompiledPolicy {
    /// What the connection of `request` matches, for [`decide_cached`](Self::decide_cached).
    ///
    /// None where that cannot be told, where PeerAuthentication turns it away, and where that depends on more than the
    /// handshake: each request is decided by itself then.
    pub fn precompute_connection<R: Request + ?Sized>(&self, request: &mut R) -> Option<ConnectionCache> {
        if self.mutual_tls.depends_on_port() || self.mutual_tls.rejects(request) != Ok(None) {
            return None;
        }
        let mut lookups = self.lookups(None, request);
        for field in &self.of_the_connection {
            lookups.matched(*field).ok()?;
        }
        Some(ConnectionCache { known: Known(lookups.matched.into_entries()), ways_in: OnceCell::new() })
    }
}
