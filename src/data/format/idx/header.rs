//! The header of an IDX file: two zero bytes, the element type (0x08: unsigned bytes, 0x0c: 32-bit integers),
//! the number of dimensions, each dimension as a big-endian u32; the elements follow in row-major order
//! (<http://yann.lecun.com/exdb/mnist>). Also the messages for files without such a header.

use crate::Result;
use crate::data::contents::Contents;
use crate::data::format::form::{Columns, Form, image_shape, labels as checked, sizes_text};
use crate::data::images::{FiledLabels, Images};
use crate::data::shape::times;

/// A checked IDX header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sizes of all dimensions. None is zero.
    pub dims: Vec<usize>,
    /// Bytes of an element: 1, or 4 for the integers of labels.
    pub element: usize,
    /// Bytes before the first element.
    pub header_len: usize,
    /// Length of the whole file in bytes, header included.
    pub file_len: u64,
}

const BYTES: u8 = 0x08;
const INTEGERS: u8 = 0x0c;

/// The IDX element types: number, bytes, name.
const ELEMENTS: [(u8, u64, &str); 6] = [
    (BYTES, 1, "unsigned bytes"),
    (0x09, 1, "signed bytes"),
    (0x0b, 2, "16-bit integers"),
    (INTEGERS, 4, "32-bit integers"),
    (0x0d, 4, "32-bit floats"),
    (0x0e, 8, "64-bit floats"),
];

/// The first bytes of other files that are put in an IDX file's place, and what to do with such a file.
const STRANGERS: [(&[u8], &str); 7] = [
    (&[0x1f, 0x8b], "gzip data, packed twice: unpack it once"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"\xfd7zXZ", "an xz file: unpack it"),
    (b"BZh", "a bzip2 file: unpack it"),
    (b"\x93NUMPY", "a NumPy array: let its name end in .npy"),
    (b"<", "a web page: the download failed, fetch the file again"),
    (b"version https://git-lfs", "a pointer of git-lfs: fetch the file itself with `git lfs pull`"),
];

/// The most dimensions that files of images or labels are known to have.
const MOST_DIMENSIONS: usize = 5;

impl Header {
    /// Bytes of the longest header that is understood.
    pub const LONGEST: usize = 4 + 4 * u8::MAX as usize;

    /// Bytes of the sizes, which follow the first four bytes.
    pub fn fields_len(front: &[u8]) -> usize {
        front.get(3).map_or(0, |&dimensions| 4 * usize::from(dimensions))
    }

    /// Reads the header at the front of `bytes`; `len` is the length of the whole file where it is known. The
    /// fault is returned as text, for the caller to add the file's name: the same check serves raw files and
    /// the contents of packed ones.
    pub fn parse(form: Form, bytes: &[u8], len: Option<u64>) -> std::result::Result<Self, String> {
        let front: &[u8; 4] = bytes.first_chunk().ok_or_else(|| {
            format!(
                "truncated: {} bytes do not hold an IDX header; restore the file or fetch it again",
                bytes.len()
            )
        })?;
        let &[0, 0, element, dimensions] = front else {
            return Err(stranger(bytes));
        };
        let size = element_size(form, element)?;
        let header_len = 4 + 4 * usize::from(dimensions);
        let fields = bytes.get(4..header_len).ok_or_else(|| {
            format!(
                "truncated: the header alone has {header_len} bytes, the file {}; restore it or fetch it again",
                bytes.len()
            )
        })?;
        let sizes = || fields.as_chunks::<4>().0.iter();
        let dims: Vec<usize> = sizes().map(|field| u32::from_be_bytes(*field) as usize).collect();
        let file_len = file_len(&dims, size);
        if file_len.is_none() || (len.is_some() && len != file_len) {
            let reversed: Vec<_> =
                sizes().map(|field| u32::from_le_bytes(*field) as usize).collect();
            if len.is_some() && self::file_len(&reversed, size) == len {
                return Err(format!(
                    "its sizes are written with the last byte first (little-endian): read so they are {}, \
                     which fits the file exactly; write each with its first byte first, the rest is sound",
                    sizes_text(&reversed)
                ));
            }
        }
        form.check(&dims, if element == INTEGERS { Columns::First } else { Columns::One })?;
        // The length has to fit in u64 for the file, and in isize for the address space.
        let file_len = file_len.filter(|&len| isize::try_from(len).is_ok()).ok_or_else(|| {
            format!(
                "the header promises {} bytes, more than can be addressed; restore the file",
                times(&dims)
            )
        })?;
        match len {
            Some(found) if found != file_len => {
                let fault = if found < file_len { "truncated" } else { "has trailing bytes" };
                Err(format!(
                    "{fault}: the header promises {file_len} bytes, the file has {found}; restore it or fetch it again"
                ))
            }
            _ => Ok(Self { dims, element: size as usize, header_len, file_len }),
        }
    }

    /// Whether a file of this form can begin with these bytes.
    pub fn fits(form: Form, bytes: &[u8]) -> bool {
        Self::parse(form, bytes, None).is_ok()
    }

    /// The length that a file would have whose sizes were written little-endian.
    pub fn reversed_len(bytes: &[u8]) -> Option<u64> {
        let &[0, 0, element, dimensions] = bytes.first_chunk()? else { return None };
        let &(_, size, _) = ELEMENTS.iter().find(|&&(number, ..)| number == element)?;
        let fields = bytes.get(4..4 + 4 * usize::from(dimensions))?;
        let sizes = fields.as_chunks::<4>().0.iter();
        let dims: Vec<_> = sizes.map(|field| u32::from_le_bytes(*field) as usize).collect();
        file_len(&dims, size)
    }
}

