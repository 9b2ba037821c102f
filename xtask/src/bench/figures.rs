//! Figures with their spread, and ratios of figures that were taken in turn.

use std::fmt;

/// What was measured, in the order in which it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(Vec<f64>);

impl Figures {
    /// Adds a measurement.
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Each measurement divided by the one of the same turn.
    pub(super) fn ratios_to(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    /// The median; 0 if nothing was measured.
    pub(super) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => 0.0,
            count if count % 2 == 1 => sorted[count / 2],
            count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
        }
    }

    /// The largest; 0 if nothing was measured.
    pub(super) fn max(&self) -> f64 {
        self.sorted().last().copied().unwrap_or_default()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Median, and least to most.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let least = self.sorted().first().copied().unwrap_or_default();
        write!(
            f,
            "{:.digits$} ({least:.digits$}–{:.digits$})",
            self.median(),
            self.max()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let a = Figures(vec![3.0, 1.0, 2.0]);
        let b = Figures(vec![6.0, 4.0, 4.0]);
        assert_eq!(a.median(), 2.0);
        assert_eq!(Figures(vec![1.0, 2.0]).median(), 1.5);
        assert_eq!(a.ratios_to(&b).sorted(), [0.25, 0.5, 0.5]);
        assert_eq!(format!("{a:.1}"), "2.0 (1.0–3.0)");
    }
}
