//! Configurations of `identity-authz`, as JSON and as a Struct, and decisions against the linear reading.

use sallyport_policy::{CompiledPolicy, Decision, Denial, IdentityAuthz, LinearAnswer, LinearIdentityAuthz};

use crate::agreement::{assert_agrees, assert_not_looser, outcome};
use crate::configuration::{ConfigurationInput, assert_printable};
use crate::request::TextRequest;

/// Checks a configuration with its requests.
pub fn check(data: &[u8]) {
    let input = ConfigurationInput::parse(data);
    let forms = match input.read(|bytes| IdentityAuthz::parse(bytes)) {
        Ok(forms) => forms,
        Err(errors) => return assert_printable(&errors.to_string()),
    };
    let linear = LinearIdentityAuthz::parse(input.json);
    for form in &forms {
        assert_printable(form.load_report().summary());
        form.connection_warnings().iter().for_each(|line| assert_printable(line));
        for request in &input.requests {
            if let Some(policies) = form.marking() {
                assert_printable(&policies.required(&mut request.clone()).mark());
                continue;
            }
            let answer = linear.as_ref().map(|linear| linear.decide(&mut request.clone()));
            check_decision(form.policy(), request, answer);
            let connection = request.to_connection();
            let answer = linear.as_ref().map(|linear| linear.decide_connection(&mut connection.clone()));
            check_decision(form.connection_policy(), &connection, answer);
        }
    }
}

/// Compares a decision with the linear reading, with that of a cached connection, and with that of the same request
/// whose attributes can all be read.
fn check_decision(policy: &CompiledPolicy, request: &TextRequest, answer: Option<LinearAnswer>) {
    let full = policy.evaluate(None, &mut request.clone());
    let decided = outcome(&full.decision);
    if let Some(answer) = &answer {
        assert_agrees(answer, &decided);
        if answer.is_certain {
            assert_eq!(answer.audit, full.audit.map(ToString::to_string), "audit, linear reading on the left");
        }
    }
    if request.fails() {
        let readable = policy.decide(&mut request.without_failures());
        assert_not_looser(&outcome(&readable), &decided);
    }
    if let Some(cache) = policy.precompute_connection(&mut request.clone()) {
        let cached = policy.evaluate(Some(&cache), &mut request.clone());
        match &answer {
            Some(answer) => assert_agrees(answer, &outcome(&cached.decision)),
            None if is_undecidable(&cached.decision) || is_undecidable(&full.decision) => {}
            None => assert_eq!(cached, full, "cached on the left"),
        }
    }
    if policy.needs().connection_scoped && !request.fails() {
        let other = policy.decide(&mut request.other_of_connection());
        assert_eq!(outcome(&other), decided, "another request on the same connection on the left");
    }
    if let Decision::Deny(denial) | Decision::WouldDeny(denial) = &full.decision {
        let reason = policy.explain(denial, &mut request.clone());
        assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
        assert_printable(&reason);
    }
}

fn is_undecidable(decision: &Decision<Denial<'_>>) -> bool {
    matches!(decision, Decision::Deny(Denial::Undecidable(_)) | Decision::WouldDeny(Denial::Undecidable(_)))
}
