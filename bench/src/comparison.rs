//! Comparisons with a floor: ratios that Envoy or the machine bounds, each beside the same ratio of the handwritten
//! module that makes the same host calls. No filter that caches a decision per connection can be cheaper than that
//! module, so these ratios have no limit.

use crate::results::Results;
use crate::threshold::{added, ratio};
use crate::variant::Series::{
    self, Cheapest, ConnectionTag, ConnectionTagAndHeaders, IstioLast, IstioPrincipals, PrincipalMethodPath,
    Principals, RulePerPrincipal,
};

/// A ratio of a filter, and the same ratio of the floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// The compared costs.
    pub(crate) name: &'static str,
    /// The ratio of `identity-authz` as printed; `None` if this run did not measure it.
    pub(crate) own: Option<String>,
    /// The ratio of the handwritten module as printed; `None` if this run did not measure it.
    pub(crate) floor: Option<String>,
}

/// All comparisons of a run.
pub(crate) fn comparisons(results: &Results) -> Vec<Comparison> {
    let relative_to_cheapest = |name, series: Series, floor: Series| {
        let compare = |of| added(results, of, (Cheapest, 0)).map(|[of, cheapest]| ratio(of, cheapest, 2));
        Comparison { name, own: compare((series, 10)), floor: compare((floor, 0)) }
    };
    let native = |name, native: Series, size: usize| {
        let compare = |of| added(results, (native, size), of).map(|[native, of]| ratio(native, of, 1));
        Comparison { name, own: compare((Principals, size)), floor: compare((ConnectionTag, 0)) }
    };
    vec![
        relative_to_cheapest("10 principals, relative to the cheapest Wasm filter", Principals, ConnectionTag),
        relative_to_cheapest("10 rules with one principal each, relative to the same", RulePerPrincipal, ConnectionTag),
        relative_to_cheapest(
            "10 principals with method and path, relative to the same",
            PrincipalMethodPath,
            ConnectionTagAndHeaders,
        ),
        native("native RBAC, 10 principals, caller in the middle, relative to the filter", IstioPrincipals, 10),
        // A full scan, which is also the cost of every request that native RBAC denies.
        native("native RBAC, 1,000 principals, caller last, relative to the filter", IstioLast, 1_000),
        native("native RBAC, 10,000 principals, caller last, relative to the filter", IstioLast, 10_000),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::loading::SoakResult;
    use crate::rounds::Measurement;
    use crate::variant::Variant;

    /// Results with these added times alone.
    pub(crate) fn results(costs: &[(Series, usize, f64)]) -> Results {
        let row = |&(series, size, added): &(Series, usize, f64)| {
            (Variant { series, size }, Measurement { added, ..Measurement::default() })
        };
        let soak = SoakResult {
            updates: 0,
            requests: 0,
            update_seconds: [0.0; 2],
            memory_after_updates: [0; 2],
            memory_after_requests: [0; 2],
        };
        Results { rounds: 1, requests: costs.iter().map(row).collect(), loads: Vec::new(), soak }
    }

    #[test]
    fn every_ratio_has_its_floor_beside_it() {
        let results = results(&[
            (Cheapest, 0, 2.0),
            (ConnectionTag, 0, 3.0),
            (ConnectionTagAndHeaders, 0, 5.0),
            (Principals, 10, 3.5),
            (Principals, 1_000, 4.0),
            (Principals, 10_000, 4.0),
            (PrincipalMethodPath, 10, 6.0),
            (RulePerPrincipal, 10, 5.0),
            (IstioPrincipals, 10, 1.5),
            (IstioLast, 1_000, 60.0),
            (IstioLast, 10_000, 600.0),
        ]);
        let ratios: Vec<_> = comparisons(&results).into_iter().map(|row| (row.own, row.floor)).collect();
        let expected = [
            ("1.75 (3.50 µs / 2.00 µs)", "1.50 (3.00 µs / 2.00 µs)"),
            ("2.50 (5.00 µs / 2.00 µs)", "1.50 (3.00 µs / 2.00 µs)"),
            ("3.00 (6.00 µs / 2.00 µs)", "2.50 (5.00 µs / 2.00 µs)"),
            ("0.4 (1.50 µs / 3.50 µs)", "0.5 (1.50 µs / 3.00 µs)"),
            ("15.0 (60.00 µs / 4.00 µs)", "20.0 (60.00 µs / 3.00 µs)"),
            ("150.0 (600.00 µs / 4.00 µs)", "200.0 (600.00 µs / 3.00 µs)"),
        ];
        let expected = expected.map(|(own, floor)| (Some(own.to_owned()), Some(floor.to_owned())));
        assert_eq!(ratios, expected);
    }

    #[test]
    fn an_unmeasured_variant_has_no_ratio() {
        let results = results(&[(Cheapest, 0, 2.0), (ConnectionTag, 0, 3.0)]);
        let rows = comparisons(&results);
        assert!(rows.iter().all(|row| row.own.is_none()), "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.floor.is_some()).count(), 2, "{rows:?}");
    }
}