/// Bytes of header and elements; `None` if they do not fit in u64.
fn file_len(dims: &[usize], element: u64) -> Option<u64> {
    let product = dims.iter().try_fold(element, |product, &n| product.checked_mul(n as u64));
    product?.checked_add(4 + 4 * dims.len() as u64)
}

fn element_size(form: Form, element: u8) -> std::result::Result<u64, String> {
    let known = ELEMENTS.iter().find(|&&(number, ..)| number == element);
    match (form, known) {
        (_, Some(&(BYTES, size, _))) | (Form::Labels, Some(&(INTEGERS, size, _))) => Ok(size),
        _ => Err(format!(
            "its elements are {} (0x{element:02x}); convert them to unsigned bytes (0x08)",
            known.map_or("of an unknown type", |&(_, _, name)| name)
        )),
    }
}

/// What kind of other file begins with these bytes; `None` if it is not a known kind.
pub(in crate::data) fn known_stranger(bytes: &[u8]) -> Option<&'static str> {
    // "<!doctype" may follow blanks.
    let front = bytes.trim_ascii_start();
    STRANGERS.iter().find(|(magic, _)| front.starts_with(magic)).map(|&(_, what)| what)
}

/// What a file is that does not begin with two zero bytes.
fn stranger(bytes: &[u8]) -> String {
    if let Some(what) = known_stranger(bytes) {
        return format!("not an IDX file but {what}");
    }
    if let [dimensions, element, 0, 0, ..] = *bytes
        && (1..=MOST_DIMENSIONS).contains(&usize::from(dimensions))
        && ELEMENTS.iter().any(|&(number, ..)| number == element)
    {
        return format!(
            "its header is written with the last byte of each number first (little-endian: it begins with \
             {dimensions:02x} {element:02x} 00 00); write each with its first byte first"
        );
    }
    format!(
        "not an IDX file (it begins with {:02x} {:02x}, not 00 00); put an IDX file in its place",
        bytes[0], bytes[1]
    )
}

/// The images in the contents of a raw IDX file.
pub(in crate::data) fn images(contents: Contents) -> Result<Images> {
    let header = parsed(Form::Images, &contents)?;
    Ok(Images::new(contents, header.header_len, image_shape(&header.dims)))
}

/// The labels in the contents of a raw IDX file.
pub(in crate::data) fn labels(contents: &Contents) -> Result<FiledLabels> {
    let header = parsed(Form::Labels, contents)?;
    let columns = header.dims.get(1).copied().unwrap_or(1);
    let elements = &contents[header.header_len..];
    let values = match header.element {
        1 => checked(elements.iter().step_by(columns).copied()),
        _ => {
            let rows = elements.as_chunks::<4>().0.iter().step_by(columns);
            checked(rows.map(|label| i32::from_be_bytes(*label)))
        }
    };
    Ok(FiledLabels {
        path: contents.origin().to_owned(),
        values: values.map_err(|fault| contents.fault(fault))?,
        remark: contents.remark().map(str::to_owned),
    })
}

/// The header of a whole file.
pub(in crate::data) fn parsed(form: Form, contents: &Contents) -> Result<Header> {
    Header::parse(form, contents, Some(contents.len() as u64))
        .map_err(|fault| contents.fault(fault))
}

/// The header of an IDX file of unsigned bytes.
pub(in crate::data) fn header_bytes(shape: &[usize]) -> Vec<u8> {
    let mut bytes = vec![0, 0, BYTES, shape.len() as u8];
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
        // The first bytes of train-images-idx3-ubyte and train-labels-idx1-ubyte, as published, and of
        // qmnist-train-labels-idx2-int.
        let images = [0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 28, 0, 0, 0, 28];
        let labels = [0, 0, 8, 1, 0, 0, 0xea, 0x60];
        let qmnist = [0, 0, 12, 2, 0, 0, 0xea, 0x60, 0, 0, 0, 8];
        let read = |form, bytes: &[u8]| {
            let header = Header::parse(form, bytes, None).unwrap();
            (header.dims, header.element, header.header_len, header.file_len)
        };
        assert_eq!(read(Form::Images, &images), (vec![60_000, 28, 28], 1, 16, 47_040_016));
        assert_eq!(read(Form::Labels, &labels), (vec![60_000], 1, 8, 60_008));
        assert_eq!(read(Form::Labels, &qmnist), (vec![60_000, 8], 4, 12, 1_920_012));
        assert_eq!(header_bytes(&[60_000, 28, 28]), images);
        assert_eq!(header_bytes(&[60_000]), labels);
    }

    #[test]
    fn overflowing_products_are_faults() {
        let mut bytes = vec![0, 0, 8, 3];
        bytes.extend([0xff; 12]);
        let fault = |bytes: &[u8]| Header::parse(Form::Images, bytes, Some(100)).unwrap_err();
        assert!(fault(&bytes).contains("more than can be addressed"));
        // 2^32-1 squared fits in u64 but not in the address space.
        bytes[12..].copy_from_slice(&[0, 0, 0, 1]);
        assert!(fault(&bytes).contains("more than can be addressed"));
    }
}
