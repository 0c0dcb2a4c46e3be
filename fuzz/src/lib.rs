//! What the targets share: a folder in memory that holds the files of each input in turn, sets in it, and
//! checksums that are made right, so that what lies behind them is reached.

pub mod checksums;
pub mod set;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use tempfile::TempDir;
use threadcount::data::{Samples, Shape, Split};
use threadcount::nn::{Activation, Optimizer, Plan, dense};
use threadcount::train::{Keep, Task};

/// The longest message that a person should have to read, in bytes.
const MESSAGE: usize = 2_000;

/// Stands between the files that one input is made of. No number of bytes in front of each: a byte put into
/// one file leaves the others as they were.
pub const SEPARATOR: &[u8] = b"\xfe|\xfe";

/// A folder for files made of an input; gone with the process.
pub struct Folder {
    folder: TempDir,
    /// What each file holds: an input mostly differs from the last in one.
    held: Mutex<HashMap<String, Vec<u8>>>,
}

impl Folder {
    /// An empty one, in memory where the system has such.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        Self { folder: folder.expect("a folder"), held: Mutex::default() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file, unless it holds these bytes.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut held = self.held();
        if held.get(name).is_none_or(|held| held != bytes) {
            fs::write(self.path(name), bytes).expect("a file");
            held.insert(name.to_owned(), bytes.to_vec());
        }
    }

    /// What a file holds by now that somebody else has written. It is written anew for the next input.
    pub fn take(&self, name: &str) -> Vec<u8> {
        self.held().remove(name);
        fs::read(self.path(name)).expect("a file")
    }

    /// Takes a file away, if it is there.
    pub fn remove(&self, name: &str) {
        if self.held().remove(name).is_some() {
            fs::remove_file(self.path(name)).expect("a file that was there");
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.held.lock().expect("no thread panicked")
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// The files that an input is made of; those that it does not reach are empty.
pub fn files<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(input);
    std::array::from_fn(|i| {
        let all = rest.take().unwrap_or_default();
        let mut windows = all.windows(SEPARATOR.len());
        match windows.position(|window| window == SEPARATOR).filter(|_| i + 1 < N) {
            Some(at) => {
                rest = Some(&all[at + SEPARATOR.len()..]);
                &all[..at]
            }
            None => all,
        }
    })
}

/// The input that is made of these files.
pub fn joined(files: &[&[u8]]) -> Vec<u8> {
    files.join(SEPARATOR)
}

/// Checks that a refusal is one short line, and gives back what was taken.
pub fn taken<T>(result: threadcount::Result<T>) -> Option<T> {
    result.inspect_err(|error| check_line(&error.to_string())).ok()
}

/// Checks that a text for people is one line without control characters, and a short one if it is a message.
pub fn check_line(text: &str) {
    assert!(text.len() < MESSAGE && !text.contains(char::is_control), "{text:?}");
}

/// One input in so many is tried in a way that takes longer; always the same ones.
pub fn one_in(many: usize, input: &[u8]) -> bool {
    input.iter().fold(0_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % many
        == 0
}

/// An IDX file of bytes.
pub fn idx(shape: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|side| bytes.extend(side.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

/// A task with as little in it as can be saved and resumed with everything.
pub fn small_task() -> Task {
    Task {
        layers: vec![dense(3, Activation::Relu), dense(2, Activation::Linear)],
        epochs: 3,
        batch_size: 2,
        keep: Keep::BestLoss,
        label_smoothing: 0.125,
        l2: 0.01,
        clip_norm: Some(0.5),
        optimizer: Optimizer::adamw(),
        weight_average: Some(0.75),
        ..Task::default()
    }
}

/// Samples of that task.
pub fn small_split() -> Split {
    let inputs = vec![0.5_f32, 0.25, 0.75, 0.125, 0.0, 1.0];
    let samples = Samples::new(Shape::Flat(2), inputs, &[1_u8, 0, 1]).expect("samples");
    Split::new(samples.clone(), samples)
}

/// A set for tasks to be tried on: twelve images to train on and eight to test on, of 4 x 4 pixels, of the
/// classes 1 to 4.
pub fn put_small_set(folder: &Folder) {
    for (half, count) in [("train", 12_u8), ("t10k", 8)] {
        let pixels: Vec<u8> = (0..count * 16).map(|i| i.wrapping_mul(37)).collect();
        let labels: Vec<u8> = (0..count).map(|i| i % 4 + 1).collect();
        let count = u32::from(count);
        folder.put(&format!("{half}-images-idx3-ubyte"), &idx(&[count, 4, 4], &pixels));
        folder.put(&format!("{half}-labels-idx1-ubyte"), &idx(&[count], &labels));
    }
}

/// Whether a network is small enough for thousands of it a second; also one that will be refused is.
pub fn is_small(task: &Task, sample: Shape, classes: usize) -> bool {
    if sample.len() > 1_000 || task.layers.len() > 50 {
        return false;
    }
    let plan = task.input.of(sample).and_then(|input| Plan::new(input, &task.layers_for(classes)));
    plan.map_or(true, |plan| {
        let outputs = plan.layers().iter().map(|layer| layer.output.len()).max();
        plan.parameter_count() < 10_000 && outputs.is_none_or(|outputs| outputs < 1_000)
    })
}
