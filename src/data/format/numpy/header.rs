//! The header of a `.npy` file: a magic string, a version, the length of a Python dictionary, the dictionary
//! with type, order and sizes; the elements follow
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>). Also reads the elements.

use std::io::Read;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, TypeStr};

use crate::data::format::form::{Columns, Form, sizes_text};
use crate::data::format::header::known_stranger;
use crate::data::shape::times;
use crate::names::shortened_middle;

/// A checked header.
#[derive(Debug)]
pub(super) struct Header {
    /// The sizes, outermost first. None is zero, each is at most `u32::MAX`.
    pub(super) dims: Vec<usize>,
    pub(super) element: Element,
    /// Bytes before the first element.
    pub(super) header_len: usize,
    /// Bytes of all elements.
    pub(super) data_len: u64,
}

/// How a whole number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// Bytes: 1, 2, 4 or 8.
    pub(super) size: usize,
    is_signed: bool,
    is_big_endian: bool,
}

/// The longest dictionary that is read. Those of plain arrays have about a hundred characters; NumPy itself
/// refuses what is longer than 10,000.
const LONGEST: usize = 4096;
/// The most brackets in it; a plain array has three at most. Nested ones are parsed by recursion, and the
/// parser tries each in several ways: every further one takes several times as long.
const MOST_BRACKETS: usize = 8;
/// The most of them that begin a dictionary, which takes the parser longest: only the whole is one.
const MOST_BRACES: usize = 1;

const MAGIC: &[u8] = b"\x93NUMPY";

impl Header {
    /// Reads the header from the front of `input`, which has `len` bytes altogether, and checks that the file
    /// can be an array of this form. The fault is returned as text.
    pub(super) fn read(form: Form, input: &mut dyn Read, len: u64) -> Result<Self, String> {
        let front = front(input)?;
        let header = NpyHeader::from_reader(&front[..]).map_err(|fault| {
            let fault = shortened_middle(&fault.to_string(), 120);
            format!("its header cannot be read ({fault}); save the array again")
        })?;
        let size = |&size: &u64| u32::try_from(size).map(|size| size as usize);
        let dims: Vec<usize> =
            header.shape().iter().map(size).collect::<Result<_, _>>().map_err(|_| {
                format!(
                    "its header promises more than {} of something; save the array again",
                    u32::MAX
                )
            })?;
        form.check(&dims, Columns::One).map_err(|fault| match (form, &dims[..]) {
            (Form::Images, [_, 1 | 3, _, _]) => format!("{fault}: numpy.moveaxis(x, 1, -1)"),
            (Form::Images, [_, _]) => format!("{fault}: x.reshape(-1, height, width)"),
            _ => fault,
        })?;
        // Checked after the sizes, so that one-hot rows are reported as such, though they may be floats.
        let element = element(form, &header.dtype())?;
        if header.order() == Order::Fortran && dims.iter().filter(|&&size| size > 1).count() > 1 {
            return Err(format!(
                "its {} lie in Fortran's order, the first index fastest; save numpy.ascontiguousarray(x)",
                form.noun()
            ));
        }
        let elements =
            dims.iter().try_fold(element.size as u64, |product, &n| product.checked_mul(n as u64));
        let data_len = elements.filter(|&bytes| isize::try_from(bytes).is_ok());
        let promised = data_len.and_then(|bytes| bytes.checked_add(front.len() as u64));
        let (Some(data_len), Some(promised)) = (data_len, promised) else {
            return Err(too_large(&times(&dims)));
        };
        if promised != len {
            let fault = if len < promised { "truncated" } else { "has trailing bytes" };
            return Err(format!(
                "{fault}: the header promises {promised} bytes ({}), there are {len}; restore the file or save \
                 the array again",
                sizes_text(&dims)
            ));
        }
        Ok(Self { dims, element, header_len: front.len(), data_len })
    }
}

