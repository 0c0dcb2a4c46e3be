//! Tables in CSV files, and regression on them: what a column is worth is predicted from the others.
//!
//! In the order data flows:
//!
//! - [`ReadOptions`]: how a file is read: separator, decimal mark, missing values, columns left out
//! - `number`: a cell as a number, with either decimal mark and with thousands separators
//! - `source`: a file as records, each of which knows its line
//! - `survey`: the first reading: which columns are numbers, which decimal mark, how many rows; nothing is kept
//! - `words`: the different texts of a column
//! - [`Outline`]: a table between its two readings; [`Table`]: the second one: columns of `f64` numbers and of category
//!   codes
//! - [`Parts`]: a seeded split of the rows
//! - [`Encoding`], [`Design`]: the columns as models see them: numbers standardised, text one-hot, both by the
//!   training rows; a design keeps codes as codes
//! - `gram`: sums of products of all encoded columns, in `f64`, from codes and numbers
//! - [`models`]: the mean, least squares, ridge, gradient descent, the random forest, the network
//! - [`Needed`]: what they take in memory at most
//! - [`Folder`]: saved models, and predictions for another table
//! - [`flights`]: a drawn table of the form that the report nlp2024 used
//!
//! A file is read twice, row by row: memory is needed for the columns and models alone. What they need at most is known
//! after the first reading, and what is more than the machine has is refused then; a table whose rows cannot fit in any
//! case is not even read to its end.

mod encoding;
pub mod flights;
mod folder;
mod gram;
pub mod models;
mod needed;
mod number;
mod options;
mod outline;
mod predict;
mod source;
mod split;
mod survey;
mod table;
mod words;

pub use encoding::{Design, Encoded, EncodedColumn, Encoding, MOST_ENCODED, NO_CATEGORY};
pub use folder::{Folder, SavedModel};
pub use gram::Gram;
pub use needed::{Needed, Work};
pub use options::{Decimal, Missing, ReadOptions, Separator};
pub use outline::Outline;
pub use predict::{Incomplete, PredictOptions, Predicted};
pub use split::{Parts, TEST_SHARE};
pub use table::{Column, Table, Values};
