//! The measurements of one run.

use crate::loading::{LoadResult, SoakResult};
use crate::rounds::Measurement;
use crate::variant::{Series, Variant};

/// The measurements of one run.
pub(crate) struct Results {
    /// The number of rounds.
    pub(crate) rounds: usize,
    /// The cost of a request, by variant.
    pub(crate) requests: Vec<(Variant, Measurement)>,
    /// The cost of loading rules.
    pub(crate) loads: Vec<LoadResult>,
    /// The soak of one VM.
    pub(crate) soak: SoakResult,
}

impl Results {
    /// The CPU time that a variant adds to a request, in microseconds; `None` if this run did not measure it.
    pub(crate) fn added(&self, series: Series, size: usize) -> Option<f64> {
        self.series(series).find(|(found, _)| *found == size).map(|(_, measurement)| measurement.added)
    }

    /// The measurements of a series, with their sizes.
    pub(crate) fn series(&self, series: Series) -> impl Iterator<Item = (usize, &Measurement)> {
        let of_series = self.requests.iter().filter(move |(variant, _)| variant.series == series);
        of_series.map(|(variant, measurement)| (variant.size, measurement))
    }
}

/// Formats a number with commas between thousands.
pub(crate) fn grouped(number: impl ToString) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats bytes as MiB with one decimal.
#[expect(clippy::cast_precision_loss, reason = "a linear memory has at most 4 GiB")]
pub(crate) fn mebibytes(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_by_commas() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (10_000_000, "10,000,000")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
