//! The thresholds of a run: limits that the filters can meet, and that a run fails on.

use crate::loading::Shape;
use crate::results::{Results, grouped, mebibytes};
use crate::variant::Series::{
    self, ConnectionTag, ConnectionTagAndHeaders, IstioPrincipals, IstioWithoutDns, NoFilter, PrincipalMethodPath,
    Principals, RulePerPath, RulePerPrincipal,
};

/// A measured value and its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    /// The measured quantity.
    pub(crate) name: String,
    /// The limit in words, as in `at most 3`.
    pub(crate) limit: String,
    /// The outcome; `None` if this run did not measure it.
    pub(crate) outcome: Option<Outcome>,
}

/// A measured value, and whether it is within its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The value as printed.
    pub(crate) value: String,
    /// True if the value is within the limit.
    pub(crate) met: bool,
}

impl Threshold {
    /// The verdict as printed: `met`, `not met` or `not measured`.
    pub(crate) fn verdict(&self) -> &'static str {
        match &self.outcome {
            Some(Outcome { met: true, .. }) => "met",
            Some(Outcome { met: false, .. }) => "not met",
            None => "not measured",
        }
    }
}

/// The number of rules in the thresholds for loading.
const MANY: usize = 100_000;
/// Limit for loading [`MANY`] rules, in seconds of a machine that answers a request without a filter in
/// [`REFERENCE_REQUEST`].
const LOAD_TIME: f64 = 2.0;
/// CPU time of a request without a filter on the machine that [`LOAD_TIME`] is about, in microseconds.
const REFERENCE_REQUEST: f64 = 10.0;
/// Limit for the linear memory after loading [`MANY`] rules, in bytes.
const LOAD_MEMORY: usize = 64 << 20;

/// Checks all thresholds against the results of a run.
pub(crate) fn thresholds(results: &Results) -> Vec<Threshold> {
    let at_most = |name: &str, of: (Series, usize), reference: (Series, usize), limit: f64| {
        let outcome = added(results, of, reference).map(|[of, reference]| Outcome {
            value: ratio(of, reference, 2),
            met: of > 0.0 && reference > 0.0 && of <= limit * reference,
        });
        Threshold { name: name.to_owned(), limit: format!("at most {limit}"), outcome }
    };
    let native_at_least = |name: &str, native: Series, size: usize, limit: f64| {
        let outcome = added(results, (native, size), (Principals, size)).map(|[native, own]| Outcome {
            value: ratio(native, own, 1),
            met: native > 0.0 && own > 0.0 && native >= limit * own,
        });
        let name = format!("native RBAC relative to identity-authz, {} principals, {name}", grouped(size));
        Threshold { name, limit: format!("at least {limit}"), outcome }
    };
    let (tag, headers) = ((ConnectionTag, 0), (ConnectionTagAndHeaders, 0));
    let mut thresholds = vec![
        at_most("10 principals, relative to the handwritten connection tag", (Principals, 10), tag, 1.25),
        at_most("10 rules with one principal each, relative to the same", (RulePerPrincipal, 10), tag, 1.25),
        at_most(
            "10 principals with method and path, relative to the handwritten connection tag and headers",
            (PrincipalMethodPath, 10),
            headers,
            1.5,
        ),
        at_most("100,000 principals, relative to 10", (Principals, MANY), (Principals, 10), 1.2),
        at_most(
            "100,000 rules with one principal each, relative to 10",
            (RulePerPrincipal, MANY),
            (RulePerPrincipal, 10),
            1.2,
        ),
        at_most("10,000 rules with one path each, relative to 10", (RulePerPath, 10_000), (RulePerPath, 10), 1.5),
        native_at_least("certificate without a DNS SAN, as Istio issues it", IstioWithoutDns, 10, 1.0),
        native_at_least("caller in the middle", IstioPrincipals, 100, 1.0),
    ];
    thresholds.extend(Shape::ALL.into_iter().flat_map(|shape| loading(results, shape)));
    let soak = &results.soak;
    thresholds.push(growth(soak.memory_after_updates, soak.updates, "updates"));
    thresholds.push(growth(soak.memory_after_requests, soak.requests, "requests"));
    thresholds
}

/// The added CPU times of two variants; `None` if this run did not measure both.
pub(crate) fn added(results: &Results, one: (Series, usize), other: (Series, usize)) -> Option<[f64; 2]> {
    Some([results.added(one.0, one.1)?, results.added(other.0, other.1)?])
}

/// Formats the ratio of two costs in microseconds, followed by the costs.
pub(crate) fn ratio(of: f64, reference: f64, digits: usize) -> String {
    format!("{:.digits$} ({of:.2} µs / {reference:.2} µs)", of / reference)
}

fn loading(results: &Results, shape: Shape) -> [Threshold; 2] {
    let load = results.loads.iter().find(|load| load.shape == shape && load.rules == MANY);
    let name = |unit: &str| format!("{unit} to load {} {}", grouped(MANY), shape.name());
    // Only a ratio within the run says something on a slower machine.
    let request = results.series(NoFilter).next().map(|(_, measurement)| measurement.total);
    let seconds = load.zip(request).map(|(load, request)| {
        let scaled = load.seconds * REFERENCE_REQUEST / request;
        Outcome { value: format!("{scaled:.2} ({:.2} s / {request:.2} µs)", load.seconds), met: scaled < LOAD_TIME }
    });
    [
        Threshold {
            name: name(&format!("seconds, where a request without a filter takes {REFERENCE_REQUEST} µs,")),
            limit: format!("under {LOAD_TIME}"),
            outcome: seconds,
        },
        Threshold {
            name: name("MiB of linear memory"),
            limit: format!("under {}", LOAD_MEMORY >> 20),
            outcome: load.map(|load| Outcome { value: mebibytes(load.memory), met: load.memory < LOAD_MEMORY }),
        },
    ]
}

