//! IDX, the format of MNIST and its successors: two zero bytes, the element type (0x08: unsigned
//! bytes), the number of dimensions, each dimension as a big-endian u32, then the elements in
//! row-major order (<http://yann.lecun.com/exdb/mnist>). Files are mapped; images and labels are
//! views of the map.

use std::path::{Path, PathBuf};

use super::map::FileMap;
use crate::{Error, Result};

/// Classes of every set that this program trains on; labels are 0 to 9.
pub const CLASSES: usize = 10;

/// What an IDX file has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Three dimensions: `[count, height, width]`.
    Images,
    /// One dimension: `[count]`.
    Labels,
}

impl Form {
    const fn dimensions(self) -> usize {
        match self {
            Self::Images => 3,
            Self::Labels => 1,
        }
    }

    /// Bytes of the header: the magic number and one u32 per dimension.
    pub const fn header_len(self) -> usize {
        4 + 4 * self.dimensions()
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Labels => "labels",
        }
    }
}

/// A checked IDX header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `[count, height, width]`; height and width are 1 for labels. None is zero.
    pub shape: [usize; 3],
    /// Length of the whole file in bytes, header included.
    pub file_len: u64,
}

impl Header {
    /// Reads the header at the front of `bytes`. The fault comes back as text, to be joined to the
    /// file's name: the same check serves raw files and the insides of `.gz` files.
    pub fn parse(form: Form, bytes: &[u8]) -> std::result::Result<Self, String> {
        let noun = form.noun();
        let &[zero_0, zero_1, element, dimensions] = bytes.first_chunk().ok_or_else(|| {
            format!(
                "truncated: {} bytes do not hold an IDX header; restore the file or fetch it again",
                bytes.len()
            )
        })?;
        if [zero_0, zero_1] == [0x1f, 0x8b] {
            return Err("holds gzip data under a raw file's name; rename it to end in .gz".into());
        }
        if [zero_0, zero_1] != [0, 0] {
            return Err(format!(
                "not an IDX file (it begins with {zero_0:02x} {zero_1:02x}, not 00 00); put an IDX file of {noun} in its place"
            ));
        }
        if element != 0x08 {
            return Err(format!(
                "its elements are {} (0x{element:02x}); convert them to unsigned bytes (0x08)",
                element_name(element)
            ));
        }
        if usize::from(dimensions) != form.dimensions() {
            return Err(format!(
                "has {dimensions} dimensions where {noun} have {}; check that images and labels are not swapped",
                form.dimensions()
            ));
        }
        let header_len = form.header_len();
        let fields = bytes.get(4..header_len).ok_or_else(|| {
            format!(
                "truncated: the header alone has {header_len} bytes, the file {}; restore it or fetch it again",
                bytes.len()
            )
        })?;
        let mut shape = [1_usize; 3];
        let mut file_len = Some(1_u64);
        for (side, field) in shape.iter_mut().zip(fields.as_chunks::<4>().0) {
            let value = u32::from_be_bytes(*field);
            *side = value as usize;
            file_len = file_len.and_then(|product| product.checked_mul(value.into()));
        }
        let [count, height, width] = shape;
        if count == 0 {
            return Err(format!("holds no {noun}; put a set with at least one in its place"));
        }
        if height == 0 || width == 0 {
            return Err(format!(
                "its images measure {height}x{width} pixels; put images of at least 1x1 in its place"
            ));
        }
        // Twice: in u64 for the file, in isize for the address space.
        let file_len = file_len
            .and_then(|product| product.checked_add(header_len as u64))
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or_else(|| {
                format!("the header promises {count}x{height}x{width} bytes, more than can be addressed; restore the file")
            })?;
        Ok(Self { shape, file_len })
    }
}

/// The IDX element types, for the message about a wrong one.
fn element_name(element: u8) -> &'static str {
    match element {
        0x09 => "signed bytes",
        0x0b => "16-bit integers",
        0x0c => "32-bit integers",
        0x0d => "32-bit floats",
        0x0e => "64-bit floats",
        _ => "of an unknown type",
    }
}

/// A mapped file with a good header, whose length is exactly what the header says.
#[derive(Debug)]
struct Idx {
    path: PathBuf,
    map: FileMap,
    header: Header,
    header_len: usize,
}

