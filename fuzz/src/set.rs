//! Sets of data: a folder of files made of one input, opened as the command line opens it.

use std::hint::black_box;

use threadcount::data::{Cache, Dataset, Half, MOST_CLASSES, verify};

use crate::{Folder, check_line, one_in, taken};

/// A folder with the files of a set.
pub struct Set {
    folder: Folder,
    cache: Cache,
}

impl Set {
    /// One without files.
    pub fn new() -> Self {
        // Where no folder can be made: what is packed is unpacked into memory, and no file stays for each
        // of millions of inputs.
        Self { folder: Folder::new(), cache: Cache::at("/dev/null/cache") }
    }

    /// Writes a file of the set.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.folder.put(name, bytes);
    }

    /// Takes a file of the set away.
    pub fn remove(&self, name: &str) {
        self.folder.remove(name);
    }

    /// Writes the files with these names, opens the set, and looks at every byte and text of it. One in
    /// eight inputs is verified as `threadcount data verify` does, too.
    pub fn try_files(&self, input: &[u8], files: &[(&str, &[u8])]) {
        files.iter().for_each(|(name, bytes)| self.put(name, bytes));
        let opened = taken(Dataset::open_folder(self.folder.root(), &self.cache));
        if let Some(set) = &opened {
            check(set);
        }
        if one_in(8, input)
            && let Some(verification) = taken(verify(self.folder.root(), &self.cache))
        {
            let is_good = verification.set.as_ref().is_some_and(|set| set.is_ok());
            assert_eq!(is_good, opened.is_some(), "{verification}");
            taken(verification.into_result());
        }
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

fn check(set: &Dataset) {
    let classes = set.class_names().len();
    assert!((1..=MOST_CLASSES).contains(&classes), "{classes} classes");
    for part in [Half::Train, Half::Test].map(|half| set.part(half)) {
        let (images, labels) = (&part.images, &part.labels);
        assert_eq!(images.count(), labels.count());
        let sizes = [images.count(), images.height(), images.width(), images.channels()];
        assert_eq!(images.as_slice().len(), sizes.iter().product::<usize>());
        let sum: u64 = images.as_slice().iter().map(|&shade| u64::from(shade)).sum();
        black_box(sum);
        for &class in labels.as_slice() {
            assert!(usize::from(class) < classes, "class {class} of {classes}");
        }
    }
    for class in 0..classes {
        let class = u8::try_from(class).expect("a class is a byte");
        assert!(!set.class_name(class).contains(char::is_control), "{:?}", set.class_name(class));
        black_box(set.label(class));
    }
    set.remarks().iter().for_each(|remark| check_line(remark));
}
