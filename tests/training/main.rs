//! Sessions: what a training run does from the samples to the last epoch, its files, and how it goes on. No
//! program is started here: a process that begins has a copy of the locks that others hold for a moment.

#[path = "../common"]
mod common {
    pub(crate) mod by_hand;
    pub(crate) mod desk;
    pub(crate) mod searches;
    pub(crate) mod sets;
}

mod arrays;
mod augment;
#[cfg(feature = "numpy")]
mod exchange;
mod resume;
mod run_files;
mod search;
mod session_clock;
mod session_parts;
mod shards;
mod task_files;
