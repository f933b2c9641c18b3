//! Configurations of `baseline-deny`, as JSON and as a Struct, and decisions against the linear reading.

use sallyport_policy::{BaselineDeny, Decision, LinearBaselineDeny};

use crate::agreement::{assert_agrees, assert_not_looser, outcome};
use crate::configuration::{ConfigurationInput, assert_printable};

/// Checks a configuration with its requests.
pub fn check(data: &[u8]) {
    let input = ConfigurationInput::parse(data);
    let forms = match input.read(BaselineDeny::parse) {
        Ok(forms) => forms,
        Err(errors) => return assert_printable(&errors.to_string()),
    };
    let linear = LinearBaselineDeny::parse(input.json);
    for form in &forms {
        assert_printable(form.load_report().summary());
        for request in &input.requests {
            let decision = form.decide(&mut request.clone());
            let decided = outcome(&decision);
            if let Some(linear) = &linear {
                assert_agrees(&linear.decide(&mut request.clone()), &decided);
            }
            if request.fails() {
                let readable = form.decide(&mut request.without_failures());
                assert_not_looser(&outcome(&readable), &decided);
            }
            if let Decision::Deny(denial) | Decision::WouldDeny(denial) = &decision {
                let (reason, _pattern) = form.explain(denial, &mut request.clone());
                assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
                assert_printable(&reason);
            }
        }
    }
}
