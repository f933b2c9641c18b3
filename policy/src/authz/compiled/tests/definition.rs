//! The compiled policy against a plain linear reading of the same policies, which is the definition of what is right.

use fastrand::Rng;

use super::random::{random_policy, random_request};
use super::*;
use crate::linear_reading::answer::LinearOutcome;
use crate::linear_reading::walk::Walk;

/// The numbered steps of [`CompiledPolicy::decide`], by walking every rule.
pub(super) fn linear(policies: &[AuthorizationPolicy], request: &mut FakeRequest) -> String {
    let walk = Walk::of_policies(policies.iter(), DefaultAction::Deny, EnforcementMode::Enforce, request);
    match walk.answer().outcome {
        LinearOutcome::Deny(Some(rule)) => format!("denied by {rule}"),
        LinearOutcome::Deny(None) => "denied".to_owned(),
        LinearOutcome::Allow => "allowed".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The decision by the compiled policy, in words.
pub(super) fn indexed(policy: &CompiledPolicy, request: &mut FakeRequest) -> String {
    in_words(&policy.decide(request))
}

/// By what the request's connection matches; a later request of it asks for nothing of the connection again.
pub(super) fn by_connection(policy: &CompiledPolicy, request: &mut FakeRequest) -> String {
    let matches = policy.precompute_connection(request).expect("nothing fails");
    request.read.clear();
    let words = in_words(&policy.evaluate(Some(&matches), request).decision);
    assert!(!request.read.iter().any(|asked| ["peer", "server name"].contains(asked)), "{request:?}");
    words
}

#[test]
fn the_index_agrees_with_walking_every_rule() {
    let mut rng = Rng::with_seed(0x5a11_7907);
    let mut answers = std::collections::HashMap::<String, usize>::new();
    for _ in 0..600 {
        let most = [3, 12, 40][rng.usize(..3)];
        let policies: Vec<_> = (0..=rng.usize(..most)).map(|number| random_policy(&mut rng, number)).collect();
        let policy = compile(&policies);
        for _ in 0..40 {
            let mut request = random_request(&mut rng);
            let expected = linear(&policies, &mut request);
            assert_eq!(indexed(&policy, &mut request), expected, "{request:?}");
            assert_eq!(by_connection(&policy, &mut request), expected, "{request:?}");
            let answer = if expected.starts_with("denied by") { "denied by a policy" } else { expected.as_str() };
            *answers.entry(answer.to_owned()).or_default() += 1;
        }
    }
    for answer in ["allowed", "denied", "denied by a policy"] {
        let met = answers.get(answer).copied().unwrap_or_default();
        assert!(met > 500, "{answer} was met {met} times only: {answers:?}");
    }
}

#[test]
fn ranks_of_fields_are_unique() {
    let mut rng = Rng::with_seed(5);
    let mut fields = Vec::new();
    for policy in (0..200).map(|number| random_policy(&mut rng, number)) {
        for values in policy.rules.iter().flatten().flatten().map(|predicate| &predicate.values) {
            fields.push((values.rank(), (**values).type_id()));
        }
    }
    fields.sort_unstable();
    fields.dedup();
    let (ranks, types): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let distinct: std::collections::BTreeSet<_> = ranks.iter().collect();
    assert_eq!(distinct.len(), types.len(), "two fields share a rank: {ranks:?}");
    assert!(ranks.len() >= 15, "{ranks:?}");
}
