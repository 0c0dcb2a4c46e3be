//! From files on disk to batches of floats, in the order data flows:
//!
//! - [`mod@format`]: the formats in which sets are stored, one entry each; files are mapped into memory and
//!   checked once
//! - [`cache`]: where files that were unpacked, drawn or fetched are kept
//! - [`fashion_mnist`]: the official files and their checksums; [`fetch`] downloads them
//! - [`pictures`]: a set made of folders of PNG and JPEG files
//! - [`ImageFile`]: the images of one file, for predictions
//! - [`synthetic`]: drawn garments for machines without the data
//! - [`dataset`]: which folder is used, and what it holds; [`ClassList`]: its labels and their names
//! - [`mod@verify`]: a report on the files of a set
//! - [`Samples`]: inputs in mapped files or in memory, with their targets
//! - [`split`]: training, validation and test samples of a selection of classes
//! - [`scale`]: how samples are scaled to a network's inputs
//! - [`mod@augment`]: random changes to training images
//! - [`batch`]: gathers picked samples into a batch in one pass
//! - [`mod@show`]: an image as text
//!
//! Images are not copied before a batch gathers them: a sample is the number of an image in a mapped file.

pub mod augment;
pub mod batch;
pub mod cache;
mod class_names;
mod contents;
pub mod dataset;
pub mod fashion_mnist;
pub mod fetch;
pub mod format;
mod image_file;
mod images;
mod map;
pub mod pictures;
mod samples;
pub mod scale;
mod shape;
pub mod show;
pub mod split;
pub mod synthetic;
mod targets;
mod unpack;
pub mod verify;

pub use augment::{Augment, Draws};
pub use batch::{Picks, TargetBuffer, gather, naive_gather};
pub use cache::{Cache, CacheWork, Made};
pub use class_names::{ClassList, MOST_CLASSES};
pub use dataset::{Dataset, Identity, Location, Part, Places, Source};
pub use fashion_mnist::{CLASS_NAMES, Half};
pub use fetch::{Fetch, FetchEvent};
pub use format::FORMATS;
#[cfg(feature = "numpy")]
pub(crate) use format::{read_npz, write_npz};
pub use image_file::{Ground, ImageFile, Treatment};
pub use images::{FiledLabels, Images, Labels};
pub use map::exit_on_lost_pages;
pub use pictures::{Import, ImportEvent};
pub use samples::{Inputs, Row, Samples};
pub use scale::{Scale, Scaling};
pub use shape::Shape;
pub(crate) use shape::elements;
#[cfg(feature = "program")]
pub(crate) use shape::measures;
pub use show::{Shown, show, show_augmented};
pub use split::{Classes, Missing, Partition, Selection, Split, Validation};
pub use targets::Targets;
pub use verify::{Verification, verify};
