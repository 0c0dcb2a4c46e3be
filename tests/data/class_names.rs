//! Files that name classes are texts for people: what would steer a terminal or break a table is refused.

use std::fs;
use std::path::Path;

use threadcount::data::{Cache, Dataset};

/// Writes an IDX file of bytes.
fn put(folder: &Path, name: &str, shape: &[u8], elements: &[u8]) {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|&side| bytes.extend([0, 0, 0, side]));
    bytes.extend(elements);
    fs::write(folder.join(name), bytes).unwrap();
}

/// Code 10 of a mapping gave a class a line break for a name.
#[test]
fn names_hold_no_control_characters() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for half in ["train", "t10k"] {
        put(folder, &format!("{half}-images-idx3-ubyte"), &[2, 1, 1], &[3, 4]);
        put(folder, &format!("{half}-labels-idx1-ubyte"), &[2], &[0, 1]);
    }
    let open = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        let opened = Dataset::open_folder(folder, &Cache::at(folder.join("cache")));
        fs::remove_file(folder.join(name)).unwrap();
        opened.map(|set| set.class_names().join("|")).map_err(|error| error.to_string())
    };
    assert_eq!(open("mapping.txt", "0 48\n1 65 97\n").unwrap(), "0|Aa");
    for code in [0, 9, 10, 13, 27, 127, 155] {
        let fault = open("mapping.txt", &format!("0 48\n1 65 {code}\n")).unwrap_err();
        assert!(fault.contains("line 2 is not a label and codes of characters"), "{fault}");
    }
    assert_eq!(open("classes.txt", "\tT-shirt/top\t\r\nélan\n").unwrap(), "T-shirt/top|élan");
    for name in ["a\tb", "a\rb", "\u{1b}[2Ja", "a\u{9b}b", "a\0"] {
        let fault = open("classes.txt", &format!("cat\n{name}\n")).unwrap_err();
        assert!(fault.contains("line 2 holds a control character"), "{fault}");
        assert!(!fault.contains(char::is_control), "{fault:?}");
    }
}
