//! One array of a set: in a `.npy` file, which is mapped if its elements are bytes, or in a `.npz` archive,
//! out of which it is unpacked.

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use npyz::npz::{array_name_from_file_name, file_name_from_array_name};
use zip::ZipArchive;
use zip::result::ZipError;

use super::header::{Element, Header};
use super::names;
use crate::data::cache::{CHUNK, Cache, sha256_of_file};
use crate::data::contents::{Contents, room};
use crate::data::format::Named;
use crate::data::format::form::{Form, image_shape, labels};
use crate::data::format::header::{header_bytes, images};
use crate::data::images::{FiledLabels, Images};
use crate::data::map::open_regular;
use crate::data::unpack::{Fault, MAX_EXPANSION, Packed};
use crate::{Error, Result};

/// Where an array is.
#[derive(Debug)]
pub(super) struct Array {
    /// Its file, or the archive that it is in.
    pub(super) path: PathBuf,
    /// Its name in the archive.
    pub(super) name: Option<String>,
    /// What is odd about it.
    pub(super) remark: Option<String>,
}

impl Array {
    /// The array in a `.npy` file, or the only one in an archive.
    ///
    /// # Errors
    /// [`Error::Data`] if it is an archive without arrays, or with several.
    pub(super) fn only_one_in(path: PathBuf) -> Result<Self> {
        if path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("npz")) {
            return Ok(Self { path, name: None, remark: None });
        }
        let mut names = arrays_of(&path).map_err(|fault| Error::data(&path, fault))?;
        match names.pop() {
            Some(name) if names.is_empty() => Ok(Self { path, name: Some(name), remark: None }),
            last => {
                names.extend(last);
                let there = names::list(&names);
                Err(Error::data(
                    path,
                    format!("holds {there}; put an archive of one array in its place"),
                ))
            }
        }
    }

    /// Its sizes, outermost first.
    ///
    /// # Errors
    /// [`Error::Data`] if it cannot be of this form.
    pub(super) fn dims(&self, form: Form) -> Result<Vec<usize>> {
        let read = self.read(|input, len| Ok(self.header(form, input, len)?.dims));
        read.map_err(|fault| self.error(fault))
    }

    /// Images: mapped if they are stored as they are used, else unpacked into the cache.
    ///
    /// # Errors
    /// [`Error::Data`] if it does not hold images.
    pub(super) fn images(&self, cache: &Cache) -> Result<Images> {
        let header = self.read(|input, len| self.header(Form::Images, input, len));
        let Header { dims, element, header_len, .. } = header.map_err(|fault| self.error(fault))?;
        if self.name.is_some() || !element.is_byte() {
            return images(cache.unpacked(self)?);
        }
        let contents = Contents::map(&self.path)?;
        let shape = image_shape(&dims);
        if contents.len() < header_len + shape.iter().product::<usize>() {
            return Err(contents.fault("was cut short while it was opened; restore the file"));
        }
        Ok(Images::new(contents, header_len, shape))
    }

    /// Labels.
    ///
    /// # Errors
    /// [`Error::Data`] if it does not hold labels.
    pub(super) fn labels(&self) -> Result<FiledLabels> {
        let read = self.read(|input, len| {
            let header = self.header(Form::Labels, input, len)?;
            let bytes = usize::try_from(header.data_len).unwrap_or(usize::MAX);
            let mut held = room(&self.path, bytes).map_err(Fault::Bad)?;
            self.copy(input, header.data_len, |chunk| {
                held.extend_from_slice(chunk);
                Ok(())
            })?;
            labels(header.element.numbers(&held)).map_err(|fault| self.bad(&fault))
        });
        let values = read.map_err(|fault| self.error(fault))?;
        Ok(FiledLabels { path: self.path.clone(), values, remark: self.remark.clone() })
    }

    /// Applies `of` to the bytes of the array's `.npy` file and their number.
    fn read<T>(
        &self,
        of: impl FnOnce(&mut dyn Read, u64) -> std::result::Result<T, Fault>,
    ) -> std::result::Result<T, Fault> {
        let (file, metadata) = open_regular(&self.path).map_err(Fault::Bad)?;
        let Some(name) = &self.name else {
            return of(&mut BufReader::with_capacity(CHUNK, file), metadata.len());
        };
        let mut archive =
            ZipArchive::new(BufReader::new(file)).map_err(|error| self.bad(&told(&error)))?;
        let mut entry = archive
            .by_name(&file_name_from_array_name(name))
            .map_err(|error| self.bad(&told(&error)))?;
        let (len, packed) = (entry.size(), entry.compressed_size());
        if len > packed.saturating_mul(MAX_EXPANSION) {
            return Err(self.bad(&format!(
                "is said to have {len} bytes, more than {packed} packed bytes can hold; restore the file"
            )));
        }
        of(&mut entry, len)
    }

    fn header(
        &self,
        form: Form,
        input: &mut dyn Read,
        len: u64,
    ) -> std::result::Result<Header, Fault> {
        Header::read(form, input, len).map_err(|fault| self.bad(&fault))
    }

    /// Gives `len` bytes to `out` in pieces whose lengths are multiples of every element's; then reads to the
    /// end, where an archive verifies its checksum.
    fn copy(
        &self,
        input: &mut dyn Read,
        len: u64,
        mut out: impl FnMut(&[u8]) -> std::result::Result<(), Fault>,
    ) -> std::result::Result<(), Fault> {
        let broken = |source| self.bad(&format!("cannot be read ({source}); restore the file"));
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut left = len;
        while left > 0 {
            chunk.clear();
            let wanted = left.min(CHUNK as u64);
            if input.take(wanted).read_to_end(&mut chunk).map_err(broken)? as u64 != wanted {
                return Err(
                    self.bad(&format!("truncated: {left} bytes are missing; restore the file"))
                );
            }
            out(&chunk)?;
            left -= wanted;
        }
        match input.read(&mut [0]).map_err(broken)? {
            0 => Ok(()),
            _ => Err(self.bad("has trailing bytes; restore the file")),
        }
    }

    /// A fault of this array: names its file, and in an archive the array.
    fn bad(&self, fault: &str) -> Fault {
        Fault::Bad(match &self.name {
            Some(name) => {
                let name = names::list(std::slice::from_ref(name));
                Error::data(&self.path, format!("array {name}: {fault}"))
            }
            None => Error::data(&self.path, fault),
        })
    }

    fn error(&self, fault: Fault) -> Error {
        match fault {
            Fault::Bad(error) => error,
            Fault::Full(source) => Error::data(&self.path, format!("cannot be read: {source}")),
        }
    }

    /// Writes elements as bytes; `first` is the number of the first one.
    fn write(
        &self,
        out: &mut impl Write,
        element: Element,
        first: u64,
        chunk: &[u8],
    ) -> std::result::Result<(), Fault> {
        if element.is_byte() {
            return out.write_all(chunk).map_err(Fault::Full);
        }
        let mut bytes = Vec::with_capacity(chunk.len() / element.size);
        for (i, number) in (first..).zip(element.numbers(chunk)) {
            bytes.push(u8::try_from(number).map_err(|_| {
                self.bad(&format!(
                    "number {i} is {number}, and shades are 0 to 255; save bytes, of the type uint8"
                ))
            })?);
        }
        out.write_all(&bytes).map_err(Fault::Full)
    }
}

