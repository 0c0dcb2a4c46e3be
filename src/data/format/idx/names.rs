//! The names under which IDX sets are shipped and unpacked.

use crate::data::Half;
use crate::data::format::Named;
use crate::data::format::form::Form;

/// The parts of a name, `PREFIX HALF - FORM ENDING`, each with its spellings. In a name, dots and underscores
/// count as hyphens (archive programs write `train-images.idx3-ubyte`), case does not matter, and a `.gz` at
/// the end is ignored: the contents say whether a file is packed.
const HALVES: [(Half, &[&str]); 2] = [
    (Half::Train, &["train", "training"]),
    // MNIST, Fashion-MNIST, KMNIST; EMNIST and QMNIST; and another common spelling.
    (Half::Test, &["t10k", "test", "testing"]),
];
const FORMS: [(Form, &str, &[&str]); 2] = [
    (
        Form::Images,
        "images",
        &["-idx3-ubyte", "-idx4-ubyte", "-idx", "-idx3", "-idx4", "-ubyte", ""],
    ),
    (
        Form::Labels,
        "labels",
        // The third is QMNIST's.
        &[
            "-idx1-ubyte",
            "-idx2-ubyte",
            "-idx2-int",
            "-idx1-int",
            "-idx",
            "-idx1",
            "-idx2",
            "-ubyte",
            "",
        ],
    ),
];

/// Reads a name; `None` if it is not an IDX file's.
pub(super) fn read(name: &str) -> Option<Named> {
    let name = name.to_ascii_lowercase().replace(['.', '_'], "-");
    let (name, is_packed) = match name.strip_suffix("-gz") {
        Some(raw) => (raw, true),
        None => (&*name, false),
    };
    // `train-images-idx3-ubyte.idx`
    let name = match name.strip_suffix("-idx") {
        Some(whole) if whole.ends_with("-ubyte") || whole.ends_with("-int") => whole,
        _ => name,
    };
    FORMS.iter().find_map(|&(form, noun, endings)| {
        let (front, ending) = name.rsplit_once(noun)?;
        let ending = endings.iter().position(|&known| known == ending)?;
        let front = front.strip_suffix('-')?;
        HALVES.iter().find_map(|&(half, spellings)| {
            let spelt = |spelling: &str| {
                let prefix = front.strip_suffix(spelling)?;
                (prefix.is_empty() || prefix.ends_with('-')).then(|| prefix.to_owned())
            };
            let (i, prefix) =
                spellings.iter().enumerate().find_map(|(i, s)| Some((i, spelt(s)?)))?;
            Some(Named { prefix, half, form, rank: (is_packed, ending, i) })
        })
    })
}

/// The name in the spelling of MNIST's authors, after a prefix.
pub(super) fn canonical(prefix: &str, half: Half, form: Form) -> String {
    let half = HALVES[half as usize].1[0];
    let (_, noun, endings) = FORMS[form as usize];
    format!("{prefix}{half}-{noun}{}", endings[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spelling, with the prefix, half and form that it stands for.
    #[test]
    fn the_names_of_shipped_sets_are_read() {
        for (name, prefix, half, form) in [
            // MNIST, Fashion-MNIST and KMNIST as shipped, and as browsers unpack them.
            ("train-images-idx3-ubyte.gz", "", Half::Train, Form::Images),
            ("train-labels-idx1-ubyte.gz", "", Half::Train, Form::Labels),
            ("t10k-images-idx3-ubyte", "", Half::Test, Form::Images),
            ("t10k-labels-idx1-ubyte", "", Half::Test, Form::Labels),
            // As archive programs unpack MNIST.
            ("train-images.idx3-ubyte", "", Half::Train, Form::Images),
            ("t10k-labels.idx1-ubyte", "", Half::Test, Form::Labels),
            ("t10k-labels.idx1-ubyte.gz", "", Half::Test, Form::Labels),
            ("train-images-idx3-ubyte.idx", "", Half::Train, Form::Images),
            ("train_images.idx", "", Half::Train, Form::Images),
            ("train-images.idx4-ubyte", "", Half::Train, Form::Images),
            ("Train-Labels-IDX1-UByte.GZ", "", Half::Train, Form::Labels),
            ("test-images", "", Half::Test, Form::Images),
            // EMNIST and QMNIST.
            (
                "emnist-letters-train-images-idx3-ubyte.gz",
                "emnist-letters-",
                Half::Train,
                Form::Images,
            ),
            ("emnist-byclass-test-labels-idx1-ubyte", "emnist-byclass-", Half::Test, Form::Labels),
            ("qmnist-train-images-idx3-ubyte.gz", "qmnist-", Half::Train, Form::Images),
            ("qmnist-test-labels-idx2-int.gz", "qmnist-", Half::Test, Form::Labels),
        ] {
            let read = read(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((&*read.prefix, read.half, read.form), (prefix, half, form), "{name}");
        }
        for name in [
            "train-images.npy",
            "train-images-idx3-ubyte.part",
            "train-images-idx3-ubyte (1).gz",
            "emnist-letters-mapping.txt",
            "xnist-images-idx3-ubyte.xz",
            "strain-images-idx3-ubyte",
            "images-idx3-ubyte",
            "qmnist-train-labels.tsv.gz",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    /// A raw file wins over a packed one, however they are spelt.
    #[test]
    fn the_smallest_rank_wins() {
        let names = [
            "t10k-images-idx3-ubyte",
            "test-images-idx3-ubyte",
            "t10k-images",
            "t10k-images-idx3-ubyte.gz",
            "test-images-idx3-ubyte.gz",
            "t10k-images.gz",
        ];
        let ranks = names.map(|name| read(name).unwrap().rank);
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }

    #[test]
    fn canonical_names_are_read_as_what_they_are() {
        for (half, form, name) in [
            (Half::Train, Form::Images, "train-images-idx3-ubyte"),
            (Half::Train, Form::Labels, "train-labels-idx1-ubyte"),
            (Half::Test, Form::Images, "t10k-images-idx3-ubyte"),
            (Half::Test, Form::Labels, "t10k-labels-idx1-ubyte"),
        ] {
            assert_eq!(canonical("", half, form), name);
            let read = read(name).unwrap();
            assert_eq!((read.half, read.form, read.rank), (half, form, (false, 0, 0)));
        }
    }
}
