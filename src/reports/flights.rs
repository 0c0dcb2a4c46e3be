//! What the report nlp2024 claims of its six models of flight prices.

pub use crate::tables::flights::ROWS;
use crate::tables::models::Kind;

/// The columns of its table.
pub const COLUMNS: [&str; 11] = [
    "airline",
    "flight",
    "source_city",
    "departure_time",
    "stops",
    "arrival_time",
    "destination_city",
    "class",
    "duration",
    "days_left",
    "price",
];
/// What it predicts.
pub const TARGET: &str = "price";

/// The report's figures of one model, on its test rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlightClaim {
    /// Mean squared error.
    pub mse: f64,
    /// Coefficient of determination, where it is given.
    pub r2: Option<f64>,
}

/// The claim for a model.
pub const fn claim(kind: Kind) -> FlightClaim {
    let (mse, r2) = match kind {
        Kind::Mean => (515_482_303.0, Some(0.0)),
        Kind::Linear => (45_720_770.0, Some(0.9113)),
        Kind::Ridge => (45_720_648.0, Some(0.9113)),
        Kind::Forest => (7_771_155.0, Some(0.9849)),
        // After 1,000 epochs.
        Kind::Descent => (149_370_112.0, None),
        // After 10,000 epochs.
        Kind::Network => (17_839_964.0, None),
    };
    FlightClaim { mse, r2 }
}

/// Whether a table has the columns of the report's, in any order, and predicts the price.
pub fn are_columns(names: &[String], target: &str) -> bool {
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut known = COLUMNS;
    names.sort_unstable();
    known.sort_unstable();
    target == TARGET && names == known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_columns_are_compared() {
        let mut names: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
        names.reverse();
        assert!(are_columns(&names, "price"));
        assert!(!are_columns(&names, "duration"));
        assert!(!are_columns(&names[1..], "price"));
        names[3] += "s";
        assert!(!are_columns(&names, "price"));
    }

    /// The order that the report claims.
    #[test]
    fn a_forest_is_best_and_the_mean_worst() {
        use Kind::*;
        let order = [Forest, Network, Ridge, Linear, Descent, Mean].map(|kind| claim(kind).mse);
        assert!(order.is_sorted());
    }
}