impl Packed for Array {
    fn path(&self) -> &Path {
        &self.path
    }

    fn name(&self) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        let part = match self.name.as_deref().and_then(names::read) {
            Some(Named { half, form, .. }) => format!("-{half:?}-{form:?}"),
            None => String::new(),
        };
        format!("{file}{}", part.to_lowercase())
    }

    fn form(&self) -> Form {
        Form::Images
    }

    fn sha256(&self) -> Result<[u8; 32]> {
        sha256_of_file(&self.path)
    }

    fn unpack<W: Write>(
        &self,
        out: impl FnOnce(u64) -> std::result::Result<W, Fault>,
    ) -> std::result::Result<W, Fault> {
        self.read(|input, len| {
            let Header { dims, element, data_len, .. } = self.header(Form::Images, input, len)?;
            let raw = header_bytes(&dims);
            let elements = data_len / element.size as u64;
            let mut out = out(raw.len() as u64 + elements)?;
            out.write_all(&raw).map_err(Fault::Full)?;
            let mut first = 0;
            self.copy(input, data_len, |chunk| {
                self.write(&mut out, element, first, chunk)?;
                first += (chunk.len() / element.size) as u64;
                Ok(())
            })?;
            Ok(out)
        })
    }
}

/// The names of all arrays in an archive, sorted.
pub(super) fn arrays_of(path: &Path) -> std::result::Result<Vec<String>, String> {
    let (file, _) = open_regular(path).map_err(|error| match error {
        Error::Data { fault, .. } => fault,
        other => other.to_string(),
    })?;
    let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| told(&error))?;
    // A name that is not UTF-8 is none of those that are looked for.
    let files = archive.file_names().filter_map(std::result::Result::ok);
    let mut names: Vec<_> =
        files.filter_map(|name| array_name_from_file_name(&name).map(str::to_owned)).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

pub(super) fn told(error: &ZipError) -> String {
    match error {
        ZipError::CompressionMethodNotSupported(_) => {
            "is packed in a way that numpy.savez does not use; save it with numpy.savez_compressed"
                .to_owned()
        }
        error => {
            let fault = crate::names::shortened_middle(&error.to_string(), 120);
            format!("not a whole .npz archive ({fault}); restore the file")
        }
    }
}
