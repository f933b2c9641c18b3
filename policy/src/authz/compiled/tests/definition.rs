//! The compiled policy against a plain linear reading of the same policies, which is the definition of what is right.

use fastrand::Rng;

use super::random::{random_policy, random_request};
use super::*;
use crate::authz::engine::rule::{Action, Predicate};
use crate::linear_reading;
use crate::matcher::clause::Quantifier;

/// The numbered steps of [`CompiledPolicy::decide`], by walking every rule.
pub(super) fn linear(policies: &[AuthorizationPolicy], request: &mut FakeRequest) -> String {
    let mut matching = |action| {
        let mut names = Vec::new();
        for policy in policies.iter().filter(|policy| policy.action == action) {
            for (number, clauses) in policy.rules.iter().enumerate() {
                // Of a header's values one that matches keeps out, and all have to match to be let in.
                let holds = |predicate: &Predicate, request: &mut FakeRequest| {
                    let of =
                        if (action == Action::Deny) == predicate.negated { Quantifier::All } else { Quantifier::Any };
                    linear_reading::matches(&*predicate.values, request, of) != Ok(predicate.negated)
                };
                if clauses.iter().any(|clause| clause.iter().all(|predicate| holds(predicate, request))) {
                    names.push(RuleName::new(policy.name.clone(), RuleLabel::Number(number)).to_string());
                }
            }
        }
        names.sort();
        names
    };
    if let Some(rule) = matching(Action::Deny).first() {
        return format!("denied by {rule}");
    }
    match matching(Action::Allow).is_empty() {
        true => "denied".to_owned(),
        false => "allowed".to_owned(),
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