fn growth([early, late]: [usize; 2], times: u64, unit: &str) -> Threshold {
    Threshold {
        name: format!("bytes of linear memory gained between a tenth and all of {} {unit}", grouped(times)),
        limit: "0".to_owned(),
        outcome: Some(Outcome { value: late.saturating_sub(early).to_string(), met: late <= early }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loading::{LoadResult, SoakResult};
    use crate::rounds::Measurement;
    use crate::variant::{self, Variant};

    /// Results in which every value is exactly at its limit.
    fn at_limits() -> Results {
        let added = |variant: &Variant| match (variant.series, variant.size) {
            (ConnectionTag, _) => 1.28,
            (ConnectionTagAndHeaders, _) => 2.0,
            (Principals | RulePerPrincipal, MANY) => 1.92,
            (PrincipalMethodPath, _) => 3.0,
            (RulePerPath, 10_000) => 6.0,
            (RulePerPath, _) => 4.0,
            _ => 1.6,
        };
        let requests = variant::all(MANY).into_iter().map(|variant| {
            (variant, Measurement { added: added(&variant), total: REFERENCE_REQUEST, ..Measurement::default() })
        });
        let load = |shape| LoadResult { shape, rules: MANY, seconds: 1.99, memory: LOAD_MEMORY - 1 };
        Results {
            rounds: 1,
            requests: requests.collect(),
            loads: Shape::ALL.map(load).to_vec(),
            soak: SoakResult {
                updates: 10,
                requests: 20,
                update_seconds: [0.1; 2],
                memory_after_updates: [5, 5],
                memory_after_requests: [9, 8],
            },
        }
    }

    type Change = Box<dyn Fn(&mut Results)>;

    fn verdicts(results: &Results) -> Vec<(String, &'static str)> {
        thresholds(results).into_iter().map(|threshold| (threshold.name.clone(), threshold.verdict())).collect()
    }

    fn add(series: Series, size: usize, more: f64) -> Change {
        Box::new(move |results| {
            let found = results.requests.iter_mut().find(|(found, _)| *found == Variant { series, size });
            found.into_iter().for_each(|(_, measurement)| measurement.added += more);
        })
    }

    /// The thresholds that are not met after a change to the results.
    fn not_met_after(change: &Change) -> Vec<String> {
        let mut results = at_limits();
        change(&mut results);
        let failing = verdicts(&results).into_iter().filter(|(_, verdict)| *verdict == "not met");
        failing.map(|(name, _)| name).collect()
    }

    #[test]
    fn a_full_run_measures_every_threshold() {
        let verdicts = verdicts(&at_limits());
        assert_eq!(verdicts.len(), 20);
        for (name, verdict) in verdicts {
            assert_eq!(verdict, "met", "{name}");
        }
    }

    #[test]
    fn a_slightly_worse_request_is_not_met() {
        for (expected, change) in [
            ("100,000 principals, relative to 10", add(Principals, MANY, 0.01)),
            ("100,000 rules with one principal each, relative to 10", add(RulePerPrincipal, MANY, 0.01)),
            ("10 rules with one principal each, relative to the same", add(RulePerPrincipal, 10, 0.01)),
            (
                "10 principals with method and path, relative to the handwritten connection tag and headers",
                add(ConnectionTagAndHeaders, 0, -0.01),
            ),
            ("10,000 rules with one path each, relative to 10", add(RulePerPath, 10_000, 0.01)),
            (
                "native RBAC relative to identity-authz, 10 principals, certificate without a DNS SAN, as Istio issues it",
                add(IstioWithoutDns, 10, -0.01),
            ),
            (
                "native RBAC relative to identity-authz, 100 principals, caller in the middle",
                add(IstioPrincipals, 100, -0.01),
            ),
            // A cost of zero would make every ratio good.
            ("100,000 principals, relative to 10", add(Principals, MANY, -1.92)),
        ] {
            assert_eq!(not_met_after(&change), [expected]);
        }
        assert_eq!(
            not_met_after(&add(Principals, 10, 0.01)),
            [
                "10 principals, relative to the handwritten connection tag",
                "native RBAC relative to identity-authz, 10 principals, certificate without a DNS SAN, as Istio issues it",
            ]
        );
    }

    #[test]
    fn a_slightly_worse_load_or_any_growth_is_not_met() {
        let rows: [(&str, Change); 4] = [
            (
                "seconds, where a request without a filter takes 10 µs, to load 100,000 principals in one rule",
                Box::new(|results| results.loads.iter_mut().take(1).for_each(|load| load.seconds = LOAD_TIME)),
            ),
            (
                "MiB of linear memory to load 100,000 principals in one rule",
                Box::new(|results| results.loads.iter_mut().take(1).for_each(|load| load.memory = LOAD_MEMORY)),
            ),
            (
                "bytes of linear memory gained between a tenth and all of 10 updates",
                Box::new(|results| results.soak.memory_after_updates = [5, 6]),
            ),
            (
                "bytes of linear memory gained between a tenth and all of 20 requests",
                Box::new(|results| results.soak.memory_after_requests = [9, 10]),
            ),
        ];
        for (expected, change) in rows {
            assert_eq!(not_met_after(&change), [expected]);
        }
    }

    #[test]
    fn an_unmeasured_threshold_is_not_met() {
        let mut results = at_limits();
        results.requests.retain(|(variant, _)| variant.size < MANY);
        results.loads.clear();
        let unmeasured = verdicts(&results).into_iter().filter(|(_, verdict)| *verdict == "not measured");
        assert_eq!(unmeasured.count(), 2 + 2 * Shape::ALL.len());
    }
}
