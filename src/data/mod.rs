//! From files on disk to batches of floats, in the order data flows:
//!
//! - [`idx`]: IDX files, mapped into memory and checked once
//! - [`cache`]: where packed files are unpacked to, and everything made or fetched is kept
//! - [`fashion_mnist`]: the official files and their checksums; [`fetch`] downloads them
//! - [`synthetic`]: drawn garments for machines without the data
//! - [`dataset`]: which folder is used, and what it holds
//! - [`Samples`]: inputs in mapped files or in memory, with their targets
//! - [`split`]: training, validation and test samples of a selection of classes
//! - [`scale`]: from samples to what a network sees
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
mod samples;
pub mod scale;
mod shape;
pub mod show;
pub mod split;
pub mod synthetic;
mod targets;

pub use batch::{Picks, TargetBuffer, gather, naive_gather};
pub use cache::Cache;
pub use dataset::{CLASS_NAMES, Dataset, Identity, Location, Part, Places, Source};
pub use fashion_mnist::{Half, Verification};
pub use fetch::{Fetch, FetchEvent};
pub use idx::{Images, Labels};
pub use map::exit_on_lost_pages;
pub use samples::{Inputs, Row, Samples};
pub use scale::{Scale, Scaling};
pub use shape::Shape;
pub(crate) use shape::elements;
pub use show::show;
pub use split::{Classes, Partition, Selection, Split, Validation};
pub use targets::Targets;
