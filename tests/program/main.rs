//! The program as a person meets it: commands, files, pages, exits.

#[path = "../common"]
mod common {
    pub(crate) mod desk;
    pub(crate) mod html;
    #[cfg(unix)]
    pub(crate) mod process;
    pub(crate) mod searches;
    pub(crate) mod sets;
    pub(crate) mod terminal;
}

mod bench;
mod command_line;
mod compare;
mod data_show;
mod exits;
#[cfg(feature = "numpy")]
mod fine_tuning;
mod own_data;
mod own_networks;
mod precision;
#[cfg(all(feature = "numpy", feature = "pictures"))]
mod predict_images;
mod record;
mod report;
mod run_folders;
mod run_log;
#[cfg(feature = "pictures")]
mod screen;
mod search_program;
mod shell;
mod tables;
