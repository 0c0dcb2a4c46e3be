//! Data sets in every format: what is read, refused, fetched and unpacked.

#[path = "../common"]
mod common {
    pub(crate) mod sets;
}

mod cifar_files;
mod class_names;
#[cfg(feature = "fetch")]
mod data_fetch;
mod data_files;
mod data_samples;
#[cfg(feature = "numpy")]
mod numpy_files;
mod pictures;
