//! Configurations of `egress-allowlist`, as JSON and as a Struct, and decisions against the linear reading.

use sallyport_policy::{Decision, EgressAllowlist, LinearEgressAllowlist};

use crate::agreement::{assert_agrees, assert_not_looser, outcome};
use crate::configuration::{ConfigurationInput, assert_printable};

/// Checks a configuration with its requests.
pub fn check(data: &[u8]) {
    let input = ConfigurationInput::parse(data);
    let forms = match input.read(EgressAllowlist::parse) {
        Ok(forms) => forms,
        Err(errors) => return assert_printable(&errors.to_string()),
    };
    let linear = LinearEgressAllowlist::parse(input.json);
    for form in &forms {
        assert_printable(form.load_report().summary());
        let policy = form.policy();
        for request in &input.requests {
            let mode = policy.source_mode(&mut request.clone());
            let decision = policy.decide(mode, &mut request.clone());
            let decided = outcome(&decision);
            if let Some(linear) = &linear {
                assert_agrees(&linear.decide(&mut request.clone()), &decided);
            }
            if request.fails() {
                let mode = policy.source_mode(&mut request.without_failures());
                let readable = policy.decide(mode, &mut request.without_failures());
                assert_not_looser(&outcome(&readable), &decided);
            }
            if let Decision::Deny(denial) | Decision::WouldDeny(denial) = &decision {
                let enforced = matches!(decision, Decision::Deny(_));
                let reason = policy.explain(denial, enforced, None, &mut request.clone());
                assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
                assert_printable(&reason);
            }
        }
    }
}
