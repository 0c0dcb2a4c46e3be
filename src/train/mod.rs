//! Training: what a run trains ([`Task`]), the run itself ([`Session`]: the loop over epochs, early stopping,
//! the weights that are kept), what it leaves behind ([`History`], [`RunFolder`]), and checkpoints from which
//! it resumes with the same bits.

mod change_options;
mod changes;
mod checkpoint;
#[cfg(feature = "tensorboard")]
pub mod events;
mod fit;
mod folder;
mod folder_contents;
mod history;
mod joined;
mod locked;
mod log;
mod needs;
mod progress;
mod record;
mod schedule;
mod score;
pub mod search;
mod session;
mod stopping;
mod task;
mod task_difference;
mod task_file;
mod thread_choice;
mod trouble;
mod weights;

pub use crate::nn::io::model_file::Origin;
pub use crate::nn::io::weights::{InitialWeights, Initialised};
pub use change_options::{ChangeOption, Spacing, ValueKind};
pub use changes::Changes;
pub use fit::{Setup, Trained};
pub use folder::{Beginning, RunFolder};
pub use folder_contents::{Removed, remove_run};
pub use history::{Epoch, History};
#[cfg(feature = "program")]
pub(crate) use locked::numbered;
pub use log::{Event, Listed, Listing, LoggedRun, RunLog, State};
pub use progress::Progress;
pub use record::{DataRecord, InitRecord, Record, ResultRecord, kernel_of};
pub use schedule::Schedule;
pub use score::{Batch, EVALUATION_BATCH, Predicted, Score, predictions, score};
pub use session::{Ended, Moment, Session, Watch};
pub use task::{EarlyStopping, Input, Keep, Order, Task};
pub use task_difference::Difference;
pub use trouble::{Lookout, Trouble, never_predicted};
