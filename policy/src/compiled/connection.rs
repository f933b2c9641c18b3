//! What a connection's handshake has settled for all its requests.

use super::CompiledPolicy;
use super::ways_in::WaysIn;
use crate::field::{Field, FieldMatch};
use crate::index::MatchedValues;
use crate::request::Request;

/// What the requests of one connection match by whom they come from: looked up once, for all of them.
///
/// Connections of which this is equal are decided alike. It is of the policy that has made it, and means nothing to
/// another.
#[derive(Debug, PartialEq, Eq)]
pub struct ConnectionMatches {
    matches: Box<[(Field, FieldMatch)]>,
    /// What follows from that.
    pub(super) ways_in: WaysIn,
}

impl ConnectionMatches {
    pub(super) fn of(&self, field: Field) -> Option<&FieldMatch> {
        self.matches.iter().find(|(known, _)| *known == field).map(|(_, matched)| matched)
    }
}

impl CompiledPolicy {
    /// What the connection of `request` matches, for [`decide_on`](Self::decide_on).
    ///
    /// None where that cannot be told, where PeerAuthentication turns it away, and where that depends on more than the
    /// handshake: each request is decided by itself then.
    pub fn connection_matches<R: Request + ?Sized>(&self, request: &mut R) -> Option<ConnectionMatches> {
        if self.mutual_tls.asks_for_the_port() || self.mutual_tls.turns_away(request) != Ok(None) {
            return None;
        }
        let mut lookups = self.lookups(None, request);
        for field in &self.of_the_connection {
            lookups.matched(*field).ok()?;
        }
        let matches = lookups.matched.into_entries();
        Some(ConnectionMatches { ways_in: self.ways_in(&matches), matches })
    }
}
