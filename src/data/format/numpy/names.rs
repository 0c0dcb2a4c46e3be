//! What arrays of a set and their files are called.

use crate::data::fashion_mnist::Half;
use crate::data::format::Named;
use crate::data::format::form::Form;

/// The parts of a name, each with its spellings: `PREFIX FORM HALF` or `PREFIX HALF FORM`, with hyphens
/// between them. Underscores and dots count as hyphens, and case does not matter.
const HALVES: [(Half, &[&str]); 2] =
    [(Half::Train, &["train", "training"]), (Half::Test, &["test", "testing", "t10k"])];
const FORMS: [(Form, &[&str]); 2] = [
    // The third is KMNIST's, the second MedMNIST's.
    (Form::Images, &["x", "images", "imgs", "image", "data"]),
    (Form::Labels, &["y", "labels", "label", "targets", "target"]),
];

/// Reads the name of an array; `None` if it is not one of a set's.
pub(super) fn read(name: &str) -> Option<Named> {
    let name = name.to_ascii_lowercase().replace(['.', '_', ' '], "-");
    for (form, nouns) in FORMS {
        for (half, spellings) in HALVES {
            for (i, noun) in nouns.iter().enumerate() {
                for (j, spelling) in spellings.iter().enumerate() {
                    // Also `xtrain`: only a noun of one letter may be joined like this.
                    let joined = (noun.len() == 1).then(|| format!("{noun}{spelling}"));
                    let ways = [format!("{noun}-{spelling}"), format!("{spelling}-{noun}")];
                    let prefix = ways.into_iter().chain(joined).find_map(|way| {
                        let prefix = name.strip_suffix(&way)?;
                        (prefix.is_empty() || prefix.ends_with('-')).then(|| prefix.to_owned())
                    });
                    if let Some(prefix) = prefix {
                        return Some(Named { prefix, half, form, rank: (false, i, j) });
                    }
                }
            }
        }
    }
    None
}

/// Reads the name of a file that holds one array of a set.
pub(super) fn read_file(name: &str) -> Option<Named> {
    let (stem, is_archive) = stem(name)?;
    let named = read(stem)?;
    Some(Named { rank: (is_archive, named.rank.1, named.rank.2), ..named })
}

/// The name of an archive that may hold a whole set, without its ending.
pub(super) fn archive(name: &str) -> Option<&str> {
    let (stem, is_archive) = stem(name)?;
    (is_archive && read(stem).is_none()).then_some(stem)
}

/// A name without `.npy` or `.npz`, and whether it was the second.
fn stem(name: &str) -> Option<(&str, bool)> {
    let (stem, ending) = name.rsplit_once('.')?;
    let is = |wanted: &str| ending.eq_ignore_ascii_case(wanted);
    (is("npy") || is("npz")).then(|| (stem, is("npz")))
}

/// Names as messages show them, only the first few.
pub(super) fn list(names: &[String]) -> String {
    const MOST: usize = 8;
    let short = |name: &String| crate::names::shortened(&name.escape_debug().to_string());
    let told: Vec<_> = names.iter().take(MOST).map(short).collect();
    match names.len() {
        0 => "no arrays".to_owned(),
        n if n > MOST => format!("{} and {} more", told.join(", "), n - MOST),
        _ => told.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_shipped_sets_are_read() {
        for (name, prefix, half, form) in [
            ("x_train.npy", "", Half::Train, Form::Images),
            ("Y_test.NPY", "", Half::Test, Form::Labels),
            ("Xtrain.npy", "", Half::Train, Form::Images),
            ("train_images.npy", "", Half::Train, Form::Images),
            ("test-labels.npy", "", Half::Test, Form::Labels),
            ("kmnist-train-imgs.npz", "kmnist-", Half::Train, Form::Images),
            ("k49-test-labels.npz", "k49-", Half::Test, Form::Labels),
            ("my.set.targets_testing.npy", "my-set-", Half::Test, Form::Labels),
        ] {
            let named = read_file(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((&*named.prefix, named.half, named.form), (prefix, half, form), "{name}");
            assert_eq!(archive(name), None, "{name}");
        }
        for name in ["fox_train.npy", "x_train.npy.gz", "x_val.npy", "strain-x.npy", "x_train"] {
            assert_eq!(read_file(name), None, "{name}");
        }
        assert_eq!(archive("mnist.npz"), Some("mnist"));
        assert_eq!(archive("pathmnist_64.NPZ"), Some("pathmnist_64"));
        assert_eq!(archive("mnist.npy"), None);
    }

    #[test]
    fn of_two_names_the_file_and_the_usual_spelling_win() {
        let rank = |name| read_file(name).unwrap().rank;
        assert!(rank("x_train.npy") < rank("images_train.npy"));
        assert!(rank("train_images.npy") < rank("train_imgs.npy"));
        assert!(rank("data_training.npy") < rank("x_train.npz"));
    }
}
