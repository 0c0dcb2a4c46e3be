//! Archives of floats, as `numpy.savez` writes them: weights of other frameworks.

use std::io::{Cursor, Read, Write};

use npyz::npz::array_name_from_file_name;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::array::told;
use super::header::front;
use crate::data::unpack::MAX_EXPANSION;
use crate::names::{shortened, shortened_middle};

/// The name of an array, its sizes, and its elements if they are floats of 32 bits.
pub(crate) type Floats = (String, Vec<usize>, Option<Vec<f32>>);

/// All arrays of an archive.
///
/// # Errors
/// The fault as text, if the bytes are not a complete archive of arrays.
pub(crate) fn read_npz(bytes: &[u8]) -> Result<Vec<Floats>, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| told(&error))?;
    let mut arrays = Vec::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|error| told(&error))?;
        let file = entry.name().map(|name| name.into_owned()).unwrap_or_default();
        let Some(name) = array_name_from_file_name(&file) else { continue };
        let name = name.to_owned();
        let array = |fault: String| format!("array {}: {fault}", shortened(&name));
        if entry.size() > entry.compressed_size().saturating_mul(MAX_EXPANSION) {
            return Err(array(
                "has more bytes than can be packed in it; restore the file".to_owned(),
            ));
        }
        // One byte more than the stated size, to notice an entry that is longer.
        let most = entry.size().saturating_add(1);
        let (shape, data) = read_array(&mut (&mut entry).take(most)).map_err(array)?;
        arrays.push((name, shape, data));
    }
    Ok(arrays)
}

fn read_array(input: &mut dyn Read) -> Result<(Vec<usize>, Option<Vec<f32>>), String> {
    let front = front(input)?;
    let header = NpyHeader::from_reader(&front[..]).map_err(|fault| {
        let fault = shortened_middle(&fault.to_string(), 120);
        format!("its header cannot be read ({fault}); save the array again")
    })?;
    let mut bytes = Vec::new();
    let broken = |source| format!("cannot be read ({source}); restore the file");
    input.read_to_end(&mut bytes).map_err(broken)?;
    let shape: Vec<usize> =
        header.shape().iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX)).collect();
    let DType::Plain(plain) = header.dtype() else { return Ok((shape, None)) };
    let is_f32 = plain.type_char() == TypeChar::Float && plain.size_field() == 4;
    if !is_f32 || plain.endianness() == Endianness::Big {
        return Ok((shape, None));
    }
    let elements = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
    if elements.and_then(|n| n.checked_mul(4)) != Some(bytes.len()) {
        return Err(format!(
            "its header promises the sizes {shape:?}, and {} bytes follow; restore the file",
            bytes.len()
        ));
    }
    let floats = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let floats: Vec<f32> = floats.collect();
    // Keras saves some arrays in Fortran order: an orthogonal matrix, as it was drawn.
    let floats = match header.order() {
        Order::C => floats,
        Order::Fortran => row_major(&shape, &floats),
    };
    Ok((shape, Some(floats)))
}

/// Converts elements from column-major to row-major order.
fn row_major(shape: &[usize], elements: &[f32]) -> Vec<f32> {
    let mut at = vec![0; shape.len()];
    let mut all = Vec::with_capacity(elements.len());
    for _ in elements {
        let index = at.iter().zip(shape).rev().fold(0, |index, (i, size)| index * size + i);
        all.push(elements[index]);
        for (i, size) in at.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    all
}

/// The bytes of an archive of these arrays. The same arrays give the same bytes.
pub(crate) fn write_npz<'a>(
    arrays: impl Iterator<Item = (String, &'a [usize], &'a [f32])>,
) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, shape, data) in arrays {
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(&header_of(shape))?;
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        archive.write_all(&bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// Version 1 of the format; elements begin at a multiple of 64 bytes.
fn header_of(shape: &[usize]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut dictionary = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}",
        if shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") }
    );
    const BEFORE: usize = 10;
    while !(BEFORE + dictionary.len() + 1).is_multiple_of(64) {
        dictionary.push(' ');
    }
    dictionary.push('\n');
    let len = (dictionary.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &len[..], dictionary.as_bytes()].concat()
}
