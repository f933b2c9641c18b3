//! All that one run has measured, and whether it is as good as is promised.

use crate::loading::{Loaded, Soaked};
use crate::rounds::Measured;
use crate::variant::Series;

pub(crate) struct Results {
    pub(crate) requests: Vec<(Series, usize, Measured)>,
    pub(crate) loaded: Vec<Loaded>,
    pub(crate) soaked: Soaked,
}

/// One promise: a measure and its limit.
pub(crate) struct Promise {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) limit: String,
    pub(crate) kept: bool,
}

impl Results {
    /// What one variant adds to a request, in microseconds.
    pub(crate) fn added(&self, series: Series, size: usize) -> Option<f64> {
        let of = |found: &&(Series, usize, Measured)| found.0 == series && found.1 == size;
        self.requests.iter().find(of).map(|(_, _, measured)| measured.added)
    }

    /// Every promise of which this run has measured both sides.
    pub(crate) fn promises(&self) -> Vec<Promise> {
        use Series::*;
        let at_most = |(series, size), (other, of), limit: f64, what: &str| {
            let ratio = self.added(series, size)? / self.added(other, of)?;
            let (measured, limit_text) = (format!("{ratio:.2}"), format!("at most {limit}"));
            Some(Promise { what: what.to_owned(), measured, limit: limit_text, kept: ratio <= limit })
        };
        let cheaper = |size, limit: f64, what: &str| {
            let ratio = self.added(IstioPrincipals, size)? / self.added(Principals, size)?;
            let (measured, limit_text) = (format!("{ratio:.1}"), format!("at least {limit}"));
            Some(Promise { what: what.to_owned(), measured, limit: limit_text, kept: ratio >= limit })
        };
        let largest = self.loaded.iter().max_by_key(|loaded| loaded.rules).map(|loaded| {
            let what = format!("seconds to load {} principals", grouped(loaded.rules));
            let measured = format!("{:.2}", loaded.time);
            let time = Promise { what, measured, limit: "under 2".to_owned(), kept: loaded.time < 2.0 };
            let what = format!("MiB of linear memory for {} principals", grouped(loaded.rules));
            let kept = loaded.memory < 64 << 20;
            [time, Promise { what, measured: mebibytes(loaded.memory), limit: "under 64".to_owned(), kept }]
        });
        let grown = |[early, late]: [usize; 2], times: u64, of: &str| Promise {
            what: format!("bytes of linear memory more after {} {of} than after a tenth of them", grouped_u64(times)),
            measured: late.saturating_sub(early).to_string(),
            limit: "0".to_owned(),
            kept: late <= early,
        };
        let requests = [
            at_most((Principals, 10), (Cheapest, 0), 1.6, "10 principals, against the cheapest possible Wasm filter"),
            at_most(
                (PrincipalMethodPath, 10),
                (Cheapest, 0),
                3.0,
                "10 principals with method and path, against the same",
            ),
            at_most((Principals, 100_000), (Principals, 10), 1.2, "100,000 principals, against 10"),
            at_most((Paths, 10_000), (Paths, 10), 1.5, "10,000 paths under one principal, against 10"),
            cheaper(10, 1.0, "10 principals: how much cheaper than native RBAC as Istio emits it"),
            cheaper(100, 1.0, "100 principals: the same"),
            cheaper(1_000, 20.0, "1,000 principals: the same"),
            cheaper(10_000, 250.0, "10,000 principals: the same"),
        ];
        let soaked = [
            grown(self.soaked.by_updates, self.soaked.updates, "updates"),
            grown(self.soaked.by_requests, self.soaked.requests, "requests"),
        ];
        requests.into_iter().flatten().chain(largest.into_iter().flatten()).chain(soaked).collect()
    }
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The same of a count.
pub(crate) fn grouped_u64(number: u64) -> String {
    usize::try_from(number).map_or_else(|_| number.to_string(), grouped)
}

#[expect(clippy::cast_precision_loss, reason = "a linear memory has at most 4 GiB")]
pub(crate) fn mebibytes(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
