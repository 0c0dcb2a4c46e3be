//! The guide of the program, a chapter a module, in the order in which a reader needs them. It holds no code.
//!
//! 1. [`networks`]: a network of your own in a TOML file; schedules, regularisation, augmentation.
//! 2. [`data`]: sets of images in other formats, and folders of pictures.
//! 3. [`runs`]: what a run leaves behind, how it is found again and gone on with.
//! 4. [`search`]: trying settings.
//! 5. [`weights`]: beginning with the weights of another network, and handing weights on.
//! 6. [`classical`]: models that are not networks.
//! 7. [`tables`]: models of a column of a CSV file.
//! 8. [`record`]: how soon a CPU reaches an accuracy.
//! 9. [`speed`]: measuring it.
//! 10. [`ranks`]: several processes, on one machine or many.
//! 11. [`precision`]: products in bf16, or of split numbers.
//!
//! `threadcount COMMAND --help` tells the options of each command, with examples.

#[doc = include_str!("classical.md")]
pub mod classical {}
#[doc = include_str!("data.md")]
pub mod data {}
#[doc = include_str!("networks.md")]
pub mod networks {}
#[doc = include_str!("precision.md")]
pub mod precision {}
#[doc = include_str!("ranks.md")]
pub mod ranks {}
#[doc = include_str!("record.md")]
pub mod record {}
#[doc = include_str!("runs.md")]
pub mod runs {}
#[doc = include_str!("search.md")]
pub mod search {}
#[doc = include_str!("speed.md")]
pub mod speed {}
#[doc = include_str!("tables.md")]
pub mod tables {}
#[doc = include_str!("weights.md")]
pub mod weights {}
