//! IDX files packed by gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::header::Header;
use crate::data::cache::{CHUNK, Cache, sha256_of_file};
use crate::data::contents::Contents;
use crate::data::format::form::Form;
use crate::data::map::open_regular;
use crate::data::unpack::{Fault, MAX_EXPANSION, Packed, unreadable};
use crate::{Error, Result};

/// What every gzip file begins with (RFC 1952, 2.3.1).
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The raw contents of the IDX file at `path`, which may be packed by gzip, whatever its name says.
///
/// # Errors
/// [`Error::Data`] if the file cannot be read, or if it is packed and is not a complete gzip file with
/// exactly as many bytes as the IDX header in it promises.
pub(super) fn contents(form: Form, path: &Path, cache: &Cache) -> Result<Contents> {
    match is_packed(path)? {
        true => cache.unpacked(&Gzip { form, path }),
        false => Contents::map(path),
    }
}

/// An IDX file packed by gzip.
struct Gzip<'a> {
    form: Form,
    path: &'a Path,
}

impl Packed for Gzip<'_> {
    fn path(&self) -> &Path {
        self.path
    }

    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_suffix(".gz").unwrap_or(&name).to_owned()
    }

    fn form(&self) -> Form {
        self.form
    }

    fn sha256(&self) -> Result<[u8; 32]> {
        sha256_of_file(self.path)
    }

    fn unpack<W: Write>(
        &self,
        out: impl FnOnce(u64) -> std::result::Result<W, Fault>,
    ) -> std::result::Result<W, Fault> {
        gunzip(self.form, self.path, out)
    }
}

/// Whether the file at `path` begins as gzip files do, whatever its name says.
///
/// # Errors
/// [`Error::Data`] if it is not a regular file that can be read.
pub(super) fn is_packed(path: &Path) -> Result<bool> {
    let (file, _) = open_regular(path)?;
    let mut front = Vec::new();
    file.take(2).read_to_end(&mut front).map_err(unreadable(path))?;
    Ok(front == MAGIC)
}

/// Unpacks the IDX file in `path` into the writer that `out` returns for its length: the header first, then
/// exactly the bytes that it promises, then the end of the file, where the checksum is verified. Never writes
/// more than the header promises, refuses a header that promises more than the packed bytes can hold, and
/// needs [`CHUNK`] bytes of memory besides the writer.
fn gunzip<W: Write>(
    form: Form,
    path: &Path,
    out: impl FnOnce(u64) -> std::result::Result<W, Fault>,
) -> std::result::Result<W, Fault> {
    let bad = |fault: String| Fault::Bad(Error::data(path, fault));
    let broken = |source: io::Error| {
        bad(format!("broken gzip data ({source}); restore the file or fetch it again"))
    };
    let (file, metadata) = open_regular(path).map_err(Fault::Bad)?;
    let most = metadata.len().saturating_mul(MAX_EXPANSION);
    let mut input = Members::new(file);
    let mut head = Vec::new();
    input.by_ref().take(4).read_to_end(&mut head).map_err(broken)?;
    let fields = Header::fields_len(&head) as u64;
    input.by_ref().take(fields).read_to_end(&mut head).map_err(broken)?;
    // The length of the whole file may show a better reason for a fault: sizes in little-endian order.
    let explained = |fault: String| match Header::reversed_len(&head) {
        Some(reversed) if reversed <= most => match unpacked_len(path, reversed) {
            Ok(len) if len == reversed => {
                Header::parse(form, &head, Some(len)).err().unwrap_or(fault)
            }
            _ => fault,
        },
        _ => fault,
    };
    let unpacked = |fault: String| bad(format!("unpacked, {}", explained(fault)));
    let promised = Header::parse(form, &head, None).map_err(unpacked)?.file_len;
    if promised > most {
        return Err(bad(explained(format!(
            "its inner header promises {promised} bytes, more than {} packed bytes can hold; restore the file or fetch it again",
            metadata.len()
        ))));
    }
    let mut out = out(promised)?;
    out.write_all(&head).map_err(Fault::Full)?;
    let mut left = promised - head.len() as u64;
    let mut chunk = vec![0; CHUNK];
    while left > 0 {
        let room = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let read = input.read(&mut chunk[..room]).map_err(broken)?;
        if read == 0 {
            return Err(unpacked(format!(
                "truncated: the header promises {promised} bytes, {left} are missing; restore the file or fetch it again"
            )));
        }
        out.write_all(&chunk[..read]).map_err(Fault::Full)?;
        left -= read as u64;
    }
    // The read that reaches the end also checks the CRC and the length after the data.
    match input.read(&mut chunk[..1]).map_err(broken)? {
        0 => Ok(out),
        _ => Err(unpacked(format!(
            "has trailing bytes: the header promises {promised}; restore the file"
        ))),
    }
}

/// The first unpacked bytes of a file, enough for any header.
///
/// # Errors
/// [`Error::Data`] if it cannot be read.
pub(super) fn front(path: &Path) -> Result<Vec<u8>> {
    let (file, _) = open_regular(path)?;
    let mut front = Vec::new();
    Members::new(file)
        .take(Header::LONGEST as u64)
        .read_to_end(&mut front)
        .map_err(unreadable(path))?;
    Ok(front)
}

/// How many bytes the file unpacks to, counted to one more than `most`.
fn unpacked_len(path: &Path, most: u64) -> Result<u64> {
    let (file, _) = open_regular(path)?;
    io::copy(&mut Members::new(file).take(most.saturating_add(1)), &mut io::sink())
        .map_err(unreadable(path))
}

/// The members of a gzip file, one after the other. As in gzip itself, zeros after the last member are
/// ignored: tapes and backups fill their last block with them.
struct Members {
    decoder: Option<GzDecoder<BufReader<File>>>,
}

impl Members {
    fn new(file: File) -> Self {
        Self { decoder: Some(GzDecoder::new(BufReader::with_capacity(CHUNK, file))) }
    }
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let read = decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut input = self.decoder.take().map(GzDecoder::into_inner);
            match input.as_mut().map(next_member).transpose()?.flatten() {
                Some(()) => self.decoder = input.map(GzDecoder::new),
                None => return Ok(0),
            }
        }
        Ok(0)
    }
}

/// Moves on to the member after the last one; `None` if only zeros are left.
fn next_member(input: &mut BufReader<File>) -> io::Result<Option<()>> {
    if input.fill_buf()?.first().is_some_and(|&byte| byte != 0) {
        return Ok(Some(()));
    }
    loop {
        let rest = input.fill_buf()?;
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.iter().any(|&byte| byte != 0) {
            let fault = "zeros behind a member with other bytes behind them";
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        let len = rest.len();
        input.consume(len);
    }
}
