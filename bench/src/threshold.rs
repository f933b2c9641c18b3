//! What a run has to reach, and whether it has.

use crate::loading::Shape;
use crate::results::{Results, grouped, mebibytes};
use crate::variant::Series::{
    self, Cheapest, IstioLast, IstioPrincipals, IstioWithoutDns, Paths, PrincipalMethodPath, Principals, RuleEach,
};

/// One line: what is measured, its limit, and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    pub(crate) what: String,
    pub(crate) limit: String,
    /// None where this run has not measured it.
    pub(crate) measured: Option<Reached>,
}

/// A measure beside its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) value: String,
    pub(crate) met: bool,
}

impl Threshold {
    /// In a word or two.
    pub(crate) fn verdict(&self) -> &'static str {
        match &self.measured {
            Some(Reached { met: true, .. }) => "met",
            Some(Reached { met: false, .. }) => "not met",
            None => "not measured",
        }
    }
}

/// Principals from which on the list is to be loaded in time.
const MANY: usize = 100_000;
/// In seconds.
const LOAD_TIME: f64 = 2.0;
/// In bytes.
const LOAD_MEMORY: usize = 64 << 20;

/// All of them.
pub(crate) fn thresholds(results: &Results) -> Vec<Threshold> {
    let at_most = |what: &str, of: (Series, usize), other: (Series, usize), limit: f64| {
        let measured = both(results, of, other).map(|[of, other]| Reached {
            value: ratio(of, other, 2),
            met: of > 0.0 && other > 0.0 && of <= limit * other,
        });
        Threshold { what: what.to_owned(), limit: format!("at most {limit}"), measured }
    };
    let cheaper = |native: Series, size: usize, limit: f64| {
        let measured = both(results, (native, size), (Principals, size)).map(|[native, own]| Reached {
            value: ratio(native, own, 1),
            met: native > 0.0 && own > 0.0 && native >= limit * own,
        });
        let how = match native {
            IstioLast => "the caller last",
            IstioWithoutDns => "a certificate as Istio issues it",
            _ => "the caller in the middle",
        };
        let what = format!("{} principals, {how}: native RBAC, against identity-authz", grouped(size));
        Threshold { what, limit: format!("at least {limit}"), measured }
    };
    let mut thresholds = vec![
        at_most("10 principals, against the cheapest possible Wasm filter", (Principals, 10), (Cheapest, 0), 1.6),
        at_most("10 rules of a principal each, against the same", (RuleEach, 10), (Cheapest, 0), 1.6),
        at_most("10 principals with method and path, against the same", (PrincipalMethodPath, 10), (Cheapest, 0), 3.0),
        at_most("100,000 principals, against 10", (Principals, MANY), (Principals, 10), 1.2),
        at_most("100,000 rules of a principal each, against 10", (RuleEach, MANY), (RuleEach, 10), 1.2),
        at_most("10,000 paths under one principal, against 10", (Paths, 10_000), (Paths, 10), 1.5),
        cheaper(IstioWithoutDns, 10, 1.0),
        cheaper(IstioPrincipals, 10, 1.0),
        cheaper(IstioPrincipals, 100, 1.0),
        // A walk to the end: what every request costs there that is denied.
        cheaper(IstioLast, 1_000, 20.0),
        cheaper(IstioLast, 10_000, 250.0),
    ];
    thresholds.extend(Shape::ALL.into_iter().flat_map(|shape| loading(results, shape)));
    let soaked = &results.soaked;
    thresholds.push(grown(soaked.by_updates, soaked.updates, "updates"));
    thresholds.push(grown(soaked.by_requests, soaked.requests, "requests"));
    thresholds
}

fn both(results: &Results, of: (Series, usize), other: (Series, usize)) -> Option<[f64; 2]> {
    Some([results.added(of.0, of.1)?, results.added(other.0, other.1)?])
}

fn ratio(of: f64, other: f64, digits: usize) -> String {
    format!("{:.digits$} ({of:.2} µs / {other:.2} µs)", of / other)
}

fn loading(results: &Results, shape: Shape) -> [Threshold; 2] {
    let loaded = results.loaded.iter().find(|loaded| loaded.shape == shape && loaded.rules == MANY);
    let what = |of: &str| format!("{of} to load {} {}", grouped(MANY), shape.name());
    [
        Threshold {
            what: what("seconds"),
            limit: format!("under {LOAD_TIME}"),
            measured: loaded
                .map(|loaded| Reached { value: format!("{:.2}", loaded.time), met: loaded.time < LOAD_TIME }),
        },
        Threshold {
            what: what("MiB of linear memory"),
            limit: format!("under {}", LOAD_MEMORY >> 20),
            measured: loaded
                .map(|loaded| Reached { value: mebibytes(loaded.memory), met: loaded.memory < LOAD_MEMORY }),
        },
    ]
}