impl Idx {
    fn open(form: Form, path: &Path) -> Result<Self> {
        let map = FileMap::open(path)?;
        let header = Header::parse(form, &map).map_err(|fault| Error::data(path, fault))?;
        let (promised, found) = (header.file_len, map.len() as u64);
        if found != promised {
            let fault = if found < promised { "truncated" } else { "has trailing bytes" };
            return Err(Error::data(
                path,
                format!(
                    "{fault}: the header promises {promised} bytes, the file has {found}; restore it or fetch it again"
                ),
            ));
        }
        Ok(Self { path: path.to_owned(), map, header, header_len: form.header_len() })
    }

    fn elements(&self) -> &[u8] {
        // `bytemuck` and not a bare slice: should a second element type earn its place, its
        // alignment is checked here. For u8 it is the identity.
        bytemuck::cast_slice(&self.map[self.header_len..])
    }
}

/// Mapped images, u8, row-major `[count, height, width]`.
#[derive(Debug)]
pub struct Images(Idx);

impl Images {
    /// Maps a raw IDX file of three dimensions.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing, not a regular file, or not exactly such a file.
    pub fn open(path: &Path) -> Result<Self> {
        Idx::open(Form::Images, path).map(Self)
    }

    /// How many images there are; at least one, and no more than `u32::MAX`.
    pub fn count(&self) -> usize {
        self.0.header.shape[0]
    }

    /// Rows of an image.
    pub fn height(&self) -> usize {
        self.0.header.shape[1]
    }

    /// Columns of an image.
    pub fn width(&self) -> usize {
        self.0.header.shape[2]
    }

    /// Pixels of an image: height x width.
    pub fn pixels(&self) -> usize {
        self.height() * self.width()
    }

    /// The pixels of image `i`, row by row.
    ///
    /// # Panics
    /// If there are not that many images.
    #[inline]
    pub fn image(&self, i: usize) -> &[u8] {
        let pixels = self.pixels();
        &self.0.elements()[i * pixels..][..pixels]
    }

    /// All pixels of all images.
    pub fn as_slice(&self) -> &[u8] {
        self.0.elements()
    }

    /// The mapped file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The whole file, header included: what a checksum is taken of.
    pub fn file(&self) -> &[u8] {
        &self.0.map
    }
}

/// Mapped labels, each 0 to 9.
#[derive(Debug)]
pub struct Labels(Idx);

impl Labels {
    /// Maps a raw IDX file of one dimension.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing, not a regular file, not exactly such a file, or holds a
    /// label over 9.
    pub fn open(path: &Path) -> Result<Self> {
        let labels = Self(Idx::open(Form::Labels, path)?);
        match labels.as_slice().iter().position(|&label| usize::from(label) >= CLASSES) {
            None => Ok(labels),
            Some(i) => Err(Error::data(
                path,
                format!(
                    "label {i} is {}; labels are 0 to 9: correct it or restore the file",
                    labels.as_slice()[i]
                ),
            )),
        }
    }

    /// How many labels there are; at least one.
    pub fn count(&self) -> usize {
        self.0.header.shape[0]
    }

    /// The labels, in file order.
    pub fn as_slice(&self) -> &[u8] {
        self.0.elements()
    }

    /// The mapped file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The whole file, header included: what a checksum is taken of.
    pub fn file(&self) -> &[u8] {
        &self.0.map
    }
}

/// The header of an IDX file of unsigned bytes.
pub(super) fn header_bytes(shape: &[usize]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0x08, shape.len() as u8];
    for &side in shape {
        bytes.extend((side as u32).to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_published_headers() {
        // The first bytes of train-images-idx3-ubyte and train-labels-idx1-ubyte, as published.
        let images = [0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 28, 0, 0, 0, 28];
        let labels = [0, 0, 8, 1, 0, 0, 0xea, 0x60];
        assert_eq!(
            Header::parse(Form::Images, &images),
            Ok(Header { shape: [60_000, 28, 28], file_len: 47_040_016 })
        );
        assert_eq!(
            Header::parse(Form::Labels, &labels),
            Ok(Header { shape: [60_000, 1, 1], file_len: 60_008 })
        );
        assert_eq!(header_bytes(&[60_000, 28, 28]), images);
        assert_eq!(header_bytes(&[60_000]), labels);
    }

    #[test]
    fn overflowing_products_are_faults() {
        let mut bytes = vec![0, 0, 8, 3];
        bytes.extend([0xff; 12]);
        assert!(
            Header::parse(Form::Images, &bytes).unwrap_err().contains("more than can be addressed")
        );
        // 2^32-1 squared fits in u64 but not beside an address.
        bytes[12..].copy_from_slice(&[0, 0, 0, 1]);
        assert!(
            Header::parse(Form::Images, &bytes).unwrap_err().contains("more than can be addressed")
        );
    }
}
