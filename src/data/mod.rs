//! From files on disk to batches of floats, in the order data flows:
//!
//! - [`idx`]: IDX files, mapped into memory and checked once
//! - [`cache`]: where packed files are unpacked to, and everything made or fetched is kept
//! - [`fashion_mnist`]: the official files and their checksums; [`fetch`] downloads them
//! - [`synthetic`]: drawn garments for machines without the data
//! - [`dataset`]: which folder is used, and what it holds
//! - [`split`]: training, validation and test samples of a selection of classes
//! - [`scale`]: from bytes to floats
//! - [`batch`]: one pass from picks to a batch
//! - [`mod@show`]: an image as text
//!
//! No image is ever copied as a whole: samples are picks of a mapped file until a batch gathers
//! them.

pub mod batch;
pub mod cache;
pub mod dataset;
pub mod fashion_mnist;
pub mod fetch;
pub mod idx;
mod map;
pub mod scale;
pub mod show;
pub mod split;
pub mod synthetic;

pub use batch::{Picks, gather};
pub use cache::Cache;
pub use dataset::{CLASS_NAMES, Dataset, Half, Identity, Location, Part, Places, Source};
pub use fashion_mnist::Verification;
pub use fetch::Fetch;
pub use idx::{Images, Labels};
pub use scale::{Scale, Scaling};
pub use show::show;
pub use split::{Classes, Partition, Samples, Selection, Split, Validation};
