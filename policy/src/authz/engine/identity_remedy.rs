//! The listener's setting that may be missing where a decision went by an identity that nobody proved.

use crate::attributes::request::Request;
use crate::authz::engine::field_set::FieldId;
use crate::authz::engine::rule_set::RuleSet;
use crate::identity::peer::Peer;
use crate::matcher::clause::Condition;

/// End of the reason for a denial in which these conditions decided: the setting that may be missing if one of them is
/// about the identity of a peer that has none. Empty otherwise.
pub(crate) fn identity_remedy<'c>(
    rules: &RuleSet,
    mut conditions: impl Iterator<Item = &'c Condition<FieldId>>,
    request: &mut dyn Request,
) -> String {
    let Some(remedy) = request.peer().ok().and_then(Peer::remedy) else { return String::new() };
    let is_about_peer =
        conditions.any(|condition| rules.fields.index(condition.field).is_ok_and(|index| index.is_about_peer()));
    if is_about_peer { format!("; {remedy}") } else { String::new() }
}
