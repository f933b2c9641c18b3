//! The listener's setting that may be missing where a decision went by an identity that nobody proved.

use crate::attributes::request::Request;
use crate::attributes::wording::describe_peer;
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
    let peer = describe_peer(request);
    let is_about_peer = conditions.any(|condition| {
        let index = rules.fields.index(condition.field).ok();
        index.and_then(|index| index.describe_actual(request)).is_some_and(|actual| actual == peer)
    });
    if is_about_peer { format!("; {remedy}") } else { String::new() }
}
