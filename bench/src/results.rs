//! All that one run has measured.

use crate::loading::{Loaded, Soaked};
use crate::rounds::Measured;
use crate::variant::{Series, Variant};

pub(crate) struct Results {
    pub(crate) rounds: usize,
    pub(crate) requests: Vec<(Variant, Measured)>,
    pub(crate) loaded: Vec<Loaded>,
    pub(crate) soaked: Soaked,
}

impl Results {
    /// What one variant adds to a request, in microseconds.
    pub(crate) fn added(&self, series: Series, size: usize) -> Option<f64> {
        self.of(series).find(|(of, _)| *of == size).map(|(_, measured)| measured.added)
    }

    /// What was measured of a series, by size.
    pub(crate) fn of(&self, series: Series) -> impl Iterator<Item = (usize, &Measured)> {
        let of_series = self.requests.iter().filter(move |(variant, _)| variant.series == series);
        of_series.map(|(variant, measured)| (variant.size, measured))
    }
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: impl ToString) -> String {
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

/// Bytes in MiB.
#[expect(clippy::cast_precision_loss, reason = "a linear memory has at most 4 GiB")]
pub(crate) fn mebibytes(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (10_000_000, "10,000,000")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
