//! Tables in CSV files, and regression on them: what a column is worth is predicted from the others.
//!
//! In the order data flows:
//!
//! - [`ReadOptions`]: how a file is read: separator, decimal mark, missing values, columns left out
//! - `number`: a cell as a number, with either decimal mark and with thousands separators
//! - `source`: a file as records, each of which knows its line
//! - `survey`: the first reading: which columns are numbers, which decimal mark, how many rows; nothing is kept
//! - [`Table`]: the second reading: columns of `f64` numbers and of category codes
//! - [`Parts`]: a seeded split of the rows
//! - [`Encoding`], [`Design`]: the columns as models see them: numbers standardised, text one-hot, both by the
//!   training rows; a design keeps codes as codes
//! - `gram`: sums of products of all encoded columns, in `f64`, from codes and numbers
//! - [`models`]: the mean, least squares, ridge, gradient descent, the random forest, the network
//! - [`Folder`]: saved models, and predictions for another table
//! - [`flights`]: a drawn table of the form that the report nlp2024 used
//!
//! A file is read twice, row by row: memory is needed for the columns alone, and is compared with the machine's
//! before they are read.

mod encoding;
pub mod flights;
mod folder;
mod gram;
pub mod models;
mod number;
mod options;
mod predict;
mod source;
mod split;
mod survey;
mod table;

pub use encoding::{Design, Encoded, EncodedColumn, Encoding, MOST_ENCODED, NO_CATEGORY};
pub use folder::{Folder, SavedModel};
pub use gram::Gram;
pub use options::{Decimal, Missing, ReadOptions, Separator};
pub use predict::{Incomplete, PredictOptions, Predicted};
pub use split::{Parts, TEST_SHARE};
pub use table::{Column, Table, Values};