fn grown([early, late]: [usize; 2], times: u64, of: &str) -> Threshold {
    Threshold {
        what: format!("bytes of linear memory more after {} {of} than after a tenth of them", grouped(times)),
        limit: "0".to_owned(),
        measured: Some(Reached { value: late.saturating_sub(early).to_string(), met: late <= early }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loading::{Loaded, Soaked};
    use crate::rounds::Measured;
    use crate::variant::{self, Variant};

    /// A run in which everything is just as good as it has to be.
    fn barely() -> Results {
        let added = |variant: &Variant| match (variant.series, variant.size) {
            (Cheapest, _) => 1.0,
            (Principals | RuleEach, MANY) => 1.92,
            (PrincipalMethodPath, _) => 3.0,
            (Paths, 10_000) => 6.0,
            (Paths, _) => 4.0,
            (IstioLast, 1_000) => 32.0,
            (IstioLast, 10_000) => 400.0,
            _ => 1.6,
        };
        let requests = variant::all(MANY)
            .into_iter()
            .map(|variant| (variant, Measured { added: added(&variant), ..Measured::default() }));
        let loaded = |shape| Loaded { shape, rules: MANY, time: 1.99, memory: LOAD_MEMORY - 1 };
        Results {
            rounds: 1,
            requests: requests.collect(),
            loaded: Shape::ALL.map(loaded).to_vec(),
            soaked: Soaked { updates: 10, requests: 20, times: [0.1; 2], by_updates: [5, 5], by_requests: [9, 8] },
        }
    }

    type Change = Box<dyn Fn(&mut Results)>;

    fn lines(results: &Results) -> Vec<(String, &'static str)> {
        thresholds(results).into_iter().map(|threshold| (threshold.what.clone(), threshold.verdict())).collect()
    }

    #[test]
    fn a_full_run_measures_every_line() {
        let lines = lines(&barely());
        assert_eq!(lines.len(), 23);
        for (what, verdict) in lines {
            assert_eq!(verdict, "met", "{what}");
        }
    }

    #[test]
    fn a_hair_worse_is_not_met() {
        let worse = |change: &dyn Fn(&mut Results)| {
            let mut results = barely();
            change(&mut results);
            let failing = lines(&results).into_iter().filter(|(_, verdict)| *verdict == "not met");
            failing.map(|(what, _)| what).collect::<Vec<_>>()
        };
        let add = |series: Series, size: usize, more: f64| {
            move |results: &mut Results| {
                let of = results.requests.iter_mut().find(|(found, _)| *found == Variant { series, size });
                of.into_iter().for_each(|(_, measured)| measured.added += more);
            }
        };
        let rows: [(&str, Change); 14] = [
            ("100,000 principals, against 10", Box::new(add(Principals, MANY, 0.01))),
            ("100,000 rules of a principal each, against 10", Box::new(add(RuleEach, MANY, 0.01))),
            ("10 principals with method and path, against the same", Box::new(add(PrincipalMethodPath, 10, 0.01))),
            ("10,000 paths under one principal, against 10", Box::new(add(Paths, 10_000, 0.01))),
            (
                "10 principals, the caller in the middle: native RBAC, against identity-authz",
                Box::new(add(IstioPrincipals, 10, -0.01)),
            ),
            (
                "100 principals, the caller in the middle: native RBAC, against identity-authz",
                Box::new(add(IstioPrincipals, 100, -0.01)),
            ),
            (
                "1,000 principals, the caller last: native RBAC, against identity-authz",
                Box::new(add(IstioLast, 1_000, -0.01)),
            ),
            (
                "10,000 principals, the caller last: native RBAC, against identity-authz",
                Box::new(add(IstioLast, 10_000, -0.01)),
            ),
            (
                "seconds to load 100,000 principals in one rule",
                Box::new(|results| results.loaded.iter_mut().take(1).for_each(|loaded| loaded.time = LOAD_TIME)),
            ),
            (
                "MiB of linear memory to load 100,000 principals in one rule",
                Box::new(|results| results.loaded.iter_mut().take(1).for_each(|loaded| loaded.memory = LOAD_MEMORY)),
            ),
            (
                "bytes of linear memory more after 10 updates than after a tenth of them",
                Box::new(|results| results.soaked.by_updates = [5, 6]),
            ),
            (
                "bytes of linear memory more after 20 requests than after a tenth of them",
                Box::new(|results| results.soaked.by_requests = [9, 10]),
            ),
            ("10 rules of a principal each, against the same", Box::new(add(RuleEach, 10, 0.01))),
            // A cost that is none would make any ratio good.
            ("100,000 principals, against 10", Box::new(add(Principals, MANY, -1.92))),
        ];
        for (expected, change) in rows {
            assert_eq!(worse(&*change), [expected]);
        }
        assert_eq!(
            worse(&add(Principals, 10, 0.01)),
            [
                "10 principals, against the cheapest possible Wasm filter",
                "10 principals, a certificate as Istio issues it: native RBAC, against identity-authz",
                "10 principals, the caller in the middle: native RBAC, against identity-authz",
            ]
        );
    }

    #[test]
    fn what_was_not_measured_is_not_called_met() {
        let mut results = barely();
        results.requests.retain(|(variant, _)| variant.size < MANY);
        results.loaded.clear();
        let met = lines(&results).into_iter().filter(|(_, verdict)| *verdict == "not measured");
        assert_eq!(met.count(), 2 + 2 * Shape::ALL.len());
    }
}