/// Everything before the elements; leaves `input` at the first of them.
pub(super) fn front(input: &mut dyn Read) -> Result<Vec<u8>, String> {
    let mut front = Vec::new();
    let mut read =
        |front: &mut Vec<u8>, bytes: usize| match input.take(bytes as u64).read_to_end(front) {
            Ok(read) if read == bytes => Ok(()),
            Ok(_) => Err("truncated within its header; restore the file".to_owned()),
            Err(fault) => Err(format!("cannot be read: {fault}")),
        };
    let start = read(&mut front, MAGIC.len() + 2);
    if !front.starts_with(MAGIC) {
        return Err(match known_stranger(&front) {
            Some(what) => format!("not a NumPy array but {what}"),
            None => "not a NumPy array; put one in its place".to_owned(),
        });
    }
    start?;
    // Version 1 has two bytes for the length, later ones four.
    let field = if front[MAGIC.len()] < 2 { 2 } else { 4 };
    read(&mut front, field)?;
    let digits = front[MAGIC.len() + 2..].iter().rev();
    let dictionary = digits.fold(0, |len, &byte| len << 8 | u64::from(byte));
    let Some(dictionary) = usize::try_from(dictionary).ok().filter(|&len| len <= LONGEST) else {
        return Err(format!(
            "its header has {dictionary} bytes, that of a plain array a hundred; save an array of numbers"
        ));
    };
    let before = front.len();
    read(&mut front, dictionary)?;
    check_dictionary(&front[before..])?;
    Ok(front)
}

/// Checks that a dictionary is safe for the parser, which multiplies the sizes without checking for overflow,
/// and follows brackets by recursion.
fn check_dictionary(text: &[u8]) -> Result<(), String> {
    let count = |brackets: &[u8]| text.iter().filter(|byte| brackets.contains(byte)).count();
    if count(b"([{") > MOST_BRACKETS || count(b"{") > MOST_BRACES {
        return Err("holds records; save an array of numbers".to_owned());
    }
    let mut numbers = text.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let product = numbers.try_fold(1_u64, |product, digits| {
        let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        product.checked_mul(number.max(1))
    });
    product.map(drop).ok_or_else(|| too_large("the product of its sizes"))
}

fn too_large(what: &str) -> String {
    format!("the header promises {what} bytes, more than can be addressed; save the array again")
}

/// How the elements are written, if images or labels can be made of them.
fn element(form: Form, dtype: &DType) -> Result<Element, String> {
    let DType::Plain(plain) = dtype else {
        return Err("holds records; save an array of numbers".to_owned());
    };
    let size = usize::try_from(plain.size_field()).unwrap_or(0);
    let is_big_endian = plain.endianness() == Endianness::Big;
    let whole = |is_signed| Ok(Element { size, is_signed, is_big_endian });
    match (plain.type_char(), size, form) {
        (TypeChar::Uint, 1 | 2 | 4 | 8, _) => whole(false),
        (TypeChar::Int, 1 | 2 | 4 | 8, _) => whole(true),
        (TypeChar::Bool, 1, Form::Labels) => whole(false),
        _ => Err(format!("its elements are {}", other_elements(form, plain))),
    }
}

/// The message for elements that are not whole numbers: what they are, and what to do.
fn other_elements(form: Form, plain: &TypeStr) -> String {
    let mend = match (form, plain.type_char()) {
        (Form::Images, TypeChar::Float) => {
            "save bytes: numpy.rint(255 * x).astype('uint8') of shades from 0 to 1, x.astype('uint8') of \
             shades from 0 to 255"
        }
        (Form::Images, TypeChar::Bool) => "save bytes: 255 * x.astype('uint8')",
        (Form::Images, _) => "save bytes, of the type uint8",
        (Form::Labels, TypeChar::Float) => "save whole numbers: y.astype('int64')",
        (Form::Labels, _) => {
            "save the number of each class: numpy.unique(y, return_inverse=True)[1]"
        }
    };
    let kind = match plain.type_char() {
        TypeChar::Float => "floats",
        TypeChar::Bool => "truth values",
        TypeChar::ByteStr | TypeChar::UnicodeStr => "texts",
        TypeChar::Object => "Python objects",
        _ => "no whole numbers",
    };
    format!("{kind} ({plain}); {mend}")
}

