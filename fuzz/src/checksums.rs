//! Checksums that are made right: a file with a byte changed would not get beyond them otherwise. What has no
//! place for one comes back as it was.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use safetensors::SafeTensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use threadcount::train::{Origin, Progress};

/// `run.toml`: the line `checksum`, of all lines below it.
pub fn record(bytes: &[u8]) -> Vec<u8> {
    let right = || {
        let text = std::str::from_utf8(bytes).ok()?.replace("\r\n", "\n");
        let (above, rest) = text.split_once("\nchecksum = \"")?;
        let (_, body) = rest.split_once("\"\n")?;
        Some(format!("{above}\nchecksum = \"{}\"\n{body}", hex(Sha256::digest(body))).into())
    };
    right().unwrap_or_else(|| bytes.to_vec())
}

/// A network, a classical model or a checkpoint: `sha256` in the text beside the tensors.
pub fn tensors(bytes: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    if let Some((at, sum)) = right_sum(bytes)
        && let Some(place) = mended.get_mut(at..at + sum.len())
    {
        place.copy_from_slice(sum.as_bytes());
    }
    mended
}

/// The text beside the tensors.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Model { origin: Origin },
    Checkpoint { run: String, optimizer_steps: u64, progress: Box<Progress> },
    Classical { model: String, facts: String },
}

/// Where the checksum stands, and what it ought to be.
fn right_sum(bytes: &[u8]) -> Option<(usize, String)> {
    const KEY: &[u8] = br#"\"sha256\":\""#;
    let at = bytes.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let text = metadata.metadata().as_ref()?.get("threadcount")?;
    let facts = match serde_json::from_str(text).ok()? {
        Text::Model { origin: Origin { run, epochs, epoch } } => format!("{run} {epochs} {epoch}"),
        Text::Checkpoint { run, optimizer_steps, progress } => {
            format!("{run} {optimizer_steps} {}", serde_json::to_string(&progress).ok()?)
        }
        Text::Classical { model, facts } => format!("{model} {facts}"),
    };
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let mut tensors: Vec<_> =
        tensors.iter().map(|(name, t)| (name.to_owned(), t.shape().to_vec(), t.data())).collect();
    tensors.sort_unstable();
    let mut sha = Sha256::new();
    let mut add = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_le_bytes());
        sha.update(bytes);
    };
    for (name, shape, data) in tensors {
        add(name.as_bytes());
        add(format!("{shape:?}").as_bytes());
        add(data);
    }
    add(facts.as_bytes());
    Some((at, hex(sha.finalize())))
}

/// `table.toml`: the line `sha256` of each model that is there, of its file.
pub fn table(bytes: &[u8], models: &[(&str, &Vec<u8>)]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
    let mut of_name = None;
    let mut mended = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix("name = \"") {
            let name = name.trim_end().trim_end_matches('"');
            of_name = models.iter().find(|(known, _)| *known == name);
        }
        match of_name.filter(|_| line.starts_with("sha256 = \"") && line.ends_with('\n')) {
            Some((_, bytes)) => mended += &format!("sha256 = \"{}\"\n", hex(Sha256::digest(bytes))),
            None => mended += line,
        }
    }
    mended.into_bytes()
}

/// A gzip file: the CRC and the length behind each member that has a plain header and whose data end.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    const HEADER: usize = 10;
    let mut mended = bytes.to_vec();
    let mut start = 0;
    while mended.get(start..start + 4).is_some_and(|front| front == [0x1f, 0x8b, 8, 0]) {
        let Some((packed, crc)) = mended.get(start + HEADER..).and_then(inflated) else { break };
        let end = start + HEADER + packed;
        mended.resize(mended.len().max(end + 8), 0);
        mended[end..end + 4].copy_from_slice(&crc.sum().to_le_bytes());
        mended[end + 4..end + 8].copy_from_slice(&crc.amount().to_le_bytes());
        start = end + 8;
    }
    mended
}

/// A zip archive: the CRC of each file that the table of contents has, in it and before the file.
pub fn zip(bytes: &[u8]) -> Vec<u8> {
    let mut mended = bytes.to_vec();
    let mut from = 0;
    while let Some(found) = mended[from..].windows(4).position(|four| four == b"PK\x01\x02") {
        let entry = from + found;
        from = entry + 4;
        if let Some((local, crc)) = crc_of(&mended, entry) {
            mended[entry + 16..entry + 20].copy_from_slice(&crc.to_le_bytes());
            mended[local + 14..local + 18].copy_from_slice(&crc.to_le_bytes());
        }
    }
    mended
}

/// Of an entry of the table: where the file's own header is, and the CRC of the file.
fn crc_of(bytes: &[u8], entry: usize) -> Option<(usize, u32)> {
    let number = |at: usize, len: usize| {
        let bytes = bytes.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    };
    let (method, packed, local) =
        (number(entry + 10, 2)?, number(entry + 20, 4)?, number(entry + 42, 4)?);
    let start = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
    let data = bytes.get(start..start + packed)?;
    let crc = match method {
        0 => {
            let mut crc = Crc::new();
            crc.update(data);
            crc
        }
        _ => inflated(data)?.1,
    };
    Some((local, crc.sum()))
}

/// How many bytes of deflated data there are, and the checksum of what they hold.
fn inflated(bytes: &[u8]) -> Option<(usize, Crc)> {
    let (mut stream, mut crc) = (Decompress::new(false), Crc::new());
    let mut chunk = [0; 4096];
    // Longer streams are none of ours.
    for _ in 0..64 {
        let (read, written) = (stream.total_in() as usize, stream.total_out());
        let status = stream.decompress(&bytes[read..], &mut chunk, FlushDecompress::None).ok()?;
        let new = (stream.total_out() - written) as usize;
        crc.update(&chunk[..new]);
        match status {
            Status::StreamEnd => return Some((stream.total_in() as usize, crc)),
            _ if new == 0 => return None,
            _ => {}
        }
    }
    None
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
