//! One training run in several processes: what they can say to each other, and sums whose bits do not depend on
//! how many processes there are.
//!
//! - `shares`: which samples of a batch are a shard's, and which shards a process has
//! - `tree`: the one order in which shards are summed, whichever process holds them
//! - `path`: the messages by which all come to have what one has
//! - `world`: [`World`], the processes of a run: messages from one to another, and the end of all when one fails
//! - `post`: the mailbox of a process, and the service that carries its messages and watches over the others
//! - `traffic`: what a process has said, and how long it has waited
//! - `link`: how messages travel: [`Link`], and between threads of one process; `mpi` (feature `mpi`): over MPI
//!
//! A batch is cut into a fixed number of shards, which is a setting of the task. Everything that is summed over a
//! batch (gradients, losses, moments) is computed for each shard apart and summed in the tree. No sum is left to a
//! library, whose order could depend on the number of processes.

mod link;
#[cfg(feature = "mpi")]
pub mod mpi;
mod path;
mod post;
mod shares;
mod traffic;
mod tree;
mod world;

pub use link::{Link, Thread, in_world, threads};
#[cfg(feature = "program")]
pub(crate) use path::{Hop, from_one};
pub use post::{Fault, Limits};
pub use shares::Share;
pub(crate) use shares::part;
pub use traffic::Traffic;
#[cfg(feature = "program")]
pub(crate) use tree::hops;
pub(crate) use tree::{Slots, Tree, Wait, add};
pub use world::{World, sha256};
