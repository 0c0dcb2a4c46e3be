//! The official Fashion-MNIST files (Xiao, Rasul & Vollgraf 2017): their names, checksums and classes.

use super::cache::sha256;
use super::format::FiledPart;
use super::format::header::header_bytes;

/// The classes, by label.
pub const CLASS_NAMES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// One of the two parts of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The `train-` files.
    Train = 0,
    /// The `t10k-` files.
    Test = 1,
}

/// One of the four files of a set, and what the official one looks like.
#[derive(Clone, Copy, Debug)]
pub struct Official {
    /// Name of the raw file; the packed one adds `.gz`.
    pub name: &'static str,
    /// Length of the official `.gz` in bytes.
    pub packed_len: u64,
    /// SHA-256 of the official `.gz`.
    pub packed_sha256: &'static str,
    /// Length of the official raw file in bytes.
    pub raw_len: u64,
    /// SHA-256 of the official raw file.
    pub raw_sha256: &'static str,
}

/// The four files: train images, train labels, test images, test labels. The SHA-256 were taken
/// from files whose MD5 are the published ones (README of zalandoresearch/fashion-mnist), in the
/// same order: 8d4fb7e6c68d591d4c3dfef9ec88bf0d, 25c81989df183df01b3e8a0aad5dffbe,
/// bef4ecab320f06d8554ea6380940ec79, bb300cfdad3c16e7a12a480ee83cd310.
pub const FILES: [Official; 4] = [
    Official {
        name: "train-images-idx3-ubyte",
        packed_len: 26_421_880,
        packed_sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        raw_len: 47_040_016,
        raw_sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    Official {
        name: "train-labels-idx1-ubyte",
        packed_len: 29_515,
        packed_sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        raw_len: 60_008,
        raw_sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    Official {
        name: "t10k-images-idx3-ubyte",
        packed_len: 4_422_102,
        packed_sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        raw_len: 7_840_016,
        raw_sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    Official {
        name: "t10k-labels-idx1-ubyte",
        packed_len: 5_148,
        packed_sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        raw_len: 10_008,
        raw_sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
];

impl Official {
    /// Whether these pieces, joined in order, are the official raw file. The length is compared first, so
    /// only a file that may be official is hashed (train images: about 25 ms with SHA instructions).
    pub fn is_raw(&self, pieces: &[&[u8]]) -> bool {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        len as u64 == self.raw_len && sha256(pieces) == self.raw_sha256
    }
}

/// Whether these are the official images and labels, in files of any format. The labels are compared first,
/// so most other sets are recognised without hashing their images.
pub(super) fn is_official(train: &FiledPart, test: &FiledPart) -> bool {
    let labels = |part: &FiledPart, official: &Official| {
        let bytes: Option<Vec<u8>> =
            part.labels.values.iter().map(|&label| u8::try_from(label).ok()).collect();
        bytes.is_some_and(|bytes| official.is_raw(&[&header_bytes(&[bytes.len()]), &bytes]))
    };
    let images = |part: &FiledPart, official: &Official| {
        let images = &part.images;
        let header = header_bytes(&[images.count(), images.height(), images.width()]);
        images.channels() == 1 && official.is_raw(&[&header, images.as_slice()])
    };
    let [train_images, train_labels, test_images, test_labels] = &FILES;
    labels(test, test_labels)
        && labels(train, train_labels)
        && images(test, test_images)
        && images(train, train_images)
}
