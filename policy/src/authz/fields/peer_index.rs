//! Indexes of the fields that compare the SPIFFE ID of the peer.

use crate::attributes::request::Request;
use crate::attributes::wording::describe_peer;
use crate::authz::engine::field::FieldIndex;
use crate::identity::error::EvalError;
use crate::identity::spiffe_id::SpiffeId;
use crate::matcher::field_match::FieldMatch;
use crate::matcher::value_ids::Matched;

/// Index of patterns for a SPIFFE ID. A peer without an ID matches none of them, and one whose identity is not verified
/// is an error.
pub(crate) trait PeerIndex {
    /// Adds the patterns that match the ID.
    fn lookup_id(&self, id: &SpiffeId, matched: &mut Matched);
}

impl<I: PeerIndex> FieldIndex for I {
    fn lookup(&self, request: &mut dyn Request, found: &mut FieldMatch) -> Result<(), EvalError> {
        if let Some(id) = request.peer()?.require_verified()?.id() {
            self.lookup_id(id, &mut found.any);
        }
        Ok(())
    }

    fn describe_actual(&self, request: &mut dyn Request) -> Option<String> {
        Some(describe_peer(request))
    }

    fn is_about_peer(&self) -> bool {
        true
    }
}
