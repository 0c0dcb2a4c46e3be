//! The classical models and the linear ones of tables, beside twins and scikit-learn.

mod classical;
mod classical_golden;
#[cfg(feature = "tables")]
mod golden_tables;
#[cfg(feature = "tables")]
mod known_rule;