impl Element {
    /// Whether elements are unsigned bytes.
    pub(super) fn is_byte(self) -> bool {
        self.size == 1 && !self.is_signed
    }

    /// The numbers in these bytes, whose length is a multiple of the element's.
    pub(super) fn numbers(self, bytes: &[u8]) -> impl Iterator<Item = i128> {
        let spare = 8 * (16 - self.size as u32);
        bytes.chunks_exact(self.size).map(move |element| {
            let push = |number: u128, &byte: &u8| number << 8 | u128::from(byte);
            let number = match self.is_big_endian {
                true => element.iter().fold(0, push),
                false => element.iter().rev().fold(0, push),
            };
            match self.is_signed {
                // The uppermost bit of the element is its sign.
                true => (number << spare) as i128 >> spare,
                false => number as i128,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(dictionary: &str, data: usize) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((dictionary.len() as u16).to_le_bytes());
        bytes.extend(dictionary.as_bytes());
        bytes.resize(bytes.len() + data, 7);
        bytes
    }

    fn fault(dictionary: &str) -> String {
        let bytes = npy(dictionary, 0);
        Header::read(Form::Images, &mut &bytes[..], bytes.len() as u64).unwrap_err()
    }

    #[test]
    fn a_header_is_read_as_numpy_writes_it() {
        // numpy.save(..., numpy.full((2, 3, 4), 7, 'u1')) of NumPy 2.
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        let mut text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4), }".to_vec();
        text.resize(0x75, b' ');
        text.push(b'\n');
        bytes.extend(text);
        bytes.extend([7; 24]);
        let mut input = &bytes[..];
        let header = Header::read(Form::Images, &mut input, bytes.len() as u64).unwrap();
        assert_eq!((&header.dims[..], header.header_len), (&[2, 3, 4][..], 128));
        assert_eq!((header.data_len, input), (24, &[7; 24][..]));
        assert!(header.element.is_byte());
    }

    #[test]
    fn headers_that_would_harm_a_parser_are_refused() {
        let sizes = |sizes: &str| {
            fault(&format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {sizes}}}"))
        };
        assert!(
            sizes("(4294967295, 4294967295, 4294967295)").contains("more than can be addressed")
        );
        assert!(sizes("(99999999999999999999999, 28, 28)").contains("more than can be addressed"));
        assert!(sizes("(0, 4294967296, 4294967296)").contains("more than can be addressed"));
        assert!(sizes("(4294967296, 1, 1)").contains("more than 4294967295"));
        assert!(sizes(&"(".repeat(1000)).contains("holds records"));
        let mut long = b"\x93NUMPY\x02\x00".to_vec();
        long.extend(u32::MAX.to_le_bytes());
        let fault = Header::read(Form::Images, &mut &long[..], 12).unwrap_err();
        assert!(fault.contains("has 4294967295 bytes"), "{fault}");
    }

    #[test]
    fn numbers_of_every_type_are_read() {
        for (descr, bytes, number) in [
            ("|u1", &[255][..], 255),
            ("|i1", &[255], -1),
            ("<u2", &[1, 2], 0x201),
            (">u2", &[1, 2], 0x102),
            ("<i2", &[0, 0x80], -32768),
            (">i4", &[255, 255, 255, 254], -2),
            ("<i8", &[3, 0, 0, 0, 0, 0, 0, 0], 3),
            ("<u8", &[255; 8], i128::from(u64::MAX)),
        ] {
            let dtype = DType::Plain(descr.parse().unwrap());
            let element = element(Form::Labels, &dtype).unwrap();
            assert_eq!(element.numbers(bytes).collect::<Vec<_>>(), [number], "{descr}");
        }
    }
}
